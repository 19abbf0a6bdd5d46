package appengine

import (
	"maps"
	"sync"
)

// volumeMap knows where the volumes of all containers are. On a device they lie
// in one tree, so a configuration may name those of others (the template does
// for PV_VOLUME_IMPORTS and for the image of a base container).
type volumeMap struct {
	mu sync.Mutex // guards of
	of map[string]map[string]string
}

// set tells where a container's volumes are, nil when they are gone.
func (v *volumeMap) set(container string, paths map[string]string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[string]map[string]string{}
	}
	if v.of[container] = paths; paths == nil {
		delete(v.of, container)
	}
}

// addTo adds the paths of all volumes that are in place now.
func (v *volumeMap) addTo(all map[string]string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, paths := range v.of {
		maps.Copy(all, paths)
	}
}

package appengine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

// hosts gives a container of a pool an /etc/hosts with the names of the others,
// unless its configuration overlay has one. The others' are written again,
// too: an update may have brought a container that they do not know.
func (c *cycle) hosts(rev *revision, d *definition) ([]lxcconf.Mount, error) {
	if rev.network.Hosts(d.Name) == nil {
		return nil, nil
	}
	for name := range rev.containers {
		if text := rev.network.Hosts(name); text != nil {
			if err := c.run.hosts(name, text); err != nil {
				return nil, err
			}
		}
	}
	if _, own := rev.state.Get("_config/" + d.Name + "/etc/hosts"); own {
		return nil, nil
	}
	return []lxcconf.Mount{sandbox.Bind(c.run.path(hostsDir, d.Name), "etc/hosts", true, true)}, nil
}

// hosts writes a container's file in its place: containers that run have it
// mounted, and would not see another one of the same name.
func (r *runDir) hosts(name string, text []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	file := filepath.Join(r.path(hostsDir), name)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("write the names of a pool: %w", err)
	}
	_, err = f.WriteAt(text, 0)
	if err = errors.Join(err, f.Truncate(int64(len(text))), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write the names of a pool: %w", err)
	}
	return nil
}

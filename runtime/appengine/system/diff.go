package system

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
)

// Change is what an update changes.
type Change struct {
	// Containers are the ones whose files differ, come or go, by name.
	Containers []string
	// Reboot says why the whole system has to restart; "" if the
	// containers can be replaced while the others go on.
	Reboot string
}

// Diff compares a running revision with one that shall replace it
// (pv_state_compare_objects and pv_state_compare_jsons in state.c). The
// restart is avoided only if every difference belongs to a container whose
// restart policy is "container", before and after. Signatures, src.json and
// build.json do not count.
func Diff(oldState *pvrexport.State, oldSys *System, newState *pvrexport.State, newSys *System) Change {
	var d Change
	changed := map[string]bool{}
	for _, key := range differences(oldState, newState) {
		owner := ownerOf(key)
		before, after := oldSys.Container(owner), newSys.Container(owner)
		if before == nil && after == nil {
			d.because("%s differs, which belongs to no container", key)
			continue
		}
		changed[owner] = true
		for _, c := range []*Container{before, after} {
			if c != nil && c.RestartPolicy != RestartContainer {
				d.because("%s differs, and the restart policy of %s is %s", key, owner, c.RestartPolicy)
			}
		}
	}
	for name := range changed {
		d.Containers = append(d.Containers, name)
	}
	slices.Sort(d.Containers)
	return d
}

// because notes the first reason.
func (d *Change) because(format string, args ...any) {
	if d.Reboot == "" {
		d.Reboot = fmt.Sprintf(format, args...)
	}
}

// differences returns the keys that matter and differ, sorted.
func differences(a, b *pvrexport.State) []string {
	var keys []string
	for key, v := range a.All() {
		if w, ok := b.Get(key); matters(a, key) && (!ok || v != w) {
			keys = append(keys, key)
		}
	}
	for key := range b.All() {
		if _, ok := a.Get(key); !ok && matters(b, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// matters reports whether the runtime keeps a key at all.
func matters(s *pvrexport.State, key string) bool {
	name := key[strings.LastIndexByte(key, '/')+1:]
	switch {
	case key == pvrexport.SpecKey, strings.HasPrefix(key, "_sigs/"):
		return false
	case name != key && (name == "src.json" || name == "build.json"):
		return false
	case key == groupsKey, key == disksKey, key == disksV3Key:
		_, replaced := s.Get(deviceKey)
		return !replaced
	}
	return true
}

// ownerOf returns the container that a key belongs to, if there is one of that
// name: its own files and those of its configuration overlay.
func ownerOf(key string) string {
	dir, rest, _ := strings.Cut(key, "/")
	if dir == "_config" {
		dir, _, _ = strings.Cut(rest, "/")
	}
	return dir
}

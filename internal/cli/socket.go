package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pvkit/pvkit/runtime/pvtx"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// sockets lists where pv-ctrl's socket is looked for: the places of a device,
// and those of a runtime that this user started.
func sockets(env Env) []string {
	list := pvtx.Sockets()
	if own := filepath.Join(rundir.Dir(env.Getenv), "pv-ctrl"); !slices.Contains(list, own) {
		list = append(list, own)
	}
	return list
}

// defaultSocket is the first that is there, or else where a device has it.
func defaultSocket(env Env) string {
	list := sockets(env)
	for _, path := range list {
		if st, err := os.Stat(path); err == nil && st.Mode()&fs.ModeSocket != 0 {
			return path
		}
	}
	return list[0]
}

package nsinject

import (
	"errors"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// made is something that an entry has put into its peer.
type made struct {
	path string
	id   inode
}

var _ xconnect.Minder = (*root)(nil)

// keep notes what was put at s, which path led to, and returns what takes it
// away. That may be called more than once.
func (r *root) keep(s spot, path string, id inode) (remove func() error) {
	m := made{path, id}
	r.madeMu.Lock()
	defer r.madeMu.Unlock()
	r.made = append(r.made, m)
	return sync.OnceValue(func() error {
		r.madeMu.Lock()
		defer r.madeMu.Unlock()
		r.made = slices.DeleteFunc(r.made, func(o made) bool { return o == m })
		defer s.close()
		return s.take(id)
	})
}

// Displaced implements xconnect.Minder: a container may clean its directories,
// or mount something over them.
func (r *root) Displaced(wait bool) (path string, sure bool) {
	r.madeMu.Lock()
	all := slices.Clone(r.made)
	r.madeMu.Unlock()
	sure = true
	for _, m := range all {
		switch err := r.handle.leadsTo(m, wait); {
		case err == nil:
		case errors.Is(err, errElsewhere), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return m.path, true
		default:
			sure = false
		}
	}
	return "", sure
}

var errElsewhere = errors.New("the path leads elsewhere")

func (h *handle) leadsTo(m made, wait bool) error {
	const flags = unix.O_PATH | unix.O_NOFOLLOW
	var fd int
	var err error
	if wait {
		fd, err = h.resolve(m.path, flags)
	} else {
		fd, err = h.resolveOnce(m.path, flags, resolveCached)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if inodeOf(&st) != m.id {
		return errElsewhere
	}
	return nil
}

package sandbox

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// inode tells namespaces apart.
type inode struct{ dev, ino uint64 }

func inodeAt(fd int) (inode, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return inode{uint64(st.Dev), st.Ino}, err
}

// setNamespace remembers the container's pid namespace.
func (c *Container) setNamespace(j *job) {
	for _, n := range j.Own {
		if n != "pid" {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/pid", c.PID()), &st) == nil {
			c.mu.Lock()
			c.ns = inode{uint64(st.Dev), st.Ino}
			c.mu.Unlock()
		}
	}
}

// Owner tells which container a process belongs to. The name is empty for a
// process of the host's. ok is false when it cannot be told, because there is no
// such process any more or we may not look at it: then it is nobody's, and
// certainly not the host's.
//
// A process belongs to a container when it is in its cgroup or one below, or in
// its pid namespace or one below. A pid can be used again: the caller makes sure
// that the process is still the one it means, with a pidfd for instance.
func (h *Host) Owner(pid int) (name string, ok bool) {
	name, err := h.groups.Owner(pid)
	if err != nil {
		return "", false
	}
	if name != "" {
		return name, true
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return "", false // it is gone, or another user's
	}
	defer ns.Close()
	known := h.namespaces()
	fd := int(ns.Fd())
	for {
		id, err := inodeAt(fd)
		if err != nil {
			return "", false
		}
		if name := known[id]; name != "" {
			return name, true
		}
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		if fd != int(ns.Fd()) {
			unix.Close(fd)
		}
		if err != nil {
			return "", true // the next one up is not for us to see
		}
		fd = parent
	}
}

func (h *Host) namespaces() map[inode]string {
	out := map[inode]string{}
	for _, c := range h.containers() {
		c.mu.Lock()
		if c.ns != (inode{}) {
			out[c.ns] = c.name
		}
		c.mu.Unlock()
	}
	return out
}

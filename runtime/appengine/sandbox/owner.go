package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// inode tells namespaces apart.
type inode struct{ dev, ino uint64 }

func inodeAt(fd int) (inode, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return inode{st.Dev, st.Ino}, err
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
			c.ns = inode{st.Dev, st.Ino}
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
	if exiting(pid) {
		return "", false
	}
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

// exiting tells whether a process's first thread has begun to exit. On a cgroup
// v1 hierarchy the kernel shows such a process in the root (proc_cgroup_show),
// so that it looks like one of the host's.
func exiting(pid int) bool {
	const pfExiting = 0x4 // PF_EXITING of linux/sched.h; the flags are field 9 of proc_pid_stat(5)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // the name before may be anything
	if len(fields) < 7 {
		return true
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	return err != nil || flags&pfExiting != 0
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

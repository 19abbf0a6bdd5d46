package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// inode tells namespaces apart.
type inode struct{ dev, ino uint64 }

func inodeAt(fd int) (inode, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return inode{st.Dev, st.Ino}, err
}

// namespaceOf is the namespace that a process is in, zero if that cannot be
// seen.
func namespaceOf(pid int, kind string) inode {
	var st unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &st) != nil {
		return inode{}
	}
	return inode{st.Dev, st.Ino}
}

// setNamespaces remembers the container's pid and mount namespaces.
func (c *Container) setNamespaces(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mounts = namespaceOf(c.PID(), "mnt"); c.mounts == namespaceOf(os.Getpid(), "mnt") {
		c.mounts = inode{} // never: all of the host would be the container's
	}
	if slices.Contains(j.Own, "pid") {
		c.pids = namespaceOf(c.PID(), "pid")
	}
}

func (c *Container) mountNamespace() inode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mounts
}

// strays are the processes in the container's mount namespace: what is left of a
// container that has neither a group nor a pid namespace.
func (c *Container) strays() []int {
	mounts := c.mountNamespace()
	entries, err := os.ReadDir("/proc")
	if err != nil || mounts == (inode{}) {
		return nil
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && namespaceOf(pid, "mnt") == mounts {
			out = append(out, pid)
		}
	}
	return out
}

// killStrays ends them.
func (c *Container) killStrays(ctx context.Context) {
	for ctx.Err() == nil {
		pids := c.strays()
		if len(pids) == 0 {
			return
		}
		c.killAll(ctx, pids)
		time.Sleep(time.Millisecond)
	}
}

// killAll ends processes, each only if it still is a stray. One that exits leaves
// its namespaces first and is gone a moment later, which is waited for.
func (c *Container) killAll(ctx context.Context, pids []int) {
	var killed []unix.PollFd
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // gone, or one for the next time
		}
		defer unix.Close(fd)
		if namespaceOf(pid, "mnt") == c.mountNamespace() {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			killed = append(killed, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	for len(killed) > 0 && ctx.Err() == nil {
		unix.Poll(killed, 100)
		killed = slices.DeleteFunc(killed, func(p unix.PollFd) bool { return p.Revents != 0 })
	}
}

// Owner tells which container a process belongs to. The name is empty for a
// process of the host's. ok is false when it cannot be told, because there is no
// such process any more or we may not look at it: then it is nobody's, and
// certainly not the host's.
//
// A process belongs to a container when it is in its cgroup or one below, in its
// mount namespace, or in its pid namespace or one below. A pid can be used again: the caller makes sure
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
	if name := known[namespaceOf(pid, "mnt")]; name != "" {
		return name, true
	}
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
		for _, ns := range []inode{c.pids, c.mounts} {
			if ns != (inode{}) {
				out[ns] = c.name
			}
		}
		c.mu.Unlock()
	}
	return out
}

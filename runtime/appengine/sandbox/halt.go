package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// The signal that stops a container whose configuration names none is SIGPWR,
// and SIGRTMIN+3 for a first process that blocks that: systemd reads its signals
// from a descriptor, and takes this one for a shutdown (do_lxcapi_shutdown in
// lxccontainer.c of LXC, systemd(1)). Other than for LXC, one that handles it
// does not count: the first thread of a Go program may block it as all others.
const (
	haltDefault = syscall.SIGPWR
	haltSystemd = syscall.Signal(34 + 3) // glibc's SIGRTMIN
)

// Halt asks the container to stop.
func (c *Container) Halt() error { return c.Signal(c.haltSignal()) }

func (c *Container) haltSignal() syscall.Signal {
	if c.halt != 0 {
		return c.halt
	}
	if s := signalsOf(c.PID()); s.blocked.has(haltSystemd) && !s.caught.has(haltSystemd) {
		return haltSystemd
	}
	return haltDefault
}

// Deaf tells that Halt can do nothing now: the first process is process 1 of its
// pid namespace and has the signal's default action, which the kernel does not
// carry out for such a process (pid_namespaces(7)). One that handles the signal,
// blocks it and may read it elsewhere, or ignores it on purpose is not deaf.
func (c *Container) Deaf() bool {
	c.mu.Lock()
	own := c.pids != (inode{})
	c.mu.Unlock()
	select {
	case <-c.done:
		return false
	default:
	}
	s, sig := signalsOf(c.PID()), c.haltSignal()
	return own && s.known && !s.caught.has(sig) && !s.blocked.has(sig) && !s.ignored.has(sig)
}

// sigset is a set of signals as the kernel prints it.
type sigset uint64

func (s sigset) has(sig syscall.Signal) bool { return s>>(sig-1)&1 != 0 }

// signals is what a process does with its signals.
type signals struct {
	blocked, ignored, caught sigset
	known                    bool
}

// signalsOf reads them from /proc/PID/status (proc_pid_status(5)); the blocked
// ones are those of the first thread.
func signalsOf(pid int) (s signals) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return s
	}
	found := 0
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		to := map[string]*sigset{"SigBlk": &s.blocked, "SigIgn": &s.ignored, "SigCgt": &s.caught}[string(key)]
		if to == nil {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		if err != nil {
			return signals{}
		}
		*to = sigset(n)
		found++
	}
	s.known = found == 3
	return s
}

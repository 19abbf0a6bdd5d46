package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// The signal that stops a container whose configuration names none is SIGPWR,
// and SIGRTMIN+3 for a first process that blocks that: systemd reads its signals
// from a descriptor, and takes this one for a shutdown (do_lxcapi_shutdown in
// lxccontainer.c of LXC, systemd(1)). LXC looks at the first thread; that of a Go
// program may block all signals, which its other threads take.
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
	if signalsOf(c.PID()).blocked.has(haltSystemd) {
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

// signalsOf reads them from /proc/PID/task/*/status (proc_pid_status(5)). A
// signal that one thread does not block is delivered there, so blocked are those
// that all threads block.
func signalsOf(pid int) (s signals) {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return s
	}
	s.blocked = ^sigset(0)
	for _, thread := range threads {
		text, err := os.ReadFile(filepath.Join(tasks, thread.Name(), "status"))
		if err != nil {
			continue // it has ended
		}
		one, ok := parseSignals(text)
		if !ok {
			return signals{}
		}
		s = signals{blocked: s.blocked & one.blocked, ignored: one.ignored, caught: one.caught, known: true}
	}
	if !s.known {
		return signals{}
	}
	return s
}

func parseSignals(status []byte) (s signals, ok bool) {
	found := 0
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		to := map[string]*sigset{"SigBlk": &s.blocked, "SigIgn": &s.ignored, "SigCgt": &s.caught}[string(key)]
		if to == nil {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		if err != nil {
			return s, false
		}
		*to = sigset(n)
		found++
	}
	return s, found == 3
}

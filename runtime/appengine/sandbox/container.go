package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/cgroup"
)

// Container is a running one, or one that has run. Its methods may be called by
// several goroutines at once.
type Container struct {
	name    string
	host    *Host
	log     *slog.Logger
	group   *cgroup.Group
	process *os.Process
	halt    syscall.Signal // of lxc.signal.halt, 0 without
	stop    syscall.Signal
	console console
	exports []string // where they are; the starter's, then that of reap

	mu   sync.Mutex // guards what follows
	ttys []*os.File
	// Its namespaces; pids is zero when it has the host's.
	pids, mounts inode

	settled chan struct{} // closed when the start has ended, well or not
	exit    Exit
	done    chan struct{} // closed when all of it is gone; exit is set then
}

// Exit is how a container's first process ended. One that powers off or reboots
// the container with reboot(2) ends with SIGINT or SIGHUP.
type Exit struct {
	Code   int            // its exit status, -1 if a signal ended it
	Signal syscall.Signal // the signal, 0 if it exited
}

func (e Exit) String() string {
	if e.Signal != 0 {
		return "killed by " + unix.SignalName(e.Signal)
	}
	return "exit status " + strconv.Itoa(e.Code)
}

// Name is the container's.
func (c *Container) Name() string { return c.name }

// PID is that of the container's first process, as the host numbers it. It
// stays the same when the process has ended.
func (c *Container) PID() int { return c.process.Pid }

// Done is closed when the container has ended and nothing of it is left: no
// process, no group, and all its output is with the console's writer.
func (c *Container) Done() <-chan struct{} { return c.done }

// Wait waits for Done and returns how the first process ended. The error is
// the context's.
func (c *Container) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-c.done:
		return c.exit, nil
	case <-ctx.Done():
		return Exit{}, context.Cause(ctx)
	}
}

// Signal sends a signal to the first process. A container that has ended gives
// os.ErrProcessDone. As process 1 of its namespace it only gets signals that it
// handles, except for SIGKILL and SIGSTOP (pid_namespaces(7)).
func (c *Container) Signal(s syscall.Signal) error {
	if err := c.process.Signal(s); err != nil {
		return fmt.Errorf("send %s to container %s: %w", unix.SignalName(s), c.name, err)
	}
	return nil
}

// Kill ends all processes of the container and waits until it is gone.
func (c *Container) Kill(ctx context.Context) error {
	if c.stop != syscall.SIGKILL {
		c.Signal(c.stop)
	}
	if err := c.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill container %s: %w", c.name, err)
	}
	if err := c.group.Kill(ctx); err != nil {
		return fmt.Errorf("kill container %s: %w", c.name, err)
	}
	if _, err := c.Wait(ctx); err != nil {
		return fmt.Errorf("kill container %s: wait for its end: %w", c.name, err)
	}
	return nil
}

// Stop is Halt, a time of grace, and Kill.
func (c *Container) Stop(ctx context.Context, grace time.Duration) error {
	if err := c.Halt(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-c.done:
		return nil
	case <-t.C:
	case <-ctx.Done():
	}
	return c.Kill(ctx)
}

// Close ends the container if it still runs. It may be called twice.
func (c *Container) Close(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	default:
		return c.Kill(ctx)
	}
}

// PIDs are the processes of the container as the host numbers them: those of its
// group, or without groups those in its mount namespace.
func (c *Container) PIDs() []int {
	if c.host.groups.Usable() {
		return c.group.PIDs()
	}
	return c.strays()
}

// reap waits for the first process, ends what it has left, and takes the group
// away.
func (c *Container) reap() {
	state, err := c.process.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	if err != nil {
		c.exit = Exit{Code: -1}
		c.log.Error("wait for the first process", "error", err)
	} else {
		c.exit = exitOf(state)
	}
	if !c.host.groups.Usable() {
		c.killStrays(ctx)
	}
	if err := c.group.Close(ctx); err != nil {
		c.log.Error("the container's cgroup stays", "error", err)
	}
	<-c.settled
	c.console.finish()
	if err := c.hide(); err != nil {
		c.log.Error("an export stays", "error", err)
	}
	c.mu.Lock()
	ttys := c.ttys
	c.ttys = nil
	c.mu.Unlock()
	for _, f := range ttys {
		f.Close()
	}
	c.host.dismiss(c)
	close(c.done)
}

// keep holds the other ends of tty1 and so on: without, opening them fails.
func (c *Container) keep(files []*os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ttys = append(c.ttys, files...)
}

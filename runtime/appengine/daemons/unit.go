package daemons

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// unit is a daemon and its state:
//
//	         start            ends, respawn
//	idle ─────────────▶ runs ───────────────▶ waits ──▶ runs …
//	 ▲                   │ stop: SIGTERM         │ stop
//	 └───── ends ────────┴───────────────────────┘
//
// The pid is 0 before the first start and while it waits, and -1 after an end
// that was asked for.
type unit struct {
	Daemon
	opts *Options
	wake chan struct{} // do has changed something

	mu      sync.Mutex // guards what follows
	pid     int
	respawn bool
	asked   bool // to stop, since it was started
	ran     bool
}

func (u *unit) show() pvctrl.Daemon {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.shown()
}

// shown needs the lock.
func (u *unit) shown() pvctrl.Daemon {
	return pvctrl.Daemon{Name: u.Name, PID: u.pid, Respawn: u.respawn}
}

// change does what f does and tells of it.
func (u *unit) change(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.shown()
	f()
	if now := u.shown(); now != before {
		u.opts.Changed(now)
	}
}

func (u *unit) do(action string) {
	switch action {
	case "stop":
		u.change(func() {
			u.respawn = false
			if u.asked = u.pid > 0; !u.asked && u.ran {
				u.pid = -1 // it waited to be started again
			}
		})
	case "start":
		u.change(func() {
			u.respawn = true
			u.pid = max(u.pid, 0)
		})
	default:
		return
	}
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// wanted says whether the daemon is to run, and whether the one that runs was
// asked to stop.
func (u *unit) wanted() (run, asked bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.respawn, u.asked
}

// run holds the daemon until ctx is done.
func (u *unit) run(ctx context.Context) {
	// Pdeathsig fires when the thread that forked ends, not the process: the
	// thread stays with this goroutine for as long as the daemon may run.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restarts := 0
	for ctx.Err() == nil {
		if on, _ := u.wanted(); !on {
			select {
			case <-ctx.Done():
			case <-u.wake:
				restarts = 0
			}
			continue
		}
		began := time.Now()
		asked, err := u.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
			// What is not installed is not tried again before a start is asked for.
			u.opts.Log.Warn("daemon is not installed: it is not started", "daemon", u.Name, "error", err)
			u.change(func() { u.pid, u.respawn = 0, false })
			continue
		case asked:
			restarts = 0
			continue // stopped, or asked to start again meanwhile
		}
		if time.Since(began) >= u.opts.Stable {
			restarts = 0
		}
		restarts++
		pause := u.opts.Backoff(restarts)
		u.opts.Log.Warn("daemon ended: it starts again", "daemon", u.Name, "how", fmt.Sprint(err), "in", pause)
		u.pause(ctx, pause)
	}
}

// pause waits until the time is over, or do changes something.
func (u *unit) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-u.wake:
	}
}

// once runs the program to its end. The error says how it ended; asked says
// that somebody wanted it to.
func (u *unit) once(ctx context.Context) (asked bool, err error) {
	p, err := u.start()
	if err != nil {
		return false, err
	}
	u.change(func() {
		u.pid, u.ran = p.cmd.Process.Pid, true
		u.asked = !u.respawn // a stop came between the look and the start
	})
	u.opts.Log.Info("daemon started", "daemon", u.Name, "pid", p.cmd.Process.Pid)

	err = u.watch(ctx, p)

	u.change(func() {
		u.pid = 0
		if !u.respawn || ctx.Err() != nil {
			u.pid = -1
		}
		asked = u.asked
	})
	return asked, err
}

// watch waits for the end of the process and passes on the wish that it end.
func (u *unit) watch(ctx context.Context, p *process) error {
	ended := make(chan error, 1)
	go func() { ended <- p.wait() }()
	var force <-chan time.Time
	term := func() {
		if force == nil {
			p.signal(unix.SIGTERM)
			force = time.After(u.opts.Grace)
		}
	}
	done := ctx.Done()
	if _, asked := u.wanted(); asked {
		term()
	}
	for {
		select {
		case err := <-ended:
			return err
		case <-done:
			done = nil
			term()
		case <-u.wake:
			if _, asked := u.wanted(); asked {
				term()
			}
		case <-force:
			u.opts.Log.Warn("daemon did not end in time: killed", "daemon", u.Name, "grace", u.opts.Grace)
			p.signal(unix.SIGKILL)
		}
	}
}

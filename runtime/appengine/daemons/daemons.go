// Package daemons supervises the helper programs of the runtime: it starts
// them, logs what they print, starts them again when they end, and stops them.
// Supervisor.List and Supervisor.Do are what GET and PUT /daemons show and do.
//
// The table and the answers are those of pantavisor's daemons.c and
// ctrl_daemons_ep.c. Two habits of the original are not copied: a started
// daemon runs at once instead of after a placeholder of 5 seconds, and the
// delay before a restart grows for a daemon that keeps ending.
package daemons

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// ErrNotFound is what Do answers for a name that is not in the table.
var ErrNotFound = errors.New("daemon not found")

// Daemon is a row of the table.
type Daemon struct {
	Name string
	Path string // the program; without a slash it is looked for in PATH; "" is not installed
	Args []string
	Env  []string // nil means that of this process
	Dir  string
	// Listed daemons are shown and never started: they belong to another mode
	// of the runtime.
	Listed bool
}

// Hwrngd is the row of the random number daemon, which the appengine lists and
// does not run.
func Hwrngd() Daemon {
	return Daemon{Name: "hwrngd", Path: "/usr/bin/rngd", Args: []string{"-f"}, Listed: true}
}

// Options adjusts a Supervisor. The zero value works.
type Options struct {
	Log *slog.Logger // nil drops the messages
	// Output gives the writers of a daemon's standard output and standard
	// error. Nil drops both. A writer must not block for long.
	Output func(name string) (stdout, stderr io.Writer)
	// Backoff is the pause before the n-th restart in a row, from 1; a daemon
	// that ran for Stable begins anew. Nil means Backoff.
	Backoff func(n int) time.Duration
	Stable  time.Duration // 0 means a minute
	// Grace is what a daemon gets between SIGTERM and SIGKILL. 0 means 5 s.
	Grace time.Duration
	// Changed is told what List shows of a daemon when it has become different,
	// of each daemon in order. It must return at once and not call the
	// Supervisor. Nil is not told.
	Changed func(pvctrl.Daemon)
}

// Backoff is the usual pause: 1 s at first, twice as long each time, at most
// 30 s.
func Backoff(n int) time.Duration {
	return min(time.Second<<min(max(n-1, 0), 5), 30*time.Second)
}

// Supervisor runs a table of daemons. Its methods may be called from several
// goroutines.
type Supervisor struct {
	opts  Options
	units []*unit
}

// New makes a supervisor of a table. Nothing runs before Run.
func New(table []Daemon, opts Options) *Supervisor {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Output == nil {
		opts.Output = func(string) (io.Writer, io.Writer) { return io.Discard, io.Discard }
	}
	if opts.Backoff == nil {
		opts.Backoff = Backoff
	}
	if opts.Stable == 0 {
		opts.Stable = time.Minute
	}
	if opts.Grace == 0 {
		opts.Grace = 5 * time.Second
	}
	if opts.Changed == nil {
		opts.Changed = func(pvctrl.Daemon) {}
	}
	s := &Supervisor{opts: opts}
	for _, d := range table {
		s.units = append(s.units, &unit{Daemon: d, opts: &s.opts, respawn: true, wake: make(chan struct{}, 1)})
	}
	return s
}

// Run starts the daemons and keeps them running until ctx is done; then it
// ends them, by force after the grace, and returns when none is left.
func (s *Supervisor) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, u := range s.units {
		if !u.Listed {
			wg.Go(func() { u.run(ctx) })
		}
	}
	wg.Wait()
}

// List is the document of GET /daemons, in the order of the table.
func (s *Supervisor) List() []pvctrl.Daemon {
	list := make([]pvctrl.Daemon, len(s.units))
	for i, u := range s.units {
		list[i] = u.show()
	}
	return list
}

// Do is PUT /daemons/{name}: the action "stop" ends a daemon and leaves it
// ended, "start" lets it run again; any other does nothing. Do does not wait.
// A daemon that is asked to start while it still ends starts when it has. The
// error is ErrNotFound.
func (s *Supervisor) Do(name, action string) error {
	for _, u := range s.units {
		if u.Name == name {
			u.do(action)
			return nil
		}
	}
	return fmt.Errorf("%s: %w", name, ErrNotFound)
}

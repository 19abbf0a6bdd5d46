package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Pantavisor is the platform of the runtime itself and of its daemons.
const Pantavisor = "pantavisor"

// Sources whose name is fixed.
const (
	Console = "lxc/console.log" // what a container prints
	LXC     = "lxc/lxc.log"     // what the sandbox says about it
)

const (
	sourceLimit = 256 << 10 // what a source may have waiting
	ownLimit    = 1 << 20   // the same for the runtime's own messages
	tick        = 500 * time.Millisecond
)

// Options are what a Server gets from outside. The zero value works.
type Options struct {
	Stdout io.Writer // for the stdout outputs; nil drops them
	// Note takes what cannot be logged: that logs cannot be written. It must
	// not wait for this server. Nil drops it.
	Note   func(text string)
	Clock  func() time.Time     // nil means time.Now
	Uptime func() time.Duration // nil means the machine's
}

// Server is the log server. Its methods may be called from several goroutines.
type Server struct {
	opts Options
	dir  string
	root *os.Root
	cfg  atomic.Pointer[Config]
	own  *Source // for what the server itself has to say

	wake       chan struct{} // sinks wait in queue
	ended      chan struct{} // closed when Run returns
	stdout     chan struct{} // the stdout sink has something
	stdoutSink *sink

	epoch atomic.Int64 // counts the revisions; changed with mu held

	mu       sync.Mutex // guards what follows
	rev      string
	sinks    map[string]*sink
	update   *sink // nil while no update runs
	queue    []*sink
	sources  map[string]*Source // those that Server.shared made
	perPlat  map[string]int     // how many of them a platform has
	restless map[*Source]struct{}
	flushed  []chan struct{} // callers of Flush

	bad complaints

	store *store // of the goroutine in Run
}

// New makes a server for a log directory, which it makes where it is missing.
// What it takes before Run waits, within its bounds.
func New(dir string, cfg Config, opts Options) (*Server, error) {
	if opts.Note == nil {
		opts.Note = func(string) {}
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Uptime == nil {
		opts.Uptime = uptime
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the log directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the log directory: %w", err)
	}
	s := &Server{
		opts: opts, dir: dir, root: root,
		wake: make(chan struct{}, 1), ended: make(chan struct{}), stdout: make(chan struct{}, 1),
		sinks: map[string]*sink{}, sources: map[string]*Source{}, perPlat: map[string]int{},
		restless: map[*Source]struct{}{},
		bad:      complaints{last: map[string]time.Time{}, more: map[string]int{}},
	}
	s.cfg.Store(&cfg)
	s.stdoutSink = &sink{name: "stdout"}
	s.store = newStore(s)
	s.own = s.Source(Pantavisor, "logserver", Warn)
	return s, nil
}

// uptime is CLOCK_MONOTONIC, which counts from the machine's start.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Config is the configuration in effect.
func (s *Server) Config() Config { return *s.cfg.Load() }

// Configure changes it for what comes from now on.
func (s *Server) Configure(c Config) {
	s.cfg.Store(&c)
	s.poke()
}

// SetRevision says which revision runs: logs go below its name from now on,
// and <dir>/current leads there. Before the first call everything waits.
func (s *Server) SetRevision(rev string) error {
	if !fs.ValidPath(rev) || rev == "." || rev == "current" {
		return fmt.Errorf("log revision %q: not a revision's name", rev)
	}
	if err := s.root.MkdirAll(rev, 0o755); err != nil {
		return fmt.Errorf("make the logs of revision %s: %w", rev, err)
	}
	s.mu.Lock()
	s.rev = rev
	s.epoch.Add(1)
	s.requeue()
	s.mu.Unlock()
	s.poke()
	return s.link(rev)
}

// requeue gives what waited for the first revision a place, and forgets the
// files of the last one: those that still have something to write stay queued.
func (s *Server) requeue() {
	fresh := map[string]*sink{}
	for name, k := range s.sinks {
		if k.rev == "" {
			k.rev = s.rev
			fresh[name] = k
			s.enqueue(k)
		}
	}
	s.sinks = fresh
}

// link replaces the link to the running revision.
func (s *Server) link(rev string) error {
	const tmp = ".current.tmp"
	if err := s.root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link the current logs: %w", err)
	}
	if err := s.root.Symlink(rev, tmp); err != nil {
		return fmt.Errorf("link the current logs: %w", err)
	}
	if err := s.root.Rename(tmp, "current"); err != nil {
		return fmt.Errorf("link the current logs: %w", err)
	}
	return nil
}

// StartUpdate makes messages of the level ERROR and worse go to a file as
// well, until stop is called or another one begins: upstream's is
// trails/<rev>/.pv/logs.tmp. stop returns when the file is complete; the caller
// renames it. Run must be running then.
func (s *Server) StartUpdate(file string) (stop func(context.Context) error) {
	begun := &sink{name: file, abs: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update = begun
	return func(ctx context.Context) error {
		s.mu.Lock()
		if s.update == begun {
			s.update = nil
		}
		s.mu.Unlock()
		return s.Flush(ctx)
	}
}

// Flush returns when everything that was logged before the call is in its
// file, or cannot be written. Before Run it waits for Run.
func (s *Server) Flush(ctx context.Context) error {
	done := make(chan struct{})
	s.mu.Lock()
	s.flushed = append(s.flushed, done)
	s.mu.Unlock()
	s.poke()
	select {
	case <-done:
		return nil
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poke wakes Run.
func (s *Server) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// enqueue puts a sink in the queue. The caller holds s.mu.
func (s *Server) enqueue(k *sink) {
	if !k.queued && k.placed() {
		k.queued = true
		s.queue = append(s.queue, k)
	}
}

// sink finds or makes the file of a name below the running revision.
func (s *Server) sink(name string) (*sink, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.sinks[name]
	if !ok {
		k = &sink{name: name, rev: s.rev}
		s.sinks[name] = k
	}
	return k, s.epoch.Load()
}

// updating is the file of the update that runs.
func (s *Server) updating() *sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.update
}

// append adds to a sink and wakes who writes it.
func (s *Server) append(k *sink, src *Source, add func([]byte) []byte) {
	if !k.append(src, add) {
		return // it is queued already
	}
	if k == s.stdoutSink {
		select {
		case s.stdout <- struct{}{}:
		default:
		}
		return
	}
	s.mu.Lock()
	s.enqueue(k)
	s.mu.Unlock()
	s.poke()
}

// Run writes until ctx is done and then what is left. It returns nil then, and
// the log directory is closed. It is called once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.ended)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	out := make(chan struct{})
	go func() { defer close(out); s.runStdout(stop) }()
	wg.Go(func() { s.store.compress(stop) })
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for ctx.Err() == nil {
		again := s.round(false)
		if again {
			timer.Reset(tick)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
	}
	s.round(true)
	close(stop)
	wg.Wait()
	// A standard output that nobody reads does not hold the program.
	select {
	case <-out:
	case <-time.After(time.Second):
	}
	s.store.close()
	return s.root.Close()
}

// round writes what is queued. It reports whether something wants another
// round without being woken. last ends the unfinished lines as well.
func (s *Server) round(last bool) bool {
	s.settle(last)
	s.mu.Lock()
	waiting := s.flushed
	s.flushed = nil
	s.mu.Unlock()
	if waiting != nil {
		s.settle(true)
	}
	blocked := s.drain()
	for _, done := range waiting {
		close(done)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return blocked || len(s.restless) > 0 || s.store.busy()
}

// drain writes the queued sinks until none is left. It reports whether one
// could not be written.
func (s *Server) drain() (blocked bool) {
	var again []*sink
	for {
		s.mu.Lock()
		batch := s.queue
		s.queue = nil
		rev := s.rev
		for _, k := range batch {
			k.queued = false
		}
		s.mu.Unlock()
		if batch == nil {
			break
		}
		for _, k := range batch {
			if !s.store.write(k, k.abs || k.rev == rev) {
				again = append(again, k)
			}
		}
		s.store.tidy(rev)
	}
	if again == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range again {
		s.enqueue(k)
	}
	return true
}

// settle ends lines that have waited long enough for their end, and tells of
// what was dropped.
func (s *Server) settle(all bool) {
	s.mu.Lock()
	var list []*Source
	for src := range s.restless {
		list = append(list, src)
	}
	s.mu.Unlock()
	for _, src := range list {
		lost, rest := src.settle(all)
		if lost > 0 {
			s.own.Logf(Warn, "dropped %d bytes of %s: they came faster than they could be written", lost, path.Join(src.platform, src.name))
		}
		if !rest {
			s.mu.Lock()
			delete(s.restless, src)
			s.mu.Unlock()
		}
	}
}

// rests notes that a source wants to be looked at.
func (s *Server) rests(src *Source) {
	s.mu.Lock()
	_, known := s.restless[src]
	s.restless[src] = struct{}{}
	s.mu.Unlock()
	if !known {
		s.poke()
	}
}

// runStdout writes the stdout sink, apart from the files: a terminal that is
// stopped does not stop them.
func (s *Server) runStdout(stop <-chan struct{}) {
	for {
		for {
			b, owed := s.stdoutSink.take()
			if len(b) == 0 {
				s.stdoutSink.recycle(b)
				break
			}
			if s.opts.Stdout != nil {
				_, _ = s.opts.Stdout.Write(b) // there is nobody to tell
			}
			s.stdoutSink.recycle(b)
			credit(owed, int64(len(b)))
		}
		select {
		case <-s.stdout:
		case <-stop:
			select {
			case <-s.stdout:
				continue
			default:
				return
			}
		}
	}
}

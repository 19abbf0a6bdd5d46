package ctrl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Options is what a server needs. The zero value of a limit is its default.
type Options struct {
	Backend Backend
	Owner   Owner
	Events  *Events      // nil: the server makes one that nobody publishes to
	Log     *slog.Logger // nil: silent

	// IdleTime is how long a connection may be kept without a request
	// (default 5 minutes), HeadTime how long a request's head may take to
	// arrive (30 s), PaceTime how long a body or a reply may stand still
	// (30 s): in the long run both must move 1 KiB a second.
	IdleTime, HeadTime, PaceTime time.Duration
	// HeartBeat is the time between two signs of life of an event stream
	// (15 s), MaxWait the longest time that a request for the graph is held
	// (10 minutes).
	HeartBeat, MaxWait time.Duration
	// StopTime is how long requests in progress may take after the server was
	// told to stop (3 s).
	StopTime time.Duration
	// MaxConns limits the connections at a time (8192, and a quarter of the
	// descriptors that the process may open), MaxPerContainer those of one
	// container (1/4 of MaxConns), so that none of them can keep the others
	// out; all containers together have three quarters, so that they cannot
	// keep the host out. One more is answered with 503.
	MaxConns, MaxPerContainer int
}

// Server answers requests. Make it with [New].
type Server struct {
	o      Options
	routes *router
	events *Events
	states chan struct{} // a place for each state that is held in memory

	mu    sync.Mutex // guards what follows
	conns map[*conn]struct{}
	count map[string]int // of connections, by caller
}

// New checks the options.
func New(o Options) (*Server, error) {
	b := o.Backend
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Containers", b.Containers == nil}, {"Groups", b.Groups == nil}, {"Signals", b.Signals == nil},
		{"Objects", b.Objects == nil}, {"Steps", b.Steps == nil}, {"UserMeta", b.UserMeta == nil},
		{"DeviceMeta", b.DeviceMeta == nil}, {"Drivers", b.Drivers == nil}, {"Commands", b.Commands == nil},
		{"Settings", b.Settings == nil}, {"Graph", b.Graph == nil}, {"Daemons", b.Daemons == nil},
		{"GC", b.GC == nil}, {"BuildInfo", b.BuildInfo == nil}, {"Wakelocks", b.Wakelocks == nil},
		{"Owner", o.Owner == nil},
	} {
		if part.missing {
			return nil, fmt.Errorf("make a pv-ctrl server: nobody answers for %s", part.name)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Events == nil {
		o.Events = NewEvents()
	}
	for _, d := range []struct {
		d    *time.Duration
		then time.Duration
	}{
		{&o.IdleTime, 5 * time.Minute}, {&o.HeadTime, 30 * time.Second}, {&o.PaceTime, 30 * time.Second},
		{&o.HeartBeat, 15 * time.Second}, {&o.MaxWait, 10 * time.Minute}, {&o.StopTime, 3 * time.Second},
	} {
		if *d.d <= 0 {
			*d.d = d.then
		}
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 8192
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		// A connection has two descriptors, and may open a third.
		o.MaxConns = int(min(uint64(o.MaxConns), max(files.Cur/4, 1)))
	}
	if o.MaxPerContainer <= 0 {
		o.MaxPerContainer = max(o.MaxConns/4, 1)
	}
	return &Server{
		o: o, routes: newRouter(Routes()), events: o.Events,
		states: make(chan struct{}, maxStates),
		conns:  map[*conn]struct{}{}, count: map[string]int{},
	}, nil
}

// Serve answers the connections of a listener on a unix socket until ctx ends;
// then it closes the listener, lets requests in progress end for a short time,
// and returns nil when all is closed. It may be called for several listeners.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	stopped := make(chan struct{})
	go func() {
		<-ctx.Done()
		l.Close()
		s.stop(ctx)
		close(stopped)
	}()
	err := s.accept(ctx, l, &wg)
	cancel()
	<-stopped
	kill := time.AfterFunc(s.o.StopTime, func() { s.kill(ctx) })
	wg.Wait()
	kill.Stop()
	return err
}

func (s *Server) accept(ctx context.Context, l net.Listener, wg *sync.WaitGroup) error {
	for pause := time.Duration(0); ; {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) && !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.ENOBUFS) {
				return fmt.Errorf("accept a connection: %w", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.o.Log.Warn("no connection can be accepted now", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		u, ok := c.(*net.UnixConn)
		if !ok {
			c.Close()
			return fmt.Errorf("accept a connection: it is a %T, not a unix socket's", c)
		}
		wg.Go(func() { s.converse(ctx, u) })
	}
}

// converse owns a connection until its end.
func (s *Server) converse(ctx context.Context, u *net.UnixConn) {
	p := identify(u, s.o.Owner)
	defer p.close()
	c := newConn(s, ctx, u, p)
	defer u.Close()
	switch s.admit(c) {
	case stopping:
		return
	case full:
		s.o.Log.Warn("too many connections", "caller", p.name)
		c.write([]byte("HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: " + typeJSON +
			"\r\n\r\n{\"Error\":\"Too many connections. Try again\"}"))
	case admitted:
		defer s.leave(c)
		for c.next() {
		}
	}
}

// place is whether there is one for a connection.
type place int

const (
	admitted place = iota
	full
	stopping
)

// admit counts a connection in. The host may take all places. One that comes
// when the server stops is not let in: [Server.stop] has been through.
func (s *Server) admit(c *conn) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := c.peer.name
	switch {
	case c.ctx.Err() != nil:
		return stopping
	case len(s.conns) >= s.o.MaxConns:
		return full
	case name == pvctrl.HostName:
	case s.count[name] >= s.o.MaxPerContainer, len(s.conns)-s.count[pvctrl.HostName] >= max(s.o.MaxConns*3/4, 1):
		return full
	}
	s.conns[c] = struct{}{}
	s.count[name]++
	return admitted
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.count[c.peer.name]--; s.count[c.peer.name] == 0 {
		delete(s.count, c.peer.name)
	}
}

// stop ends the connections of a listener that wait for a request.
func (s *Server) stop(ctx context.Context) { s.each(ctx, (*conn).stop) }

// kill ends them all.
func (s *Server) kill(ctx context.Context) { s.each(ctx, func(c *conn) { c.nc.Close() }) }

func (s *Server) each(ctx context.Context, f func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.ctx == ctx {
			f(c)
		}
	}
}

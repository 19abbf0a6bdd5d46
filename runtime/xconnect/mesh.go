package xconnect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Config says what a Mesh works with.
type Config struct {
	Plugins  []Plugin
	Injector Injector
	Log      *slog.Logger   // nil: nothing is logged
	Drain    time.Duration  // how long connections may go on when the mesh stops
	MaxConns int            // connections at once on a link; 0 means 1024
	Jitter   func() float64 // in [0, 1); nil means random
}

// Mesh keeps the links of a graph. Each link is in one of five states:
//
//	          pid known            Ready
//	Waiting ───────────▶ Starting ───────▶ Up
//	   ▲                  ▲    │ error      │ error
//	   │ a peer has ended │    ▼            ▼
//	   └──────────────────┴─ Failed ◀───────┘       Refused: until the graph
//	                       after a pause            changes the link
//
// From every state a link ends when the graph drops it, and starts anew when
// the graph changes it.
type Mesh struct {
	cfg     Config
	plugins map[string]Plugin
	wanted  chan struct{} // a peer has ended: the graph has probably changed

	mu     sync.Mutex // guards what follows and the states in entries
	links  map[Key]*entry
	ending map[Key]*entry // revoked or replaced, not yet back from Run
	stop   bool
}

// State is where a link is.
type State string

// The states of a link.
const (
	Waiting  State = "waiting"  // a peer is not running
	Starting State = "starting" // the plugin works on it
	Up       State = "up"       // consumers can use it
	Failed   State = "failed"   // it will be tried again
	Refused  State = "refused"  // it will not, as it is
)

// ErrDisplaced is the cause of a context that ends because something that the
// link has made is no longer where it was put.
var ErrDisplaced = errors.New("it is no longer where it was put")

// ErrRevoked is the cause of a context that ends because the graph has dropped
// or changed the link.
var ErrRevoked = errors.New("the link is no longer in the graph")

type entry struct {
	link    Link
	stats   *Stats
	cancel  context.CancelCauseFunc
	done    chan struct{}
	settled chan struct{} // closed once the first attempt has come to something
	state   State
	since   time.Time
	reason  string
	tries   int
	minded  *minded // while an attempt runs; guarded by Mesh.mu
}

// NewMesh makes a mesh without links.
func NewMesh(cfg Config) *Mesh {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 1024)
	m := &Mesh{
		cfg:     cfg,
		plugins: map[string]Plugin{},
		wanted:  make(chan struct{}, 1),
		links:   map[Key]*entry{},
		ending:  map[Key]*entry{},
	}
	for _, p := range cfg.Plugins {
		m.plugins[p.Type()] = p
	}
	return m
}

// Apply makes the graph's links the mesh's links. It does not wait for them.
func (m *Mesh) Apply(graph []Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop {
		return
	}
	have := make(map[Key]Link, len(m.links))
	for k, e := range m.links {
		have[k] = e.link
	}
	c := Diff(have, graph)
	if len(c.Add)+len(c.Restart)+len(c.Remove) > 0 || len(graph) == 0 {
		m.cfg.Log.Info(fmt.Sprintf("Reconciling graph with %d links", len(graph)))
	} else {
		m.cfg.Log.Debug(fmt.Sprintf("Reconciling graph with %d links", len(graph)))
	}
	for _, k := range c.Remove {
		m.cfg.Log.Info("Removing link: "+k.String(), "target", k.Target)
		m.end(k)
	}
	for _, l := range c.Restart {
		old := m.links[l.Key()].link
		m.cfg.Log.Info(fmt.Sprintf("Re-establishing link %s (target %s) after restart (consumer pid %d->%d, provider pid %d->%d)",
			l.Key(), l.Target, old.Consumer.PID, l.Consumer.PID, old.Provider.PID, l.Provider.PID))
		m.begin(l, m.end(l.Key()))
	}
	for _, l := range c.Add {
		m.begin(l, m.ending[l.Key()])
	}
	for _, l := range c.Doubled {
		m.cfg.Log.Debug("Two links with one key: the first stands", "link", l.Key().String(), "target", l.Target, "provider", l.Provider.Name)
	}
}

// end revokes a link and returns it. The caller holds mu.
func (m *Mesh) end(k Key) *entry {
	e := m.links[k]
	delete(m.links, k)
	m.ending[k] = e
	e.cancel(ErrRevoked)
	return e
}

// begin starts a link, after the one before it with its key, which may be nil,
// has left the place. The caller holds mu.
func (m *Mesh) begin(l Link, before *entry) {
	ctx, cancel := context.WithCancelCause(context.Background())
	e := &entry{
		link: l, cancel: cancel, done: make(chan struct{}), settled: make(chan struct{}),
		stats: new(Stats), state: Starting, since: time.Now(),
	}
	if before != nil {
		e.stats = before.stats
	}
	m.links[l.Key()] = e
	m.cfg.Log.Info(fmt.Sprintf("Adding link: %s (pid=%d, %s) -> %s (inject to: %s)",
		l.Consumer.Name, l.Consumer.PID, l.Type, l.Socket, l.Target))
	go func() {
		defer m.ended(e)
		if before != nil {
			<-before.done
		}
		m.keep(ctx, e)
	}()
}

func (m *Mesh) ended(e *entry) {
	e.cancel(nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ending[e.link.Key()] == e {
		delete(m.ending, e.link.Key())
	}
	e.settle()
	close(e.done)
}

// keep holds a link up until ctx is done.
func (m *Mesh) keep(ctx context.Context, e *entry) {
	log := m.cfg.Log.With("link", e.link.Key().String(), "target", e.link.Target, "type", e.link.Type)
	plugin := m.plugins[e.link.Type]
	if plugin == nil {
		log.Warn("No plugin found for type " + e.link.Type)
		m.set(e, Refused, "no plugin for type "+e.link.Type)
		<-ctx.Done()
		return
	}
	for n := 0; ; n++ {
		if !e.link.Consumer.Known() || !e.link.Provider.Known() {
			log.Info("Link waits for its containers", "consumer_pid", e.link.Consumer.PID, "provider_pid", e.link.Provider.PID)
			m.set(e, Waiting, "a container is not running")
			<-ctx.Done()
			return
		}
		m.set(e, Starting, "")
		up, err := m.attempt(ctx, e, plugin, log)
		if ctx.Err() != nil {
			if err != nil {
				log.Warn("Link did not end cleanly", "err", err)
			}
			return
		}
		if up > longPause {
			n = 0
		}
		pause := Backoff(n, m.cfg.Jitter())
		switch {
		case errors.Is(err, ErrPermanent):
			log.Error("Failed to add link for "+e.link.Name, "err", err)
			m.set(e, Refused, err.Error())
			<-ctx.Done()
			return
		case errors.Is(err, ErrDisplaced):
			e.stats.Fail(err)
			log.Warn("Link is made again", "reason", err)
			m.set(e, Failed, err.Error())
		case errors.Is(err, ErrPeerGone):
			log.Info("Link waits for its containers", "reason", err)
			m.set(e, Waiting, err.Error())
			m.want()
		default:
			e.stats.Fail(err)
			log.Warn("Failed to add link for "+e.link.Name, "err", err, "retry", pause)
			m.set(e, Failed, err.Error())
		}
		if !Sleep(ctx, pause) {
			return
		}
	}
}

// attempt runs the plugin once and returns how long the link was up.
func (m *Mesh) attempt(ctx context.Context, e *entry, plugin Plugin, log *slog.Logger) (up time.Duration, err error) {
	consumer, err := m.cfg.Injector.Enter(ctx, e.link.Consumer)
	if err != nil {
		return 0, err
	}
	defer consumer.Close()
	provider, err := m.cfg.Injector.Enter(ctx, e.link.Provider)
	if err != nil {
		return 0, err
	}
	defer provider.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer watchPeers(cancel, e.link, consumer, provider)()
	defer m.mind(e, consumer, cancel)()
	var since time.Time
	env := Env{
		Consumer: consumer, Provider: provider, Log: log, Stats: e.stats,
		Drain: m.cfg.Drain, MaxConns: m.cfg.MaxConns,
		Ready: sync.OnceFunc(func() {
			since = time.Now()
			m.set(e, Up, "")
			log.Info("Link established: "+e.link.Key().String(), "consumer_pid", e.link.Consumer.PID, "provider_pid", e.link.Provider.PID)
		}),
	}
	err = plugin.Run(ctx, e.link, env)
	if !since.IsZero() {
		up = time.Since(since)
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrPeerGone) || errors.Is(cause, ErrDisplaced) {
		return up, cause
	}
	if err == nil && ctx.Err() == nil {
		err = errors.New("the plugin gave up without saying why")
	}
	return up, err
}

// watchPeers ends a link when one of its peers does.
func watchPeers(cancel context.CancelCauseFunc, l Link, consumer, provider Root) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		p := l.Consumer
		select {
		case <-consumer.Gone():
		case <-provider.Gone():
			p = l.Provider
		case <-over:
			return
		}
		cancel(fmt.Errorf("%s (pid %d): %w", p.Name, p.PID, ErrPeerGone))
	}()
	return func() { close(over); <-done }
}

func (m *Mesh) set(e *entry, s State, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == Starting {
		e.tries++
	} else {
		e.settle()
	}
	if e.state != s {
		e.state, e.since = s, time.Now()
	}
	if s != Starting { // while it is tried again, the last reason stays of interest
		e.reason = reason
	}
}

// settle is called with mu held.
func (e *entry) settle() {
	select {
	case <-e.settled:
	default:
		close(e.settled)
	}
}

func (m *Mesh) want() {
	select {
	case m.wanted <- struct{}{}:
	default:
	}
}

// Stop ends every link and waits for them; connections get the drain time. The
// mesh takes no graph after it.
func (m *Mesh) Stop() {
	m.mu.Lock()
	m.stop = true
	var all []*entry
	for _, e := range m.links {
		e.cancel(ErrStopping)
		all = append(all, e)
	}
	for _, e := range m.ending {
		all = append(all, e)
	}
	m.mu.Unlock()
	for _, e := range all {
		<-e.done
	}
}

// Settle waits until every link has come up, failed once or found that it must
// wait.
func (m *Mesh) Settle(ctx context.Context) error {
	m.mu.Lock()
	var all []*entry
	for _, e := range m.links {
		all = append(all, e)
	}
	m.mu.Unlock()
	for _, e := range all {
		select {
		case <-e.settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Status is a link as the status page shows it.
type Status struct {
	Consumer    string    `json:"consumer"`
	ConsumerPID int       `json:"consumer_pid"`
	Provider    string    `json:"provider"`
	ProviderPID int       `json:"provider_pid"`
	Name        string    `json:"name"`
	Type        string    `json:"type"`
	Role        string    `json:"role"`
	Target      string    `json:"target"`
	Socket      string    `json:"socket"`
	State       State     `json:"state"`
	Since       time.Time `json:"since"`
	Attempts    int       `json:"attempts"`
	Reason      string    `json:"reason,omitempty"`
	Counters
}

// Status returns every link, sorted by consumer, name and target.
func (m *Mesh) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.links))
	for _, e := range m.links {
		l := e.link
		all = append(all, Status{
			l.Consumer.Name, l.Consumer.PID, l.Provider.Name, l.Provider.PID,
			l.Name, l.Type, l.Role, l.Target, l.Socket,
			e.state, e.since, e.tries, e.reason, e.stats.Read(),
		})
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Target, b.Target))
	})
	return all
}

package xconnect_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

// world is an injector whose containers are numbers, and a plugin that notes
// which links run.
type world struct {
	mu      sync.Mutex
	gone    map[int]chan struct{}
	running map[string]int // "consumer/name/target consumer-pid provider-pid"
	events  []string
	fail    map[string]error // by name: what Run returns at once
	entered int
}

func newWorld(pids ...int) *world {
	w := &world{gone: map[int]chan struct{}{}, running: map[string]int{}, fail: map[string]error{}}
	for _, p := range pids {
		w.gone[p] = make(chan struct{})
	}
	return w
}

func (w *world) kill(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.gone[pid])
	delete(w.gone, pid)
}

func (w *world) Enter(_ context.Context, p xconnect.Peer) (xconnect.Root, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.gone[p.PID]
	if g == nil {
		return nil, fmt.Errorf("enter %s: %w", p.Name, xconnect.ErrPeerGone)
	}
	w.entered++
	return &fakeRoot{w, g}, nil
}

type fakeRoot struct {
	w    *world
	gone chan struct{}
}

func (r *fakeRoot) Gone() <-chan struct{} { return r.gone }
func (r *fakeRoot) Close() error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.entered--
	return nil
}

var errFake = errors.New("the fake root has no files")

func (*fakeRoot) Listen(context.Context, string, string, fs.FileMode) (net.Listener, error) {
	return nil, errFake
}
func (*fakeRoot) ListenPacket(context.Context, string, fs.FileMode) (*net.UnixConn, func() error, error) {
	return nil, nil, errFake
}
func (*fakeRoot) Dial(context.Context, string, string) (*net.UnixConn, error) { return nil, errFake }
func (*fakeRoot) DialAs(context.Context, string, string, xconnect.Cred) (*net.UnixConn, error) {
	return nil, errFake
}
func (*fakeRoot) ReadFile(context.Context, string, int64) ([]byte, error) { return nil, errFake }
func (*fakeRoot) Node(context.Context, string) (xconnect.Node, error) {
	return xconnect.Node{}, errFake
}
func (*fakeRoot) PutNode(context.Context, xconnect.Node, string) (func() error, error) {
	return nil, errFake
}

func (*world) Type() string { return "fake" }

func (w *world) Run(ctx context.Context, l xconnect.Link, env xconnect.Env) error {
	w.mu.Lock()
	err := w.fail[l.Name]
	w.mu.Unlock()
	if err != nil {
		return err
	}
	k := fmt.Sprintf("%s%s %d %d", l.Key(), l.Target, l.Consumer.PID, l.Provider.PID)
	w.note(1, k, "+")
	env.Ready()
	<-ctx.Done()
	w.note(-1, k, "-")
	return nil
}

func (w *world) note(n int, k, sign string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[k] += n
	if w.running[k] == 0 {
		delete(w.running, k)
	}
	w.events = append(w.events, sign+k)
}

func (w *world) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *world) inside() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.entered
}

func (w *world) now() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for k, n := range w.running {
		all = append(all, fmt.Sprintf("%s x%d", k, n))
	}
	slices.Sort(all)
	return strings.ReplaceAll(strings.Join(all, ", "), " x1", "")
}

func link(name string, cpid, ppid int) xconnect.Link {
	return xconnect.Resolve(pvctrl.Link{Consumer: "c", ConsumerPID: cpid, Provider: "p", ProviderPID: ppid,
		Name: name, Type: "fake", Target: "/t", Socket: "/s"})
}

func newMesh(w *world) *xconnect.Mesh {
	return xconnect.NewMesh(xconnect.Config{Plugins: []xconnect.Plugin{w}, Injector: w, Jitter: func() float64 { return 0 }})
}

func TestReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, 2, 3, 4)
		m := newMesh(w)
		defer m.Stop()
		role := link("a", 3, 2)
		role.Role = "admin"
		for i, step := range []struct {
			graph []xconnect.Link
			want  string
		}{
			{nil, ""},
			{[]xconnect.Link{link("a", 1, 2), link("b", 1, 2)}, "c/a/t 1 2, c/b/t 1 2"},
			{[]xconnect.Link{link("a", 1, 2), link("b", 1, 2)}, "c/a/t 1 2, c/b/t 1 2"},
			{[]xconnect.Link{link("a", 1, 2)}, "c/a/t 1 2"},
			{[]xconnect.Link{link("a", 3, 2)}, "c/a/t 3 2"},                                 // the consumer's new process
			{[]xconnect.Link{link("a", 0, 0)}, "c/a/t 3 2"},                                 // not known: left alone
			{[]xconnect.Link{link("a", -1, 2)}, "c/a/t 3 2"},                                // the same
			{[]xconnect.Link{role}, "c/a/t 3 2"},                                            // another role: made anew
			{[]xconnect.Link{link("a", 3, 2), link("a", 3, 4)}, "c/a/t 3 2"},                // two with one key
			{[]xconnect.Link{link("new", 0, 2), link("a", 3, 2)}, "c/a/t 3 2"},              // one that waits
			{[]xconnect.Link{link("new", 4, 2), link("a", 3, 2)}, "c/a/t 3 2, c/new/t 4 2"}, // and comes
			{nil, ""},
			{[]xconnect.Link{link("a", 1, 2)}, "c/a/t 1 2"},
		} {
			m.Apply(step.graph)
			synctest.Wait()
			if got := w.now(); got != step.want {
				t.Errorf("step %d: running %q, want %q", i, got, step.want)
			}
		}
		if got := strings.Join(w.log()[2:4], " "); got != "-c/b/t 1 2 -c/a/t 1 2" {
			t.Errorf("events %q", w.log())
		}
		// The role's change: the old one ended before the new one began.
		if got := strings.Join(w.log()[5:7], ", "); got != "-c/a/t 3 2, +c/a/t 3 2" {
			t.Errorf("events %q", w.log())
		}
	})
}

func TestBackoff(t *testing.T) {
	for n, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		if got := xconnect.Backoff(n, 0); got != want*time.Millisecond {
			t.Errorf("Backoff(%d, 0) = %v", n, got)
		}
		if got := xconnect.Backoff(n, 1); got != want*time.Millisecond/2 {
			t.Errorf("Backoff(%d, 1) = %v", n, got)
		}
	}
	if got := xconnect.Backoff(math.MaxInt, 5); got != 5*time.Second {
		t.Errorf("Backoff of much = %v", got)
	}
}

func TestFailedLinksAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, 2)
		w.fail["a"] = errors.New("the disk is on fire")
		w.fail["no"] = fmt.Errorf("a tap is no screen: %w", xconnect.ErrPermanent)
		m := newMesh(w)
		defer m.Stop()
		other := link("x", 1, 2)
		other.Type = "input"
		m.Apply([]xconnect.Link{link("a", 1, 2), link("no", 1, 2), other})
		time.Sleep(time.Second) // attempts at 0, 100, 300 and 700 ms
		want := map[string]string{
			"a":  "failed 4 the disk is on fire",
			"no": "refused 1 a tap is no screen: refused",
			"x":  "refused 0 no plugin for type input",
		}
		for _, s := range m.Status() {
			if got := fmt.Sprintf("%s %d %s", s.State, s.Attempts, s.Reason); got != want[s.Name] {
				t.Errorf("%s: %q, want %q", s.Name, got, want[s.Name])
			}
			if s.Name == "a" && (s.Errors != 4 || s.LastError != "the disk is on fire") {
				t.Errorf("counters %+v", s.Counters)
			}
		}
		w.mu.Lock()
		clear(w.fail)
		w.mu.Unlock()
		time.Sleep(time.Second) // the next attempt is at 1500 ms
		if got := w.now(); got != "c/a/t 1 2" {
			t.Errorf("running %q", got)
		}
		// What was refused is tried again when it is another link.
		m.Apply([]xconnect.Link{link("no", 2, 1)})
		synctest.Wait()
		if got := w.now(); got != "c/no/t 2 1" {
			t.Errorf("running %q", got)
		}
	})
}

// script is a source that answers from a list.
type script struct {
	mu      sync.Mutex
	answers []func() (*pvctrl.Reply, error)
	asked   []time.Time
	tags    []string
}

func (s *script) Graph(ctx context.Context, tag string, _ time.Duration) (*pvctrl.Reply, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	s.tags = append(s.tags, tag)
	n := min(len(s.asked), len(s.answers)) - 1
	s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.answers[n]()
}

func graph(links ...pvctrl.Link) func() (*pvctrl.Reply, error) {
	return func() (*pvctrl.Reply, error) { return &pvctrl.Reply{Graph: &pvctrl.Graph{Links: links}}, nil }
}

func raw(cpid, ppid int) pvctrl.Link {
	return pvctrl.Link{Consumer: "c", ConsumerPID: cpid, Provider: "p", ProviderPID: ppid, Name: "a", Type: "fake", Target: "/t", Socket: "/s"}
}

func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(1, 2)
		m := newMesh(w)
		broken := func() (*pvctrl.Reply, error) { return nil, errors.New("no answer") }
		s := &script{answers: []func() (*pvctrl.Reply, error){
			broken, broken, graph(raw(1, 2)), broken, broken, graph(raw(1, 2)),
		}}
		refetch := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { m.Run(ctx, s, 5*time.Second, refetch); close(done) }()
		time.Sleep(time.Second)
		if got := w.now(); got != "c/a/t 1 2" {
			t.Errorf("running %q", got)
		}
		time.Sleep(4400 * time.Millisecond) // two graphs do not arrive
		if got := w.now(); got != "c/a/t 1 2" || len(w.log()) != 1 {
			t.Errorf("after a lost graph: %q, %q", got, w.log())
		}
		time.Sleep(600 * time.Millisecond)
		refetch <- struct{}{} // at 6 s
		synctest.Wait()
		var at []time.Duration
		s.mu.Lock()
		for _, a := range s.asked {
			at = append(at, a.Sub(start))
		}
		s.mu.Unlock()
		want := []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 5300 * time.Millisecond, 5400 * time.Millisecond, 5600 * time.Millisecond, 6 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("asked at %v, want %v", at, want)
		}
		cancel()
		<-done
		if got := w.now(); got != "" || w.inside() != 0 {
			t.Errorf("after the end: running %q, %d entered", got, w.inside())
		}
	})
}

// A container ends: the link stops at once and the graph is asked for soon.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, 2, 7)
		m := newMesh(w)
		var pid atomic.Int64
		pid.Store(2)
		s := &script{answers: []func() (*pvctrl.Reply, error){func() (*pvctrl.Reply, error) { return graph(raw(1, int(pid.Load())))() }}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { m.Run(ctx, s, 5*time.Second, nil); close(done) }()
		time.Sleep(time.Second)
		w.kill(2) // the graph still names it, as the runtime does for a while
		synctest.Wait()
		if got := w.now(); got != "" {
			t.Errorf("running %q", got)
		}
		time.Sleep(100 * time.Millisecond)
		pid.Store(7)
		time.Sleep(100 * time.Millisecond)
		if got := w.now(); got != "c/a/t 1 7" {
			t.Errorf("200 ms after the end: running %q", got)
		}
		cancel()
		<-done
	})
}

// holder is a server that holds requests.
type holder struct {
	mu      sync.Mutex
	version int
	changed chan struct{}
	links   []pvctrl.Link
	asked   int
}

func (h *holder) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func (h *holder) set(links ...pvctrl.Link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links, h.version = links, h.version+1
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *holder) Graph(ctx context.Context, tag string, wait time.Duration) (*pvctrl.Reply, error) {
	h.mu.Lock()
	h.asked++
	same, changed := tag == fmt.Sprint(h.version), h.changed
	h.mu.Unlock()
	if same {
		select {
		case <-changed:
		case <-time.After(wait):
			return &pvctrl.Reply{Tag: tag, Waits: true}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return &pvctrl.Reply{Graph: &pvctrl.Graph{Links: h.links}, Tag: fmt.Sprint(h.version), Waits: tag != ""}, nil
}

func TestServerThatHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, 2)
		m := newMesh(w)
		h := &holder{changed: make(chan struct{})}
		refetch := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { m.Run(ctx, h, 5*time.Second, refetch); close(done) }()
		time.Sleep(2 * time.Minute)
		if n := h.count(); n > 6 {
			t.Errorf("asked %d times in two quiet minutes", n)
		}
		h.set(raw(1, 2))
		time.Sleep(time.Millisecond)
		if got := w.now(); got != "c/a/t 1 2" {
			t.Errorf("1 ms after a change: running %q", got)
		}
		time.Sleep(time.Second)
		before := h.count()
		refetch <- struct{}{} // also while an answer is held
		time.Sleep(time.Second)
		if n := h.count(); n != before+2 { // the whole graph, and the next wait
			t.Errorf("asked %d more times after a request to refetch", n-before)
		}
		cancel()
		<-done
	})
}

func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, 2)
		w.fail["bad"] = errors.New("no")
		m := newMesh(w)
		m.Apply([]xconnect.Link{link("a", 1, 2), link("bad", 1, 2), link("waits", 0, 2), link("waits too", 1, 0)})
		if err := m.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, s := range m.Status() {
			states = append(states, string(s.State))
		}
		if got := strings.Join(states, " "); got != "up failed waiting waiting" {
			t.Errorf("states %q", got)
		}
		m.Stop()
		m.Apply([]xconnect.Link{link("a", 1, 2)})
		if got := w.now(); got != "" {
			t.Errorf("after Stop: running %q", got)
		}
	})
}

func TestTenThousandLinks(t *testing.T) {
	before := runtime.NumGoroutine()
	w := newWorld(1, 2)
	m := newMesh(w)
	var links []xconnect.Link
	for i := range 10_000 {
		links = append(links, link(fmt.Sprint(i), 1, 2))
	}
	start := time.Now()
	m.Apply(links)
	if err := m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := time.Since(start)
	start = time.Now()
	m.Apply(links)
	again := time.Since(start)
	start = time.Now()
	m.Apply(nil)
	m.Stop()
	t.Logf("made in %v, compared in %v, ended in %v", first, again, time.Since(start))
	if w.now() != "" || w.inside() != 0 {
		t.Errorf("left running: %d entered", w.inside())
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // they have nothing left to do but return
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

func TestLogLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		w := newWorld(1, 2, 3)
		m := xconnect.NewMesh(xconnect.Config{Plugins: []xconnect.Plugin{w}, Injector: w, Log: slog.New(slog.NewTextHandler(&text, nil))})
		other := link("x", 1, 2)
		other.Type = "input"
		m.Apply([]xconnect.Link{link("a", 1, 2), other})
		synctest.Wait()
		m.Apply([]xconnect.Link{link("a", 3, 2)})
		synctest.Wait()
		m.Stop()
		for _, want := range []string{
			"Reconciling graph with 2 links",
			"Adding link: c (pid=1, fake) -> /s (inject to: /t)",
			"Link established: c/a",
			"No plugin found for type input",
			"Re-establishing link c/a (target /t) after restart (consumer pid 1->3, provider pid 2->2)",
			"Removing link: c/x",
		} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("no line with %q in\n%s", want, text.String())
			}
		}
	})
}

package appengine_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// What a link may take through the whole runtime: the engine starts a process,
// says so to pv-xconnect, which holds a request for the graph, and that makes
// the link.
const (
	newLinkTime       = 100 * time.Millisecond // from STARTED
	restartedPeerTime = 200 * time.Millisecond // from the provider's listen
)

// linked is an engine with a provider that tells since when it listens, and a
// consumer.
func linked(t testing.TB) *rig {
	t.Helper()
	mesh, err := xconnect()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t,
		actor("provider", does("serve=/run/since.sock", "wait"), app, "services: {exports: [{name: since, type: unix, socket: /run/since.sock}]}"),
		actor("consumer", does("wait"), app, "services: {required: [{name: since, target: /run/svc/since.sock}]}"))
	r.opts.XConnect = []string{mesh}
	r.start().ready()
	since(t, r.alive("consumer"), time.Time{})
	return r
}

// since asks through the link, from the consumer's root, until a provider
// answers that listens after a time, and returns when that was and now is.
func since(t testing.TB, consumer int, after time.Time) (listens, now time.Time) {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/root/run/svc/since.sock", consumer)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		c, err := net.Dial("unix", path)
		if err != nil {
			continue
		}
		c.SetDeadline(end)
		b, err := io.ReadAll(c)
		c.Close()
		ns, perr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if listens := time.Unix(0, ns); err == nil && perr == nil && listens.After(after) {
			return listens, time.Now()
		}
	}
	t.Fatal("nobody answers through the link")
	return
}

// alive is a container's process, once it is known and waits for its signal.
func (r *rig) alive(name string) (pid int) {
	r.t.Helper()
	eventually(r.t, name+" is there", func() bool { pid = r.pid(name); return pid != 0 })
	time.Sleep(20 * time.Millisecond)
	return pid
}

// restart restarts a container and returns the event of its new process.
func (r *rig) restart(name string) appengine.Event {
	r.t.Helper()
	r.alive(name)
	began := time.Now()
	if err := r.ctrl.ContainerAction(r.t.Context(), name, "restart"); err != nil {
		r.t.Fatal(err)
	}
	return r.saw(name+" is started again", func(e appengine.Event) bool {
		return e.Kind == appengine.EventContainer && e.Container == name && e.Status == pvctrl.StatusStarted.String() && e.Time.After(began)
	})
}

// newLink is how long a consumer that has just started has no link.
func newLink(r *rig) time.Duration {
	started := r.restart("consumer")
	_, works := since(r.t, started.PID, time.Time{})
	return works.Sub(started.Time)
}

// restartedPeer is how long a provider that listens again is not reached.
func restartedPeer(r *rig) time.Duration {
	consumer := r.alive("consumer")
	began := time.Now()
	r.restart("provider")
	listens, works := since(r.t, consumer, began)
	return works.Sub(listens)
}

func TestLinksComeAtOnce(t *testing.T) {
	r := linked(t)
	for _, c := range []struct {
		name  string
		once  func(*rig) time.Duration
		limit time.Duration
	}{{"a new link", newLink, newLinkTime}, {"a restarted provider", restartedPeer, restartedPeerTime}} {
		var took []time.Duration
		for range 5 {
			took = append(took, c.once(r))
		}
		slices.Sort(took)
		t.Logf("%s: %v", c.name, took)
		if took[2] > c.limit { // others use the machine too: the median counts
			t.Errorf("%s took %v", c.name, took)
		}
	}
}

// BenchmarkNewLink is from a consumer's STARTED to its first answer from the
// provider.
func BenchmarkNewLink(b *testing.B) { rounds(b, newLink) }

// BenchmarkRestartedPeer is from the listen of a provider that was restarted to
// its first answer to the consumer.
func BenchmarkRestartedPeer(b *testing.B) { rounds(b, restartedPeer) }

func rounds(b *testing.B, once func(*rig) time.Duration) {
	r := linked(b)
	var took []time.Duration
	for b.Loop() {
		took = append(took, once(r))
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)-1]), "max-ms")
}

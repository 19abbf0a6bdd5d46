package lifecycle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

func decode(t testing.TB, members string) *pvrexport.State {
	t.Helper()
	state, err := pvrexport.DecodeState(strings.NewReader(`{"#spec":"pantavisor-service-system@1"` + members + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func parse(t testing.TB, members string) *system.System {
	t.Helper()
	s, err := system.Parse(decode(t, members), system.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run is a run.json in a state.
func run(name, more string) string {
	return fmt.Sprintf(`,%q:{"name":%q,"type":"lxc","config":"lxc.container.conf"%s}`, name+"/run.json", name, more)
}

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// behaviour is how a container of the world acts. The zero value starts at
// once, runs for ever and stops at once when asked.
type behaviour struct {
	mountTakes, startTakes time.Duration
	mountFails, startFails string
	refused                bool
	dies                   bool          // before the news of its start
	lives                  time.Duration // 0: for ever
	stopTakes              time.Duration // -1: ignores the signal
	killTakes              time.Duration
	readyAfter             time.Duration // 0: says nothing
}

// life is what the world has of a container.
type life struct {
	run     int
	mounted bool
	started bool // a Start was made and not answered with an end
	up      bool // the process is there
}

// later is an event on its way.
type later struct {
	at time.Time
	do func()
}

// world carries out the machine's actions in virtual time, and looks whether
// they make sense.
type world struct {
	t        testing.TB
	m        *lifecycle.Machine
	now      time.Time
	acts     map[string]behaviour
	lives    map[string]*life
	stopped  map[string]bool // by the user
	statuses map[string]pvctrl.Status
	queue    []later
	trace    []string // statuses and failures, with their seconds
	logs     []string
	pids     int
	starts   int
	down     bool
	retired  bool
}

func newWorld(t testing.TB, sys *system.System) *world {
	return &world{t: t, m: lifecycle.New(sys, "0"), now: t0, acts: map[string]behaviour{},
		lives: map[string]*life{}, stopped: map[string]bool{}, statuses: map[string]pvctrl.Status{}}
}

func (w *world) after(d time.Duration, f func()) {
	w.queue = append(w.queue, later{w.now.Add(d), f})
}

func (w *world) send(ev lifecycle.Event) {
	w.perform(w.m.Handle(w.now, ev))
	if at, ok := w.m.Next(); ok && !at.After(w.now) {
		w.t.Errorf("a timer at %v, and it is %v", at, w.now)
	}
}

// user is a PUT /containers/{name}.
func (w *world) user(name, verb string) error {
	actions, err := w.m.User(w.now, name, verb)
	if err == nil {
		w.stopped[name] = verb == lifecycle.VerbStop
	}
	w.perform(actions)
	return err
}

func (w *world) signal(name, kind string) error {
	actions, err := w.m.Signal(w.now, name, kind)
	w.perform(actions)
	return err
}

func (w *world) notef(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%gs ", w.now.Sub(t0).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) perform(actions []lifecycle.Action) {
	for _, a := range actions {
		w.one(a)
	}
	for _, c := range w.m.Containers() {
		if got, ok := w.statuses[c.Name]; ok && got != c.Status {
			w.t.Errorf("%s: the last SetStatus was %s, the machine says %s", c.Name, got, c.Status)
		}
	}
}

func (w *world) one(a lifecycle.Action) {
	switch a := a.(type) {
	case lifecycle.Mount:
		w.mount(a.Run)
	case lifecycle.Start:
		w.start(a.Run)
	case lifecycle.Stop:
		w.halt(a.Run, w.acts[a.Container].stopTakes, "stop")
	case lifecycle.Kill:
		w.halt(a.Run, w.acts[a.Container].killTakes, "kill")
	case lifecycle.Unmount:
		l := w.lives[a.Container]
		if l == nil || l.run != a.Number || !l.mounted || l.started {
			w.t.Errorf("unmount of %v, which is %+v", a.Run, l)
			return
		}
		l.mounted = false
	case lifecycle.SetStatus:
		if a.Status == w.statuses[a.Container] && a.Status != pvctrl.StatusInstalled {
			w.t.Errorf("%s is %s again", a.Container, a.Status)
		}
		w.statuses[a.Container] = a.Status
		w.notef("%s %s", a.Container, a.Status)
	case lifecycle.SetSystem:
		w.notef("system %s", a.Status)
	case lifecycle.Failure:
		w.notef("failure %s", a.Container)
	case lifecycle.Retired:
		w.retired = true
	case lifecycle.Down:
		w.down = true
	case lifecycle.Log:
		w.logs = append(w.logs, a.Text)
	}
}

func (w *world) mount(r lifecycle.Run) {
	l := w.lives[r.Container]
	if l != nil && (l.mounted || l.started || l.run >= r.Number) {
		w.t.Errorf("mount of %v, which is %+v", r, l)
	}
	w.lives[r.Container] = &life{run: r.Number, mounted: true}
	if w.stopped[r.Container] {
		w.t.Errorf("%s starts, and the user had stopped it", r.Container)
	}
	b := w.acts[r.Container]
	w.after(b.mountTakes, func() {
		if b.mountFails != "" {
			w.send(lifecycle.Failed{Run: r, Reason: b.mountFails, Refused: b.refused})
			return
		}
		w.send(lifecycle.Mounted{Run: r})
	})
}

func (w *world) start(r lifecycle.Run) {
	l := w.lives[r.Container]
	if l == nil || l.run != r.Number || !l.mounted || l.started {
		w.t.Errorf("start of %v, which is %+v", r, l)
		return
	}
	w.starts++
	l.started = true
	b := w.acts[r.Container]
	w.after(b.startTakes, func() {
		if b.startFails != "" {
			l.started = false
			w.send(lifecycle.Failed{Run: r, Reason: b.startFails, Refused: b.refused})
			return
		}
		if b.dies {
			l.started = false
			w.send(lifecycle.Exited{Run: r, Status: "signal 9"})
			return
		}
		l.up = true
		w.pids++
		w.send(lifecycle.Started{Run: r, PID: w.pids})
		if b.lives > 0 {
			w.after(b.lives, func() { w.exit(r, l) })
		}
		if b.readyAfter > 0 {
			w.after(b.readyAfter, func() {
				if l.up {
					w.signal(r.Container, "ready")
				}
			})
		}
	})
}

// halt is a signal. It reaches only a process that is there.
func (w *world) halt(r lifecycle.Run, takes time.Duration, what string) {
	l := w.lives[r.Container]
	if l == nil || l.run != r.Number || !l.started {
		w.t.Errorf("%s of %v, which is %+v", what, r, l)
		return
	}
	if l.up && takes >= 0 {
		w.after(takes, func() { w.exit(r, l) })
	}
}

func (w *world) exit(r lifecycle.Run, l *life) {
	if l.up {
		l.up, l.started = false, false
		w.send(lifecycle.Exited{Run: r, Status: "exit status 1"})
	}
}

// until lets time pass. At one instant only so much may happen.
func (w *world) until(d time.Duration) {
	end := t0.Add(d)
	for steps := 0; ; {
		at, ok := w.m.Next()
		i := -1
		for j, l := range w.queue {
			if !ok || !l.at.After(at) {
				if i < 0 || l.at.Before(w.queue[i].at) {
					i = j
				}
			}
		}
		switch {
		case i >= 0:
			at = w.queue[i].at
		case !ok:
			w.now = end
			return
		}
		if at.After(end) {
			w.now = end
			return
		}
		if at.After(w.now) {
			w.now, steps = at, 0
		}
		if steps++; steps > 500 {
			w.t.Fatalf("no end at %v:\n%s", w.now.Sub(t0), strings.Join(w.trace[max(0, len(w.trace)-20):], "\n"))
		}
		if i >= 0 {
			l := w.queue[i]
			w.queue = slices.Delete(w.queue, i, i+1)
			l.do()
		} else {
			w.send(lifecycle.Tick{})
		}
	}
}

// of returns the trace of one container, "failure" or "system".
func (w *world) of(name string) string {
	var out []string
	for _, line := range w.trace {
		at, rest, _ := strings.Cut(line, " ")
		who, what, _ := strings.Cut(rest, " ")
		if who == name {
			out = append(out, at+" "+what)
		}
	}
	return strings.Join(out, ", ")
}

func (w *world) expect(name, want string) {
	w.t.Helper()
	if got := w.of(name); got != want {
		w.t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}

func (w *world) logged(text string) bool {
	return slices.ContainsFunc(w.logs, func(l string) bool { return strings.Contains(l, text) })
}

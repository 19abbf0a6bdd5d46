package lifecycle_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// source gives random choices, from a generator or from a fuzzer's bytes.
type source interface{ below(n int) int }

type generator struct{ *rand.Rand }

func (g generator) below(n int) int { return g.IntN(n) }

// choices takes its choices from bytes; after their end it always takes the
// first.
type choices struct{ data []byte }

func (c *choices) below(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % n
}

func pick[T any](s source, from ...T) T { return from[s.below(len(from))] }

func randomDelay(s source) time.Duration {
	return pick(s, 0, 0, time.Millisecond, time.Second, 4*time.Second, 6*time.Second, 40*time.Second)
}

// randomSystem is the state of a system of up to five containers, as a list of
// members.
func randomSystem(s source) []string {
	var members []string
	for i := range 1 + s.below(5) {
		name := string(rune('a' + i))
		more := fmt.Sprintf(`,"group":%q`, pick(s, "data", "root", "platform", "app", "app"))
		if goal := pick(s, "", "", "MOUNTED", "STARTED", "READY"); goal != "" {
			more += fmt.Sprintf(`,"status_goal":%q`, goal)
		}
		if policy := pick(s, "", "container", "container", "system"); policy != "" {
			more += fmt.Sprintf(`,"restart_policy":%q`, policy)
		}
		if policy := pick(s, "", "no", "always", "on-failure", "unless-stopped"); policy != "" {
			more += fmt.Sprintf(`,"auto_recovery":{"policy":%q,"max_retries":%d,"retry_delay":%d,"backoff_factor":%d,"reset_window":%d,"stable_timeout":%d,"backoff_policy":%q}`,
				policy, s.below(4), s.below(3), s.below(4), s.below(10), s.below(10), pick(s, "reboot", "never", "3s", "1min"))
		}
		members = append(members, run(name, more))
	}
	return members
}

func randomBehaviour(s source) behaviour {
	b := behaviour{
		mountTakes: randomDelay(s), startTakes: randomDelay(s), lives: randomDelay(s),
		stopTakes: randomDelay(s), killTakes: randomDelay(s), readyAfter: randomDelay(s),
	}
	switch s.below(10) {
	case 0:
		b.mountFails, b.refused = "broken", s.below(2) == 0
	case 1:
		b.startFails = "broken"
	case 2:
		b.startFails, b.refused, b.startTakes = "broken", true, pick(s, 0, 10*time.Second, 10*time.Second)
	case 3, 4:
		b.stopTakes = -1
	case 5:
		b.dies = true
	}
	return b
}

// randomLife lets a random system live through random events. The world looks
// at every action; what it cannot see is looked at here.
func randomLife(t testing.TB, s source, steps int, seen *lifecycle.Moves) *world {
	members := randomSystem(s)
	w := newWorld(t, parse(t, strings.Join(members, "")))
	w.m.Watch(seen)
	names := []string{"a", "b", "c", "d", "e", "nobody"}
	for _, n := range names {
		w.acts[n] = randomBehaviour(s)
	}
	w.send(lifecycle.Begin{})
	var said []lifecycle.Event // to be said again, out of place
	for range steps {
		name := pick(s, names...)
		switch s.below(12) {
		case 0, 1, 2:
			w.until(w.now.Sub(t0) + randomDelay(s))
		case 3, 4:
			w.user(name, "stop")
		case 5:
			w.user(name, "start")
		case 6:
			w.user(name, "restart")
		case 7:
			if l := w.lives[name]; l != nil && l.up { // it crashes
				w.exit(lifecycle.Run{Container: name, Number: l.run}, l)
			}
		case 8:
			if l := w.lives[name]; l != nil && l.started {
				w.signal(name, "ready")
			}
		case 9:
			old := lifecycle.Run{Container: name, Number: s.below(5) - 1}
			if l := w.lives[name]; l == nil || l.run != old.Number {
				said = []lifecycle.Event{lifecycle.Mounted{Run: old}, lifecycle.Started{Run: old, PID: 7},
					lifecycle.Failed{Run: old}, lifecycle.Exited{Run: old}, lifecycle.Begin{}, lifecycle.Tick{}}
				w.send(pick(s, said...))
			}
		case 10:
			w.send(lifecycle.Updating{On: s.below(2) == 0})
		case 11:
			if s.below(3) == 0 {
				members = replace(w, s, members)
			}
		}
		looks(t, w)
	}
	return w
}

// replace goes through an update to another random system. Sometimes the first
// container stays as it is, and so its life goes on.
func replace(w *world, s source, members []string) []string {
	gone := []string{}
	for _, c := range w.m.Containers() {
		gone = append(gone, c.Name)
	}
	next := randomSystem(s)
	if s.below(2) == 0 {
		next[0], gone = members[0], gone[1:]
	}
	w.retired = false
	w.send(lifecycle.Retire{Containers: gone})
	w.until(w.now.Sub(t0) + 3*time.Minute)
	if !w.retired {
		w.t.Fatalf("not retired in time: %v\n%s", w.m.Containers(), strings.Join(w.trace, "\n"))
	}
	for _, name := range gone {
		delete(w.statuses, name)
		delete(w.stopped, name)
	}
	w.send(lifecycle.Adopt{System: parse(w.t, strings.Join(next, "")), Revision: "next"})
	return next
}

// looks compares what the machine says with what the world has.
func looks(t testing.TB, w *world) {
	t.Helper()
	lowest := map[string]pvctrl.Status{}
	for _, c := range w.m.Containers() {
		l := w.lives[c.Name]
		running := c.Status == pvctrl.StatusStarted || c.Status == pvctrl.StatusReady
		if running != (l != nil && l.up) && c.Status != pvctrl.StatusStopping && c.Status != pvctrl.StatusStarting {
			t.Errorf("%s is %s, and its process is there: %t", c.Name, c.Status, !running)
		}
		if _, ok := w.m.Current(c.Name); ok && (l == nil || !l.mounted) {
			t.Errorf("%s has a run, and nothing is mounted", c.Name)
		}
		if c.Status == pvctrl.StatusReady && c.StatusGoal != pvctrl.StatusReady {
			t.Errorf("%s is READY, and its goal is %s", c.Name, c.StatusGoal)
		}
		if _, ok := lowest[*c.Group]; !ok {
			lowest[*c.Group] = pvctrl.StatusReady
		}
		if c.Status != c.StatusGoal {
			lowest[*c.Group] = min(lowest[*c.Group], c.Status)
		}
	}
	system := pvctrl.StatusReady
	for _, g := range w.m.Groups() {
		want, ok := lowest[g.Name]
		if !ok {
			want = pvctrl.StatusReady
		}
		if g.Status != want {
			t.Errorf("group %s is %s, its members make it %s", g.Name, g.Status, want)
		}
		system = min(system, want)
	}
	if w.m.Status() != system {
		t.Errorf("the system is %s, its groups make it %s", w.m.Status(), system)
	}
}

// ends shuts the world down: whatever happened, nothing may be left.
func ends(t testing.TB, w *world) {
	t.Helper()
	for name, b := range w.acts {
		b.killTakes = max(b.killTakes, 0)
		w.acts[name] = b
	}
	w.send(lifecycle.Shutdown{})
	w.until(w.now.Sub(t0) + 3*time.Minute)
	if !w.down {
		t.Errorf("not down in time: %+v", w.m.Containers())
	}
	for name, l := range w.lives {
		if l.up || l.mounted || l.started {
			t.Errorf("%s is left: %+v", name, l)
		}
	}
	if at, ok := w.m.Next(); ok {
		t.Errorf("a timer after the end, at %v", at)
	}
}

func TestRandomLives(t *testing.T) {
	lives := 2500
	if testing.Short() {
		lives = 400
	}
	starts, seen := 0, lifecycle.MachineMoves()
	for seed := range uint64(lives) {
		w := randomLife(t, generator{rand.New(rand.NewPCG(seed, 1))}, 40, seen)
		starts += w.starts
		ends(t, w)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.trace, "\n"))
		}
	}
	if starts < 3*lives { // they do something
		t.Errorf("%d starts in %d lives", starts, lives)
	}
	unlisted, unmade := seen.Strange()
	if len(unlisted) > 0 {
		t.Errorf("moves that the table does not have: %q", unlisted)
	}
	if len(unmade) > 0 && !testing.Short() {
		t.Errorf("moves of the table that never happen: %q", unmade)
	}
}

func FuzzMachine(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("a stubborn container in a group of its own"))
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &choices{data}
		seen := lifecycle.MachineMoves()
		w := randomLife(t, c, min(len(data), 100), seen)
		ends(t, w)
		if unlisted, _ := seen.Strange(); len(unlisted) > 0 {
			t.Errorf("moves that the table does not have: %q", unlisted)
		}
	})
}

func BenchmarkStart25(b *testing.B) {
	var members strings.Builder
	for i := range 25 {
		members.WriteString(run(fmt.Sprintf("c%02d", i), `,"group":"app"`))
	}
	sys := parse(b, members.String())
	for b.Loop() {
		w := newWorld(b, sys)
		w.send(lifecycle.Begin{})
		w.until(time.Second)
		if w.m.Status() != pvctrl.StatusReady {
			b.Fatal(w.m.Status())
		}
	}
}

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

// device is what outlives a runtime: its disk. It also says what the
// revisions are like.
type device struct {
	t        testing.TB
	s        source
	boot     lifecycle.Boot
	progress map[string]pvctrl.Progress
	quality  map[string]string // good, slow, crashing, unusable
	now      time.Time
	log      []string

	kills int // how often it may still be killed
	u     *lifecycle.Update
	last  string // what the wrapper tried last; forgotten with a kill
	up    bool   // a runtime runs
	boots map[string]int
}

// revisions of a device; "0" is always good.
var revisions = []string{"0", "1", "2", "3"}

func newDevice(t testing.TB, s source) *device {
	d := &device{t: t, s: s, now: t0, boot: lifecycle.Boot{Rev: "0"}, progress: map[string]pvctrl.Progress{},
		quality: map[string]string{"0": "good"}, kills: s.below(6), boots: map[string]int{}}
	for _, r := range revisions[1:] {
		d.quality[r] = pick(s, "good", "good", "slow", "crashing", "unusable")
	}
	return d
}

// killed reports whether the runtime is killed at this very point.
func (d *device) killed() bool {
	if d.up && d.kills > 0 && d.s.below(8) == 0 {
		d.kills--
		d.up, d.last = false, ""
		d.log = append(d.log, "kill -9")
	}
	return !d.up
}

// start is what the wrapper does: it picks a revision, and the runtime comes up.
func (d *device) start() {
	rev := d.boot.Choose(d.last, d.progress[d.boot.Try])
	if rev == d.boot.Try {
		d.last = rev
	}
	d.up, d.u = true, lifecycle.NewUpdate(lifecycle.UpdateOptions{CommitDelay: 5 * time.Second, Retries: 10})
	d.boots[rev]++
	d.log = append(d.log, fmt.Sprintf("boot %s of %+v", rev, d.boot))
	of := rev
	if d.boot.Try != "" {
		of = d.boot.Try
	}
	if p := d.progress[rev].Status; rev != d.boot.Rev && (p == "ERROR" || p == "WONTGO") {
		d.t.Errorf("revision %s is started, and it had failed", rev)
	}
	d.send(lifecycle.Booted{Running: rev, Boot: d.boot, Progress: d.progress[of]})
	if d.quality[rev] == "unusable" {
		d.send(lifecycle.Unusable{Problem: lifecycle.Problem{Kind: lifecycle.ProblemFormat}})
		return
	}
	d.send(lifecycle.Checked{})
}

func (d *device) send(ev lifecycle.UpdateEvent) {
	if !d.up {
		return
	}
	d.now = d.now.Add(time.Duration(d.s.below(3)) * time.Second)
	for _, a := range d.u.Handle(d.now, ev) {
		if d.killed() {
			return
		}
		if w := words([]lifecycle.Action{a}); w != "" {
			d.log = append(d.log, w)
		}
		d.one(a)
		if d.killed() {
			return
		}
	}
}

func (d *device) one(a lifecycle.Action) {
	switch a := a.(type) {
	case lifecycle.Load:
		if d.quality[a.Revision] == "unusable" {
			d.send(lifecycle.Loaded{Problem: &lifecycle.Problem{Kind: lifecycle.ProblemFormat}})
			return
		}
		d.send(lifecycle.Loaded{Reboot: pick(d.s, "", "bsp")})
	case lifecycle.SetTry:
		d.boot.Try = a.Revision
		d.send(lifecycle.TrySet{})
	case lifecycle.ClearTry:
		d.boot.Try = ""
	case lifecycle.Commit:
		if d.quality[a.Revision] != "good" {
			d.t.Errorf("revision %s is kept, and it is %s", a.Revision, d.quality[a.Revision])
		}
		d.boot = lifecycle.Boot{Rev: a.Revision}
		d.send(lifecycle.Committed{})
	case lifecycle.SetProgress:
		d.progress[a.Revision] = a.Progress
		if s := a.Progress.Status; s == "DONE" && d.boot.Rev != a.Revision {
			d.t.Errorf("revision %s is DONE, and the boot file has %+v", a.Revision, d.boot)
		}
		if s := a.Progress.Status; (s == "DONE" || s == "UPDATED") && d.quality[a.Revision] != "good" {
			d.t.Errorf("revision %s is %s, and it is %s", a.Revision, s, d.quality[a.Revision])
		}
	case lifecycle.Switch:
		d.send(lifecycle.Switched{})
	case lifecycle.Reboot:
		d.up = false
	case lifecycle.GiveUp:
		d.t.Errorf("it gives up, and revision 0 is good")
	}
}

// live lets the running revision act.
func (d *device) live() {
	if !d.u.Ongoing() {
		return
	}
	switch d.quality[d.u.Revision()] {
	case "good":
		d.send(observed(lifecycle.GoalAchieved, d.s.below(2) == 0))
	case "slow":
		d.send(observed(pick(d.s, lifecycle.GoalUnachieved, lifecycle.GoalTimedOut), false))
	case "crashing":
		d.send(observed(lifecycle.GoalAchieved, false))
		d.send(crashed)
	}
	d.now = d.now.Add(time.Duration(d.s.below(8)) * time.Second)
	d.send(lifecycle.UpdateTick{})
}

// randomUpdates runs commands, kills and restarts, and then leaves the device
// alone: it must come to rest with a revision that works.
func randomUpdates(t testing.TB, s source, steps int) {
	d := newDevice(t, s)
	for range steps {
		switch {
		case !d.up:
			d.start()
		case s.below(4) == 0:
			d.send(lifecycle.RunRevision{Revision: pick(s, revisions...), Commit: s.below(3) == 0})
		case s.below(12) == 0:
			d.up = false // a restart that somebody asked for
		default:
			d.live()
		}
		d.killed()
	}
	d.kills = 0
	for n := 0; !d.up || d.u.Ongoing(); n++ {
		if n > 300 {
			t.Errorf("no rest")
			break
		}
		if !d.up {
			d.start()
		} else {
			d.live()
		}
	}
	if q := d.quality[d.u.Revision()]; q != "good" {
		t.Errorf("revision %s runs, and it is %s", d.u.Revision(), q)
	}
	if got := d.u.Boot(); got != d.boot {
		t.Errorf("the machine takes the boot file for %+v, it is %+v", got, d.boot)
	}
	if t.Failed() {
		t.Fatalf("%+v\n%s", d.quality, strings.Join(d.log, "\n"))
	}
}

func TestRandomUpdates(t *testing.T) {
	n := 20000
	if testing.Short() {
		n = 2000
	}
	for seed := range uint64(n) {
		randomUpdates(t, generator{rand.New(rand.NewPCG(seed, 3))}, 40)
	}
}

func FuzzUpdate(f *testing.F) {
	f.Add([]byte{})
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 4))
		b := make([]byte, 150)
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// What no byte decides is decided by chance, or the delay of a
		// fuzzed device would never end.
		c := &choices{data}
		randomUpdates(t, mixed{c, generator{rand.New(rand.NewPCG(1, uint64(len(data))))}}, min(len(data), 60))
	})
}

// mixed takes its choices from bytes and then from a generator.
type mixed struct {
	first *choices
	then  generator
}

func (m mixed) below(n int) int {
	if len(m.first.data) > 0 {
		return m.first.below(n)
	}
	return m.then.below(n)
}

// anyUpdateEvent is an event that need not make sense.
func anyUpdateEvent(s source) lifecycle.UpdateEvent {
	rev := pick(s, revisions...)
	problem := lifecycle.Problem{Kind: lifecycle.ProblemKind(s.below(5))}
	err := pick(s, nil, nil, broken)
	switch s.below(14) {
	case 0:
		return lifecycle.Booted{Running: rev, Boot: lifecycle.Boot{Rev: pick(s, revisions...), Try: pick(s, "", "", rev, "1")},
			Progress: stored(pick(s, "", "NEW", "INPROGRESS", "TESTING", "DONE", "UPDATED", "ERROR", "WONTGO"), pick(s, "", lifecycle.MsgTry), s.below(12))}
	case 1:
		return lifecycle.Checked{}
	case 2:
		return lifecycle.Unusable{Problem: problem}
	case 3, 4:
		return lifecycle.RunRevision{Revision: rev, Commit: s.below(3) == 0}
	case 5:
		return lifecycle.MakeFactory{Revision: pick(s, "", rev)}
	case 6:
		return lifecycle.Copied{Err: err}
	case 7:
		if s.below(4) == 0 {
			return lifecycle.Loaded{Problem: &problem}
		}
		return lifecycle.Loaded{Reboot: pick(s, "", "", "bsp")}
	case 8:
		return lifecycle.TrySet{Err: err}
	case 9:
		return lifecycle.Switched{Err: err}
	case 10:
		return observed(lifecycle.GoalState(s.below(4)), s.below(2) == 0)
	case 11:
		return pick[lifecycle.UpdateEvent](s, crashed, refusedA, missing)
	case 12:
		return lifecycle.Committed{Err: err}
	}
	return lifecycle.UpdateTick{}
}

// nonsense sends events in any order: none of them may lead out of the table.
func nonsense(t testing.TB, s source, steps int, seen *lifecycle.Moves) {
	u := lifecycle.NewUpdate(lifecycle.UpdateOptions{CommitDelay: time.Duration(s.below(5)) * time.Second})
	u.Watch(seen)
	now := t0
	for range steps {
		now = now.Add(time.Duration(s.below(3)) * time.Second)
		u.Handle(now, anyUpdateEvent(s))
		if at, ok := u.Next(); ok && !at.After(now) {
			t.Fatalf("a timer at %v, and it is %v", at, now)
		}
	}
}

func TestUpdateNonsense(t *testing.T) {
	seen := lifecycle.UpdateMoves()
	for seed := range uint64(4000) {
		nonsense(t, generator{rand.New(rand.NewPCG(seed, 5))}, 100, seen)
	}
	unlisted, unmade := seen.Strange()
	if len(unlisted) > 0 || len(unmade) > 0 {
		t.Errorf("moves that the table does not have: %q\nmoves of the table that never happen: %q", unlisted, unmade)
	}
}

func FuzzUpdateEvents(f *testing.F) {
	f.Add([]byte("nothing that makes sense"))
	f.Fuzz(func(t *testing.T, data []byte) {
		seen := lifecycle.UpdateMoves()
		nonsense(t, &choices{data}, min(len(data), 200), seen)
		if unlisted, _ := seen.Strange(); len(unlisted) > 0 {
			t.Errorf("moves that the table does not have: %q", unlisted)
		}
	})
}

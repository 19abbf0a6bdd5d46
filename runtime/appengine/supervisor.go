package appengine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// supervisor runs the containers of a cycle. One goroutine, the one in loop,
// owns what is below "owned"; everybody else hands it functions with post and
// ask.
type supervisor struct {
	c     *cycle
	ctx   context.Context // of the work in boxes; ends after everything is down
	group sync.WaitGroup  // goroutines that may post
	// logging reads what containers log; it ends when nothing runs any more.
	logging sync.WaitGroup
	logCtx  context.Context
	logStop context.CancelFunc
	calls   chan func()
	over    chan struct{} // the loop has ended, nothing is posted any more

	snap    atomic.Pointer[snapshot]
	changed broadcast // the graph
	scribe  queue     // writes what others read: statuses, the list of containers

	// owned
	machine *lifecycle.Machine // nil before the revision is loaded
	update  *lifecycle.Update
	rev     *revision // the one that runs
	next    *revision // the one that is to replace it without a restart
	change  system.Change
	boxes   map[string]*box
	onTrial bool // as the machine was told
	problem *RevisionError
	broken  *lifecycle.Failure
	ending  outcome
	failure error // why the cycle ended, when it is an error
	down    bool
	dirty   bool   // the snapshot is old
	busy    bool   // a command is being carried out
	reason  string // why a container has ended, while the machine hears of it
	todo    []lifecycle.Action
	acting  bool // somebody further up works on todo
	// keepLogs ends the collection of an update's errors; nil without one.
	keepLogs func()
}

func newSupervisor(ctx context.Context, c *cycle) *supervisor {
	logCtx, logStop := context.WithCancel(ctx)
	return &supervisor{
		logCtx: logCtx, logStop: logStop,
		c: c, ctx: ctx, calls: make(chan func()), over: make(chan struct{}),
		boxes: map[string]*box{}, changed: newBroadcast(), update: lifecycle.NewUpdate(c.updateOptions()),
	}
}

// post hands the loop a function. After the loop's end it is dropped.
func (s *supervisor) post(f func()) {
	select {
	case s.calls <- f:
	case <-s.over:
	}
}

// errOver: the runtime is stopping.
var errOver = errors.New("the runtime is stopping")

// ask hands the loop a function and waits for its answer.
func (s *supervisor) ask(ctx context.Context, f func() error) error {
	answer := make(chan error, 1)
	select {
	case s.calls <- func() { answer <- f() }:
	case <-s.over:
		return errOver
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-s.over:
		return errOver
	}
}

// tell gives the machine news from a box.
func (s *supervisor) tell(ev lifecycle.Event) { s.post(func() { s.handle(ev) }) }

// ended tells the machine of an end, which is the reason of the statuses that
// follow at once.
func (s *supervisor) ended(ev lifecycle.Event, reason string) {
	s.reason = reason
	s.handle(ev)
	s.reason = ""
}

// loop runs a revision until everything is down again, and says why.
func (s *supervisor) loop(ctx context.Context, rev string) (outcome, error) {
	defer close(s.over)
	s.booted(rev)
	s.begin(ctx, rev)
	stop := ctx.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !s.down {
		s.observe()
		s.publish()
		timer.Reset(s.rest(time.Now()))
		select {
		case f := <-s.calls:
			f()
		case <-timer.C:
			s.handle(lifecycle.Tick{})
			s.updated(lifecycle.UpdateTick{})
		case <-stop:
			stop = nil
			s.end(s.stopKind(ctx), nil)
		}
	}
	s.finishLogs() // of a revision that failed, and leaves with the cycle
	s.publish()
	return s.ending, s.failure
}

// begin loads the revision and lets it start.
func (s *supervisor) begin(ctx context.Context, rev string) {
	if s.ending != outcomeNone {
		return // it is known not to work
	}
	s.c.events.send(Event{Kind: EventLoad, Revision: rev})
	r, err := s.c.load(ctx, rev, nil)
	if err == nil {
		err = s.c.connect(s.ctx, r)
	}
	switch {
	case ctx.Err() != nil:
		return // the loop sees it too
	case err != nil:
		s.problem = problemOf(err)
		s.c.log.Error("state could not be loaded", "revision", rev, "error", err)
		s.updated(lifecycle.Unusable{Problem: s.problem.Problem})
		return
	}
	if len(r.sys.Containers) == 0 {
		s.c.note("revision " + rev + " has no containers: there is nothing to run")
	}
	s.rev = r
	s.machine = lifecycle.New(r.sys, r.name)
	s.dirty = true
	s.updated(lifecycle.Checked{})
	s.handle(lifecycle.Begin{})
}

func (s *supervisor) stopKind(ctx context.Context) outcome {
	if errors.Is(context.Cause(ctx), ErrPowerOff) {
		return outcomePowerOff
	}
	return outcomeStop
}

// rest is how long nothing is due.
func (s *supervisor) rest(now time.Time) time.Duration {
	d := time.Hour
	consider := func(at time.Time, ok bool) {
		if ok {
			d = min(d, max(at.Sub(now), 0))
		}
	}
	if s.machine != nil {
		consider(s.machine.Next())
	}
	consider(s.update.Next())
	return d
}

// end stops everything; the first reason counts.
func (s *supervisor) end(o outcome, err error) {
	if s.ending != outcomeNone {
		return
	}
	s.ending, s.failure = o, err
	text := map[outcome]string{outcomeStop: "stop", outcomePowerOff: "poweroff", outcomeReboot: "reboot"}[o]
	s.c.log.Info("preparing '" + text + "'...")
	s.c.events.send(Event{Kind: EventStopping, Text: text})
	if s.machine == nil {
		s.down = true
		return
	}
	s.handle(lifecycle.Shutdown{})
}

// handle gives the machine an event and does what it wants.
func (s *supervisor) handle(ev lifecycle.Event) {
	if s.machine != nil {
		s.act(s.machine.Handle(time.Now(), ev))
	}
}

// act carries out actions in their order. What an action leads to comes after
// all that were there before.
func (s *supervisor) act(actions []lifecycle.Action) {
	s.todo = append(s.todo, actions...)
	if s.acting {
		return
	}
	s.acting = true
	for len(s.todo) > 0 {
		a := s.todo[0]
		s.todo = s.todo[1:]
		s.perform(a)
		s.dirty = true
	}
	s.acting = false
}

func (s *supervisor) perform(a lifecycle.Action) {
	switch a := a.(type) {
	case lifecycle.Mount:
		s.box(a.Container).mount(a.Run, s.rev)
	case lifecycle.Start:
		s.box(a.Container).start(a.Run, s.rev)
	case lifecycle.Stop:
		s.box(a.Container).stop(a.Run)
	case lifecycle.Kill:
		s.box(a.Container).kill(a.Run)
	case lifecycle.Unmount:
		s.box(a.Container).unmount()
	case lifecycle.SetStatus:
		s.c.events.send(s.statusEvent(a))
	case lifecycle.SetGroup, lifecycle.SetSystem: // in the snapshot
	case lifecycle.Failure:
		s.failed(a)
	case lifecycle.Retired:
		s.retired()
	case lifecycle.Down:
		s.down = true
	case lifecycle.Log:
		s.c.source(a.Source).Log(logs.Level(a.Level), a.Text)
	default:
		s.install(a)
	}
}

// statusEvent is a container's new status; a pid only while there is a process.
func (s *supervisor) statusEvent(a lifecycle.SetStatus) Event {
	e := Event{Kind: EventContainer, Container: a.Container, Status: a.Status.String()}
	switch a.Status {
	case pvctrl.StatusStarted, pvctrl.StatusReady, pvctrl.StatusStopping:
		e.PID = max(s.machine.PID(a.Container), 0)
	case pvctrl.StatusStopped, pvctrl.StatusRecovering:
		e.Text = s.reason
	}
	return e
}

func (s *supervisor) box(name string) *box {
	b := s.boxes[name]
	if b == nil {
		b = &box{s: s, name: name, console: s.c.logs.Source(name, logs.Console, logs.Info)}
		s.boxes[name] = b
	}
	return b
}

// failed: the revision does not work. The update machine knows whether there
// is another one.
func (s *supervisor) failed(f lifecycle.Failure) {
	s.broken = &f
	s.c.events.send(Event{Kind: EventError, Revision: s.rev.name, Container: f.Container, Text: f.String()})
	s.updated(lifecycle.Broke{Failure: f})
}

// finish waits for everything that the supervisor started.
func (s *supervisor) finish() {
	for _, b := range s.boxes {
		b.work.wait()
	}
	s.group.Wait()
	s.logStop()
	s.logging.Wait()
	s.scribe.wait()
}

// broadcast tells many that something changed: each waits for a channel that
// is closed at the next change.
type broadcast struct {
	mu sync.Mutex // guards ch
	ch chan struct{}
}

func newBroadcast() broadcast { return broadcast{ch: make(chan struct{})} }

func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}

func (b *broadcast) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ch)
	b.ch = make(chan struct{})
}

package lifecycle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// updatePhase is how far an update is.
type updatePhase int

const (
	idle       updatePhase = iota // no revision is on its way
	copying                       // a CopyFactory is on its way
	loading                       // a Load
	arming                        // a SetTry
	switching                     // a Switch
	trying                        // the containers are on their way to their goals
	testing                       // they are there; the commit delay runs
	settling                      // some of them have yet to prove that they stay up
	committing                    // a Commit is on its way
	leaving                       // a Reboot is
	updatePhases
)

func (p updatePhase) String() string {
	return [...]string{"idle", "copying", "loading", "arming", "switching", "trying", "testing",
		"settling", "committing", "leaving"}[p]
}

// updateInput is the kind of an event.
type updateInput int

const (
	onBooted updateInput = iota
	onObserved
	onChecked
	onUnusable
	onRun
	onFactory
	onCopied
	onLoaded
	onTrySet
	onSwitched
	onBroke
	onCommitted
	onTick
	onReached // the goals
	onMissed  // the goals
	onDelay   // the commit delay is over
	onStable  // no container has to prove itself any more
)

func (i updateInput) String() string {
	return [...]string{"booted", "observed", "checked", "unusable", "run", "make factory", "copied", "loaded",
		"try set", "switched", "broke", "committed", "tick",
		"goals reached", "goals missed", "delay over", "stable"}[i]
}

func (Booted) input() updateInput      { return onBooted }
func (Observed) input() updateInput    { return onObserved }
func (Checked) input() updateInput     { return onChecked }
func (Unusable) input() updateInput    { return onUnusable }
func (RunRevision) input() updateInput { return onRun }
func (MakeFactory) input() updateInput { return onFactory }
func (Copied) input() updateInput      { return onCopied }
func (Loaded) input() updateInput      { return onLoaded }
func (TrySet) input() updateInput      { return onTrySet }
func (Switched) input() updateInput    { return onSwitched }
func (Broke) input() updateInput       { return onBroke }
func (Committed) input() updateInput   { return onCommitted }
func (UpdateTick) input() updateInput  { return onTick }

// updateMove is a row of the update's table.
type updateMove struct {
	from []updatePhase
	on   updateInput
	to   []updatePhase
	do   func(*Update, UpdateEvent)
}

// updateMoves is the table. Booted is not in it: it is the beginning, and leads
// to idle, trying, committing or leaving.
//
//	       run          loaded           try set             switched
//	idle -------> loading ------> arming --------> switching ---------+
//	 ^ |            ^ |             |                  |              |
//	 | | make       | | unusable    | a restart        |              |
//	 | | factory    | v             | is needed        |              v
//	 | +-> copying -+ idle          |                  |           trying <- - Booted
//	 |                              v                  |              | goals reached
//	 |                           leaving <-------------+              v
//	 |                              ^      broke,      +-------- testing
//	 |                              |      goals       |              | delay over
//	 |                              |      missed      |              v
//	 |                              +------------------+-------- settling
//	 |                              |                                 | stable
//	 |   UPDATED (no restart)       | broke meanwhile                 |
//	 +<-----------------------------|---------------------------------+
//	 |   DONE                       |                                 v (restarted)
//	 +------------------------- committing <--------------------------+
//
// The factory revision, if it cannot run and there is none to go back to, leads
// from trying to idle. Where each phase can lead:
//
//	idle: loading, copying, leaving
//	copying: loading, idle, leaving
//	loading: arming, idle, leaving
//	arming: switching, leaving, idle
//	switching: trying, committing, leaving
//	trying: testing, leaving, committing, idle
//	testing: settling, leaving
//	settling: committing, idle, leaving
//	committing: idle, leaving
//	leaving: nowhere
var updateMoves = []updateMove{
	{[]updatePhase{idle}, onRun, []updatePhase{loading}, (*Update).run},
	{[]updatePhase{idle}, onFactory, []updatePhase{copying}, (*Update).makeFactory},
	{[]updatePhase{copying}, onCopied, []updatePhase{loading, idle}, (*Update).copied},
	{[]updatePhase{loading}, onLoaded, []updatePhase{arming, idle}, (*Update).loaded},
	{[]updatePhase{arming}, onTrySet, []updatePhase{switching, leaving, idle}, (*Update).trySet},
	{[]updatePhase{switching}, onSwitched, []updatePhase{trying, committing, leaving}, (*Update).switched},

	{[]updatePhase{trying}, onReached, []updatePhase{testing}, (*Update).goalsReached},
	{[]updatePhase{trying}, onMissed, []updatePhase{leaving}, (*Update).goalsMissed},
	{[]updatePhase{testing}, onDelay, []updatePhase{settling}, (*Update).delayOver},
	{[]updatePhase{settling}, onStable, []updatePhase{committing, idle}, (*Update).final},

	{[]updatePhase{trying}, onChecked, []updatePhase{trying, committing, idle}, (*Update).checked},
	{[]updatePhase{idle}, onChecked, []updatePhase{idle}, (*Update).nothing},
	{[]updatePhase{committing}, onChecked, []updatePhase{committing}, (*Update).nothing},
	{[]updatePhase{leaving}, onChecked, []updatePhase{leaving}, (*Update).nothing},
	{[]updatePhase{idle, trying}, onUnusable, []updatePhase{idle, leaving}, (*Update).unusable},
	{[]updatePhase{committing}, onUnusable, []updatePhase{committing}, (*Update).breakLater},
	{[]updatePhase{leaving}, onUnusable, []updatePhase{leaving}, (*Update).nothing},

	{[]updatePhase{idle}, onBroke, []updatePhase{idle, leaving}, (*Update).broke},
	{[]updatePhase{copying}, onBroke, []updatePhase{copying, leaving}, (*Update).broke},
	{[]updatePhase{loading}, onBroke, []updatePhase{loading, leaving}, (*Update).broke},
	{[]updatePhase{arming}, onBroke, []updatePhase{arming, leaving}, (*Update).broke},
	{[]updatePhase{trying}, onBroke, []updatePhase{idle, leaving}, (*Update).brokeOnTrial},
	{[]updatePhase{switching, testing, settling}, onBroke, []updatePhase{leaving}, (*Update).brokeOnTrial},
	{[]updatePhase{committing}, onBroke, []updatePhase{committing}, (*Update).breakLater},
	{[]updatePhase{leaving}, onBroke, []updatePhase{leaving}, (*Update).nothing},
	{[]updatePhase{committing}, onCommitted, []updatePhase{idle, leaving}, (*Update).committed},
}

// UpdateLeads says where each phase of an update can lead, a line for each.
// The picture above has the same lines.
func UpdateLeads() string {
	var b strings.Builder
	for p := range updatePhases {
		var to []string
		for _, m := range updateMoves {
			for _, q := range m.to {
				if slices.Contains(m.from, p) && q != p && !slices.Contains(to, q.String()) {
					to = append(to, q.String())
				}
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", p, cmp.Or(strings.Join(to, ", "), "nowhere"))
	}
	return b.String()
}

// step makes a move of the table, and reports whether there was one.
func (u *Update) step(on updateInput, ev UpdateEvent) bool {
	for _, m := range updateMoves {
		if m.on != on || !slices.Contains(m.from, u.phase) {
			continue
		}
		from := u.phase
		m.do(u, ev)
		if u.watch != nil {
			u.watch(from, on, u.phase)
		}
		return true
	}
	return false
}

// The steps of the table.

func (u *Update) nothing(UpdateEvent) {}

func (u *Update) run(ev UpdateEvent) {
	r := ev.(RunRevision)
	u.load(r.Revision, r.Commit)
}

func (u *Update) load(rev string, forced bool) {
	u.rev, u.forced, u.reboot, u.retries, u.pending = rev, forced, true, 0, nil
	u.goals, u.stable = GoalNone, false
	u.logf(LevelDebug, "loading rev '%s' to be run", rev)
	u.do(Load{rev})
	u.phase = loading
}

func (u *Update) makeFactory(ev UpdateEvent) {
	from := cmp.Or(ev.(MakeFactory).Revision, u.running)
	u.logf(LevelDebug, "make factory received. Transferring revision %s to remote revision 0", from)
	u.do(CopyFactory{from})
	u.phase = copying
}

func (u *Update) copied(ev UpdateEvent) {
	if err := ev.(Copied).Err; err != nil {
		u.logf(LevelError, "cannot update factory revision: %v", err)
		u.phase = idle
		return
	}
	u.logf(LevelInfo, "revision 0 updated. Progressing to revision 0")
	u.load(FactoryRevision, false)
}

// loaded refuses a revision that cannot be used, before anything is touched.
func (u *Update) loaded(ev UpdateEvent) {
	l := ev.(Loaded)
	if p := l.Problem; p != nil {
		u.logf(LevelWarn, "revision %s will not run: %v", u.rev, *p)
		status := ProgressWontGo
		if p.Kind == ProblemInternal {
			status = ProgressError
		}
		u.progress(status, p.message())
		u.finish()
		return
	}
	u.logf(LevelInfo, "setting installed revision %s to be started after next reboot", u.rev)
	u.reboot = l.Reboot != "" || u.forced
	if l.Reboot != "" {
		u.logf(LevelInfo, "running new state requires reboot: %s", l.Reboot)
	}
	u.do(SetTry{u.rev})
	u.phase = arming
}

func (u *Update) trySet(ev UpdateEvent) {
	switch err := ev.(TrySet).Err; {
	case err != nil:
		u.logf(LevelWarn, "could not set bootloader with new update info: %v", err)
		u.progress(ProgressError, MsgInternal)
		u.finish()
	case u.reboot:
		u.boot.Try = u.rev
		u.progress(ProgressInProgress, MsgReboot)
		u.do(Reboot{Reason: "revision " + u.rev + " is to be tried"})
		u.phase = leaving
	default:
		u.boot.Try = u.rev
		u.logf(LevelInfo, "running new state does not require reboot")
		u.progress(ProgressInProgress, MsgTransition)
		u.do(Switch{u.rev})
		u.phase = switching
	}
}

func (u *Update) switched(ev UpdateEvent) {
	if err := ev.(Switched).Err; err != nil {
		u.logf(LevelError, "the transition to revision %s did not work: %v", u.rev, err)
		u.progress(ProgressError, MsgInternal)
		u.rollback("the transition to revision " + u.rev + " did not work: " + err.Error())
		return
	}
	u.running = u.rev
	u.goals, u.stable = GoalNone, false // what was seen was the revision before
	u.progress(ProgressInProgress, MsgTry)
	u.phase = trying
	u.checked(nil)
}

// checked finishes the factory revision, which is not tried: it is what there
// is.
func (u *Update) checked(UpdateEvent) {
	if u.rev != FactoryRevision {
		return
	}
	if u.boot.Try == FactoryRevision {
		u.do(Commit{u.rev})
		u.phase = committing
		return
	}
	u.do(MarkDone{u.rev})
	u.factoryDone()
}

func (u *Update) factoryDone() {
	u.progress(ProgressDone, MsgFactory)
	u.logf(LevelInfo, "Pantavisor initialized Factory revision %s.", u.rev)
	u.finish()
}

// unusable is a revision that the runtime started with and cannot run.
func (u *Update) unusable(ev UpdateEvent) {
	p := ev.(Unusable).Problem
	u.logf(LevelError, "revision %s cannot run: %v", u.running, p)
	if u.phase == trying {
		u.progress(ProgressError, p.message())
	}
	u.rollback(fmt.Sprintf("revision %s cannot run: %v", u.running, p))
}

// broke is a failure of the revision that runs for good. A crash may not come
// again after a restart; what is missing or refused will.
func (u *Update) broke(ev UpdateEvent) {
	f := ev.(Broke).Failure
	if f.Kind != ContainerCrashed {
		u.do(GiveUp{Reason: f.String()})
		return
	}
	u.do(Reboot{Reason: f.String()})
	u.phase = leaving
}

func (u *Update) brokeOnTrial(ev UpdateEvent) {
	f := ev.(Broke).Failure
	u.logf(LevelError, "a platform did not work as expected. Tearing down...")
	u.progress(ProgressError, MsgContainerFailed)
	u.rollback(f.String())
}

// breakLater keeps a failure until the commit is written: the boot file must
// not change under it.
func (u *Update) breakLater(ev UpdateEvent) {
	switch ev := ev.(type) {
	case Broke:
		u.pending = &ev.Failure
	case Unusable:
		u.pending = &Failure{Kind: ContainerRefused, Reason: ev.Problem.String()}
	}
}

func (u *Update) committed(ev UpdateEvent) {
	if err := ev.(Committed).Err; err != nil {
		u.logf(LevelError, "revision could not be committed to bootloader: %v", err)
		u.progress(ProgressError, MsgInternal)
		u.finish()
	} else {
		u.boot = Boot{Rev: u.rev}
		u.logf(LevelInfo, "revision %s commited", u.rev)
		if u.rev == FactoryRevision {
			u.factoryDone()
		} else {
			u.progress(ProgressDone, MsgDone)
			u.finish()
		}
	}
	if f := u.pending; f != nil {
		u.pending = nil
		u.broke(Broke{*f})
	}
}

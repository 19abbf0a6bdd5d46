package lifecycle

import (
	"fmt"
	"slices"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// FactoryRevision is the revision that a device comes with.
const FactoryRevision = "0"

// UpdateOptions are the settings of an Update. The zero value has the
// runtime's defaults.
type UpdateOptions struct {
	CommitDelay time.Duration // PV_UPDATER_COMMIT_DELAY; 0: none
	Retries     int           // PV_REVISION_RETRIES; 0: 10
}

// Update tries new revisions: it starts one, watches whether its containers
// reach their goals and stay up, and then keeps it or goes back. Like Machine
// it does nothing by itself and belongs to one goroutine.
type Update struct {
	opts  UpdateOptions
	phase updatePhase

	running string // the revision that runs
	boot    Boot
	rev     string // the revision on its way
	reboot  bool   // it came with a restart of the system
	forced  bool   // LOCAL_RUN_COMMIT
	retries int
	timer   time.Time
	goals   GoalState
	stable  bool
	pending *Failure // came while the revision was being committed

	now time.Time
	out []Action

	watch func(from updatePhase, on updateInput, to updatePhase) // for the tests of the table
}

// NewUpdate returns the machine for a runtime that starts; Booted comes first.
func NewUpdate(opts UpdateOptions) *Update {
	if opts.Retries == 0 {
		opts.Retries = 10
	}
	return &Update{opts: opts}
}

// Handle takes an event that happened at now, which never goes back, and
// returns what follows from it.
func (u *Update) Handle(now time.Time, ev UpdateEvent) []Action {
	if now.After(u.now) {
		u.now = now
	}
	switch ev := ev.(type) {
	case Booted:
		u.booted(ev)
	case Observed:
		u.goals, u.stable = ev.Goals, ev.Stable
	case UpdateTick:
	default:
		on := ev.input()
		if !u.step(on, ev) {
			u.logf(LevelWarn, "ignoring %s: the update is %s", on, u.phase)
		}
	}
	u.advance()
	out := u.out
	u.out = nil
	return out
}

// Next returns when the next timer ends; ok is false if there is none.
func (u *Update) Next() (at time.Time, ok bool) {
	return u.timer, u.phase == testing && u.timer.After(u.now)
}

// Ongoing reports whether a revision is on its way. Some commands have to wait
// then.
func (u *Update) Ongoing() bool { return u.phase != idle }

// OnTrial reports whether the containers that run, or some of them, are those
// of a revision on its way: for Machine's event Updating.
func (u *Update) OnTrial() bool {
	return slices.Contains([]updatePhase{switching, trying, testing, settling}, u.phase)
}

// Revision returns the revision that runs.
func (u *Update) Revision() string { return u.running }

// Boot returns the boot file as the machine knows it.
func (u *Update) Boot() Boot { return u.boot }

func (u *Update) do(a ...Action) { u.out = append(u.out, a...) }

func (u *Update) logf(l Level, format string, args ...any) {
	u.do(Log{Level: l, Source: "update", Text: fmt.Sprintf(format, args...)})
}

// progress stores how far the revision is.
func (u *Update) progress(status, msg string) {
	p := NewProgress(status, msg, u.retries)
	u.do(SetProgress{Revision: u.rev, Progress: p})
}

// booted picks up what was going on before the runtime started
// (pv_update_resume in update/update.c).
func (u *Update) booted(ev Booted) {
	u.phase, u.running, u.boot = idle, ev.Running, ev.Boot
	u.retries, u.reboot, u.forced = ev.Progress.Retries, true, false
	if u.rev = ev.Boot.Try; u.rev == "" {
		u.rev = ev.Running
		u.bootedNormally(ev.Progress)
		return
	}
	trying, done := ev.Running == u.rev, ev.Progress.Status == ProgressDone
	switch failed := failedProgress(ev.Progress); {
	case failed && trying:
		u.rollback("revision " + u.rev + " failed before")
	case failed || done && !trying:
		u.logf(LevelInfo, "revision %s runs; %s is not tried again", u.running, u.rev)
		u.clearTry()
	case done:
		// The runtime was killed between the two writes of a commit.
		u.do(Commit{u.rev})
		u.phase = committing
	case !trying:
		u.logf(LevelWarn, "booting up after a rollback with no error info from disk")
		u.progress(ProgressError, MsgRolledBack)
		u.clearTry()
		u.finish()
	default:
		u.try(ev.Progress)
	}
}

// bootedNormally is a start without a revision to try.
func (u *Update) bootedNormally(stored pvctrl.Progress) {
	switch {
	case u.rev == FactoryRevision && stored.Status != ProgressDone && !failedProgress(stored):
		u.progress(ProgressInProgress, MsgTry)
		u.phase = trying
	case stored.Status == ProgressTesting || stored.Status == ProgressInProgress:
		// The boot file has the revision as the one to run, so it was
		// committed; only the last progress was not written.
		u.progress(ProgressDone, MsgDone)
	}
}

// try starts the trial of a revision after a restart. Every further start of
// the same trial, after the runtime was killed, counts.
func (u *Update) try(stored pvctrl.Progress) {
	if stored.StatusMsg == MsgTry || stored.Status == ProgressTesting {
		u.retries++
		if u.retries >= u.opts.Retries {
			u.progress(ProgressError, MsgRetries)
			u.rollback("revision " + u.rev + " was tried too often")
			return
		}
	}
	u.logf(LevelInfo, "loading update data from rev '%s' after reboot...", u.rev)
	u.progress(ProgressInProgress, MsgTry)
	u.phase = trying
}

func (u *Update) clearTry() {
	u.boot.Try = ""
	u.do(ClearTry{})
}

// finish is the end of an update.
func (u *Update) finish() {
	u.do(Finished{u.rev})
	u.phase, u.timer = idle, time.Time{}
}

// rollback restarts the system with the revision before, if there is one.
func (u *Update) rollback(reason string) {
	u.timer = time.Time{}
	if u.boot.Try == "" {
		// Nothing but the revision itself would start again.
		u.do(GiveUp{Reason: reason})
		u.phase = idle
		return
	}
	u.do(Reboot{Reason: reason, Rollback: true})
	u.phase = leaving
}

// advance makes the moves that follow from the goals, the commit delay and the
// containers' stability. The factory revision is not tried, so nothing follows
// for it.
func (u *Update) advance() {
	for {
		switch {
		case u.phase == trying && u.rev != FactoryRevision && u.goals == GoalTimedOut:
			u.step(onMissed, nil)
		case u.phase == trying && u.rev != FactoryRevision && u.goals == GoalAchieved:
			u.step(onReached, nil)
		case u.phase == testing && !u.now.Before(u.timer):
			u.step(onDelay, nil)
		case u.phase == settling && u.stable:
			u.step(onStable, nil)
		default:
			return
		}
	}
}

func (u *Update) goalsMissed(UpdateEvent) {
	u.logf(LevelError, "timed out before all goals were met. Rolling back...")
	u.progress(ProgressError, MsgGoalFailed)
	u.rollback("the containers of revision " + u.rev + " did not reach their goals in time")
}

func (u *Update) goalsReached(UpdateEvent) {
	u.timer = u.now.Add(u.opts.CommitDelay)
	u.logf(LevelInfo, "committing new update in %d seconds", int(u.opts.CommitDelay.Seconds()))
	msg := MsgTesting
	if u.reboot {
		msg = MsgTestingReboot
	}
	u.progress(ProgressTesting, msg)
	u.phase = testing
}

func (u *Update) delayOver(UpdateEvent) {
	if u.phase = settling; !u.stable {
		u.progress(ProgressTesting, MsgStabilityWait)
	}
}

// final keeps the revision. One that came without a restart is not a rollback
// point yet: it stays the one to try, and the next start tries it again.
func (u *Update) final(UpdateEvent) {
	u.timer = time.Time{}
	if !u.reboot {
		u.progress(ProgressUpdated, MsgUpdated)
		u.finish()
		return
	}
	u.logf(LevelInfo, "preparing revision %s to be commited...", u.rev)
	u.do(Commit{u.rev})
	u.phase = committing
}

package lifecycle

import (
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// The steps of the table. Each does what belongs to its move and returns the
// phase it leads to.

func (m *Machine) this(u *unit) Run { return Run{u.def.Name, u.run} }

func (m *Machine) stay(u *unit, _ news) phase { return u.phase }

func (m *Machine) block(u *unit, _ news) phase {
	m.set(u, pvctrl.StatusBlocked)
	return waiting
}

func (m *Machine) mount(u *unit, _ news) phase {
	m.logf(LevelDebug, "state", "platform '%s' from group '%s' can be started now", u.def.Name, u.def.Group.Name)
	m.runs++
	u.run = m.runs
	m.do(Mount{m.this(u)})
	return mounting
}

func (m *Machine) mounted(u *unit, _ news) phase {
	m.set(u, pvctrl.StatusMounted)
	if u.def.StatusGoal == pvctrl.StatusMounted {
		return resting
	}
	m.logf(LevelDebug, "platforms", "starting platform '%s'", u.def.Name)
	u.started, u.late, u.early = m.now, false, false
	u.goalBy = m.now.Add(u.def.Group.Timeout)
	u.stable, u.stableAt = false, time.Time{}
	u.userStopped, u.gaveUp, u.then = false, false, thenNothing
	m.do(Start{m.this(u)})
	m.set(u, pvctrl.StatusStarting)
	return starting
}

func (m *Machine) start(u *unit, n news) phase {
	u.pid = n.pid
	m.logf(LevelDebug, "platforms", "started platform '%s' with pid %d", u.def.Name, n.pid)
	m.set(u, pvctrl.StatusStarted)
	if u.early {
		return m.toReady(u, n)
	}
	return started
}

// readyEarly remembers a signal that overtook the news of the start.
func (m *Machine) readyEarly(u *unit, _ news) phase {
	u.early = true
	return starting
}

func (m *Machine) toReady(u *unit, _ news) phase {
	m.set(u, pvctrl.StatusReady)
	return ready
}

// refuse gives up a container that cannot be mounted or started. That is no
// crash: the revision fails, whatever the recovery policy says.
func (m *Machine) refuse(u *unit, n news) phase {
	m.logf(LevelError, "state", "platform %s could not be started: %s", u.def.Name, n.text)
	m.toStopped(u)
	m.fail(Failure{Kind: ContainerRefused, Container: u.def.Name, Reason: n.text})
	return stopped
}

// toStopped is the way into STOPPED, which always ends with the volumes gone.
func (m *Machine) toStopped(u *unit) {
	hasMounts := u.phase != waiting && u.phase != recovering && u.phase != stopped
	m.set(u, pvctrl.StatusStopped)
	if hasMounts {
		m.do(Unmount{m.this(u)})
	}
}

// toInstalled begins anew.
func (m *Machine) toInstalled(u *unit) phase {
	m.set(u, pvctrl.StatusInstalled)
	return waiting
}

// userStop stops a container that has no process.
func (m *Machine) userStop(u *unit, _ news) phase {
	m.toStopped(u)
	u.userStopped = true
	return stopped
}

// halt stops a container that has no process, for an update or a shutdown.
func (m *Machine) halt(u *unit, _ news) phase {
	m.toStopped(u)
	return stopped
}

func (m *Machine) stop(u *unit, _ news) phase {
	m.logf(LevelDebug, "platforms", "leniently stopping platform '%s'", u.def.Name)
	m.do(Stop{m.this(u)})
	u.timer = m.now.Add(StopGrace)
	m.set(u, pvctrl.StatusStopping)
	return stopping
}

func (m *Machine) stopForUser(u *unit, n news) phase {
	u.then = thenUserStopped
	return m.stop(u, n)
}

func (m *Machine) stopForRestart(u *unit, n news) phase {
	u.then = thenRestart
	return m.stop(u, n)
}

// stopAgain sends the signal to the process that the first one did not find.
func (m *Machine) stopAgain(u *unit, n news) phase {
	u.pid = n.pid
	m.do(Stop{m.this(u)})
	return stopping
}

func (m *Machine) kill(u *unit, _ news) phase {
	m.logf(LevelWarn, "state", "platform '%s' did not exit after lenient stop, force stopping", u.def.Name)
	m.do(Kill{m.this(u)})
	u.timer = m.now.Add(StopGrace)
	return killing
}

// killAgain repeats the kill: for a process that came late, and for one that
// does not go.
func (m *Machine) killAgain(u *unit, n news) phase {
	if n.pid != 0 {
		u.pid = n.pid
	} else {
		m.logf(LevelWarn, "state", "platform '%s' is still there after it was killed", u.def.Name)
	}
	m.do(Kill{m.this(u)})
	u.timer = m.now.Add(StopGrace)
	return killing
}

// thenUser and thenAgain change what follows a stop that is under way.
func (m *Machine) thenUser(u *unit, _ news) phase {
	u.then = thenUserStopped
	return u.phase
}

func (m *Machine) thenAgain(u *unit, _ news) phase {
	u.then = thenRestart
	return u.phase
}

// ended is the end of a container that was being stopped.
func (m *Machine) ended(u *unit, _ news) phase {
	m.logf(LevelDebug, "state", "platform '%s' exited during lenient stop", u.def.Name)
	m.toStopped(u)
	switch u.then {
	case thenUserStopped:
		u.userStopped, u.then = true, thenNothing
	case thenRestart:
		u.then = thenNothing
		return m.afresh(u, news{})
	}
	return stopped
}

// afresh starts a container at the user's wish: what went before is forgotten.
func (m *Machine) afresh(u *unit, _ news) phase {
	u.userStopped, u.gaveUp, u.retries, u.notBefore = false, false, 0, time.Time{}
	return m.toInstalled(u)
}

func (m *Machine) retry(u *unit, _ news) phase {
	m.logf(LevelInfo, "state", "recovery timer finished for platform '%s'. Restarting...", u.def.Name)
	return m.toInstalled(u)
}

// crash decides what happens to a container that ended by itself
// (pv_state_check_auto_recovery in state.c). How it ended does not matter:
// on-failure means always, and unless-stopped means no.
func (m *Machine) crash(u *unit, n news) phase {
	name, r := u.def.Name, u.def.Recovery
	m.logf(LevelInfo, "platforms", "platform '%s' ended: %s", name, n.text)
	m.toStopped(u)
	if r.ResetWindow > 0 && m.now.Sub(u.started) > r.ResetWindow {
		u.retries = 0
	}
	if r.Policy != system.RecoverAlways && r.Policy != system.RecoverOnFailure {
		m.logf(LevelError, "state", "platform '%s' suddenly stopped", name)
		m.fail(Failure{Kind: ContainerCrashed, Container: name,
			Reason: "it ended (" + n.text + "), and its recovery policy is " + string(r.Policy)})
		return stopped
	}
	if r.MaxRetries > 0 && u.retries >= r.MaxRetries {
		return m.exhausted(u, n)
	}
	u.retries++
	delay := r.Delay(u.retries)
	m.logf(LevelInfo, "state", "platform '%s' crashed. Attempting auto-recovery (attempt %d/%d) in %d seconds...",
		name, u.retries, r.MaxRetries, int(delay.Seconds()))
	if delay <= 0 {
		u.notBefore = u.started.Add(RestartGap)
		return m.toInstalled(u)
	}
	return m.recover(u, delay)
}

// recover waits for the next try.
func (m *Machine) recover(u *unit, delay time.Duration) phase {
	u.timer = m.now.Add(delay)
	m.set(u, pvctrl.StatusRecovering)
	return recovering
}

// exhausted is a crash with no retry left.
func (m *Machine) exhausted(u *unit, n news) phase {
	name, r := u.def.Name, u.def.Recovery
	m.logf(LevelWarn, "state", "platform '%s' reached max retries (%d).", name, r.MaxRetries)
	switch {
	case m.updating:
		m.logf(LevelWarn, "state", "a revision on trial fails with that")
	case r.Backoff.Kind == system.BackoffNever:
		m.logf(LevelWarn, "state", "backoff_policy=never: platform '%s' stays stopped", name)
		u.gaveUp = true
		return stopped
	case r.Backoff.Kind == system.BackoffDuration:
		m.logf(LevelWarn, "state", "backoff_policy=%ds: the retries begin again then", int(r.Backoff.After.Seconds()))
		u.retries = 0
		return m.recover(u, r.Backoff.After)
	default:
		m.logf(LevelWarn, "state", "backoff_policy=reboot: the system restarts")
	}
	m.logf(LevelError, "state", "platform '%s' suddenly stopped", name)
	m.fail(Failure{Kind: ContainerCrashed, Container: name,
		Reason: "it ended (" + n.text + ") after all its retries"})
	return stopped
}

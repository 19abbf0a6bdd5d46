package lifecycle

import (
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// GoalState says how far containers are from their goals. The values are in
// the order in which the worst one counts.
type GoalState int

// The goal states (plat_goal_state_t in platforms.h).
const (
	GoalNone       GoalState = iota // beyond the goal: recovering, stopping or stopped
	GoalAchieved                    // there
	GoalUnachieved                  // on the way
	GoalTimedOut                    // the time for it is over
)

// goal compares a container's status with its goal (pv_platform_check_goal).
func (u *unit) goal() GoalState {
	switch {
	case u.status == u.def.StatusGoal:
		return GoalAchieved
	case u.status < pvctrl.StatusStarting:
		return GoalUnachieved
	case u.status >= u.def.StatusGoal:
		return GoalNone
	case u.late:
		return GoalTimedOut
	}
	return GoalUnachieved
}

// waitsForGoal reports whether the goal's timer runs.
func (u *unit) waitsForGoal() bool {
	return u.phase == starting || u.phase == started && u.status < u.def.StatusGoal
}

// running reports whether the container's process is known to run and is not
// being stopped.
func (u *unit) running() bool { return u.phase == started || u.phase == ready }

// groupGoal is the worst of a group's members, at least GoalAchieved.
func (m *Machine) groupGoal(group int) GoalState {
	worst := GoalAchieved
	for _, u := range m.units {
		if u.group == group {
			worst = max(worst, u.goal())
		}
	}
	return worst
}

// held reports whether a container must wait for a group before its own. What
// counts is that no such group is on the way: one that has run out of time
// lets the next ones start.
func (m *Machine) held(u *unit) bool {
	for g := range u.group {
		if m.groupGoal(g) == GoalUnachieved {
			return true
		}
	}
	return false
}

// Goals is the worst goal state of all groups. Goals are reached when it is
// GoalAchieved, and missed when it is GoalTimedOut.
func (m *Machine) Goals() GoalState {
	worst := GoalAchieved
	for g := range m.groups {
		worst = max(worst, m.groupGoal(g))
	}
	return worst
}

// Stable reports whether no container has yet to prove that it stays up. A
// revision on trial is not finished before. Containers that a user stopped,
// that have no retries left, or that are only mounted need no proof.
func (m *Machine) Stable() bool {
	for _, u := range m.units {
		if u.def.Recovery.StableTimeout > 0 && !u.stable && !u.gaveUp && !u.userStopped &&
			u.def.StatusGoal != pvctrl.StatusMounted {
			return false
		}
	}
	return true
}

// set gives a container a status, and all that follows from it.
func (m *Machine) set(u *unit, s pvctrl.Status) {
	if u.status == s {
		return
	}
	u.status = s
	m.announce(u)
	m.goalReached(u)
	m.evaluateGroup(u.group)
}

// announce tells a container's new status.
func (m *Machine) announce(u *unit) {
	m.logf(LevelInfo, "platforms", "platform '%s' status is now %s", u.def.Name, u.status)
	m.do(SetStatus{u.def.Name, u.status})
}

func (m *Machine) goalReached(u *unit) {
	if u.goal() != GoalAchieved {
		return
	}
	if s := u.def.StatusGoal; s != pvctrl.StatusMounted {
		timeout, took := int(u.def.Group.Timeout.Seconds()), int(m.now.Sub(u.started).Seconds())
		left, side := timeout-took, "till"
		if u.late {
			left, side = took-timeout, "over"
		}
		m.logf(LevelInfo, "platforms", "platform '%s' reached its status goal; took %d secs; %d secs %s timeout (of %d)",
			u.def.Name, took, left, side, timeout)
	}
	if t := u.def.Recovery.StableTimeout; t > 0 {
		u.stableAt = m.now.Add(t)
	}
}

// evaluateGroup computes a group's status: READY unless a member misses its
// goal with a lower status (pv_group_eval_status in group.c).
func (m *Machine) evaluateGroup(group int) {
	if group < 0 {
		return
	}
	s := pvctrl.StatusReady
	for _, u := range m.units {
		if u.group == group && u.status != u.def.StatusGoal {
			s = min(s, u.status)
		}
	}
	if m.groups[group] == s || m.closing && s > m.groups[group] {
		return // what is stopped for good does not become READY by that
	}
	m.groups[group] = s
	name := m.sys.Groups[group].Name
	m.logf(LevelInfo, "group", "group '%s' status is now %s", name, s)
	m.do(SetGroup{name, s})
	m.evaluateSystem()
}

func (m *Machine) evaluateSystem() {
	s := pvctrl.StatusReady
	for _, g := range m.groups {
		s = min(s, g)
	}
	if m.status == s {
		return
	}
	m.status = s
	m.logf(LevelInfo, "state", "state revision '%s' status is now %s", m.revision, s)
	m.do(SetSystem{s})
}

// Status is the system's status: the lowest of its groups.
func (m *Machine) Status() pvctrl.Status { return m.status }

// Failure returns why the revision does not work, or nil.
func (m *Machine) Failure() *Failure { return m.failure }

// System returns the system that the machine runs.
func (m *Machine) System() *system.System { return m.sys }

// PID returns the pid of a container's last start, also when that is over; -1
// before the first one.
func (m *Machine) PID(container string) int {
	if u := m.unit(container); u != nil {
		return u.pid
	}
	return -1
}

// Current returns the container's present run; ok is false when it has none.
func (m *Machine) Current(container string) (r Run, ok bool) {
	u := m.unit(container)
	if u == nil || u.phase == waiting || u.phase == recovering || u.phase == stopped {
		return Run{}, false
	}
	return m.this(u), true
}

// Containers returns the entries of GET /containers.
func (m *Machine) Containers() []pvctrl.Container {
	out := make([]pvctrl.Container, 0, len(m.units))
	for _, u := range m.units {
		group := u.def.Group.Name
		c := pvctrl.Container{
			Name: u.def.Name, Group: &group, Status: u.status, StatusGoal: u.def.StatusGoal,
			RestartPolicy: string(u.def.RestartPolicy), Roles: u.def.Roles,
		}
		if r := u.def.Recovery; r.Policy != system.RecoverNo {
			c.AutoRecovery = &pvctrl.AutoRecovery{
				Policy: string(r.Policy), MaxRetries: r.MaxRetries, CurrentRetries: u.retries,
				StableTimeout: int(r.StableTimeout.Seconds()), IsStable: pvctrl.Bool(u.stable),
				BackoffPolicy: r.Backoff.String(),
			}
		}
		if u.def.RestartPolicy == system.RestartContainer {
			stopped := pvctrl.Bool(u.userStopped)
			c.UserStopped = &stopped
		}
		out = append(out, c)
	}
	return out
}

// Groups returns the entries of GET /groups.
func (m *Machine) Groups() []pvctrl.Group {
	out := make([]pvctrl.Group, 0, len(m.groups))
	for i, g := range m.sys.Groups {
		e := pvctrl.Group{
			Name: g.Name, StatusGoal: g.StatusGoal, RestartPolicy: string(g.RestartPolicy), Status: m.groups[i],
		}
		if r := g.Recovery; r.Policy != system.RecoverNo {
			e.AutoRecovery = &pvctrl.GroupRecovery{
				MaxRetries: r.MaxRetries, StableTimeout: int(r.StableTimeout.Seconds()), BackoffPolicy: r.Backoff.String(),
			}
		}
		out = append(out, e)
	}
	return out
}

// Links returns the entries of GET /xconnect-graph.
func (m *Machine) Links() []pvctrl.Link { return m.sys.Graph(m.PID) }

package lifecycle

import (
	"fmt"
	"slices"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// The delays that no setting changes.
const (
	// StopGrace is how long a container may take to end after its halt
	// signal (pv_platform_stop in platforms.c).
	StopGrace = 5 * time.Second

	// RestartGap is the least time between two starts of a container that
	// ends by itself. The runtime's loop has such a gap of its own; without
	// one, a container with no retry delay that ends at once would keep
	// the machine busy for ever.
	RestartGap = time.Second
)

// Machine decides what happens to the containers of a system, and knows their
// statuses. It does nothing by itself and has no clock: it is told events with
// their time and answers with actions. A Machine belongs to one goroutine.
type Machine struct {
	sys      *system.System
	revision string
	units    []*unit // in the order of sys.Containers, then those on their way out
	groups   []pvctrl.Status
	status   pvctrl.Status

	begun    bool
	updating bool
	retiring bool
	closing  bool
	failure  *Failure

	runs int       // the last run's number
	now  time.Time // of the event at hand
	out  []Action

	watch func(from phase, on input, to phase) // for the tests of the table
}

// unit is a container in the machine.
type unit struct {
	def    *system.Container
	group  int
	phase  phase
	status pvctrl.Status
	run    int
	pid    int // of the last start; -1 before the first

	timer     time.Time // ends stopping, killing and recovering
	notBefore time.Time // of the next start
	started   time.Time // the last start
	goalBy    time.Time // when the goal must be reached
	late      bool      // it was not
	stableAt  time.Time // when the container counts as stable; zero: not armed
	stable    bool

	retries     int
	userStopped bool
	gaveUp      bool // no retries left, and backoff "never"
	early       bool // ready before Started
	then        next // what follows a stop
}

// next is what follows when a container that is being stopped is down.
type next int

const (
	thenNothing next = iota
	thenUserStopped
	thenRestart
	thenGone
)

// New returns a machine for a system that does not run yet.
func New(sys *system.System, revision string) *Machine {
	m := &Machine{sys: sys, revision: revision, status: pvctrl.StatusNone}
	for _, c := range sys.Containers {
		m.units = append(m.units, m.newUnit(c))
	}
	m.resetGroups()
	return m
}

// resetGroups gives every group the status of one without members.
func (m *Machine) resetGroups() {
	m.groups = make([]pvctrl.Status, len(m.sys.Groups))
	for i := range m.groups {
		m.groups[i] = pvctrl.StatusReady
	}
}

func (m *Machine) newUnit(c *system.Container) *unit {
	return &unit{def: c, group: slices.Index(m.sys.Groups, c.Group), pid: -1}
}

// Handle takes an event that happened at now, which never goes back, and
// returns what follows from it.
func (m *Machine) Handle(now time.Time, ev Event) []Action {
	m.enter(now)
	switch ev := ev.(type) {
	case Begin:
		m.begin()
	case Mounted:
		m.tell(ev.Run, inMounted, "", 0)
	case Started:
		m.tell(ev.Run, inStarted, "", ev.PID)
	case Failed:
		in := inFailed
		if ev.Refused {
			in = inRefused
		}
		m.tell(ev.Run, in, ev.Reason, 0)
	case Exited:
		m.tell(ev.Run, inExited, ev.Status, 0)
	case Updating:
		m.updating = ev.On
	case Retire:
		m.retire(ev.Containers)
	case Adopt:
		m.adopt(ev.System, ev.Revision)
	case Shutdown:
		m.shutdown()
	}
	return m.leave()
}

func (m *Machine) enter(now time.Time) {
	if now.After(m.now) {
		m.now = now
	}
}

// leave lets everything happen that is due, and returns the actions.
func (m *Machine) leave() []Action {
	m.pass()
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) do(a ...Action) { m.out = append(m.out, a...) }

func (m *Machine) logf(l Level, source, format string, args ...any) {
	m.do(Log{Level: l, Source: source, Text: fmt.Sprintf(format, args...)})
}

// begin checks the required services, once and before anything starts, and
// installs the containers. Pantavisor checks in every pass and restarts the
// system when a service is missing, for ever (pv_state_validate_services in
// state.c); here nothing starts and the failure says why.
func (m *Machine) begin() {
	if m.begun || m.closing {
		return
	}
	m.begun = true
	m.install()
	m.checkServices()
}

// install gives the containers that have no status yet their first one. The
// groups follow when all have it, so that none of them shows NONE.
func (m *Machine) install() {
	for _, u := range m.units {
		if u.status == pvctrl.StatusNone {
			u.status = pvctrl.StatusInstalled
			m.announce(u)
		}
	}
	for g := range m.groups {
		m.evaluateGroup(g)
	}
	m.evaluateSystem()
}

func (m *Machine) checkServices() {
	missing := m.sys.MissingServices()
	if len(missing) == 0 {
		return
	}
	reason := ""
	for i, s := range missing {
		m.logf(LevelError, "state", "required service '%s' for platform '%s' not found: %v", s.Service, s.Consumer, s)
		if i > 0 {
			reason += "; "
		}
		reason += s.Error()
	}
	m.fail(Failure{Kind: MissingServices, Missing: missing, Reason: reason})
}

// fail notes the first failure; the others are its consequences.
func (m *Machine) fail(f Failure) {
	if m.failure == nil && !m.closing {
		m.failure = &f
		m.do(f)
	}
}

// tell gives news of a run to its container.
func (m *Machine) tell(r Run, in input, text string, pid int) {
	if u := m.unit(r.Container); u != nil && u.run == r.Number {
		m.step(u, in, news{text: text, pid: pid})
	}
}

func (m *Machine) unit(name string) *unit {
	for _, u := range m.units {
		if u.def.Name == name {
			return u
		}
	}
	return nil
}

// pass lets everything happen whose time has come, and starts what may start.
func (m *Machine) pass() {
	if !m.begun {
		return
	}
	for _, u := range m.units {
		m.deadlines(u)
	}
	for _, u := range m.units {
		switch {
		case u.phase != waiting || m.failure != nil || m.retiring:
		case m.held(u):
			m.step(u, inHold, news{})
		case !m.now.Before(u.notBefore):
			m.step(u, inGo, news{})
		}
	}
	m.settled()
}

// deadlines lets a container's timers end.
func (m *Machine) deadlines(u *unit) {
	due := func(t time.Time) bool { return !t.IsZero() && !m.now.Before(t) }
	if due(u.timer) {
		m.step(u, inTimer, news{})
	}
	if u.waitsForGoal() && !u.late && due(u.goalBy) {
		u.late = true
		m.logf(LevelError, "platforms", "platform '%s' status goal timed out after waiting for more than %d secs",
			u.def.Name, int(u.def.Group.Timeout.Seconds()))
	}
	if u.running() && !u.stable && due(u.stableAt) {
		u.stable = true
		m.logf(LevelInfo, "platforms", "platform '%s' is now STABLE (survived %d seconds)",
			u.def.Name, int(u.def.Recovery.StableTimeout.Seconds()))
	}
}

// Next returns when the next timer ends; ok is false if there is none. It is
// always later than the last event.
func (m *Machine) Next() (at time.Time, ok bool) {
	consider := func(t time.Time) {
		if t.After(m.now) && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	for _, u := range m.units {
		consider(u.timer)
		if u.waitsForGoal() && !u.late {
			consider(u.goalBy)
		}
		if u.running() && !u.stable {
			consider(u.stableAt)
		}
		if u.phase == waiting {
			consider(u.notBefore)
		}
	}
	return at, ok
}

// settled says that a retirement or a shutdown is complete.
func (m *Machine) settled() {
	if !m.retiring && !m.closing {
		return
	}
	for _, u := range m.units {
		if (m.closing || u.then == thenGone) && u.phase != stopped {
			return
		}
	}
	if m.closing {
		if m.begun {
			m.begun = false
			m.do(Down{})
		}
		return
	}
	m.retiring = false
	m.do(Retired{})
}

func (m *Machine) retire(names []string) {
	if m.closing || !m.begun {
		return
	}
	m.retiring = true
	for _, name := range names {
		if u := m.unit(name); u != nil {
			m.step(u, inDown, news{})
			u.then = thenGone
		}
	}
}

func (m *Machine) shutdown() {
	if m.closing {
		return
	}
	m.closing, m.begun = true, true
	m.logf(LevelDebug, "state", "leniently stopping state %s", m.revision)
	for _, u := range m.units {
		m.step(u, inDown, news{})
		u.then = thenGone
	}
}

// adopt moves to another system. What is not retired and still there keeps
// its life.
func (m *Machine) adopt(sys *system.System, revision string) {
	if m.closing {
		return
	}
	old := m.units
	m.sys, m.revision, m.units, m.retiring = sys, revision, nil, false
	m.resetGroups()
	for _, c := range sys.Containers {
		u := take(&old, c.Name)
		if u == nil {
			u = m.newUnit(c)
		}
		u.def, u.group = c, slices.Index(sys.Groups, c.Group)
		m.units = append(m.units, u)
	}
	for _, u := range old {
		if u.phase != stopped && u.phase != waiting && u.phase != recovering {
			// It was not retired; leave nothing of it behind.
			m.do(Kill{m.this(u)}, Unmount{m.this(u)})
		}
	}
	if m.failure != nil && m.failure.Kind == MissingServices {
		m.failure = nil // the new system may have them
	}
	m.begun = true
	m.install()
	m.checkServices()
}

// take removes a container that stays from a list and returns it, or nil.
func take(units *[]*unit, name string) *unit {
	i := slices.IndexFunc(*units, func(u *unit) bool { return u.def.Name == name && u.then != thenGone })
	if i < 0 {
		return nil
	}
	u := (*units)[i]
	*units = slices.Delete(*units, i, i+1)
	return u
}

package lifecycle

import (
	"net/http"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Refusal is a request that the API answers with an error. It has what the
// answer needs.
type Refusal struct {
	Status     int    // of HTTP
	RetryAfter int    // seconds; 0: no such header
	Text       string // for {"Error": …}
}

func (r *Refusal) Error() string { return r.Text }

// The verbs of PUT /containers/{name}.
const (
	VerbStart   = "start"
	VerbStop    = "stop"
	VerbRestart = "restart"
)

// refused returns a refusal as an error.
func refused(status int, text string) error { return &Refusal{Status: status, Text: text} }

// Controllable says whether a user may start and stop a container. The error
// is a *Refusal. The API asks this before it reads the request's body.
func (m *Machine) Controllable(container string) error {
	u := m.unit(container)
	switch {
	case u == nil:
		return refused(http.StatusNotFound, "Container not found")
	case u.def.RestartPolicy != system.RestartContainer:
		return refused(http.StatusForbidden, "Container has restart_policy 'system' and cannot be controlled via API")
	}
	return nil
}

// User does what a user asks of a container (ctrl/ctrl_containers_ep.c). The
// error is a *Refusal; without one the request is accepted, and the container
// follows in its own time.
func (m *Machine) User(now time.Time, container, verb string) ([]Action, error) {
	if err := m.Controllable(container); err != nil {
		return nil, err
	}
	in, ok := map[string]input{VerbStart: inStart, VerbStop: inStop, VerbRestart: inRestart}[verb]
	if !ok {
		return nil, refused(http.StatusBadRequest, "Invalid action. Use 'start', 'stop', or 'restart'")
	}
	u := m.unit(container)
	if find(u.phase, in) == nil {
		if in == inRestart {
			return nil, refused(http.StatusBadRequest, "Container state does not allow restart")
		}
		return nil, refused(http.StatusBadRequest, "Container must be in STOPPED, STOPPING, or RECOVERING state to start")
	}
	m.enter(now)
	if u.then == thenGone {
		// An update or a shutdown has the container; it will not come
		// back in this form.
		return m.leave(), nil
	}
	m.step(u, in, news{})
	return m.leave(), nil
}

// signalRefusal is the answer to every signal that does not fit.
const signalRefusal = "Signal not expected from this platform"

// Signal takes a signal from inside a container (ctrl/ctrl_signal_ep.c). Only
// "ready" means something, and only from a container whose goal is READY. The
// error is a *Refusal.
func (m *Machine) Signal(now time.Time, container, kind string) ([]Action, error) {
	u := m.unit(container)
	if u == nil || kind != "ready" || u.def.StatusGoal != pvctrl.StatusReady || find(u.phase, inReady) == nil {
		return nil, refused(http.StatusInternalServerError, signalRefusal)
	}
	m.enter(now)
	m.step(u, inReady, news{})
	return m.leave(), nil
}

package appengine_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// What happens is told to who listens at GET /events.
func TestEventStream(t *testing.T) {
	mesh, err := xconnect()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, actor("one", nil, app, "services: {exports: [{name: n, type: unix, socket: /run/n}]}"),
		actor("two", nil, app, "services: {required: [{name: n, target: /run/m}]}"))
	r.opts.XConnect = []string{mesh}
	r.start().ready()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	events, err := r.ctrl.Events(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	before, err := r.ctrl.Graph(ctx, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.ctrl.Step(ctx, "0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		r.ctrl.DaemonAction(ctx, "pv-xconnect", "stop"),
		r.ctrl.ContainerAction(ctx, "one", "restart"),
		r.ctrl.PutStep(ctx, "locals/next", state),
	); err != nil {
		t.Fatal(err)
	}
	run := func() {
		err := r.ctrl.Command(ctx, pvctrl.Command{Op: pvctrl.OpLocalRun, Payload: "locals/next"})
		if err != nil {
			t.Error(err)
		}
	}
	// What is waited for, and how to know it.
	missing := map[string]func(pvctrl.Event) bool{
		"the daemon ends": func(e pvctrl.Event) bool {
			return e.Type == pvctrl.EventDaemon && is(t, e, func(d pvctrl.Daemon) bool { return d.Name == "pv-xconnect" && d.PID == -1 })
		},
		"the container is stopping": func(e pvctrl.Event) bool {
			return e.Type == pvctrl.EventContainer && is(t, e, func(c pvctrl.Container) bool { return c.Name == "one" && c.Status == pvctrl.StatusStopping })
		},
		"the graph has another pid": func(e pvctrl.Event) bool {
			return e.Type == pvctrl.EventGraph && is(t, e, func(g pvctrl.GraphChange) bool { return g.Links == 1 && g.Tag != before.Tag })
		},
		"the update is tested": func(e pvctrl.Event) bool {
			return e.Type == pvctrl.EventProgress && is(t, e, func(p pvctrl.StepProgress) bool { return p.Name == "locals/next" && p.Progress.Status == "TESTING" })
		},
	}
	asked := false
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		for what, arrived := range missing {
			if arrived(e) {
				delete(missing, what)
			}
		}
		if len(missing) == 1 && !asked { // the update comes after the rest
			asked = true
			run()
		}
		if len(missing) == 0 {
			return
		}
	}
	for what := range missing {
		t.Errorf("not told: %s", what)
	}
}

// is decodes an event's data.
func is[T any](t *testing.T, e pvctrl.Event, f func(T) bool) bool {
	t.Helper()
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		t.Errorf("event %s: %v", e.Data, err)
	}
	return f(v)
}

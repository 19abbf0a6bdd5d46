package appengine

import (
	"context"
	"errors"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/daemons"
	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// backend is who answers pv-ctrl's requests.
func (c *cycle) backend() ctrl.Backend {
	return ctrl.Backend{
		Containers: running{c}, Groups: running{c}, Signals: running{c}, Graph: running{c}, Drivers: running{c},
		Objects: objects{c}, Steps: steps{c}, UserMeta: c.userMeta(), DeviceMeta: c.deviceMeta(),
		Commands: commands{c}, Settings: shown{c}, Daemons: helpers{c}, GC: collector{c},
		BuildInfo: buildInfo(c.opts.BuildInfo), Wakelocks: wakelocks(c.settings.Word(settings.PowerMode)),
	}
}

// running answers for what runs.
type running struct{ *cycle }

func (c *cycle) snapshot() (*snapshot, error) {
	if n := c.sup.snap.Load(); n != nil {
		return n, nil
	}
	return nil, ctrl.ErrNoState
}

// running is the revision that runs, "" for none yet.
func (c *cycle) running() string {
	if n := c.sup.snap.Load(); n != nil {
		return n.revision
	}
	return ""
}

func (r running) Containers(context.Context) ([]pvctrl.Container, error) {
	n, err := r.snapshot()
	if err != nil {
		return nil, err
	}
	return n.containers, nil
}

func (r running) Groups(context.Context) ([]pvctrl.Group, error) {
	n, err := r.snapshot()
	if err != nil {
		return nil, err
	}
	return n.groups, nil
}

func (r running) Links(context.Context) ([]pvctrl.Link, error) {
	n, err := r.snapshot()
	if err != nil {
		return nil, err
	}
	return n.links, nil
}

func (r running) GraphChanged() <-chan struct{} { return r.sup.changed.next() }

func (r running) Mgmt(name string) (mgmt, known bool) {
	n, err := r.snapshot()
	if err != nil {
		return false, false
	}
	mgmt, known = n.mgmt[name]
	return mgmt, known
}

// answer turns the machine's refusals into the API's.
func answer(err error) error {
	if r, ok := errors.AsType[*lifecycle.Refusal](err); ok {
		return &ctrl.Error{Status: r.Status, Text: r.Text, RetryAfter: r.RetryAfter}
	}
	return err
}

func (r running) ContainerAction(ctx context.Context, name string, a ctrl.Action) error {
	if _, err := r.snapshot(); err != nil {
		return err
	}
	return answer(r.sup.ask(ctx, func() error {
		actions, err := r.sup.machine.User(time.Now(), name, string(a))
		r.sup.act(actions)
		return err
	}))
}

func (r running) Signal(ctx context.Context, caller string, sig pvctrl.Signal) error {
	if _, err := r.snapshot(); err != nil {
		return err
	}
	return answer(r.sup.ask(ctx, func() error {
		actions, err := r.sup.machine.Signal(time.Now(), caller, sig.Type)
		r.sup.act(actions)
		return err
	}))
}

// driversOf lists what GET /drivers shows of each container. An appengine has
// no list of drivers of a board, so their status is the one of a driver that is not
// in it (pv_drivers_state_str), none is ever loaded, and asking is no error.
func driversOf(sys *system.System) map[string][]pvctrl.Driver {
	all := map[string][]pvctrl.Driver{}
	for _, c := range sys.Containers {
		for _, d := range c.Drivers {
			all[c.Name] = append(all[c.Name], pvctrl.Driver{Name: d.Name, Type: string(d.Need), Status: "UNKNOWN"})
		}
	}
	return all
}

func (r running) Drivers(_ context.Context, caller string) ([]pvctrl.Driver, error) {
	n, err := r.snapshot()
	if err != nil {
		return nil, nil // before a state is loaded nobody has drivers
	}
	return n.drivers[caller], nil
}

func (r running) LoadDrivers(context.Context, string, string) error   { return nil }
func (r running) UnloadDrivers(context.Context, string, string) error { return nil }

// shown answers for the settings.
type shown struct{ *cycle }

func (s shown) Aliases(context.Context) ([]pvctrl.Alias, error)    { return s.settings.Aliases(), nil }
func (s shown) Settings(context.Context) ([]pvctrl.Setting, error) { return s.settings.List(), nil }

// helpers answers for the daemons.
type helpers struct{ *cycle }

func (h helpers) Daemons(context.Context) ([]pvctrl.Daemon, error) { return h.daemons.List(), nil }

func (h helpers) DaemonAction(_ context.Context, name string, a ctrl.Action) error {
	err := h.daemons.Do(name, string(a))
	if errors.Is(err, daemons.ErrNotFound) {
		return errors.Join(ctrl.ErrNotFound, err)
	}
	return err
}

package ctrl_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/internal/golden"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// The page is the table's.
func TestReference(t *testing.T) {
	golden.Check(t, "REFERENCE.md", []byte(ctrl.Reference()))
}

// failing is a backend of which everything but what is looked up first fails.
type failing struct {
	err   error
	lists bool
}

func (f *failing) Containers(context.Context) ([]pvctrl.Container, error) {
	if f.lists {
		return []pvctrl.Container{{Name: "{name}", RestartPolicy: "container"}}, nil
	}
	return nil, f.err
}

func (f *failing) Daemons(context.Context) ([]pvctrl.Daemon, error) {
	if f.lists {
		return []pvctrl.Daemon{{Name: "{name}"}}, nil
	}
	return nil, f.err
}

func (f *failing) ContainerAction(context.Context, string, ctrl.Action) error { return f.err }
func (f *failing) Mgmt(string) (mgmt, known bool)                             { return false, false }
func (f *failing) Groups(context.Context) ([]pvctrl.Group, error)             { return nil, f.err }
func (f *failing) Signal(context.Context, string, pvctrl.Signal) error        { return f.err }
func (f *failing) Objects(context.Context) ([]pvctrl.Object, error)           { return nil, f.err }
func (f *failing) OpenObject(context.Context, string) (io.ReadCloser, error)  { return nil, f.err }
func (f *failing) PutObject(context.Context, string, int64, io.Reader) error  { return f.err }
func (f *failing) Steps(context.Context) ([]pvctrl.Step, error)               { return nil, f.err }
func (f *failing) Step(context.Context, string) ([]byte, error)               { return nil, f.err }
func (f *failing) PutStep(context.Context, string, []byte) error              { return f.err }
func (f *failing) StepProgress(context.Context, string) ([]byte, error)       { return nil, f.err }
func (f *failing) PutCommitMsg(context.Context, string, string) error         { return f.err }
func (f *failing) Meta(context.Context) ([]pvctrl.MetaEntry, error)           { return nil, f.err }
func (f *failing) PutMeta(context.Context, string, string) error              { return f.err }
func (f *failing) DeleteMeta(context.Context, string) error                   { return f.err }
func (f *failing) Drivers(context.Context, string) ([]pvctrl.Driver, error)   { return nil, f.err }
func (f *failing) LoadDrivers(context.Context, string, string) error          { return f.err }
func (f *failing) UnloadDrivers(context.Context, string, string) error        { return f.err }
func (f *failing) Command(context.Context, pvctrl.Command) error              { return f.err }
func (f *failing) Aliases(context.Context) ([]pvctrl.Alias, error)            { return nil, f.err }
func (f *failing) Settings(context.Context) ([]pvctrl.Setting, error)         { return nil, f.err }
func (f *failing) Links(context.Context) ([]pvctrl.Link, error)               { return nil, f.err }
func (f *failing) GraphChanged() <-chan struct{}                              { return nil }
func (f *failing) DaemonAction(context.Context, string, ctrl.Action) error    { return f.err }
func (f *failing) CollectGarbage(context.Context) (int64, error)              { return 0, f.err }
func (f *failing) BuildInfo() []byte                                          { return nil }
func (f *failing) Wakelocks(context.Context) (pvctrl.Wakelocks, error) {
	return pvctrl.Wakelocks{}, f.err
}

// Whatever the backend says becomes the refusal that the table shows.
func TestRefusals(t *testing.T) {
	f := &failing{}
	c := pvctrl.NewClient(serve(t, ctrl.Options{Owner: as(pvctrl.HostName), Backend: ctrl.Backend{Containers: f, Groups: f, Signals: f,
		Objects: f, Steps: f, UserMeta: f, DeviceMeta: f, Drivers: f, Commands: f, Settings: f, Graph: f, Daemons: f, GC: f, BuildInfo: f, Wakelocks: f}}))
	bodies := map[string]string{
		"/containers/{name}": `{"action":"start"}`, "/daemons/{name}": `{"action":"stop"}`,
		"/signal": `{"type":"ready"}`, "/commands": `{"op":"RUN_GC","payload":""}`,
	}
	n := 0
	for _, r := range ctrl.Routes() {
		if r.Path == "/buildinfo" || r.Path == "/events" { // they cannot fail
			continue
		}
		f.lists = bodies[r.Path] != ""
		body := bodies[r.Path]
		if r.Limit != 0 && body == "" {
			body = "x"
		}
		path := strings.Replace(r.Path, "{sha256}", strings.Repeat("0", 64), 1)
		cases := map[error]*ctrl.Error{
			errors.New("anything"):                                                   r.Failed,
			fmt.Errorf("write: %w", syscall.ENOSPC):                                  ctrl.ErrNoSpace,
			fmt.Errorf("write: %w", syscall.EDQUOT):                                  ctrl.ErrNoSpace,
			&ctrl.StateError{Text: "Secureboot: no signature", Err: errors.New("x")}: {Status: 422, Text: "Secureboot: no signature"},
		}
		if r.Missing != nil {
			cases[fmt.Errorf("look: %w", ctrl.ErrNotFound)] = r.Missing
		}
		for _, e := range r.Refuses {
			cases[fmt.Errorf("do: %w", e)] = e
		}
		for err, want := range cases {
			f.err = err
			resp, derr := c.Do(t.Context(), r.Method, path, []byte(body))
			if derr != nil {
				t.Fatal(derr)
			}
			text := `{"Error":"` + want.Text + `"}`
			if want.Status == 204 {
				text = ""
			}
			retry := ""
			if want.RetryAfter > 0 {
				retry = fmt.Sprint(want.RetryAfter)
			}
			if resp.Status != want.Status || string(resp.Body) != text || resp.Header.Get("Retry-After") != retry {
				t.Errorf("%s %s, %v: %d %s %s; want %d %s %s", r.Method, r.Path, err, resp.Status, resp.Header.Get("Retry-After"), resp.Body, want.Status, retry, text)
			}
			n++
		}
	}
	t.Logf("%d refusals", n)
}

// A server that nobody answers for is not made.
func TestNewNeedsAll(t *testing.T) {
	if _, err := ctrl.New(ctrl.Options{}); err == nil || !strings.Contains(err.Error(), "Containers") {
		t.Errorf("New = %v", err)
	}
}

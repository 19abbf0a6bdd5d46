package ctrl_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// start serves a machine to the container and gives a client of it.
func start(t testing.TB, caller string) (*pvctrl.Client, *ctrltest.Machine) {
	t.Helper()
	events := ctrl.NewEvents()
	m := ctrltest.NewMachine(events)
	return pvctrl.NewClient(serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(caller), Events: events})), m
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused checks an answer that is no success.
func refused(t *testing.T, err error, status int, text string) {
	t.Helper()
	e, ok := errors.AsType[*pvctrl.StatusError](err)
	if !ok || e.Status != status || e.Text != text {
		t.Errorf("%v; want %d %s", err, status, text)
	}
}

func TestClientReads(t *testing.T) {
	c, m := start(t, pvctrl.HostName)
	ctx := t.Context()
	containers := must[[]pvctrl.Container](t)(c.Containers(ctx))
	if want, _ := m.Containers(ctx); !reflect.DeepEqual(containers, want) {
		t.Errorf("containers %+v, want %+v", containers, want)
	}
	groups := must[[]pvctrl.Group](t)(c.Groups(ctx))
	if want, _ := m.Groups(ctx); !reflect.DeepEqual(groups, want) {
		t.Errorf("groups %+v, want %+v", groups, want)
	}
	daemons := must[[]pvctrl.Daemon](t)(c.Daemons(ctx))
	if want, _ := m.Daemons(ctx); !reflect.DeepEqual(daemons, want) {
		t.Errorf("daemons %+v, want %+v", daemons, want)
	}
	settings := must[[]pvctrl.Setting](t)(c.Settings(ctx))
	if want, _ := m.Settings(ctx); !reflect.DeepEqual(settings, want) {
		t.Errorf("settings %+v, want %+v", settings, want)
	}
	if conf := must[map[string]any](t)(c.Config(ctx)); conf["log.level"] != 4.0 || conf["control.remote"] != false || conf["policy"] != nil || len(conf) != 5 {
		t.Errorf("config %v", conf)
	}
	if locks := must[pvctrl.Wakelocks](t)(c.Wakelocks(ctx)); locks != (pvctrl.Wakelocks{Mode: "disabled"}) {
		t.Errorf("wakelocks %+v", locks)
	}
	if drivers := must[[]pvctrl.Driver](t)(c.Drivers(ctx)); drivers != nil {
		t.Errorf("drivers %v", drivers)
	}
	if text := must[[]byte](t)(c.BuildInfo(ctx)); len(text) != 0 {
		t.Errorf("buildinfo %q", text)
	}
	links, _ := m.Links(ctx)
	if g := must[*pvctrl.Reply](t)(c.Graph(ctx, "", 0)); !reflect.DeepEqual(g.Graph.Links, links) || g.Tag != ctrl.GraphTag(links) {
		t.Errorf("graph %+v", g)
	}
}

func TestClientSteps(t *testing.T) {
	c, m := start(t, pvctrl.HostName)
	ctx := t.Context()
	state := must[[]byte](t)(c.Step(ctx, "current"))
	if err := c.PutStep(ctx, "locals/next", state); err != nil {
		t.Fatal(err)
	}
	if err := c.PutCommitMsg(ctx, "locals/next", `a "message"`); err != nil {
		t.Fatal(err)
	}
	if got := must[[]byte](t)(c.Step(ctx, "locals/next")); !bytes.Equal(got, state) {
		t.Errorf("state %q", got)
	}
	steps := must[[]pvctrl.Step](t)(c.Steps(ctx))
	if len(steps) != 2 || steps[1].Name != "locals/next" || steps[1].CommitMsg != `a "message"` {
		t.Errorf("steps %+v", steps)
	}
	if err := c.Command(ctx, pvctrl.Command{Op: pvctrl.OpLocalRun, Payload: "locals/next"}); err != nil {
		t.Fatal(err)
	}
	err := c.Command(ctx, pvctrl.Command{Op: pvctrl.OpRunGC})
	refused(t, err, 503, "A command is already in progress. Try again")
	if e, ok := errors.AsType[*pvctrl.StatusError](err); !ok || e.RetryAfter != 2*time.Minute {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	m.Tick()
	if p := must[pvctrl.Progress](t)(c.Progress(ctx, "current")); p.Status != "TESTING" || p.Percent != 75 {
		t.Errorf("progress %+v", p)
	}
	refused(t, c.Command(ctx, pvctrl.Command{Op: pvctrl.OpMakeFactory}), 503, "Cannot do this operation while update is ongoing")
	refused(t, c.Command(ctx, pvctrl.Command{Op: pvctrl.OpUpdateMetadata}), 409, "Cannot do this operation while on local mode")
	m.Tick()
	r := must[*pvctrl.Response](t)(c.Do(ctx, "POST", "/commands", []byte(`{"op":"UNCLAIM","payload":""}`)))
	if r.Status != 204 || len(r.Body) != 0 || r.Err() != nil {
		t.Errorf("nothing to be done: %d %s", r.Status, r.Body)
	}
	refused(t, c.PutStep(ctx, "locals/"+strings.Repeat("x", 65), state), 400, "Request has bas step name")
	refused(t, c.PutStep(ctx, "locals/bad", []byte("{}")), 422, "Parser: State JSON has bad format")
	refused(t, c.PutStep(ctx, "7", state), 400, "Method not supported for this endpoint")
	refused(t, c.PutCommitMsg(ctx, "0", ""), 400, "No commit message")
	refused(t, c.PutCommitMsg(ctx, "0", strings.Repeat("x", 257)), 507, "Not enough disk space available")
	if _, err := c.Step(ctx, "locals/a/b"); err == nil {
		t.Error("a revision with two slashes was asked for")
	}
}

func TestClientObjects(t *testing.T) {
	c, _ := start(t, ctrltest.Client)
	ctx := t.Context()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, size := range []int64{int64(len(big)), -1} {
		sum := sha256.Sum256(big)
		name := hex.EncodeToString(sum[:])
		if err := c.PutObject(ctx, name, size, io.MultiReader(bytes.NewReader(big))); err != nil {
			t.Fatal(err)
		}
		r := must[io.ReadCloser](t)(c.Object(ctx, name))
		if got := must[[]byte](t)(io.ReadAll(r)); !bytes.Equal(got, big) || r.Close() != nil {
			t.Errorf("%d bytes came back", len(got))
		}
		if list := must[[]pvctrl.Object](t)(c.Objects(ctx)); len(list) != 1 || list[0] != (pvctrl.Object{SHA256: name, Size: "1048576"}) {
			t.Errorf("objects %v", list)
		}
		if n := must[int64](t)(c.CollectGarbage(ctx)); n != int64(len(big)) {
			t.Errorf("%d bytes collected", n)
		}
	}
	name := strings.Repeat("a", 64)
	refused(t, c.PutObject(ctx, name, 3, strings.NewReader("abc")), 422, "Object has bad checksum")
	refused(t, c.PutObject(ctx, strings.Repeat("Z", 64), 3, strings.NewReader("abc")), 422, "Object has bad checksum")
	refused(t, c.PutObject(ctx, "short", 3, strings.NewReader("abc")), 400, "Request has bad object name")
	_, err := c.Object(ctx, name)
	refused(t, err, 400, "Request has bad object name")
}

func TestClientActs(t *testing.T) {
	c, m := start(t, pvctrl.HostName)
	ctx := t.Context()
	for _, kind := range []pvctrl.MetaKind{pvctrl.UserMeta, pvctrl.DeviceMeta} {
		before := must[[]pvctrl.MetaEntry](t)(c.Meta(ctx, kind))
		value := "a \"value\" \\ with é and \x01"
		if err := errors.Join(c.PutMeta(ctx, kind, "k", value), c.PutMeta(ctx, kind, "doc", `{"a": [1]}`)); err != nil {
			t.Fatal(err)
		}
		want := append([]pvctrl.MetaEntry{{Key: "doc", Value: `{"a": [1]}`}, {Key: "k", Value: value}}, before...)
		if got := must[[]pvctrl.MetaEntry](t)(c.Meta(ctx, kind)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %q, want %q", kind, got, want)
		}
		if err := errors.Join(c.DeleteMeta(ctx, kind, "k"), c.DeleteMeta(ctx, kind, "doc")); err != nil {
			t.Fatal(err)
		}
		title := map[pvctrl.MetaKind]string{pvctrl.UserMeta: "User", pvctrl.DeviceMeta: "Device"}[kind]
		refused(t, c.DeleteMeta(ctx, kind, "k"), 404, title+" meta does not exist")
		refused(t, c.PutMeta(ctx, kind, "k", ""), 400, "Cannot add or update "+strings.ToLower(title)+" meta")
		refused(t, c.PutMeta(ctx, kind, "k", strings.Repeat("x", 4097)), 507, "Not enough disk space available")
		if err := c.PutMeta(ctx, kind, "a/b", "x"); err == nil {
			t.Error("a key with a slash was put")
		}
	}
	if err := c.ContainerAction(ctx, ctrltest.Norole, "stop"); err != nil {
		t.Fatal(err)
	}
	if all := must[[]pvctrl.Container](t)(c.Containers(ctx)); all[0].Status != pvctrl.StatusStopped || !bool(*all[0].UserStopped) {
		t.Errorf("stopped: %+v", all[0])
	}
	m.SetStatus(ctrltest.Norole, pvctrl.StatusInstalled)
	refused(t, c.ContainerAction(ctx, ctrltest.Norole, "start"), 400, "Container must be in STOPPED, STOPPING, or RECOVERING state to start")
	refused(t, c.ContainerAction(ctx, ctrltest.Norole, "restart"), 400, "Container state does not allow restart")
	refused(t, c.ContainerAction(ctx, ctrltest.Norole, "pause"), 400, "Invalid action. Use 'start', 'stop', or 'restart'")
	refused(t, c.ContainerAction(ctx, ctrltest.Server, "stop"), 403, "Container has restart_policy 'system' and cannot be controlled via API")
	if err := errors.Join(c.DaemonAction(ctx, "pv-xconnect", "stop"), c.LoadDrivers(ctx, ""), c.UnloadDrivers(ctx, "wifi")); err != nil {
		t.Fatal(err)
	}
	if all := must[[]pvctrl.Daemon](t)(c.Daemons(ctx)); all[1].PID != -1 || all[1].Respawn {
		t.Errorf("daemon %+v", all[1])
	}
	refused(t, c.DaemonAction(ctx, "none", "stop"), 404, "Daemon not found")
	refused(t, c.Signal(ctx, pvctrl.Signal{Type: "ready"}), 500, "Signal not expected from this platform")
	r := must[*pvctrl.Response](t)(c.Do(ctx, "GET", "/nope?x", nil))
	if r.Status != 400 || string(r.Body) != `{"Error":"unknown endpoint: /nope?x"}` {
		t.Errorf("Do: %d %s", r.Status, r.Body)
	}
}

// A container without the role may tell that it is ready, and nothing else.
func TestClientWithoutRole(t *testing.T) {
	c, m := start(t, ctrltest.Norole)
	ctx := t.Context()
	refused(t, c.Signal(ctx, pvctrl.Signal{Type: "ready"}), 500, "Signal not expected from this platform")
	m.SetGoal(ctrltest.Norole, pvctrl.StatusReady)
	refused(t, c.Signal(ctx, pvctrl.Signal{Type: "alive"}), 500, "Signal not expected from this platform")
	for range 2 {
		if err := c.Signal(ctx, pvctrl.Signal{Type: "ready"}); err != nil {
			t.Error(err)
		}
	}
	if all, _ := m.Containers(ctx); all[0].Status != pvctrl.StatusReady {
		t.Errorf("the status is %v", all[0].Status)
	}
	for _, r := range ctrl.Routes() {
		if r.Access == ctrl.Anyone {
			continue
		}
		want := `{"Error":"Request not sent from a mgmt platform"}`
		if strings.Contains(r.Path, "{") {
			want = `{"Error":"Request not sent from mgmt platform"}`
		}
		resp := must[*pvctrl.Response](t)(c.Do(ctx, r.Method, r.Path, nil))
		if resp.Status != 403 || string(resp.Body) != want {
			t.Errorf("%s %s: %d %s", r.Method, r.Path, resp.Status, resp.Body)
		}
	}
}

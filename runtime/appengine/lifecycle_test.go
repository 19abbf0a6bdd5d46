package appengine_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// pid is a container's process, 0 when none runs.
func (r *rig) pid(name string) int {
	list, err := rundir.Read(r.opts.RunDir)
	if err != nil {
		return 0
	}
	c, ok := rundir.Find(list, name)
	if !ok || !c.Alive() {
		return 0
	}
	return c.PID
}

func httpStatus(err error) int {
	if e, ok := errors.AsType[*pvctrl.StatusError](err); ok {
		return e.Status
	}
	return 0
}

// Users start and stop what may be controlled alone, and nothing else; a
// container that takes no signal is killed when its time is over.
func TestUserControl(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", does("say=up", "wait"), app), actor("stubborn", does("stubborn"), app), actor("system", nil, "group: root"))
	r.start().ready()
	ctx := context.Background()
	act := func(name, what string) error { return r.ctrl.ContainerAction(ctx, name, what) }
	up := func(times int) {
		eventually(t, "calm is up", func() bool { return strings.Count(r.console("0", "calm"), "up") == times })
	}
	up(1)

	first := r.pid("calm")
	if err := act("calm", "restart"); err != nil || first == 0 {
		t.Fatal(first, err)
	}
	eventually(t, "another process", func() bool { p := r.pid("calm"); return p != 0 && p != first })
	up(2)
	if err := act("calm", "stop"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "STOPPED", func() bool { return r.status("calm") == "STOPPED" && r.pid("calm") == 0 })
	list, err := r.ctrl.Containers(ctx)
	i := slices.IndexFunc(list, func(c pvctrl.Container) bool { return c.Name == "calm" })
	if err != nil || i < 0 || list[i].UserStopped == nil || !bool(*list[i].UserStopped) {
		t.Errorf("%+v, %v", list, err)
	}
	if err := act("calm", "start"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "STARTED", func() bool { return r.status("calm") == "STARTED" && r.pid("calm") != 0 })
	if n := strings.Count(r.console("0", "calm"), "ended by"); n != 2 {
		t.Errorf("it was asked to end %d times:\n%s", n, r.console("0", "calm"))
	}

	began := time.Now()
	if err := act("stubborn", "stop"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "STOPPED", func() bool { return r.status("stubborn") == "STOPPED" })
	if took := time.Since(began); took < 4*time.Second || took > 8*time.Second {
		t.Errorf("killed after %v, want about 5s", took)
	}

	if got := httpStatus(act("system", "stop")); got != http.StatusForbidden {
		t.Errorf("the system's own container: %d", got)
	}
	if got := httpStatus(act("nobody", "stop")); got != http.StatusNotFound {
		t.Errorf("no container: %d", got)
	}
}

// A program without a handler for the halt signal does not get it, as the first
// of its pid namespace: it is killed soon. One that has the handler a little
// later gets it then.
func TestDeaf(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("deaf", does("deaf"), app), actor("late", does("say=late", "sleep=400ms", "wait"), app))
	r.start().ready()
	for _, name := range []string{"late", "deaf"} {
		eventually(t, name+" is up", func() bool { return strings.Contains(r.console("0", name), name) })
		if err := r.ctrl.ContainerAction(t.Context(), name, "restart"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "late has the signal", func() bool { return strings.Contains(r.console("0", "late"), "ended by power failure") })
	for _, name := range []string{"late", "deaf"} {
		eventually(t, "a second "+name+" one", func() bool { return strings.Count(r.console("0", name), name) == 2 })
	}
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the end took %v, want about half a second", took)
	}
	if text := r.log(); strings.Count(text, "does not handle its halt signal") < 2 || strings.Contains(text, "force stopping") {
		t.Error("want the reason in the log, and no kill after the grace period")
	}
}

// A container that ends by itself starts again, after its delay, until it stays.
func TestRecovery(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("weak", does("count=/data/runs"), "group: app", "restart_policy: container", "volumes: [\"/data:permanent\"]",
		"auto_recovery: {policy: on-failure, max_retries: 2, retry_delay: 1, backoff_policy: never}"))
	r.start()
	eventuallyIn(t, 15*time.Second, "three runs", func() bool { return strings.Contains(r.console("0", "weak"), "run 3") })
	eventually(t, "it stays stopped", func() bool { return r.status("weak") == "STOPPED" })
	time.Sleep(1500 * time.Millisecond)
	if strings.Contains(r.console("0", "weak"), "run 4") {
		t.Error("there was a fourth run after two retries")
	}
}

// A container without the role mgmt sees its own things below /pantavisor and
// gets 403 through its socket, except for signals.
func TestRoleNobody(t *testing.T) {
	t.Parallel()
	words := does("ls=/pantavisor", "request=GET:/containers:", "request=PUT:/containers/other:", `request=POST:/signal:{"type":"ready","payload":""}`, "wait")
	r := newRig(t,
		actor("nobody", words, "group: app", "restart_policy: container", "roles: [nobody]", "status_goal: READY"),
		actor("other", does("ls=/pantavisor", "request=GET:/groups:", "wait"), app))
	r.start().ready()
	eventually(t, "READY by its signal", func() bool { return r.status("nobody") == "READY" })
	eventually(t, "the answer to it", func() bool { return strings.Contains(r.console("0", "nobody"), "POST /signal: ") })
	text := r.console("0", "nobody")
	for _, want := range []string{
		"entry device-meta\r\nentry logs\r\nentry pv-ctrl\r\nentry pv-ctrl-log\r\nentry user-meta\r\n",
		`GET /containers: HTTP/1.0 403 Forbidden {"Error":"Request not sent from a mgmt platform"}`,
		`PUT /containers/other: HTTP/1.0 403 Forbidden {"Error":"Request not sent from mgmt platform"}`,
		"POST /signal: HTTP/1.0 200 OK",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	eventually(t, "the other's console", func() bool { return strings.Contains(r.console("0", "other"), "GET /groups") })
	text = r.console("0", "other")
	for _, want := range []string{"entry challenge", "entry device-id", "entry phconfig", "entry pv-fd-log", "entry user-meta.nobody", "entry device-meta.pantavisor", "GET /groups: HTTP/1.0 200 OK"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A crash that nothing recovers restarts the runtime.
func TestCrashRestarts(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("brief", does("count=/data/runs", "sleep=200ms", "exit=3"), "group: root", "volumes: [\"/data:permanent\"]"))
	r.start()
	eventually(t, "a second cycle", func() bool { return strings.Contains(r.console("0", "brief"), "run 2") })
	r.stop()
	if r.err != nil {
		t.Error(r.err)
	}
	nothingLeft(t, r)
}

// Commands end the runtime or start it anew.
func TestRebootAndPoweroff(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	r.start().ready()
	first := r.pid("calm")
	r.command(pvctrl.OpRebootDevice, "test")
	eventually(t, "another process", func() bool { p := r.pid("calm"); return p != 0 && p != first })
	r.ready()
	r.command(pvctrl.OpPoweroffDevice, "test")
	r.wait()
	if r.err != nil || r.end != appengine.PoweredOff {
		t.Errorf("%v, %v", r.end, r.err)
	}
	for _, name := range []string{"pv-ctrl", "containers.json"} {
		if _, err := os.Lstat(r.opts.RunDir + "/" + name); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	nothingLeft(t, r)
}

// A required service that nobody offers is an error with both names, at once.
func TestMissingService(t *testing.T) {
	t.Parallel()
	r := newRig(t, "../../examples/pv-example-unix-client")
	r.start().wait()
	if !errors.Is(r.err, appengine.ErrMissingService) ||
		!strings.Contains(r.err.Error(), "raw-unix") || !strings.Contains(r.err.Error(), "pv-example-unix-client") {
		t.Errorf("%v", r.err)
	}
	if got := r.storedProgress("0"); !strings.HasPrefix(got, "DONE") {
		// As upstream: revision 0 is done once it is understood and whole.
		t.Errorf("progress %s", got)
	}
}

// The graph changes with a restart, and who waits for it hears of it at once.
func TestGraphNotification(t *testing.T) {
	t.Parallel()
	r := newRig(t, "../../examples/pv-example-unix-server", "../../examples/pv-example-unix-client")
	r.start().ready()
	ctx := context.Background()
	reply, err := r.ctrl.Graph(ctx, "", 0)
	if err != nil || len(reply.Graph.Links) != 1 || reply.Tag == "" {
		t.Fatal(reply, err)
	}
	old := reply.Graph.Links[0].ProviderPID
	told := make(chan time.Time, 1)
	go func() {
		if next, err := r.ctrl.Graph(ctx, reply.Tag, 20*time.Second); err == nil && next.Waits && next.Graph != nil && next.Graph.Links[0].ProviderPID != old {
			told <- time.Now()
		}
	}()
	time.Sleep(50 * time.Millisecond) // so that the request waits
	if err := r.ctrl.ContainerAction(ctx, "pv-example-unix-server", "restart"); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-told:
		e := r.saw("the start", func(e appengine.Event) bool {
			return e.Kind == appengine.EventContainer && e.Status == "STARTED" && e.PID != old && e.Container == "pv-example-unix-server"
		})
		if d := at.Sub(e.Time); d > time.Second { // and not at the next interval of 5 s
			t.Errorf("told %v after the start", d)
		} else {
			t.Logf("told %v after the start", d)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
}

// storedProgress reads it from the disk, without an engine.
func (r *rig) storedProgress(rev string) string {
	b, err := os.ReadFile(r.opts.Storage + "/trails/" + rev + "/.pv/progress")
	if err != nil {
		r.t.Fatal(err)
	}
	var p pvctrl.Progress
	if err := json.Unmarshal(b, &p); err != nil {
		r.t.Fatal(err)
	}
	return p.Status + " " + p.StatusMsg + " " + strconv.Itoa(p.Percent)
}

// A line and a key that have no effect are named where a person sees them.
func TestVainWishes(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("app", nil, app, `args: {PV_LXC_EXTRA_CONF: "lxc.hook.start = /x"}`))
	if err := os.Rename(r.device(`{"groups": [{"name": "app"}], "ingress": {}}`), filepath.Join(r.exports, "00-device.pvrexport.tgz")); err != nil {
		t.Fatal(err)
	}
	r.start().ready()
	for _, want := range []string{`app/lxc.container.conf: line `, `lxc.hook.start: hooks are not run: "/x" ignored`, `device.json: warning: ingress: the runtime ignores this key`} {
		r.saw(want, func(e appengine.Event) bool { return e.Kind == appengine.EventNote && strings.Contains(e.Text, want) })
		eventually(t, want+" in the log", func() bool { return strings.Contains(r.log(), want) })
	}
}

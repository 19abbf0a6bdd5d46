package appengine_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// variant builds another definition of a container for an update.
func (r *rig) variant(def string) string {
	r.t.Helper()
	return export(r.t, r.t.TempDir(), def)
}

// boot is the boot state as text.
func (r *rig) boot() string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.opts.Storage, "boot", "uboot.txt"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(bytes.TrimRight(bytes.ReplaceAll(b, []byte{0}, []byte{' '}), " "))
}

// An update that changes only containers with the policy "container" replaces
// them and leaves the others alone.
func TestUpdateWithoutRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("stays", nil, app), actor("changes", does("say=old", "wait"), app))
	r.start().ready()
	stays, changes := r.pid("stays"), r.pid("changes")
	r.put("locals/two", r.variant(actor("changes", does("say=new", "wait"), app)), r.variant(actor("more", nil, app)))
	if got := r.progress("locals/two"); got != "NEW Update ready to be run" {
		t.Errorf("put: %s", got)
	}
	r.command(pvctrl.OpLocalRun, "locals/two")
	eventually(t, "UPDATED", func() bool { return strings.HasPrefix(r.progress("locals/two"), "UPDATED") })
	if p := r.pid("stays"); p != stays {
		t.Errorf("the container that did not change was process %d and is %d", stays, p)
	}
	if p := r.pid("changes"); p == changes || p == 0 || r.pid("more") == 0 {
		t.Errorf("the one that changed was process %d and is %d; the new one is %d", changes, p, r.pid("more"))
	}
	if !strings.Contains(r.console("locals/two", "changes"), "new") {
		t.Errorf("its console: %s", r.console("locals/two", "changes"))
	}
	if got := r.boot(); got != "pv_rev=0 pv_try=locals/two" {
		t.Errorf("boot state %q: one without a restart is not a rollback point", got)
	}
	if now, err := r.ctrl.Step(context.Background(), "current"); err != nil || !bytes.Contains(now, []byte(`"more/run.json"`)) {
		t.Errorf("current: %v\n%s", err, now)
	}
}

// An update whose container ends is rolled back, and says so.
func TestUpdateRolledBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", does("say=good", "wait"), app))
	r.start().ready()
	r.put("locals/bad", r.variant(actor("calm", does("exit=1"), app)))
	r.command(pvctrl.OpLocalRun, "locals/bad")
	eventually(t, "ERROR", func() bool { return r.progress("locals/bad") == "ERROR A container could not be started" })
	r.ready()
	eventually(t, "the good one runs", func() bool { return r.status("calm") == "STARTED" && r.boot() == "pv_rev=0" })
	eventually(t, "it runs for the second time", func() bool { return strings.Count(r.console("0", "calm"), "good") == 2 })
	if p, err := r.ctrl.Progress(context.Background(), "locals/bad"); err != nil || !strings.Contains(p.Logs, "platform 'calm' suddenly stopped") {
		t.Errorf("the progress has no logs: %+v, %v", p, err)
	}
}

// A revision that fails after a restart has the errors in its progress, too.
func TestRestartRolledBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("base", nil, "group: root"))
	r.start().ready()
	r.put("locals/bad", r.variant(actor("base", does("exit=1"), "group: root")))
	r.command(pvctrl.OpLocalRun, "locals/bad")
	eventually(t, "logs", func() bool {
		p, err := r.ctrl.Progress(context.Background(), "locals/bad")
		return err == nil && p.Status == "ERROR" && strings.Contains(p.Logs, "platform 'base' suddenly stopped")
	})
	eventually(t, "the good one runs", func() bool { return r.boot() == "pv_rev=0" && r.status("base") == "STARTED" })
	dir := filepath.Join(r.opts.Storage, "trails", "locals", "bad", ".pv")
	if text, err := os.ReadFile(filepath.Join(dir, "logs")); err != nil || !strings.Contains(string(text), "suddenly stopped") {
		t.Errorf("logs of the revision: %q %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "logs.tmp")); err == nil {
		t.Error("logs.tmp stays")
	}
}

// An update that changes a container of the system restarts it, and becomes
// what starts next when it has stayed up.
func TestUpdateWithRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("base", does("say=old", "wait"), "group: root"), actor("app", nil, app))
	r.start().ready()
	app := r.pid("app")
	r.put("locals/base", r.variant(actor("base", does("say=new", "wait"), "group: root")))
	r.command(pvctrl.OpLocalRun, "locals/base")
	eventually(t, "DONE", func() bool { return strings.HasPrefix(r.progress("locals/base"), "DONE") })
	if got := r.boot(); got != "pv_rev=locals/base" {
		t.Errorf("boot state %q", got)
	}
	if p := r.pid("app"); p == app || p == 0 {
		t.Errorf("a restart restarts all: %d, %d", app, p)
	}
	// And after a restart of its own.
	r.stop()
	r.start().ready()
	if now, err := r.ctrl.Step(context.Background(), "current"); err != nil || !strings.Contains(r.console("locals/base", "base"), "new") {
		t.Errorf("%v %s", err, now)
	}
}

// A container that does not reach its goal in time fails the update.
func TestUpdateGoalMissed(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	r.start().ready()
	r.put("locals/never", r.variant(actor("never", nil, "group: soon", "restart_policy: container", "status_goal: READY")),
		r.device(`{"groups":[{"name":"root","restart_policy":"container","status_goal":"STARTED","timeout":2},`+
			`{"name":"app","restart_policy":"container","status_goal":"STARTED","timeout":2},`+
			`{"name":"soon","restart_policy":"container","status_goal":"STARTED","timeout":1}]}`))
	r.command(pvctrl.OpLocalRun, "locals/never")
	eventually(t, "ERROR", func() bool { return r.progress("locals/never") == "ERROR Status goal not reached" })
	r.ready()
}

// What cannot run is refused before anything is touched.
func TestUpdateRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	r.start().ready()
	pid := r.pid("calm")
	r.command(pvctrl.OpLocalRun, "locals/nothing")
	r.log() // the command is over when the next is taken
	file := r.variant(actor("other", does("say=different", "wait"), app))
	r.put("locals/hole", file)
	// Its objects are gone before it is run.
	r.command(pvctrl.OpRunGC, "")
	eventually(t, "the revision went with the garbage", func() bool { return r.progress("locals/hole") == "" })
	r.put("locals/hole", file)
	os.Remove(r.objectOf("locals/hole", "other/root.squashfs"))
	r.command(pvctrl.OpLocalRun, "locals/hole")
	eventually(t, "WONTGO", func() bool { return r.progress("locals/hole") == "WONTGO Object validation went wrong" })
	time.Sleep(100 * time.Millisecond)
	if r.pid("calm") != pid || r.boot() != "pv_rev=0" {
		t.Errorf("process %d is %d, boot state %s", pid, r.pid("calm"), r.boot())
	}
}

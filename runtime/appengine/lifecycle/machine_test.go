package lifecycle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

const up = "0s INSTALLED, 0s MOUNTED, 0s STARTING, 0s STARTED"

func started(t *testing.T, members string, acts map[string]behaviour) *world {
	t.Helper()
	w := newWorld(t, parse(t, members))
	if acts != nil {
		w.acts = acts
	}
	w.send(lifecycle.Begin{})
	return w
}

// groups is a device.json.
func groups(list string) string { return `,"device.json":{"groups":[` + list + `]}` }

func TestGroups(t *testing.T) {
	t.Run("one after the other", func(t *testing.T) {
		w := started(t, run("a", `,"group":"root"`)+run("b", `,"group":"app"`)+run("c", `,"group":"platform"`),
			map[string]behaviour{"a": {mountTakes: time.Second, startTakes: 2 * time.Second}, "c": {startTakes: time.Second}})
		w.until(20 * time.Second)
		w.expect("a", "0s INSTALLED, 1s MOUNTED, 1s STARTING, 3s STARTED")
		w.expect("c", "0s INSTALLED, 0s BLOCKED, 3s MOUNTED, 3s STARTING, 4s STARTED")
		w.expect("b", "0s INSTALLED, 0s BLOCKED, 4s MOUNTED, 4s STARTING, 4s STARTED")
		w.expect("system", "0s INSTALLED, 1s MOUNTED, 1s BLOCKED, 3s MOUNTED, 3s BLOCKED, 4s MOUNTED, 4s STARTING, 4s READY")
	})
	t.Run("a group without members holds nobody", func(t *testing.T) {
		w := started(t, run("b", `,"group":"app"`), nil)
		w.until(time.Second)
		w.expect("b", up)
	})
	t.Run("mounted is enough", func(t *testing.T) {
		w := started(t, `,"d/run.json":{"name":"d","group":"data"}`+run("b", `,"group":"app"`), nil)
		w.until(time.Hour)
		w.expect("d", "0s INSTALLED, 0s MOUNTED")
		w.expect("b", "0s INSTALLED, 0s BLOCKED, 0s MOUNTED, 0s STARTING, 0s STARTED")
		if w.starts != 1 {
			t.Errorf("%d starts", w.starts)
		}
	})
	t.Run("a goal's time-out lets the next group start", func(t *testing.T) {
		w := started(t, groups(`{"name":"one","timeout":7},{"name":"two"}`)+
			run("a", `,"group":"one","status_goal":"READY"`)+run("b", `,"group":"two"`), nil)
		w.until(time.Minute)
		w.expect("a", up)
		w.expect("b", "0s INSTALLED, 0s BLOCKED, 7s MOUNTED, 7s STARTING, 7s STARTED")
		if w.m.Goals() != lifecycle.GoalTimedOut || w.m.Status() != pvctrl.StatusStarted {
			t.Errorf("goals %d, system %s", w.m.Goals(), w.m.Status())
		}
		if !w.logged("platform 'a' status goal timed out after waiting for more than 7 secs") {
			t.Error("no log line")
		}
	})
	t.Run("a recovering container holds nobody and lowers nothing", func(t *testing.T) {
		w := started(t, groups(`{"name":"one"},{"name":"two"}`)+
			run("a", `,"group":"one","auto_recovery":{"policy":"always","retry_delay":100}`)+run("b", `,"group":"two"`),
			map[string]behaviour{"a": {startFails: "no memory"}})
		w.until(time.Second)
		w.expect("a", "0s INSTALLED, 0s MOUNTED, 0s STARTING, 0s STOPPED, 0s RECOVERING")
		w.expect("b", "0s INSTALLED, 0s BLOCKED, 0s MOUNTED, 0s STARTING, 0s STARTED")
		if w.m.Goals() != lifecycle.GoalAchieved || w.m.Status() != pvctrl.StatusReady {
			t.Errorf("goals %d, system %s", w.m.Goals(), w.m.Status())
		}
	})
}

func TestReady(t *testing.T) {
	w := started(t, run("a", `,"group":"app","status_goal":"READY"`)+run("b", `,"group":"app"`),
		map[string]behaviour{"a": {startTakes: time.Second}})
	refused := func(name, kind string) {
		t.Helper()
		err := w.signal(name, kind)
		r, ok := err.(*lifecycle.Refusal)
		if !ok || r.Status != 500 || r.Text != "Signal not expected from this platform" {
			t.Errorf("%s from %s: %v", kind, name, err)
		}
	}
	refused("a", "ready") // it has not started
	w.until(500 * time.Millisecond)
	refused("b", "ready") // its goal is STARTED
	refused("_pv_", "ready")
	refused("a", "alive")
	if err := w.signal("a", "ready"); err != nil { // sooner than the news of its start
		t.Error(err)
	}
	w.until(2 * time.Second)
	if err := w.signal("a", "ready"); err != nil { // once more does not matter
		t.Error(err)
	}
	w.expect("a", "0s INSTALLED, 0s MOUNTED, 0s STARTING, 1s STARTED, 1s READY")
	if !w.logged("platform 'a' status is now READY") || !w.logged("group 'app' status is now READY") ||
		!w.logged("state revision '0' status is now READY") || !w.logged("platform 'a' reached its status goal; took 1 secs; 29 secs till timeout (of 30)") {
		t.Errorf("logs: %q", w.logs)
	}
}

func TestRecovery(t *testing.T) {
	for name, c := range map[string]struct {
		recovery string
		lives    time.Duration
		until    time.Duration
		starts   int
		want     string // the statuses after the first start
		failure  string
	}{
		"none":                           {`{"policy":"no"}`, time.Second, time.Minute, 1, ", 1s STOPPED", "1s a"},
		"unless-stopped is not acted on": {`{"policy":"unless-stopped"}`, time.Second, time.Minute, 1, ", 1s STOPPED", "1s a"},
		"no delay": {`{"policy":"always","max_retries":1}`, 2 * time.Second, time.Minute, 2,
			", 2s STOPPED, 2s INSTALLED, 2s MOUNTED, 2s STARTING, 2s STARTED, 4s STOPPED", "4s a"},
		"no delay and no life": {`{"policy":"on-failure","max_retries":2}`, time.Millisecond, time.Minute, 3, "", "2.001s a"},
		"the delay grows": {`{"policy":"on-failure","max_retries":3,"retry_delay":5,"backoff_factor":2.0}`, time.Second, time.Hour, 4,
			", 1s STOPPED, 1s RECOVERING, 6s INSTALLED, 6s MOUNTED, 6s STARTING, 6s STARTED" +
				", 7s STOPPED, 7s RECOVERING, 17s INSTALLED, 17s MOUNTED, 17s STARTING, 17s STARTED" +
				", 18s STOPPED, 18s RECOVERING, 38s INSTALLED, 38s MOUNTED, 38s STARTING, 38s STARTED" +
				", 39s STOPPED", "39s a"},
		"never": {`{"policy":"always","max_retries":1,"retry_delay":5,"backoff_policy":"never"}`, time.Second, time.Hour, 2,
			", 1s STOPPED, 1s RECOVERING, 6s INSTALLED, 6s MOUNTED, 6s STARTING, 6s STARTED, 7s STOPPED", ""},
		"again later": {`{"policy":"always","max_retries":1,"retry_delay":5,"backoff_policy":"1min"}`, time.Second, 75 * time.Second, 4,
			", 1s STOPPED, 1s RECOVERING, 6s INSTALLED, 6s MOUNTED, 6s STARTING, 6s STARTED" +
				", 7s STOPPED, 7s RECOVERING, 67s INSTALLED, 67s MOUNTED, 67s STARTING, 67s STARTED, 68s STOPPED, 68s RECOVERING" +
				", 73s INSTALLED, 73s MOUNTED, 73s STARTING, 73s STARTED, 74s STOPPED, 74s RECOVERING", ""},
		"for ever":          {`{"policy":"always","retry_delay":9}`, time.Second, 100 * time.Second, 11, "", ""},
		"reset window":      {`{"policy":"always","max_retries":1,"retry_delay":1,"reset_window":5}`, 6 * time.Second, 100 * time.Second, 15, "", ""},
		"no reset window":   {`{"policy":"always","max_retries":1,"retry_delay":1,"reset_window":7}`, 6 * time.Second, 100 * time.Second, 2, "", "13s a"},
		"the delay's limit": {`{"policy":"always","retry_delay":1000,"backoff_factor":1000}`, time.Second, 200 * time.Hour, 10, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, run("a", `,"group":"app","auto_recovery":`+c.recovery), map[string]behaviour{"a": {lives: c.lives}})
			w.until(c.until)
			if c.want != "" {
				w.expect("a", up+c.want)
			}
			w.expect("failure", c.failure)
			if w.starts != c.starts {
				t.Errorf("%d starts, want %d", w.starts, c.starts)
			}
		})
	}
}

// TestRecoveryOnTrial: an update fails with the last retry, whatever the
// backoff policy says.
func TestRecoveryOnTrial(t *testing.T) {
	for _, policy := range []string{"never", "1min"} {
		w := started(t, run("a", `,"group":"app","auto_recovery":{"policy":"always","max_retries":1,"retry_delay":1,"backoff_policy":"`+policy+`"}`),
			map[string]behaviour{"a": {lives: time.Second}})
		w.send(lifecycle.Updating{On: true})
		w.until(time.Minute)
		w.expect("failure", "3s a")
	}
}

func TestRefused(t *testing.T) {
	always := `,"group":"app","auto_recovery":{"policy":"always"}`
	for name, b := range map[string]behaviour{
		"mount": {mountFails: "no such image"},
		"start": {startFails: "references unknown pool 'x', refusing to start", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, run("a", always)+run("b", `,"group":"app"`), map[string]behaviour{"a": b})
			w.until(time.Minute)
			w.expect("failure", "0s a")
			if f := w.m.Failure(); f == nil || f.Kind != lifecycle.ContainerRefused || f.Reason != b.mountFails+b.startFails {
				t.Errorf("failure %+v", f)
			}
			if !strings.HasSuffix(w.of("a"), "STOPPED") {
				t.Errorf("a: %s", w.of("a"))
			}
		})
	}
}

func TestMissingServices(t *testing.T) {
	w := started(t, run("client", `,"group":"app","services":{"required":[{"name":"raw-unx"}]}`)+run("other", `,"group":"app"`)+
		run("server", `,"group":"app"`)+`,"server/services.json":{"services":[{"name":"raw-unix","type":"unix","socket":"/s"}]}`, nil)
	w.until(24 * time.Hour)
	f := w.m.Failure()
	if f == nil || f.Kind != lifecycle.MissingServices || len(f.Missing) != 1 || w.starts != 0 {
		t.Fatalf("failure %+v after %d starts", f, w.starts)
	}
	want := `container "client" requires the service "raw-unx", and no container exports it: did you mean "raw-unix" of "server"?`
	if f.String() != want {
		t.Errorf("got  %s\nwant %s", f, want)
	}
	w.expect("other", "0s INSTALLED")
	if !w.logged("required service 'raw-unx' for platform 'client' not found") {
		t.Error("no log line")
	}
	if _, ok := w.m.Next(); ok {
		t.Error("it waits for something")
	}
}

func TestStability(t *testing.T) {
	w := started(t, run("a", `,"group":"app","auto_recovery":{"policy":"always","retry_delay":1,"stable_timeout":10}`)+
		`,"d/run.json":{"name":"d","group":"data","auto_recovery":{"policy":"always","stable_timeout":10}}`,
		map[string]behaviour{"a": {lives: 15 * time.Second}})
	w.until(9 * time.Second)
	if w.m.Stable() {
		t.Error("stable after 9 s")
	}
	w.until(10 * time.Second)
	if !w.m.Stable() || !w.logged("platform 'a' is now STABLE (survived 10 seconds)") {
		t.Error("not stable after 10 s")
	}
	if r := w.m.Containers()[0].AutoRecovery; r == nil || !bool(r.IsStable) {
		t.Errorf("auto_recovery %+v", r)
	}
	w.until(17 * time.Second)
	if w.m.Stable() {
		t.Error("stable after a crash")
	}
}

func TestStop(t *testing.T) {
	app := run("a", `,"group":"app"`)
	t.Run("in time", func(t *testing.T) {
		w := started(t, app, map[string]behaviour{"a": {stopTakes: 4 * time.Second}})
		w.until(time.Second)
		if err := w.user("a", "stop"); err != nil {
			t.Fatal(err)
		}
		if userStopped(w, "a") {
			t.Error("user_stopped before it is down")
		}
		w.until(time.Hour)
		w.expect("a", up+", 1s STOPPING, 5s STOPPED")
		if !userStopped(w, "a") || w.starts != 1 {
			t.Errorf("user_stopped is false, or %d starts", w.starts)
		}
	})
	t.Run("stubborn", func(t *testing.T) {
		w := started(t, app, map[string]behaviour{"a": {stopTakes: -1, killTakes: time.Second}})
		w.until(time.Second)
		if err := w.user("a", "restart"); err != nil {
			t.Fatal(err)
		}
		w.until(time.Hour)
		w.expect("a", up+", 1s STOPPING, 7s STOPPED, 7s INSTALLED, 7s MOUNTED, 7s STARTING, 7s STARTED")
		if !w.logged("platform 'a' did not exit after lenient stop, force stopping") {
			t.Error("no log line")
		}
	})
	t.Run("unkillable", func(t *testing.T) {
		w := started(t, app, map[string]behaviour{"a": {stopTakes: -1, killTakes: -1}})
		w.until(0)
		w.user("a", "stop")
		w.until(time.Minute)
		if w.of("a") != up+", 0s STOPPING" || !w.logged("still there after it was killed") {
			t.Errorf("a: %s, logs %q", w.of("a"), w.logs)
		}
	})
	t.Run("before it runs", func(t *testing.T) {
		w := started(t, app, map[string]behaviour{"a": {startTakes: 2 * time.Second}})
		w.until(time.Second)
		w.user("a", "stop")
		w.until(time.Hour)
		w.expect("a", "0s INSTALLED, 0s MOUNTED, 0s STARTING, 1s STOPPING, 2s STOPPED")
	})
	t.Run("while it is mounted", func(t *testing.T) {
		w := started(t, app, map[string]behaviour{"a": {mountTakes: 2 * time.Second}})
		w.until(time.Second)
		w.user("a", "stop")
		w.user("a", "start")
		w.until(time.Hour)
		w.expect("a", "0s INSTALLED, 1s STOPPED, 1s INSTALLED, 3s MOUNTED, 3s STARTING, 3s STARTED")
	})
	t.Run("a change of mind", func(t *testing.T) {
		w := started(t, app, map[string]behaviour{"a": {stopTakes: 3 * time.Second}})
		w.until(time.Second)
		w.user("a", "stop")
		w.user("a", "start")
		w.until(time.Hour)
		w.expect("a", up+", 1s STOPPING, 4s STOPPED, 4s INSTALLED, 4s MOUNTED, 4s STARTING, 4s STARTED")
	})
	t.Run("while it recovers", func(t *testing.T) {
		w := started(t, app, map[string]behaviour{"a": {lives: time.Second}})
		w.until(2 * time.Second)
		w.user("a", "stop")
		w.until(time.Hour)
		w.expect("a", up+", 1s STOPPED, 1s RECOVERING, 2s STOPPED")
	})
	t.Run("all", func(t *testing.T) {
		w := started(t, app+run("b", `,"group":"root"`)+`,"d/run.json":{"name":"d","group":"data"}`, map[string]behaviour{"a": {stopTakes: -1}})
		w.until(time.Second)
		w.send(lifecycle.Shutdown{})
		w.until(4 * time.Second)
		if w.down {
			t.Error("down, and a runs")
		}
		w.until(time.Hour)
		if !w.down || w.lives["d"].mounted || w.lives["a"].mounted {
			t.Errorf("down %t, %+v", w.down, w.lives)
		}
		w.expect("failure", "")
	})
}

// A runtime that stops is not READY, although a stopped container alone would
// not keep it from that.
func TestShutdownStatus(t *testing.T) {
	w := started(t, run("a", `,"group":"app"`)+run("b", `,"group":"app","status_goal":"READY"`), nil)
	w.until(time.Second)
	w.send(lifecycle.Shutdown{})
	w.until(time.Minute)
	w.expect("b", up+", 1s STOPPING, 1s STOPPED")
	w.expect("system", "0s INSTALLED, 0s MOUNTED, 0s STARTING, 0s STARTED")
	if w.m.Status() != pvctrl.StatusStarted {
		t.Errorf("the system is %s", w.m.Status())
	}
}

func userStopped(w *world, name string) bool {
	for _, c := range w.m.Containers() {
		if c.Name == name {
			return bool(*c.UserStopped)
		}
	}
	return false
}

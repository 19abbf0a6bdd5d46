package lifecycle_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// TestUserTable goes through the table of PUT /containers/{name}: what each
// verb answers in each status, and where it leads.
func TestUserTable(t *testing.T) {
	const noStart = "400 Container must be in STOPPED, STOPPING, or RECOVERING state to start"
	const noRestart = "400 Container state does not allow restart"
	for _, c := range []struct {
		status               pvctrl.Status
		bring                func(*world) // leads from Begin to the status
		act                  behaviour
		goal                 string
		start, stop, restart string // the answer, or the status after a minute
	}{
		{pvctrl.StatusInstalled, nil, behaviour{mountTakes: time.Hour}, "STARTED", noStart, "STOPPED by user", noRestart},
		{pvctrl.StatusBlocked, nil, behaviour{}, "blocked", noStart, "STOPPED by user", noRestart},
		{pvctrl.StatusMounted, nil, behaviour{}, "MOUNTED", noStart, "STOPPED by user", noRestart},
		{pvctrl.StatusStarting, nil, behaviour{startTakes: time.Hour}, "STARTED", "STARTING", "STOPPING", "STOPPING"},
		{pvctrl.StatusStarted, nil, behaviour{}, "STARTED", "STARTED", "STOPPED by user", "STARTED again"},
		{pvctrl.StatusReady, nil, behaviour{readyAfter: time.Second}, "READY", "READY", "STOPPED by user", "READY again"},
		{pvctrl.StatusRecovering, nil, behaviour{lives: 10 * time.Second}, "crash", "RECOVERING again", "STOPPED by user", "RECOVERING again"},
		{pvctrl.StatusStopping, stopA, behaviour{stopTakes: 3 * time.Second}, "STARTED", "STARTED again", "STOPPED by user", "STARTED again"},
		{pvctrl.StatusStopped, stopA, behaviour{}, "STARTED", "STARTED again", "STOPPED by user", "STARTED again"},
	} {
		for verb, want := range map[string]string{"start": c.start, "stop": c.stop, "restart": c.restart} {
			t.Run(c.status.String()+" "+verb, func(t *testing.T) {
				w := started(t, userSystem(c.goal), map[string]behaviour{"a": c.act})
				w.until(10 * time.Second)
				if c.bring != nil {
					c.bring(w)
				}
				if got := w.statuses["a"]; got != c.status {
					t.Fatalf("the status is %s", got)
				}
				before := w.lives["a"]
				err := w.user("a", verb)
				if r, ok := errors.AsType[*lifecycle.Refusal](err); ok {
					if got := statusText(r); got != want {
						t.Errorf("answer %q, want %q", got, want)
					}
					return
				}
				w.until(w.now.Sub(t0) + 21*time.Second)
				got := w.statuses["a"].String()
				if userStopped(w, "a") {
					got += " by user"
				}
				if w.lives["a"] != before {
					got += " again"
				}
				if got != want {
					t.Errorf("it is %q, want %q", got, want)
				}
			})
		}
	}
}

func stopA(w *world) {
	if err := w.user("a", "stop"); err != nil {
		w.t.Fatal(err)
	}
	w.until(w.now.Sub(t0))
}

func statusText(r *lifecycle.Refusal) string { return fmt.Sprintf("%d %s", r.Status, r.Text) }

// userSystem has the container a with a goal.
func userSystem(goal string) string {
	app := `,"group":"app","restart_policy":"container"`
	switch goal {
	case "blocked":
		return run("a", app) + run("b", `,"group":"root","status_goal":"READY"`)
	case "crash":
		return run("a", app+`,"auto_recovery":{"policy":"always","retry_delay":60}`)
	case "MOUNTED":
		return `,"a/run.json":{"name":"a","group":"data","restart_policy":"container"}`
	}
	return run("a", app+`,"status_goal":"`+goal+`"`)
}

func TestUserRefusals(t *testing.T) {
	w := started(t, run("a", `,"group":"app"`)+run("sys", `,"group":"root"`), nil)
	for _, c := range []struct{ name, verb, want string }{
		{"nobody", "stop", "404 Container not found"},
		{"nobody", "x", "404 Container not found"},
		{"sys", "stop", "403 Container has restart_policy 'system' and cannot be controlled via API"},
		{"sys", "x", "403 Container has restart_policy 'system' and cannot be controlled via API"},
		{"a", "x", "400 Invalid action. Use 'start', 'stop', or 'restart'"},
		{"a", "", "400 Invalid action. Use 'start', 'stop', or 'restart'"},
	} {
		r, ok := errors.AsType[*lifecycle.Refusal](w.user(c.name, c.verb))
		if !ok || statusText(r) != c.want {
			t.Errorf("%s of %q: %+v, want %s", c.verb, c.name, r, c.want)
		}
	}
}

// TestStoppedStaysStopped: the user's stop outlives the recovery policy and
// the goals of the groups after it.
func TestStoppedStaysStopped(t *testing.T) {
	w := started(t, run("a", `,"group":"app","auto_recovery":{"policy":"always"}`), nil)
	w.until(time.Second)
	stopA(w)
	w.until(1000 * time.Hour)
	if w.starts != 1 || !userStopped(w, "a") || !w.m.Stable() || w.m.Goals() != lifecycle.GoalAchieved {
		t.Errorf("%d starts, stable %t, goals %d", w.starts, w.m.Stable(), w.m.Goals())
	}
}

func TestReplace(t *testing.T) {
	old := parse(t, run("a", `,"group":"app"`)+run("b", `,"group":"app"`)+run("c", `,"group":"app"`))
	next := parse(t, run("a", `,"group":"app"`)+run("b", `,"group":"app","status_goal":"READY"`)+run("d", `,"group":"app"`))
	w := newWorld(t, old)
	w.acts["b"] = behaviour{stopTakes: 2 * time.Second}
	w.acts["c"] = behaviour{stopTakes: -1}
	w.send(lifecycle.Begin{})
	w.until(time.Second)
	a := w.m.PID("a")
	w.send(lifecycle.Retire{Containers: []string{"b", "c", "nobody"}})
	w.until(4 * time.Second)
	if w.retired {
		t.Fatal("retired too early")
	}
	if err := w.user("b", "start"); err != nil { // it is going, whatever the user says
		t.Error(err)
	}
	w.until(6 * time.Second)
	if !w.retired {
		t.Fatal("not retired")
	}
	delete(w.statuses, "b") // the machine makes it anew
	w.send(lifecycle.Adopt{System: next, Revision: "locals/x"})
	w.until(10 * time.Second)
	var got []string
	for _, c := range w.m.Containers() {
		got = append(got, c.Name+" "+c.Status.String())
	}
	if want := []string{"a STARTED", "b STARTED", "d STARTED"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if w.m.PID("a") != a || w.lives["a"].run != 1 {
		t.Error("a did not go on")
	}
	if w.m.PID("c") != -1 || w.lives["c"].up {
		t.Error("c is still there")
	}
	w.expect("failure", "")
}

// TestReplaceHoldsBack: what waits for a container that an update replaces
// goes on waiting for the new one.
func TestReplaceHoldsBack(t *testing.T) {
	members := run("a", `,"group":"root","restart_policy":"container"`) + run("b", `,"group":"app"`)
	w := newWorld(t, parse(t, members))
	w.acts["a"] = behaviour{startTakes: 10 * time.Second}
	w.send(lifecycle.Begin{})
	w.until(time.Second)
	w.send(lifecycle.Retire{Containers: []string{"a"}})
	w.until(12 * time.Second)
	if !w.retired || w.statuses["b"] != pvctrl.StatusBlocked {
		t.Errorf("retired %t, b is %s", w.retired, w.statuses["b"])
	}
	delete(w.statuses, "a")
	w.send(lifecycle.Adopt{System: parse(t, members), Revision: "1"})
	w.until(time.Minute)
	w.expect("b", "0s INSTALLED, 0s BLOCKED, 22s MOUNTED, 22s STARTING, 22s STARTED")
}

// TestReplaceBroken: a revision that fails for lack of a service can be
// replaced by one that has it, without a restart.
func TestReplaceBroken(t *testing.T) {
	client := run("client", `,"group":"app","services":{"required":[{"name":"x"}]}`)
	w := newWorld(t, parse(t, client))
	w.send(lifecycle.Begin{})
	w.until(time.Second)
	w.send(lifecycle.Retire{})
	if !w.retired || w.m.Failure() == nil {
		t.Fatal("no failure, or it is not retired")
	}
	w.send(lifecycle.Adopt{Revision: "1", System: parse(t, client+run("server", `,"group":"app"`)+
		`,"server/services.json":[{"name":"x","type":"unix","socket":"/x"}]`)})
	w.until(2 * time.Second)
	if w.m.Failure() != nil || w.starts != 2 || w.m.Status() != pvctrl.StatusReady {
		t.Errorf("failure %v, %d starts, %s", w.m.Failure(), w.starts, w.m.Status())
	}
	if links := w.m.Links(); len(links) != 1 || links[0].ConsumerPID <= 0 || links[0].ProviderPID <= 0 {
		t.Errorf("links %+v", links)
	}
}

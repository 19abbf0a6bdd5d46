package lifecycle_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// words writes the actions of an update, without the log.
func words(actions []lifecycle.Action) string {
	var out []string
	for _, a := range actions {
		switch a := a.(type) {
		case lifecycle.Load:
			out = append(out, "load "+a.Revision)
		case lifecycle.CopyFactory:
			out = append(out, "copy "+a.From)
		case lifecycle.SetTry:
			out = append(out, "set try "+a.Revision)
		case lifecycle.ClearTry:
			out = append(out, "clear try")
		case lifecycle.Commit:
			out = append(out, "commit "+a.Revision)
		case lifecycle.MarkDone:
			out = append(out, "done "+a.Revision)
		case lifecycle.SetProgress:
			out = append(out, fmt.Sprintf("%s %s %d %q", a.Revision, a.Progress.Status, a.Progress.Percent, a.Progress.StatusMsg))
		case lifecycle.Switch:
			out = append(out, "switch "+a.Revision)
		case lifecycle.Reboot:
			out = append(out, map[bool]string{true: "roll back", false: "reboot"}[a.Rollback])
		case lifecycle.GiveUp:
			out = append(out, "give up")
		case lifecycle.Finished:
			out = append(out, "finished "+a.Revision)
		}
	}
	return strings.Join(out, "; ")
}

// at is a step of a script: seconds after the start, an event, and the words.
type at struct {
	sec  int
	ev   lifecycle.UpdateEvent
	want string
}

func observed(goals lifecycle.GoalState, stable bool) lifecycle.Observed {
	return lifecycle.Observed{Goals: goals, Stable: stable}
}

func stored(status, msg string, retries int) pvctrl.Progress {
	return lifecycle.NewProgress(status, msg, retries)
}

func bootedPlain(rev string) lifecycle.Booted {
	return lifecycle.Booted{Running: rev, Boot: lifecycle.Boot{Rev: rev}, Progress: stored("DONE", lifecycle.MsgDone, 0)}
}

// bootedTry is a start with "2" to be tried beside "1".
func bootedTry(running, status, msg string, retries int) lifecycle.Booted {
	return lifecycle.Booted{Running: running, Boot: lifecycle.Boot{Rev: "1", Try: "2"}, Progress: stored(status, msg, retries)}
}

var (
	toTry      = `set try 2`
	trying2    = `2 INPROGRESS 50 "Trying new revision"`
	transition = `2 INPROGRESS 50 "Transitioning to new revision without rebooting"; switch 2`
	crashed    = lifecycle.Broke{Failure: lifecycle.Failure{Kind: lifecycle.ContainerCrashed, Container: "a", Reason: "it ended"}}
	refusedA   = lifecycle.Broke{Failure: lifecycle.Failure{Kind: lifecycle.ContainerRefused, Container: "a", Reason: "no image"}}
	missing    = lifecycle.Broke{Failure: lifecycle.Failure{Kind: lifecycle.MissingServices, Reason: "nobody exports x"}}
	unachieved = observed(lifecycle.GoalUnachieved, false)
	achieved   = observed(lifecycle.GoalAchieved, false)
	stable     = observed(lifecycle.GoalAchieved, true)
	timedOut   = observed(lifecycle.GoalTimedOut, false)
	broken     = errors.New("disk full")
)

func TestUpdateScripts(t *testing.T) {
	for name, script := range map[string][]at{
		"factory": {
			{0, lifecycle.Booted{Running: "0", Boot: lifecycle.Boot{Rev: "0"}}, `0 INPROGRESS 50 "Trying new revision"`},
			{0, lifecycle.Checked{}, `done 0; 0 DONE 100 "Factory revision"; finished 0`},
			{0, timedOut, ``},
		},
		"factory again": {
			{0, lifecycle.Booted{Running: "0", Boot: lifecycle.Boot{Rev: "0"}, Progress: stored("DONE", "Factory revision", 0)}, ``},
			{0, lifecycle.Checked{}, ``},
		},
		"factory that cannot run": {
			{0, lifecycle.Booted{Running: "0", Boot: lifecycle.Boot{Rev: "0"}}, `0 INPROGRESS 50 "Trying new revision"`},
			{0, lifecycle.Unusable{Problem: lifecycle.Problem{Kind: lifecycle.ProblemChecksum}}, `0 ERROR 100 "Object validation went wrong"; give up`},
		},
		"without a restart": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{1, lifecycle.Loaded{}, toTry},
			{1, lifecycle.TrySet{}, transition},
			{2, stable, ``}, // of the containers of revision 1
			{2, lifecycle.Switched{}, trying2},
			{3, unachieved, ``},
			{4, achieved, `2 TESTING 75 "Awaiting to see if update is stable"`},
			{8, lifecycle.UpdateTick{}, ``},
			{9, lifecycle.UpdateTick{}, `2 TESTING 75 "Waiting for all containers to become stable"`},
			{20, achieved, ``},
			{30, stable, `2 UPDATED 100 "Update finished, revision not set as rollback point"; finished 2`},
			{99, timedOut, ``},
		},
		"stable before the delay is over": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{1, lifecycle.Loaded{}, toTry},
			{1, lifecycle.TrySet{}, transition},
			{2, lifecycle.Switched{}, trying2},
			{2, stable, `2 TESTING 75 "Awaiting to see if update is stable"`},
			{7, lifecycle.UpdateTick{}, `2 UPDATED 100 "Update finished, revision not set as rollback point"; finished 2`},
		},
		"with a restart": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{1, lifecycle.Loaded{Reboot: "bsp differs"}, toTry},
			{1, lifecycle.TrySet{}, `2 INPROGRESS 50 "Rebooting"; reboot`},
			{2, crashed, ``}, // it is going down anyway
			{3, bootedTry("2", "INPROGRESS", "Rebooting", 0), trying2},
			{3, lifecycle.Checked{}, ``},
			{4, stable, `2 TESTING 75 "Awaiting to set rollback point if update is stable"`},
			{9, lifecycle.UpdateTick{}, `commit 2`},
			{9, lifecycle.Committed{}, `2 DONE 100 "Update finished, revision set as rollback point"; finished 2`},
		},
		"LOCAL_RUN_COMMIT restarts always": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.RunRevision{Revision: "2", Commit: true}, `load 2`},
			{1, lifecycle.Loaded{}, toTry},
			{1, lifecycle.TrySet{}, `2 INPROGRESS 50 "Rebooting"; reboot`},
		},
		"an updated revision becomes the rollback point with the next start": {
			{0, bootedTry("2", "UPDATED", lifecycle.MsgUpdated, 0), trying2},
			{1, stable, `2 TESTING 75 "Awaiting to set rollback point if update is stable"`},
			{6, lifecycle.UpdateTick{}, `commit 2`},
			{6, lifecycle.Committed{}, `2 DONE 100 "Update finished, revision set as rollback point"; finished 2`},
		},
		"goals missed": {
			{0, bootedTry("2", "INPROGRESS", "Rebooting", 0), trying2},
			{9, timedOut, `2 ERROR 100 "Status goal not reached"; roll back`},
			{10, bootedTry("1", "ERROR", lifecycle.MsgGoalFailed, 0), `clear try`},
		},
		"a crash on trial": {
			{0, bootedTry("2", "INPROGRESS", "Rebooting", 0), trying2},
			{1, stable, `2 TESTING 75 "Awaiting to set rollback point if update is stable"`},
			{2, crashed, `2 ERROR 100 "A container could not be started"; roll back`},
		},
		"a crash in the transition": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{1, lifecycle.Loaded{}, toTry},
			{1, lifecycle.TrySet{}, transition},
			{2, refusedA, `2 ERROR 100 "A container could not be started"; roll back`},
		},
		"a crash while it is committed": {
			{0, bootedTry("2", "INPROGRESS", "Rebooting", 0), trying2},
			{1, stable, `2 TESTING 75 "Awaiting to set rollback point if update is stable"`},
			{6, lifecycle.UpdateTick{}, `commit 2`},
			{6, crashed, ``},
			{6, lifecycle.Committed{}, `2 DONE 100 "Update finished, revision set as rollback point"; finished 2; reboot`},
		},
		"a missing service on trial": {
			{0, bootedTry("2", "INPROGRESS", "Rebooting", 0), trying2},
			{0, missing, `2 ERROR 100 "A container could not be started"; roll back`},
		},
		"a try that the boot loader gave up": {
			{0, bootedTry("1", "INPROGRESS", "Trying new revision", 0), `2 ERROR 100 "Unexpected rollback"; clear try; finished 2`},
			{1, lifecycle.RunRevision{Revision: "3"}, `load 3`},
		},
		"a try that failed before": {
			{0, bootedTry("2", "ERROR", lifecycle.MsgGoalFailed, 0), `roll back`},
		},
		"killed in a trial, and tried again": {
			{0, bootedTry("2", "TESTING", lifecycle.MsgTestingReboot, 0), trying2},
		},
		"killed in a trial once too often": {
			{0, bootedTry("2", "INPROGRESS", lifecycle.MsgTry, 9), `2 ERROR 100 "Max update processing retries reached"; roll back`},
		},
		"killed in a commit, before the boot file": {
			{0, bootedTry("2", "DONE", lifecycle.MsgDone, 0), `commit 2`},
			{0, lifecycle.Checked{}, ``},
			{0, lifecycle.Committed{}, `2 DONE 100 "Update finished, revision set as rollback point"; finished 2`},
		},
		"killed in a commit, after the boot file": {
			{0, lifecycle.Booted{Running: "2", Boot: lifecycle.Boot{Rev: "2"}, Progress: stored("TESTING", lifecycle.MsgTestingReboot, 0)},
				`2 DONE 100 "Update finished, revision set as rollback point"`},
		},
		"a commit that does not work": {
			{0, bootedTry("2", "INPROGRESS", "Rebooting", 0), trying2},
			{1, stable, `2 TESTING 75 "Awaiting to set rollback point if update is stable"`},
			{6, lifecycle.UpdateTick{}, `commit 2`},
			{6, lifecycle.Committed{Err: broken}, `2 ERROR 100 "Internal error"; finished 2`},
		},
		"revisions that cannot be used": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{1, lifecycle.Loaded{Problem: &lifecycle.Problem{Kind: lifecycle.ProblemNoState}}, `2 WONTGO 100 "State JSON not found"; finished 2`},
			{2, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{2, lifecycle.Loaded{Problem: &lifecycle.Problem{Kind: lifecycle.ProblemFormat, Err: broken}}, `2 WONTGO 100 "State JSON has bad format"; finished 2`},
			{3, lifecycle.RunRevision{Revision: "2", Commit: true}, `load 2`},
			{3, lifecycle.Loaded{Problem: &lifecycle.Problem{Kind: lifecycle.ProblemSignature, Err: errors.New("Signature validation failed")}},
				`2 WONTGO 100 "Signature validation failed"; finished 2`},
			{4, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{4, lifecycle.Loaded{Problem: &lifecycle.Problem{Kind: lifecycle.ProblemInternal, Err: broken}}, `2 ERROR 100 "Internal error"; finished 2`},
			{5, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{5, lifecycle.Loaded{}, toTry},
			{5, lifecycle.TrySet{Err: broken}, `2 ERROR 100 "Internal error"; finished 2`},
			{6, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{6, lifecycle.Loaded{}, toTry},
			{6, lifecycle.TrySet{}, transition},
			{6, lifecycle.Switched{Err: broken}, `2 ERROR 100 "Internal error"; roll back`},
		},
		"one at a time": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{1, lifecycle.RunRevision{Revision: "3"}, ``},
			{1, lifecycle.MakeFactory{}, ``},
			{1, lifecycle.Switched{}, ``},
		},
		"make factory": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.MakeFactory{}, `copy 1`},
			{1, lifecycle.Copied{}, `load 0`},
			{1, lifecycle.Loaded{}, `set try 0`},
			{1, lifecycle.TrySet{}, `0 INPROGRESS 50 "Transitioning to new revision without rebooting"; switch 0`},
			{2, lifecycle.Switched{}, `0 INPROGRESS 50 "Trying new revision"; commit 0`},
			{2, lifecycle.Committed{}, `0 DONE 100 "Factory revision"; finished 0`},
			{3, lifecycle.MakeFactory{Revision: "locals/x"}, `copy locals/x`},
			{3, lifecycle.Copied{Err: broken}, ``},
			{4, lifecycle.RunRevision{Revision: "2"}, `load 2`},
		},
		"a crash of what was kept": {
			{0, bootedPlain("1"), ``},
			{1, crashed, `reboot`},
		},
		"a revision that can never run, and no other": {
			{0, bootedPlain("1"), ``},
			{1, missing, `give up`},
			{2, lifecycle.RunRevision{Revision: "2"}, `load 2`},
			{2, refusedA, `give up`},
			{2, lifecycle.Loaded{}, toTry},
		},
		"what was kept became unusable": {
			{0, bootedPlain("1"), ``},
			{1, lifecycle.Unusable{Problem: lifecycle.Problem{Kind: lifecycle.ProblemNoState}}, `give up`},
		},
		"a try became unusable": {
			{0, bootedTry("2", "INPROGRESS", "Rebooting", 0), trying2},
			{1, lifecycle.Unusable{Problem: lifecycle.Problem{Kind: lifecycle.ProblemNoState}}, `2 ERROR 100 "State JSON not found"; roll back`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := lifecycle.NewUpdate(lifecycle.UpdateOptions{CommitDelay: 5 * time.Second})
			for i, s := range script {
				if got := words(u.Handle(t0.Add(time.Duration(s.sec)*time.Second), s.ev)); got != s.want {
					t.Fatalf("step %d, %T:\n got %s\nwant %s", i, s.ev, got, s.want)
				}
				if next, ok := u.Next(); ok && !next.After(t0.Add(time.Duration(s.sec)*time.Second)) {
					t.Errorf("step %d: the timer is over", i)
				}
			}
		})
	}
}

// TestRealProgress compares progress documents with those of a running
// appengine.
func TestRealProgress(t *testing.T) {
	for _, c := range []struct {
		got  pvctrl.Progress
		want string
	}{
		{stored("DONE", lifecycle.MsgFactory, 0), `{"status":"DONE","status-msg":"Factory revision","progress":100,"retries":0}`},
		{stored("NEW", lifecycle.MsgInstalled, 0), `{"status":"NEW","status-msg":"Update ready to be run","progress":0,"retries":0}`},
		{stored("TESTING", lifecycle.MsgTesting, 0), `{"status":"TESTING","status-msg":"Awaiting to see if update is stable","progress":75,"retries":0}`},
		{stored("UPDATED", lifecycle.MsgUpdated, 0), `{"status":"UPDATED","status-msg":"Update finished, revision not set as rollback point","progress":100,"retries":0}`},
		{stored("WONTGO", lifecycle.MsgNoState, 0), `{"status":"WONTGO","status-msg":"State JSON not found","progress":100,"retries":0}`},
	} {
		if got, err := json.Marshal(c.got); err != nil || string(got) != c.want {
			t.Errorf("got %s, %v\nwant %s", got, err, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		boot      lifecycle.Boot
		lastTried string
		tried     string
		want      string
	}{
		{lifecycle.Boot{Rev: "1"}, "", "", "1"},
		{lifecycle.Boot{Rev: "1", Try: "2"}, "", "INPROGRESS", "2"},
		{lifecycle.Boot{Rev: "1", Try: "2"}, "2", "INPROGRESS", "1"},
		{lifecycle.Boot{Rev: "1", Try: "3"}, "2", "INPROGRESS", "3"},
		{lifecycle.Boot{Rev: "1", Try: "2"}, "", "ERROR", "1"},
		{lifecycle.Boot{Rev: "1", Try: "2"}, "", "WONTGO", "1"},
		{lifecycle.Boot{Rev: "1", Try: "2"}, "", "UPDATED", "2"},
	} {
		if got := c.boot.Choose(c.lastTried, stored(c.tried, "", 0)); got != c.want {
			t.Errorf("%+v after %q (%s): %s, want %s", c.boot, c.lastTried, c.tried, got, c.want)
		}
	}
}

func TestDecide(t *testing.T) {
	const local = "409 Cannot do this operation while on local mode"
	const ongoing = "503 Cannot do this operation while update is ongoing after 600"
	const busy = "503 A command is already in progress. Try again after 120"
	appengine := lifecycle.Situation{DebugShell: true}
	updating := lifecycle.Situation{DebugShell: true, Updating: true}
	for _, c := range []struct {
		s    lifecycle.Situation
		want map[string]string // what is not in it is accepted
	}{
		{appengine, map[string]string{"UPDATE_METADATA": local, "UNCLAIM": "204 Device is already unclaimed",
			"GO_REMOTE": "409 Cannot do this operation when remote mode is disabled by config"}},
		{updating, map[string]string{"UPDATE_METADATA": local, "UNCLAIM": ongoing, "REBOOT_DEVICE": ongoing,
			"POWEROFF_DEVICE": ongoing, "LOCAL_RUN": ongoing, "LOCAL_RUN_COMMIT": ongoing, "MAKE_FACTORY": ongoing,
			"GO_REMOTE": "409 Cannot do this operation when remote mode is disabled by config"}},
		{lifecycle.Situation{Remote: true, RemoteAllowed: true, Claimed: true}, map[string]string{
			"GO_REMOTE": "204 Already in remote mode", "MAKE_FACTORY": "409 Cannot do this operation if device is already claimed",
			"DEFER_REBOOT": "409 Cannot do this operation when debug shell is not active"}},
	} {
		for _, op := range lifecycle.Ops() {
			if got, want := answer(lifecycle.Decide(op, c.s)), c.want[op]; got != want {
				t.Errorf("%s in %+v: %q, want %q", op, c.s, got, want)
			}
			s := c.s
			s.Busy = true
			want := c.want[op]
			if want == "" {
				want = busy
			}
			if got := answer(lifecycle.Decide(op, s)); got != want {
				t.Errorf("%s in %+v: %q, want %q", op, s, got, want)
			}
		}
	}
	for _, op := range []string{"", "R", "REBOOT", "NOPE", "local_run"} {
		if got := answer(lifecycle.Decide(op, appengine)); got != "400 Command has bad format" {
			t.Errorf("%q: %s", op, got)
		}
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(lifecycle.Ops())))); n != 15 {
		t.Errorf("%d operations", n)
	}
}

func answer(err error) string {
	r, ok := errors.AsType[*lifecycle.Refusal](err)
	if !ok {
		return ""
	}
	s := statusText(r)
	if r.RetryAfter > 0 {
		s += fmt.Sprintf(" after %d", r.RetryAfter)
	}
	return s
}

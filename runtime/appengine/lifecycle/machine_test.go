package lifecycle_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/system"
)

func parse(t testing.TB, members string) *system.System {
	t.Helper()
	state, err := pvrexport.DecodeState(strings.NewReader(`{"#spec":"pantavisor-service-system@1"` + members + `}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := system.Parse(state, system.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(name, more string) string {
	return fmt.Sprintf(`,%q:{"name":%q,"type":"lxc","config":"lxc.container.conf"%s}`, name+"/run.json", name, more)
}

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestGroupsStartInOrder: a container of a later group is mounted only when
// the group before has reached its goal.
func TestGroupsStartInOrder(t *testing.T) {
	m := lifecycle.New(parse(t, run("a", `,"group":"root"`)+run("b", `,"group":"app"`)), "0")
	a := lifecycle.Run{Container: "a", Number: 1}
	for _, step := range []struct {
		ev   lifecycle.Event
		want string
	}{
		{lifecycle.Begin{}, "[{{a 1}}]"},
		{lifecycle.Mounted{Run: a}, "[{{a 1}}]"},
		{lifecycle.Started{Run: a, PID: 5}, "[{{b 2}}]"},
	} {
		var got []lifecycle.Action
		for _, act := range m.Handle(t0, step.ev) {
			switch act.(type) {
			case lifecycle.Mount, lifecycle.Start:
				got = append(got, act)
			}
		}
		if fmt.Sprint(got) != step.want {
			t.Errorf("after %T: %v, want %s", step.ev, got, step.want)
		}
	}
	if got := m.PID("a"); got != 5 {
		t.Errorf("the pid of a is %d", got)
	}
}

package system_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// The files testdata/real-*.json are answers of a running Pantavisor
// appengine: the state it ran, and what its API said about it.

func readReal(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "real-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRealContainersAndGroups(t *testing.T) {
	s := parse(t, string(readReal(t, "state")))
	var containers []pvctrl.Container
	if err := json.Unmarshal(readReal(t, "containers"), &containers); err != nil {
		t.Fatal(err)
	}
	if len(containers) != len(s.Containers) || len(containers) == 0 {
		t.Fatalf("%d containers, the appengine has %d", len(s.Containers), len(containers))
	}
	for i, want := range containers {
		c := s.Containers[i]
		roles, wantRoles := len(c.Roles), len(want.Roles)
		if c.Name != want.Name || c.Group.Name != *want.Group || c.StatusGoal != want.StatusGoal ||
			string(c.RestartPolicy) != want.RestartPolicy || roles != wantRoles {
			t.Errorf("container %d is %+v, the appengine says %+v", i, c, want)
		}
		if r := want.AutoRecovery; r == nil {
			if c.Recovery.Policy != system.RecoverNo {
				t.Errorf("%s has a recovery, the appengine knows none", c.Name)
			}
		} else if string(c.Recovery.Policy) != r.Policy || c.Recovery.MaxRetries != r.MaxRetries ||
			int(c.Recovery.StableTimeout.Seconds()) != r.StableTimeout || c.Recovery.Backoff.String() != r.BackoffPolicy {
			t.Errorf("%s: recovery %+v, the appengine says %+v", c.Name, c.Recovery, *r)
		}
	}
	var groups []pvctrl.Group
	if err := json.Unmarshal(readReal(t, "groups"), &groups); err != nil {
		t.Fatal(err)
	}
	if len(groups) != len(s.Groups) {
		t.Fatalf("%d groups, the appengine has %d", len(s.Groups), len(groups))
	}
	for i, want := range groups {
		g := s.Groups[i]
		if g.Name != want.Name || g.StatusGoal != want.StatusGoal || string(g.RestartPolicy) != want.RestartPolicy ||
			(g.Recovery.Policy != system.RecoverNo) != (want.AutoRecovery != nil) {
			t.Errorf("group %d is %+v, the appengine says %+v", i, g, want)
		}
	}
}

func TestRealGraph(t *testing.T) {
	s := parse(t, string(readReal(t, "state")))
	want, err := pvctrl.DecodeGraph(open(t, "xconnect-graph"))
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, l := range want.Links {
		pids[l.Consumer], pids[l.Provider] = l.ConsumerPID, l.ProviderPID
	}
	got := s.Graph(func(name string) int { return pids[name] })
	if len(got) != len(want.Links) || len(got) == 0 {
		t.Fatalf("%d links, the appengine has %d", len(got), len(want.Links))
	}
	for i := range got {
		if got[i] != want.Links[i] {
			t.Errorf("link %d is\n%+v, the appengine says\n%+v", i, got[i], want.Links[i])
		}
	}
	if m := s.MissingServices(); m != nil {
		t.Errorf("missing: %v", m)
	}
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "real-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func decode(t testing.TB, src string) *pvrexport.State {
	t.Helper()
	state, err := pvrexport.DecodeState(strings.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func parse(t testing.TB, src string) *system.System {
	t.Helper()
	s, err := system.Parse(decode(t, src), system.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

package rundir_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/rundir"
)

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if _, err := rundir.Read(dir); !errors.Is(err, rundir.ErrNoRuntime) {
		t.Errorf("Read of an empty directory: %v", err)
	}
	want := []rundir.Container{
		{Name: "z", Status: pvctrl.StatusStarted, PID: os.Getpid(), CGroup: "/pantavisor/lxc/z", Group: "app", Autostart: true},
		{Name: "a", Status: pvctrl.StatusStopped, Unprivileged: true},
	}
	if err := rundir.Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := rundir.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].Alive() || got[0].StartTime == 0 || got[1].Alive() {
		t.Errorf("alive: %+v", got)
	}
	got[0].StartTime = 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if c, ok := rundir.Find(got, "a"); !ok || c.Name != "a" {
		t.Errorf("Find a: %+v", c)
	}
	if _, ok := rundir.Find(got, "b"); ok {
		t.Error("Find found b")
	}
	if err := rundir.Write(dir, nil); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(dir, rundir.File))
	if string(text) != `{"version":1,"containers":[]}`+"\n" {
		t.Errorf("nothing is written as %s", text)
	}
}

// A pid that another process has got since is not the container's.
func TestNotAlive(t *testing.T) {
	c := rundir.Container{Name: "a", PID: os.Getpid(), StartTime: 1}
	if c.Alive() {
		t.Error("another process passes for the container's")
	}
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if (rundir.Container{Name: "a", PID: cmd.Process.Pid}).Alive() {
		t.Error("an ended process is alive")
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "unexpected end",
		"[]":                              "cannot unmarshal",
		`{"version":2}`:                   "its version is 2",
		`{}`:                              "its version is 0",
		`{"version":1,"containers":[{}]}`: "entry 0 is no container",
		`{"version":1,"containers":[{"name":"a","pid":-1,"status":"READY"}]}`:   "entry 0 is no container",
		`{"version":1,"containers":[{"name":"a\nb","pid":1,"status":"READY"}]}`: "entry 0 is no container",
		`{"version":1,"containers":[{"name":"a","pid":1,"status":"ASLEEP"}]}`:   `"ASLEEP" is not a status`,
		`{"version":1,"containers":[` + strings.Repeat(" ", 5<<20) + `]}`:       "larger than",
	} {
		if _, err := rundir.Decode(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v; want %q", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"containers":[{"name":"a","pid":1,"status":"READY"}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := rundir.Decode(bytes.NewReader(b))
		for _, c := range list {
			if err != nil || c.Name == "" || c.PID < 0 {
				t.Errorf("%+v, %v", c, err)
			}
		}
	})
}

func TestDir(t *testing.T) {
	home, other := t.TempDir(), t.TempDir()
	dir, up := filepath.Join(home, ".local/state/pv-appengine/run/pv"), filepath.Join(other, "pvkit/up/run/pv")
	for _, dir := range []string{dir, up} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := rundir.Write(dir, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(rundir.Default, rundir.File)); err == nil {
		t.Skip("a runtime runs on this machine")
	}
	for _, tt := range []struct{ home, state, rundir, want string }{
		{home, "", "", dir},
		{home, "relative", "", dir},
		{home, "/elsewhere", "", rundir.Default},
		{"", home + "/.local/state", "", dir},
		{home, other, "", up},
		{"", "", "", rundir.Default},
		{home, "", "/set", "/set"},
	} {
		env := map[string]string{"HOME": tt.home, "XDG_STATE_HOME": tt.state, "PV_SYSTEM_RUNDIR": tt.rundir}
		if got := rundir.Dir(func(k string) string { return env[k] }); got != tt.want {
			t.Errorf("%v: %s", tt, got)
		}
	}
}

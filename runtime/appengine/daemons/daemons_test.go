package daemons_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/daemons"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// lines is a writer that keeps what it gets.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func sh(name, script string) daemons.Daemon {
	return daemons.Daemon{Name: name, Path: "/bin/sh", Args: []string{"-c", script}}
}

func at(n int) func(int) time.Duration {
	return func(int) time.Duration { return time.Duration(n) * time.Millisecond }
}

// start runs a supervisor until the test ends.
func start(t *testing.T, table []daemons.Daemon, o daemons.Options) *daemons.Supervisor {
	t.Helper()
	s, stop := startStop(t, table, o)
	t.Cleanup(stop)
	return s
}

func startStop(t *testing.T, table []daemons.Daemon, o daemons.Options) (*daemons.Supervisor, func()) {
	t.Helper()
	s := daemons.New(table, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return s, sync.OnceFunc(func() { cancel(); <-done })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func first(s *daemons.Supervisor) pvctrl.Daemon { return s.List()[0] }

func TestStopAndStart(t *testing.T) {
	s := start(t, []daemons.Daemon{sh("d", "exec sleep 1000")}, daemons.Options{Backoff: at(100000)})
	eventually(t, "running", func() bool { return first(s).PID > 0 })
	pid := first(s).PID
	if err := s.Do("d", "start"); err != nil { // of a running one: nothing
		t.Fatal(err)
	}
	if err := s.Do("d", "stop"); err != nil {
		t.Fatal(err)
	}
	if first(s).Respawn {
		t.Error("respawn after stop")
	}
	eventually(t, "-1", func() bool { return first(s).PID == -1 })
	if syscall.Kill(pid, 0) == nil {
		t.Error("the process lives")
	}
	if err := s.Do("d", "dance"); err != nil || first(s).PID != -1 {
		t.Errorf("an unknown action did something: %v %v", err, first(s))
	}
	began := time.Now()
	if err := s.Do("d", "start"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "running again", func() bool { return first(s).PID > 0 && first(s).Respawn })
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("started after %v", d)
	}
	if err := s.Do("nobody", "stop"); !errors.Is(err, daemons.ErrNotFound) {
		t.Error(err)
	}
}

func TestStopThenStartAtOnce(t *testing.T) {
	s := start(t, []daemons.Daemon{sh("d", `trap 'sleep .2; exit' TERM; while :; do sleep .05; done`)}, daemons.Options{Backoff: at(100000)})
	eventually(t, "running", func() bool { return first(s).PID > 0 })
	pid := first(s).PID
	for _, a := range []string{"stop", "start"} {
		if err := s.Do("d", a); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "another process", func() bool { p := first(s).PID; return p > 0 && p != pid })
}

func TestRespawnWithBackoff(t *testing.T) {
	var mu sync.Mutex
	var asked []int
	out := &lines{}
	s := start(t, []daemons.Daemon{sh("d", "echo run; exit 3")}, daemons.Options{
		Log: slog.New(slog.NewTextHandler(out, nil)),
		Backoff: func(n int) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, n)
			return time.Millisecond
		},
	})
	eventually(t, "four restarts", func() bool { mu.Lock(); defer mu.Unlock(); return len(asked) >= 4 })
	mu.Lock()
	if !slices.Equal(asked[:4], []int{1, 2, 3, 4}) {
		t.Errorf("pauses asked for %v", asked)
	}
	mu.Unlock()
	if !strings.Contains(out.String(), "exit status 3") {
		t.Error(out.String())
	}
	if err := s.Do("d", "stop"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "-1", func() bool { return first(s).PID == -1 })
	for n, want := range []time.Duration{1, 1, 2, 4, 8, 16, 30, 30, 30} {
		if got := daemons.Backoff(n); got != want*time.Second {
			t.Errorf("Backoff(%d) = %v", n, got)
		}
	}
}

func TestStopWhileWaiting(t *testing.T) {
	out := &lines{}
	s := start(t, []daemons.Daemon{sh("d", "exit 1")}, daemons.Options{Backoff: at(100000), Log: slog.New(slog.NewTextHandler(out, nil))})
	eventually(t, "a first end", func() bool { return strings.Contains(out.String(), "starts again") })
	if d := first(s); d.PID != 0 || !d.Respawn {
		t.Errorf("while it waits: %v", d)
	}
	if err := s.Do("d", "stop"); err != nil {
		t.Fatal(err)
	}
	if d := first(s); d.PID != -1 || d.Respawn {
		t.Errorf("stopped while it waited: %v", d)
	}
}

func TestMissingAndListed(t *testing.T) {
	s := start(t, []daemons.Daemon{daemons.Hwrngd(), {Name: "gone", Path: "/no/such/program"}, {Name: "none"}}, daemons.Options{})
	eventually(t, "the missing ones given up", func() bool { return !s.List()[1].Respawn && !s.List()[2].Respawn })
	want := []pvctrl.Daemon{{Name: "hwrngd", PID: 0, Respawn: true}, {Name: "gone", PID: 0, Respawn: false}, {Name: "none", PID: 0, Respawn: false}}
	if got := s.List(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, a := range []string{"stop", "start"} {
		if err := s.Do("hwrngd", a); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.List()[0]; got != want[0] {
		t.Errorf("a listed one: %v", got)
	}
}

func TestInstalledLater(t *testing.T) {
	prog := filepath.Join(t.TempDir(), "prog")
	s := start(t, []daemons.Daemon{{Name: "d", Path: prog}}, daemons.Options{})
	eventually(t, "given up", func() bool { return !first(s).Respawn })
	if err := os.WriteFile(prog, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Do("d", "start"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "running", func() bool { return first(s).PID > 0 })
}

func TestOutput(t *testing.T) {
	out, errs := &lines{}, &lines{}
	start(t, []daemons.Daemon{sh("d", "echo to out; echo to err >&2; exec sleep 1000")}, daemons.Options{
		Output: func(name string) (io.Writer, io.Writer) {
			if name != "d" {
				t.Errorf("output of %s", name)
			}
			return out, errs
		},
	})
	eventually(t, "both lines", func() bool { return out.String() == "to out\n" && errs.String() == "to err\n" })
}

func TestShutdown(t *testing.T) {
	// One ignores SIGTERM, and one leaves a child that does and that holds the
	// output open.
	out := &lines{}
	s, stop := startStop(t, []daemons.Daemon{
		sh("deaf", `trap '' TERM; echo $$; while :; do sleep .05; done`),
		sh("parent", `(trap '' TERM; exec sleep 1000) & echo $!; wait`),
	}, daemons.Options{Grace: 200 * time.Millisecond, Output: func(string) (io.Writer, io.Writer) { return out, io.Discard }})
	eventually(t, "two pids", func() bool { return strings.Count(out.String(), "\n") == 2 })
	began := time.Now()
	stop()
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("shutdown took %v", d)
	}
	for _, word := range strings.Fields(out.String()) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, word+" ends", func() bool { return !alive(pid) })
	}
	for _, d := range s.List() {
		if d.PID != -1 {
			t.Errorf("after shutdown: %v", d)
		}
	}
}

// alive is false for a zombie too: a container's or a test's process 1 may be
// slow to reap an orphan.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest != "" && rest[0] != 'Z'
}

// TestKilledEngine runs this test binary as an engine, kills it, and looks
// whether its daemon died with it.
func TestKilledEngine(t *testing.T) {
	if os.Getenv("DAEMONS_TEST_ENGINE") != "" {
		daemons.New([]daemons.Daemon{sh("d", "echo $$; exec sleep 1000")}, daemons.Options{
			Output: func(string) (io.Writer, io.Writer) { return os.Stdout, io.Discard },
		}).Run(context.Background())
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledEngine$")
	cmd.Env = append(os.Environ(), "DAEMONS_TEST_ENGINE=1")
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(r, &pid); err != nil {
		t.Fatal(err)
	}
	// The engine's other threads come and go; the daemon must outlive them.
	time.Sleep(300 * time.Millisecond)
	if !alive(pid) {
		t.Fatal("the daemon ended before its engine")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the daemon ends", func() bool { return !alive(pid) })
}

// Each change is told once, in order, as List would show it.
func TestChanged(t *testing.T) {
	changes := make(chan pvctrl.Daemon, 100)
	s := start(t, []daemons.Daemon{sh("d", "exec sleep 60")}, daemons.Options{Changed: func(d pvctrl.Daemon) { changes <- d }})
	next := func() pvctrl.Daemon {
		t.Helper()
		select {
		case d := <-changes:
			return d
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is told")
			return pvctrl.Daemon{}
		}
	}
	first := next()
	if first.Name != "d" || first.PID <= 0 || !first.Respawn {
		t.Errorf("started: %+v", first)
	}
	for _, action := range []string{"nonsense", "stop"} {
		if err := s.Do("d", action); err != nil {
			t.Fatal(err)
		}
	}
	if d := next(); d != (pvctrl.Daemon{Name: "d", PID: first.PID}) {
		t.Errorf("to be stopped: %+v", d)
	}
	if d := next(); d != (pvctrl.Daemon{Name: "d", PID: -1}) {
		t.Errorf("stopped: %+v", d)
	}
	if err := s.Do("d", "start"); err != nil {
		t.Fatal(err)
	}
	if d := next(); d != (pvctrl.Daemon{Name: "d", Respawn: true}) {
		t.Errorf("to be started: %+v", d)
	}
	if d := next(); d.PID <= 0 || d.PID == first.PID || !d.Respawn {
		t.Errorf("started again: %+v", d)
	}
}

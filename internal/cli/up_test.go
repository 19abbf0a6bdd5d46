package cli_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/internal/testreq"
)

func TestUpUsage(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"up " + empty, cli.ExitFailure, "there is nothing to run"},
		{"up /no/such/place", cli.ExitFailure, "no such file"},
		{"up --json --logs " + empty, cli.ExitUsage, "exclude each other"},
		{"up --set X=1 " + empty, cli.ExitUsage, "want PV_KEY=VALUE"},
	} {
		var out, errs strings.Builder
		code := cli.Main(t.Context(), cli.Env{
			Args: strings.Fields(c.args), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
			Getenv: func(string) string { return "" },
		})
		if code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: exit %d, %s", c.args, code, &errs)
		}
	}
}

// glob compares with a pattern that may have one asterisk.
func glob(pattern, text string) bool {
	head, tail, found := strings.Cut(pattern, "*")
	if !found {
		return text == pattern
	}
	return strings.HasPrefix(text, head) && strings.HasSuffix(text, tail) && len(text) >= len(head)+len(tail)
}

// upRig runs pvkit up as a process of its own, in a state directory.
type upRig struct {
	t     *testing.T
	pvkit string
	state string
}

func newUpRig(t *testing.T) *upRig {
	t.Helper()
	testreq.Root(t)
	dir := t.TempDir()
	r := &upRig{t: t, pvkit: filepath.Join(dir, "pvkit"), state: filepath.Join(dir, "state")}
	if out, err := exec.Command("go", "build", "-o", r.pvkit, "../../cmd/pvkit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// event is what pvkit up --json prints.
type event struct{ Kind, Revision, Container, Status, Text string }

func (e event) String() string {
	return strings.Join([]string{e.Kind, e.Revision, e.Container, e.Status}, " ")
}

// run runs until an event that fits the pattern, and returns all of them.
func (r *upRig) run(want string, args ...string) []event {
	t := r.t
	t.Helper()
	cmd := exec.Command(r.pvkit, append([]string{"up", "--json", "--xconnect", "none", "--state", r.state, "--set", "PV_UPDATER_COMMIT_DELAY=1"}, args...)...)
	cmd.Env = os.Environ()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(60*time.Second, func() { cmd.Process.Signal(syscall.SIGINT) })
	defer late.Stop()
	var seen []event
	reached := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if seen = append(seen, e); glob(want, e.String()) && !reached {
			reached = true
			r.whileUp()
			cmd.Process.Signal(syscall.SIGINT)
		}
	}
	if err := cmd.Wait(); err != nil || !reached {
		t.Errorf("it ended with %v after %q, without %q", err, seen, want)
	}
	return seen
}

// whileUp tries to run another one in the same place.
func (r *upRig) whileUp() {
	out, err := exec.Command(r.pvkit, "up", "--state", r.state, "../../examples/pv-example-unix-server").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another pvkit up runs in "+r.state) {
		r.t.Errorf("a second one: %v, %s", err, out)
	}
}

// TestUp runs an example until it is READY, then a changed one in the same
// state directory.
func TestUp(t *testing.T) {
	r := newUpRig(t)
	r.run("system 0  READY", "../../examples/pv-example-unix-server")
	second := r.run("system locals/up-*  READY", "../../examples/pv-example-unix-server", "../../examples/pv-example-unix-client")
	if !slices.ContainsFunc(second, func(e event) bool {
		return e.Container == "pv-example-unix-client" && e.Status == "STARTED"
	}) {
		t.Errorf("%q", second)
	}
}

// Of the bundles of one container for several machines, that for this one runs.
func TestUpArchitectures(t *testing.T) {
	r := newUpRig(t)
	out := filepath.Join(filepath.Dir(r.state), "out")
	if text, err := exec.Command(r.pvkit, "build", "-q", "-o", out, "--arch", "amd64,arm64", "--preset", "fast", "../../examples/pv-example-unix-server").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	seen := r.run("container  pv-example-unix-server STARTED", out)
	var notes []string
	for _, e := range seen {
		if e.Kind == "note" && strings.Contains(e.Text, "left out") {
			notes = append(notes, e.Text)
		}
	}
	if len(notes) != 1 || strings.Count(notes[0], out+"/pv-example-unix-server-") != 1 || strings.Contains(notes[0], runtime.GOARCH+".") {
		t.Errorf("notes %q", notes)
	}
}

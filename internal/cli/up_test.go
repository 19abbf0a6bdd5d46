package cli_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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

// TestUp runs an example until it is READY, then a changed one in the same
// state directory.
func TestUp(t *testing.T) {
	testreq.Root(t)
	dir := t.TempDir()
	pvkit := filepath.Join(dir, "pvkit")
	if out, err := exec.Command("go", "build", "-o", pvkit, "../../cmd/pvkit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	state := filepath.Join(dir, "state")
	run := func(want string, args ...string) []string {
		t.Helper()
		cmd := exec.Command(pvkit, append([]string{"up", "--json", "--xconnect", "none", "--state", state, "--set", "PV_UPDATER_COMMIT_DELAY=1"}, args...)...)
		cmd.Env = os.Environ()
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(30*time.Second, func() { cmd.Process.Signal(syscall.SIGINT) })
		defer late.Stop()
		var seen []string
		reached := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e struct{ Kind, Revision, Container, Status string }
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			text := strings.Join([]string{e.Kind, e.Revision, e.Container, e.Status}, " ")
			if seen = append(seen, text); glob(want, text) {
				reached = true
				cmd.Process.Signal(syscall.SIGINT)
			}
		}
		if err := cmd.Wait(); err != nil || !reached {
			t.Errorf("it ended with %v after %q, without %q", err, seen, want)
		}
		return seen
	}
	run("system 0  READY", "../../examples/pv-example-unix-server")
	second := run("system locals/up-*  READY", "../../examples/pv-example-unix-server", "../../examples/pv-example-unix-client")
	if !strings.Contains(strings.Join(second, "\n"), "container  pv-example-unix-client STARTED") {
		t.Errorf("%q", second)
	}
}

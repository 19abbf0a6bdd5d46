package cli_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// pvctrlServer serves our pv-ctrl with a machine behind it.
func pvctrlServer(t *testing.T) string {
	t.Helper()
	m := ctrltest.NewMachine(nil)
	s, err := ctrl.New(ctrl.Options{Backend: m.Backend(), Owner: func(int) (string, bool) { return pvctrl.HostName, true }})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "pv-ctrl")
	l, err := ctrl.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { s.Serve(ctx, l); done <- struct{}{} }()
	go func() {
		for ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			m.Tick()
		}
		done <- struct{}{}
	}()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return socket
}

func TestTestPvctrl(t *testing.T) {
	socket := pvctrlServer(t)
	dir := t.TempDir()
	junit, tap := dir+"/j.xml", dir+"/t.tap"
	// The machine has no objects that a container needs: test 11 fails.
	for _, tt := range []struct {
		args     string
		code     int
		out, err string
	}{
		{"--list --run 3-4", 0, " 3  groups: list\n 4  steps: list\n", ""},
		{"--socket S --run 1-3 -v", 0, "| GET /containers → 200", ""},
		{"--socket S --run 24", 0, "1 test: 1 EXPECTED\n", ""},
		{"--socket S --run 26", 0, "1 test: 1 SKIP\n", ""},
		{"--socket S --run 11", cli.ExitFindings, "the list is empty", ""},
		{"--socket S --run 1-3 --json", 0, `"PASS": 3`, ""},
		{"--socket S --run 1-3 --format junit", 0, "<testsuites ", ""},
		{"--socket S --run 1-3,26 --format tap", 0, "TAP version 14\n1..4\nok 1 - T01 buildinfo\n", ""},
		{"--socket S --run 1 --junit " + junit + " --tap " + tap, 0, "1 test: 1 PASS\n", ""},
		{"--socket S --run 1 --tap " + dir + "/no/t.tap", cli.ExitFailure, "", "no such file"},
		{"--socket /no/such", cli.ExitFailure, "", "there is no socket /no/such: is the runtime up?"},
		{"--run 99", cli.ExitUsage, "", `"99" is not among the numbers 1 to 31`},
		{"--format html", cli.ExitUsage, "", "want text, json, junit or tap"},
		{"--json --format tap", cli.ExitUsage, "", "exclude each other"},
		{"--patience 0s", cli.ExitUsage, "", "above 0"},
		{"more", cli.ExitUsage, "", "it takes no arguments, and there is \"more\""},
		{"--patience x", cli.ExitUsage, "", "test pvctrl: --patience x: "},
	} {
		args := append([]string{"test", "pvctrl"}, strings.Fields(strings.ReplaceAll(tt.args, "--socket S", "--socket "+socket))...)
		var out, errs strings.Builder
		code := cli.Main(t.Context(), cli.Env{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: os.Getenv})
		if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%s: %d\n%s%s", tt.args, code, &out, &errs)
		}
		if strings.Contains(tt.args, "--json --run") && !json.Valid([]byte(out.String())) {
			t.Errorf("%s: not JSON", tt.args)
		}
	}
	b, err := os.ReadFile(junit)
	var v struct{ XMLName xml.Name }
	if err != nil || xml.Unmarshal(b, &v) != nil || v.XMLName.Local != "testsuites" {
		t.Errorf("junit file: %v %s", err, b)
	}
	if b, err := os.ReadFile(tap); err != nil || !strings.HasPrefix(string(b), "TAP version 14\n1..1\nok 1") {
		t.Errorf("tap file: %v %s", err, b)
	}
}

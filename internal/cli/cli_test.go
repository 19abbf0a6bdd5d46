package cli_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/cli"
)

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(context.Background(), cli.Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" },
	})
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"version"}, cli.ExitOK, "pvkit "},
		{[]string{"--help"}, cli.ExitOK, "Usage:"},
		{[]string{"completion", "bash"}, cli.ExitOK, "bash completion"},
		{[]string{"no-such"}, cli.ExitUsage, "unknown command"},
		{[]string{"--version"}, cli.ExitOK, "pvkit "},
		{[]string{"version", "--no-such"}, cli.ExitUsage, "pvkit: version: unknown flag"},
		{[]string{"completion", "tcsh"}, cli.ExitUsage, "tcsh"},
		{[]string{"inspect", "--state", "--json", "x"}, cli.ExitUsage, "--state and --json exclude each other"},
		{[]string{"inspect", "--tree", "--pretty-state", "x"}, cli.ExitUsage, "--tree and --pretty-state exclude each other"},
		{[]string{"inspect", "-", "-"}, cli.ExitUsage, "standard input can be read once"},
		{[]string{"verify", "-", "-"}, cli.ExitUsage, "standard input can be read once"},
		{[]string{"diff", "-", "-"}, cli.ExitUsage, "standard input can be read once"},
		{[]string{"add", "--from", ".", "web", "-o", "no-such/web.tgz"}, cli.ExitFailure, "-o no-such/web.tgz: stat no-such: no such file"},
		{[]string{"add", "--from", ".", strings.Repeat("a", 300)}, cli.ExitFailure, "container \"" + strings.Repeat("a", 29) + "…\""},
		{[]string{"version", "extra"}, cli.ExitUsage, "pvkit: version: "},
	} {
		code, out, errs := run(t, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("pvkit %v: code %d, want %d\n%s%s", c.args, code, c.code, out, errs)
		}
	}
}

// silent is an input that nobody ever writes to; read tells of the first try.
type silent struct{ read chan struct{} }

func (s silent) Read([]byte) (int, error) {
	close(s.read)
	select {}
}

// A command that waits for standard input ends when it is interrupted.
func TestInterruptWhileReading(t *testing.T) {
	for _, args := range [][]string{
		{"add", "--from", "-", "web", "-o", "-"},
		{"inspect", "-"},
		{"verify", "-"},
		{"unpack", "-", "-o", t.TempDir() + "/out"},
	} {
		ctx, stop := context.WithCancel(context.Background())
		in := silent{make(chan struct{})}
		var errs bytes.Buffer
		done := make(chan int, 1)
		go func() {
			done <- cli.Main(ctx, cli.Env{
				Args: args, Stdin: in, Stdout: io.Discard, Stderr: &errs, Getenv: func(string) string { return "" },
			})
		}()
		<-in.read
		stop()
		select {
		case code := <-done:
			if code != cli.ExitFailure || errs.String() != "pvkit: interrupted\n" {
				t.Errorf("pvkit %v: code %d\n%s", args, code, errs.String())
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("pvkit %v still waits", args)
		}
	}
}

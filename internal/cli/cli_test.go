package cli_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

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
		{[]string{"version", "--no-such"}, cli.ExitUsage, "unknown flag"},
		{[]string{"version", "extra"}, cli.ExitUsage, "pvkit version"},
	} {
		code, out, errs := run(t, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("pvkit %v: code %d, want %d\n%s%s", c.args, code, c.code, out, errs)
		}
	}
}

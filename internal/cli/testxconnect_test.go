package cli_test

import (
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
)

func TestTestXconnect(t *testing.T) {
	for _, tt := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"--list", cli.ExitOK, " 5  lifecycle: a request and its whole answer\n", ""},
		{"--list --run unix|drm", cli.ExitOK, " 1  unix: the socket in the consumer\n 4  drm: the device in the consumer\n", ""},
		{"--socket /no/such", cli.ExitFailure, "", "there is no socket /no/such: is the runtime up?"},
		{"--run 8", cli.ExitUsage, "", `test xconnect: --run: choose tests: "8" is not among the numbers 1 to 7`},
		{"--format html", cli.ExitUsage, "", "want text, json, junit or tap"},
		{"--json --format tap", cli.ExitUsage, "", "exclude each other"},
		{"--connects x", cli.ExitUsage, "", "--connects x: this is no number"},
	} {
		code, out, errs := run(t, append([]string{"test", "xconnect"}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) {
			t.Errorf("%s: %d\n%s%s", tt.args, code, out, errs)
		}
	}
}

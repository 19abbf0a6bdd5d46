package cli_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
)

var kasTree = map[string]string{
	".git/HEAD":           "",
	"conf/layer.conf":     "",
	"kas/base.yaml":       "header:\n  version: 16\nmachine: base\ndistro: d\nlocal_conf_header:\n  net: A = \"1\"\n",
	"kas/board.yaml":      "header:\n  version: 16\n  includes:\n    - kas/base.yaml\nmachine: board\nrepos:\n  self:\n",
	"kas/double.yaml":     "header:\n  version: 16\nmachine: a\nmachine: b\n",
	"kas/broken.yaml":     "header: [\n",
	"kas/branch.yaml":     "header:\n  version: 16\nrepos:\n  x: {url: \"https://example.org/x\", branch: main}\n",
	"kas/release.yaml":    "header:\n  version: 16\nrepos:\n  x: {url: \"https://example.org/x\", branch: main, commit: 0123456789012345678901234567890123456789}\n",
	"kas/machines/a.yaml": "header: {version: 16}\nmachine: a\n",
	"Kconfig":             "config A\n\tbool \"a\"\n\tdefault y\nconfig KAS_INCLUDE_A\n\tstring\n\tdefault \"kas/machines/a.yaml\" if A\n",
}

func TestKas(t *testing.T) {
	writeTree(t, kasTree)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"kas dump kas/board.yaml", cli.ExitOK, "header:\n  version: 16\nmachine: board\ndistro: d\nlocal_conf_header:\n  net: A = \"1\"\nrepos:\n  self:\n"},
		{"kas dump --dialect pantacor kas/board.yaml", cli.ExitOK, "header:\n    version: 16\nmachine: board\ndistro: d\nlocal_conf_header:\n    net: A = \"1\"\nrepos:\n    self:\n"},
		{"kas dump --format json --sort --indent 1 kas/base.yaml", cli.ExitOK, "{\n \"distro\": \"d\",\n"},
		{"kas dump --format xml kas/base.yaml", cli.ExitUsage, "no format \"xml\""},
		{"kas dump --dialect x kas/base.yaml", cli.ExitUsage, "no dialect \"x\""},
		{"kas dump kas/broken.yaml", cli.ExitFailure, "kas/broken.yaml:"},
		{"kas dump kas/gone.yaml", cli.ExitFailure, "kas/gone.yaml does not exist"},
		{"kas dump kas/base.yaml:", cli.ExitFailure, "has an empty name"},
		{"kas conf --only local.conf kas/board.yaml", cli.ExitOK, "# net\nA = \"1\"\nMACHINE ??= \"board\"\nDISTRO ??= \"d\"\nBBMULTICONFIG ?= \"\"\n"},
		{"kas conf --only bblayers.conf kas/board.yaml", cli.ExitOK, "BBLAYERS ?= \" \\\n    ${TOPDIR}/..\"\nBBPATH ?= \"${TOPDIR}\"\nBBFILES ??= \"\"\n"},
		{"kas conf --only x kas/board.yaml", cli.ExitUsage, "no file \"x\""},
		{"kas resolve kas/board.yaml", cli.ExitOK, "machine  board\ndistro   d\n"},
		{"kas resolve --origins kas/board.yaml", cli.ExitOK, "machine = \"board\"\n    set      kas/board.yaml:5:10\n    replaced kas/base.yaml:3:10\n"},
		{"kas check kas/board.yaml", cli.ExitOK, ""},
		{"kas check kas/double.yaml", cli.ExitFindings, "kas/double.yaml:4:1: machine is set twice in one mapping: the first one is dropped [kas-duplicate-key]\n"},
		{"kas check kas/branch.yaml", cli.ExitOK, "follows the branch main"},
		{"kas check --strict kas/branch.yaml", cli.ExitFindings, "follows the branch main"},
		{"kas check --format sarif kas/double.yaml", cli.ExitFindings, "\"kas-duplicate-key\""},
		{"kas lock --offline kas/branch.yaml", cli.ExitFailure, "no commit is pinned for x (branch main)"},
		{"kas lock --offline kas/release.yaml", cli.ExitOK, "nothing to lock\n"},
		{"kas pin --offline kas/branch.yaml", cli.ExitFailure, "no commit is pinned for x (branch main)"},
		{"kas pin --offline --keep kas/release.yaml kas/branch.yaml", cli.ExitOK, "    branch: main\n    commit: 0123456789012345678901234567890123456789\n"},
		{"combos --dialect stock", cli.ExitOK, "1 combinations, 0 findings"},
		{"combos --repo x", cli.ExitUsage, "want ID=DIRECTORY"},
		{"combos --format sarif", cli.ExitOK, "\"results\": []"},
	} {
		code, out, errs := run(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("pvkit %s: code %d, want %d\n%s%swant\n%s", c.args, code, c.code, out, errs, c.want)
		}
		if strings.HasPrefix(c.args, "kas dump") && c.code == cli.ExitOK && !strings.HasPrefix(out, c.want) {
			t.Errorf("pvkit %s prints more than the dump:\n%s", c.args, out)
		}
	}
}

// TestKasPinFile writes a release file twice: the second time nothing moves,
// and a failure leaves the file alone.
func TestKasPinFile(t *testing.T) {
	writeTree(t, kasTree)
	before, err := os.ReadFile("kas/release.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "kas", "pin", "--offline", "-o", "kas/release.yaml", "kas/branch.yaml"); code != cli.ExitFailure {
		t.Fatalf("code %d, %s", code, errs)
	}
	if now, err := os.ReadFile("kas/release.yaml"); err != nil || string(now) != string(before) {
		t.Errorf("the file changed: %v\n%s", err, now)
	}
	for range 2 {
		code, _, errs := run(t, "kas", "pin", "--offline", "--keep", "kas/release.yaml", "-o", "kas/release.yaml", "kas/branch.yaml")
		if code != cli.ExitOK || !strings.Contains(errs, "1 repositories, 1 of them kept") {
			t.Fatalf("code %d, %s", code, errs)
		}
	}
}

func TestKasJSON(t *testing.T) {
	writeTree(t, kasTree)
	for _, args := range []string{"kas resolve --json kas/board.yaml", "kas check --json kas/double.yaml", "combos --json", "kas lock --offline --json kas/release.yaml"} {
		_, out, errs := run(t, strings.Fields(args)...)
		var v any
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Errorf("pvkit %s: %v\n%s%s", args, err, out, errs)
		}
	}
}

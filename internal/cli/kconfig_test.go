package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
)

var kconfigTree = map[string]string{
	"kconfig/Kconfig": `mainmenu "demo"
config NET
	bool "network"
	depends on HW

config HW
	bool "hardware"

source "kconfig/extra"
`,
	"kconfig/extra": `config NAME
	string "name for $(WHO)"
	default "a" if NET
`,
}

func TestKconfigEval(t *testing.T) {
	writeTree(t, kconfigTree)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"eval"}, 0, `- NET   bool    n   kconfig/Kconfig:2
* HW    bool    n   kconfig/Kconfig:6
* NAME  string  ""  kconfig/extra:1
`},
		{[]string{"eval", "--set", "HW=y", "--set", "NET=y"}, 0, `u NET   bool    y    kconfig/Kconfig:2
u HW    bool    y    kconfig/Kconfig:6
* NAME  string  "a"  kconfig/extra:1
`},
		{[]string{"explain", "NET"}, 0, `NET (network) is n, type bool, defined at kconfig/Kconfig:2
  depends on HW does not hold  [kconfig/Kconfig:4]
    HW is n  [kconfig/Kconfig:6]
      no default applies, so HW is n  [kconfig/Kconfig:6]
`},
		{[]string{"explain", "NAME", "--env", "WHO=me"}, 0, "NAME (name for me) is"},
		{[]string{"explain", "NETT"}, cli.ExitUsage, `did you mean "NET"?`},
		{[]string{"eval", "--set", "HW=maybe"}, cli.ExitUsage, `the value "maybe" is invalid for HW`},
		{[]string{"eval", "--set", "HW"}, cli.ExitUsage, "want SYMBOL=VALUE"},
		{[]string{"eval", "--env", "=x"}, cli.ExitUsage, "want NAME=VALUE"},
		{[]string{"eval", "--kconfig", "missing"}, cli.ExitFailure, "missing"},
		{[]string{"eval", "-C", "kconfig"}, cli.ExitFailure, "'kconfig/extra' not found"},
		{[]string{"no-such"}, cli.ExitUsage, "has no command"},
	} {
		code, out, errs := run(t, append([]string{"kconfig"}, tt.args...)...)
		if code != tt.code || !strings.HasPrefix(out, tt.want) && !strings.Contains(errs+out, tt.want) {
			t.Errorf("%v: code %d\n%s%s\nwant %d\n%s", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
}

func TestKconfigCheck(t *testing.T) {
	writeTree(t, map[string]string{
		"Kconfig":             "config KAS_LOCAL_X\n\tstring\n\tdefault \"a\"\nconfig KAS_INCLUDE_A\n\tstring\n\tdefault \"kas/none.yaml\"\n",
		"kas/machines/b.yaml": "header:\n  version: 16\n",
	})
	code, out, errs := run(t, "kconfig", "check")
	want := `Kconfig:6: KAS_INCLUDE_A leads to kas/none.yaml, and there is no such file [kconfig-missing-file]
kas/machines/b.yaml: no KAS_INCLUDE_* symbol leads to this machine: the menu does not offer it [kconfig-machine]
`
	if code != cli.ExitFindings || out != want || !strings.Contains(errs, "pantacor dialect of kas: KAS_LOCAL_X is defined at Kconfig:1") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	code, out, errs = run(t, "kconfig", "check", "--dialect", "stock", "--json")
	var found []struct{ Rule, File string }
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	if code != cli.ExitFindings || len(found) != 3 || found[0].Rule != "kconfig-dialect" || errs != "" {
		t.Errorf("code %d, %v %s", code, found, errs)
	}
	for _, args := range [][]string{{"--dialect", "other"}, {"--format", "other"}} {
		if code, _, errs := run(t, append([]string{"kconfig", "check"}, args...)...); code != cli.ExitUsage || !strings.Contains(errs, "other") {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
}

func TestKconfigEvalJSON(t *testing.T) {
	writeTree(t, kconfigTree)
	_, out, _ := run(t, "kconfig", "eval", "--json", "--set", "HW=y")
	var v struct {
		Title   string
		Files   []string
		Symbols []struct {
			Name, Type, Value, Visibility, Dependencies string
			User                                        *string
		}
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	if v.Title != "demo" || len(v.Files) != 2 || len(v.Symbols) != 3 {
		t.Fatalf("%+v", v)
	}
	if hw := v.Symbols[1]; hw.Name != "HW" || hw.Value != "y" || hw.Visibility != "y" || hw.User == nil || *hw.User != "y" {
		t.Errorf("%+v", hw)
	}
}

package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/internal/golden"
	"github.com/pvkit/pvkit/internal/testreq"
)

var featureLayer = with(trapLayer,
	"kas/second.yaml", `header:
  version: 16
machine: board
distro: demo
local_conf_header:
  features: |
    PANTAVISOR_FEATURES:append = " runc tailscael"
    PANTAVISOR_FEATURES:remove = "dm-crypt"
    PANTAVISOR_FEATURES:append = " dm-crypt rngdaemon"
`,
	"recipes/app/vpn_1.0.bb", "RDEPENDS = \"${@bb.utils.contains('PANTAVISOR_FEATURES', 'tailscale', 'wg', '', d)}${@bb.utils.contains('PANTAVISOR_FEATURES', 'rngd', 'rng', '', d)}\"\n",
	"kas/app.yaml", trapLayer["kas/app.yaml"]+"    PANTAVISOR_FEATURES:append = \" xconnect\"\n")

func TestFeatures(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	writeTree(t, featureLayer)
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"table", nil},
		{"json", []string{"--format", "json"}},
		{"markdown", []string{"--format", "markdown"}},
		{"all", []string{"--all"}},
		{"machine", []string{"--var", "MACHINE_FEATURES", "--all"}},
	} {
		code, out, errs := run(t, append([]string{"features"}, tt.args...)...)
		if code != 0 || errs != "" {
			t.Errorf("%s: code %d\n%s", tt.name, code, errs)
		}
		golden.Check(t, filepath.Join(dir, "testdata/features", tt.name+".golden"), []byte(out))
	}
	if code, _, errs := run(t, "features", "--format", "pdf"); code != cli.ExitUsage || !strings.Contains(errs, "want table, json or markdown") {
		t.Errorf("code %d, %s", code, errs)
	}
}

// TestFeaturesBase compares with a revision without touching the work tree.
func TestFeaturesBase(t *testing.T) {
	testreq.Tool(t, "git")
	writeTree(t, featureLayer)
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "-A"},
		{"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "one"},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if code, out, errs := run(t, "features", "--base", "HEAD"); code != 0 || !strings.Contains(out, "is the same in every configuration as in HEAD") {
		t.Errorf("no difference: code %d\n%s%s", code, out, errs)
	}
	demo := strings.Replace(featureLayer["conf/distro/demo.inc"], " +=", ":append =", 1)
	if err := os.WriteFile("conf/distro/demo.inc", []byte(strings.Replace(demo, "\"a", "\" a", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("kas/app.yaml"); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "features", "--base", "HEAD")
	want := `kas/second.yaml
  + pvcontrol
  + xconnect
kas/app.yaml (removed)
  - dm-crypt
  - pvcontrol
  - runc
  - xconnect
`
	if code != cli.ExitFindings || out != want {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
	code, out, _ = run(t, "features", "--base", "HEAD", "--format", "json")
	var d struct {
		Configurations []struct {
			Name, Change string
			Gained, Lost []string
		}
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != cli.ExitFindings || len(d.Configurations) != 2 || d.Configurations[1].Change != "removed" {
		t.Errorf("code %d, %v\n%s", code, err, out)
	}
	for _, rev := range []string{"nope", "--output=x"} {
		if code, _, errs := run(t, "features", "--base="+rev); code != cli.ExitFailure || !strings.Contains(errs, "find revision "+rev) {
			t.Errorf("%s: code %d, %s", rev, code, errs)
		}
	}
}

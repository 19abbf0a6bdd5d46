package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
)

// writeTree writes files below a new directory, which becomes the current one.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

// trapLayer is the trap: a class that comes in by INHERIT and a distro that
// adds to its weak default with +=.
var trapLayer = map[string]string{
	"conf/layer.conf": `BBPATH .= ":${LAYERDIR}"
BBFILES += "${LAYERDIR}/recipes/*/*.bb"
BBFILE_COLLECTIONS += "demo"
BBFILE_PATTERN_demo = "^${LAYERDIR}/"
LAYERSERIES_COMPAT_demo = "scarthgap"
INHERIT += "pvbase"
`,
	"classes/pvbase.bbclass":  "PANTAVISOR_FEATURES ??= \" dm-crypt xconnect pvcontrol \"\n",
	"conf/distro/demo.conf":   "require demo.inc\n",
	"conf/distro/demo.inc":    "PANTAVISOR_FEATURES += \"appengine\"\n",
	"conf/machine/board.conf": "MACHINE_FEATURES = \"usbhost\"\n",
	"kas/app.yaml": `header:
  version: 16
machine: board
distro: other
local_conf_header:
  features: |
    PANTAVISOR_FEATURES:append = " runc"
`,
	"recipes/app/app_1.0.bb": "DEPENDS = \"${@bb.utils.contains('PANTAVISOR_FEATURES', 'xconnect pvcontrol', 'dbus', '', d)} ${@bb.utils.contains_any('PANTAVISOR_FEATURES', 'dm-crypt appengine runc', 'a', '', d)}\"\nDEPENDS[doc] = \"what it needs\"\n",
}

func TestGetvar(t *testing.T) {
	writeTree(t, trapLayer)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"getvar", "--value", "PANTAVISOR_FEATURES"}, 0, " dm-crypt xconnect pvcontrol  runc\n"},
		{[]string{"getvar", "--value", "-c", "demo", "PANTAVISOR_FEATURES"}, 0, " appengine\n"},
		{[]string{"getvar", "--value", "--distro", "demo", "PANTAVISOR_FEATURES"}, 0, " appengine runc\n"},
		{[]string{"getvar", "--value", "-c", "machine board", "MACHINE_FEATURES"}, 0, "usbhost\n"},
		{[]string{"getvar", "--value", "-r", "app", "DEPENDS"}, 0, "dbus a\n"},
		{[]string{"getvar", "--value", "-c", "distro demo", "-r", "app", "DEPENDS"}, 0, " a\n"},
		{[]string{"getvar", "--value", "-r", "app", "-f", "doc", "DEPENDS"}, 0, "what it needs\n"},
		{[]string{"getvar", "--value", "-u", "BBFILE_PATTERN_demo"}, 0, "^"},
		{[]string{"getvar", "NOPE"}, cli.ExitFindings, "# NOPE is not set\n"},
		{[]string{"getvar", "-c", "demoo", "NOPE"}, cli.ExitFailure, "there is no configuration demoo"},
		{[]string{"getvar", "-r", "ap", "NOPE"}, cli.ExitFailure, "did you mean app?"},
		{[]string{"getvar"}, cli.ExitUsage, "getvar: want VAR; found no arguments"},
		{[]string{"getvar", "--build", "kas", "A"}, cli.ExitFailure, "kas is no build directory"},
		{[]string{"getvar", "--layer", "kas", "A"}, cli.ExitFailure, "kas is no layer"},
	} {
		code, out, errs := run(t, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("pvkit %q: code %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.want, out, errs)
		}
	}
}

// TestGetvarHistory checks that places in a kas file and in a class are those
// of the files that people edit.
func TestGetvarHistory(t *testing.T) {
	dir := writeTree(t, trapLayer)
	code, out, errs := run(t, "getvar", "--json", "PANTAVISOR_FEATURES")
	if code != 0 {
		t.Fatalf("code %d\n%s", code, errs)
	}
	var got struct {
		Known   bool
		History []struct {
			File, Operation, Operand string
			Line, Column             int
			Via                      []struct {
				Verb, File string
				Line       int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.History) != 2 || !got.Known {
		t.Fatalf("got %+v", got)
	}
	kas, class := got.History[0], got.History[1]
	if kas.File != dir+"/kas/app.yaml" || kas.Line != 7 || kas.Column != 5 || kas.Operation != ":append" || kas.Operand != " runc" {
		t.Errorf("the line of the kas file: %+v", kas)
	}
	if class.File != dir+"/classes/pvbase.bbclass" || class.Line != 1 || class.Operation != "set default" ||
		len(class.Via) != 1 || class.Via[0].Verb != "INHERIT" || class.Via[0].File != dir+"/conf/layer.conf" || class.Via[0].Line != 6 {
		t.Errorf("the class: %+v", class)
	}
}

func TestExplainCommand(t *testing.T) {
	writeTree(t, trapLayer)
	code, out, errs := run(t, "explain", "-c", "demo", "PANTAVISOR_FEATURES")
	want := `PANTAVISOR_FEATURES in distro demo

 1. conf/distro/demo.inc:1
    PANTAVISOR_FEATURES += "appengine"
    required by conf/distro/demo.conf:1
    → applied
 2. classes/pvbase.bbclass:1
    PANTAVISOR_FEATURES ??= " dm-crypt xconnect pvcontrol "
    inherited by conf/layer.conf:6
    → lost: PANTAVISOR_FEATURES += "appengine" at conf/distro/demo.inc:1 made a value without looking at this default

The value is " appengine".
`
	if code != 0 || out != want {
		t.Errorf("code %d\n%s\nwant\n%s\n%s", code, out, want, errs)
	}
	if code, out, _ := run(t, "explain", "NOPE"); code != cli.ExitFindings || !strings.HasSuffix(out, "It is not set.\n") {
		t.Errorf("code %d\n%s", code, out)
	}
}

// TestLintBuildDirectory finds mistakes in the local.conf of a build directory.
func TestLintBuildDirectory(t *testing.T) {
	files := clean()
	files["build/conf/local.conf"] = "# pvkit: disable=weak-default-clobber only for a test\nPANTAVISOR_FEATURES += \"appengine\"\nA:append += \"x\"\n"
	files["build/conf/bblayers.conf"] = "BBPATH = \"${TOPDIR}\"\nBBLAYERS = \"${TOPDIR}/..\"\n"
	dir := writeTree(t, files)
	code, out, errs := run(t, "lint", "-q", "-C", dir, "--build", "build", "--format", "oneline")
	if code != cli.ExitFindings || out != "build/conf/local.conf:3:1: A:append += puts two operators together [double-operator]\n" {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	t.Chdir(filepath.Join(dir, "build"))
	if code, out, _ := run(t, "lint", "-q", "--format", "oneline"); code != cli.ExitFindings || !strings.HasPrefix(out, "conf/local.conf:3:1: ") {
		t.Errorf("in the build directory: code %d\n%s", code, out)
	}
}

// TestLintOtherBuildDirectory is in a build directory outside of every layer:
// its layers are used and not looked at.
func TestLintOtherBuildDirectory(t *testing.T) {
	layer := writeTree(t, trapLayer)
	writeTree(t, map[string]string{
		"conf/bblayers.conf": "BBPATH = \"${TOPDIR}\"\nBBLAYERS = \"" + layer + "\"\n",
		"conf/local.conf":    "PANTAVISOR_FEATURES += \"runc\"\n",
	})
	code, out, errs := run(t, "lint", "-q", "--format", "oneline")
	if code != cli.ExitFindings || out != "conf/local.conf:1:1: PANTAVISOR_FEATURES += drops the default \"dm-crypt xconnect pvcontrol\" [weak-default-clobber]\n" {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := run(t, "getvar", "-r", "app", "--value", "DEPENDS"); code != 0 || strings.TrimSpace(out) != "a" {
		t.Errorf("a recipe: code %d\n%s%s", code, out, errs)
	}
}

// TestBuildDirectory reads bblayers.conf and local.conf of a build directory.
func TestBuildDirectory(t *testing.T) {
	dir := writeTree(t, trapLayer)
	for name, text := range map[string]string{
		"conf/bblayers.conf": "BBPATH = \"${TOPDIR}\"\nBBLAYERS = \"" + dir + "\"\n",
		"conf/local.conf":    "DISTRO = \"demo\"\nPANTAVISOR_FEATURES:remove = \"appengine\"\nPANTAVISOR_FEATURES:append = \" own\"\n",
	} {
		file := filepath.Join(dir, "build", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := run(t, "getvar", "--build", "build", "--value", "PANTAVISOR_FEATURES"); code != 0 || strings.TrimSpace(out) != "own" {
		t.Errorf("code %d: %q\n%s", code, out, errs)
	}
}

// A kas project may have no layer of its own, and files that set one thing.
func TestKasFilesWithoutALayer(t *testing.T) {
	writeTree(t, map[string]string{
		"kas/board.yaml":   "header:\n  version: 16\nmachine: board\n",
		"kas/feature.yaml": "header:\n  version: 16\nlocal_conf_header:\n  f: |\n    F:append = \" x\"\n",
	})
	for _, tt := range []struct{ file, variable, want string }{
		{"kas/board.yaml", "MACHINE", "board\n"},
		{"kas/feature.yaml", "F", " x\n"},
	} {
		code, out, errs := run(t, "getvar", "--value", "-c", tt.file, tt.variable)
		if code != 0 || out != tt.want || strings.Contains(errs, "bblayers.conf") {
			t.Errorf("%s: %d %q, want %q\n%s", tt.file, code, out, tt.want, errs)
		}
	}
}

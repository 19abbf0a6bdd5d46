package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/internal/golden"
)

// clean is the trap layer mended.
func clean() map[string]string {
	files := maps.Clone(trapLayer)
	files["conf/distro/demo.inc"] = "PANTAVISOR_FEATURES:append = \" appengine\"\n"
	return files
}

func with(files map[string]string, more ...string) map[string]string {
	files = maps.Clone(files)
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

func runStdin(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(context.Background(), cli.Env{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" },
	})
	return code, out.String(), errs.String()
}

// TestLintFormats shows the trap in every format.
func TestLintFormats(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	writeTree(t, with(trapLayer, "conf/distro/ünï.conf", "X = \"ü\"\nPANTAVISOR_FEATURES .= \" debüg\"\n",
		"recipes/app/more.inc", "X = \"${@bb.utils.contains('PANTAVISOR_FEATURES', 'debüg', 'a', '', d)}\"\n"))
	for _, format := range []string{"text", "oneline", "json", "jsonl", "sarif", "github", "junit"} {
		code, out, errs := run(t, "lint", "-q", "--format", format)
		if code != cli.ExitFindings || errs != "" {
			t.Errorf("%s: code %d, %s", format, code, errs)
		}
		golden.Check(t, dir+"/testdata/lint/"+format+".golden", []byte(out))
	}
	code, out, _ := run(t, "lint", "-q", "--format", "template", "--template", `{{range .}}{{.Rule}}|{{.File}}|{{.Line}}|{{json .Fixable}}{{"\n"}}{{end}}`)
	if want := "weak-default-clobber|conf/distro/demo.inc|1|true\nweak-default-clobber|conf/distro/ünï.conf|2|true\n"; code != cli.ExitFindings || out != want {
		t.Errorf("template: code %d\n%s", code, out)
	}
}

// TestLintFormatsParse reads the machine formats back, with and without
// findings.
func TestLintFormatsParse(t *testing.T) {
	for name, files := range map[string]map[string]string{"findings": trapLayer, "clean": clean()} {
		writeTree(t, files)
		for format, parse := range map[string]func(string) error{
			"json":  func(s string) error { var v []map[string]any; return json.Unmarshal([]byte(s), &v) },
			"sarif": func(s string) error { var v map[string]any; return json.Unmarshal([]byte(s), &v) },
			"junit": func(s string) error { var v struct{ XMLName xml.Name }; return xml.Unmarshal([]byte(s), &v) },
		} {
			_, out, _ := run(t, "lint", "-q", "--format", format)
			if err := parse(out); err != nil {
				t.Errorf("%s, %s: %v\n%s", format, name, err, out)
			}
		}
	}
}

func TestLintExitCodes(t *testing.T) {
	writeTree(t, clean())
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"lint", "-q"}, 0, ""},
		{[]string{"lint", "nowhere"}, cli.ExitFailure, "no such file"},
		{[]string{"lint", "--format", "pdf"}, cli.ExitUsage, "--format pdf: want text"},
		{[]string{"lint", "--format", "template"}, cli.ExitUsage, "needs --template"},
		{[]string{"lint", "--format", "template", "--template", "{{"}, cli.ExitUsage, "template"},
		{[]string{"lint", "--fail-on", "bad"}, cli.ExitUsage, "want note, warning or error"},
		{[]string{"lint", "--disable", "weak-default-clober"}, cli.ExitUsage, "did you mean weak-default-clobber?"},
		{[]string{"lint", "-"}, cli.ExitUsage, "- needs --stdin-filename"},
		{[]string{"lint", "--stdin-filename", "a.bb"}, cli.ExitUsage, "--stdin-filename is for -"},
		{[]string{"lint", "--fix", "--diff"}, cli.ExitUsage, "fix"},
		{[]string{"lint", "--explain", "weak-default-clobber"}, 0, "throws the default away"},
		{[]string{"lint", "--explain", "all"}, 0, "kas-duplicate-key"},
		{[]string{"lint", "--explain", "nope"}, cli.ExitUsage, "there is no rule nope"},
		{[]string{"lint", "--baseline", "none.json"}, cli.ExitFailure, "none.json"},
	} {
		code, out, errs := run(t, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("pvkit %q: code %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.want, out, errs)
		}
	}
	empty := t.TempDir()
	t.Chdir(empty)
	if code, _, errs := run(t, "lint"); code != cli.ExitFailure || !strings.Contains(errs, "no layer") {
		t.Errorf("an empty directory: code %d\n%s", code, errs)
	}
}

// TestLintFix mends, keeps the layout and the mode, and finds nothing in a
// second run.
func TestLintFix(t *testing.T) {
	kas := "header:\n  version: 16\nlocal_conf_header:\n  features: |\n      # why\n      PANTAVISOR_FEATURES  +=  \"runc\"\n  quoted: \"PANTAVISOR_FEATURES += 'debug'\"\n"
	writeTree(t, with(trapLayer, "kas/app.yaml", kas))
	if err := os.Chmod("conf/distro/demo.inc", 0o600); err != nil {
		t.Fatal(err)
	}
	code, diff, _ := run(t, "lint", "-q", "--diff")
	want := `--- a/conf/distro/demo.inc
+++ b/conf/distro/demo.inc
@@ -1,1 +1,1 @@
-PANTAVISOR_FEATURES += "appengine"
+PANTAVISOR_FEATURES:append = " appengine"
--- a/kas/app.yaml
+++ b/kas/app.yaml
@@ -3,5 +3,5 @@
 local_conf_header:
   features: |
       # why
-      PANTAVISOR_FEATURES  +=  "runc"
-  quoted: "PANTAVISOR_FEATURES += 'debug'"
+      PANTAVISOR_FEATURES:append  =  " runc"
+  quoted: "PANTAVISOR_FEATURES:append = ' debug'"
`
	if code != cli.ExitFindings || diff != want {
		t.Errorf("--diff: code %d\n%s", code, diff)
	}
	if code, out, errs := run(t, "lint", "-q", "--fix", "--disable", "unused-feature"); code != 0 || out != "" {
		t.Errorf("--fix: code %d\n%s%s", code, out, errs)
	}
	text, err := os.ReadFile("kas/app.yaml")
	if err != nil || !strings.Contains(string(text), "      PANTAVISOR_FEATURES:append  =  \" runc\"\n") {
		t.Errorf("%v\n%s", err, text)
	}
	if info, err := os.Stat("conf/distro/demo.inc"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if code, out, _ := run(t, "lint", "-q", "--disable", "unused-feature"); code != 0 || out != "" {
		t.Errorf("a second run: code %d\n%s", code, out)
	}
}

// TestLintFixNotes leaves alone what is only a note.
func TestLintFixNotes(t *testing.T) {
	writeTree(t, with(trapLayer, ".pvkit.yaml", "rules:\n  weak-default-clobber: note\n"))
	if code, out, _ := run(t, "lint", "-q", "--diff"); code != 0 || out != "" {
		t.Errorf("code %d\n%s", code, out)
	}
	if code, out, _ := run(t, "lint", "-q", "--diff", "--fail-on", "note"); code != cli.ExitFindings || !strings.Contains(out, "+PANTAVISOR_FEATURES:append = \" appengine\"") {
		t.Errorf("code %d\n%s", code, out)
	}
}

// TestLintStdin checks and mends the text of an editor in place of a file.
func TestLintStdin(t *testing.T) {
	writeTree(t, clean())
	bad := "PANTAVISOR_FEATURES += \"appengine\"\n"
	code, out, _ := runStdin(t, bad, "lint", "-q", "--format", "oneline", "--stdin-filename", "conf/distro/demo.inc", "-")
	if code != cli.ExitFindings || !strings.HasPrefix(out, "conf/distro/demo.inc:1:1: ") {
		t.Errorf("code %d\n%s", code, out)
	}
	code, out, _ = runStdin(t, bad, "lint", "-q", "--fix", "--stdin-filename", "conf/distro/demo.inc", "-")
	if code != 0 || out != "PANTAVISOR_FEATURES:append = \" appengine\"\n" {
		t.Errorf("--fix: code %d\n%s", code, out)
	}
	if code, out, _ := runStdin(t, "A:append += \"x\"\n", "lint", "-q", "--format", "oneline", "--stdin-filename", "recipes/app/new_1.bb", "-"); code != cli.ExitFindings ||
		!strings.Contains(out, "recipes/app/new_1.bb:1:1: ") {
		t.Errorf("a new file: code %d\n%s", code, out)
	}
}

func TestLintSettings(t *testing.T) {
	for _, tt := range []struct {
		name, settings string
		code           int
		want           string
	}{
		{"note", "rules:\n  weak-default-clobber: note\n", 0, "note: PANTAVISOR_FEATURES +="},
		{"off", "rules:\n  weak-default-clobber: off\n", 0, ""},
		{"path", "paths:\n  - path: conf/**\n    ignore: [weak-default-clobber]\n", 0, ""},
		{"other path", "paths:\n  - path: conf/machine\n    ignore: [all]\n", cli.ExitFindings, "drops the default"},
		{"exclude", "exclude: [conf/distro]\n", 0, ""},
		{"unknown rule", "rules:\n  weak-default-clober: off\n", cli.ExitFailure, "did you mean weak-default-clobber?"},
		{"unknown severity", "rules:\n  late-default: fatal\n", cli.ExitFailure, "want error, warning, note or off"},
		{"unknown key", "rule: {}\n", cli.ExitFailure, "field rule not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writeTree(t, with(trapLayer, ".pvkit.yaml", tt.settings))
			code, out, errs := run(t, "lint", "-q", "--format", "oneline", "--disable", "unused-feature")
			if code != tt.code || !strings.Contains(out+errs, tt.want) || tt.want == "" && out != "" {
				t.Errorf("code %d, want %d and %q\n%s%s", code, tt.code, tt.want, out, errs)
			}
		})
	}
}

// TestLintFeatureNames makes a word known that nothing tests.
func TestLintFeatureNames(t *testing.T) {
	files := with(clean(), "conf/distro/extra.conf", "PANTAVISOR_FEATURES:append = \" special\"\n")
	writeTree(t, files)
	if code, out, _ := run(t, "lint", "-q", "--format", "oneline"); code != cli.ExitFindings || !strings.Contains(out, "special is set here and nothing tests it") {
		t.Errorf("code %d\n%s", code, out)
	}
	writeTree(t, with(files, ".pvkit.yaml", "features:\n  PANTAVISOR_FEATURES: [special]\n"))
	if code, out, _ := run(t, "lint", "-q", "--format", "oneline"); code != 0 || out != "" {
		t.Errorf("code %d\n%s", code, out)
	}
}

// TestLintBaseline hides what is known, wherever it moves to, and no more.
func TestLintBaseline(t *testing.T) {
	writeTree(t, trapLayer)
	if code, out, errs := run(t, "lint", "-q", "--write-baseline", "known.json"); code != 0 || out != "" {
		t.Fatalf("code %d\n%s%s", code, out, errs)
	}
	if err := os.WriteFile("conf/distro/demo.inc", []byte("# moved\n\nPANTAVISOR_FEATURES += \"appengine\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := run(t, "lint", "-q", "--baseline", "known.json"); code != 0 || out != "" {
		t.Errorf("code %d\n%s", code, out)
	}
	if err := os.WriteFile("conf/distro/demo.inc", []byte("PANTAVISOR_FEATURES += \"appengine\"\nPANTAVISOR_FEATURES += \"runc\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := run(t, "lint", "-q", "--format", "oneline", "--baseline", "known.json"); code != cli.ExitFindings || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "conf/distro/demo.inc:2:1") {
		t.Errorf("code %d\n%s", code, out)
	}
}

// TestLintPaths shows only what was asked for.
func TestLintPaths(t *testing.T) {
	writeTree(t, with(trapLayer, "recipes/app/b_1.bb", "A:append += \"x\"\n"))
	if code, out, _ := run(t, "lint", "-q", "--format", "oneline", "recipes"); code != cli.ExitFindings || strings.Count(out, "\n") != 1 || !strings.Contains(out, "b_1.bb:1:1") {
		t.Errorf("code %d\n%s", code, out)
	}
	if code, out, _ := run(t, "lint", "-q", "conf/machine", "kas/app.yaml"); code != 0 || out != "" {
		t.Errorf("code %d\n%s", code, out)
	}
}

package lint_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/internal/golden"
	"github.com/pvkit/pvkit/layer/lint"
)

const root = "/w/demo"

// project is a file system with one layer, given by file names in it.
func project(files []lint.ExampleFile) fstest.MapFS {
	m := fstest.MapFS{}
	for _, f := range files {
		m[root[1:]+"/"+f.Name] = &fstest.MapFile{Data: []byte(f.Text)}
	}
	if m[root[1:]+"/conf/layer.conf"] == nil {
		m[root[1:]+"/conf/layer.conf"] = &fstest.MapFile{Data: []byte(lint.ExampleLayer)}
	}
	return m
}

// check runs the linter over a file system.
func check(t testing.TB, m fstest.MapFS, o lint.OpenOptions) (*lint.Project, []diag.Diagnostic) {
	t.Helper()
	o.Root = root
	p, err := lint.Open(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	res, err := lint.Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return p, res.Findings
}

// lines shows findings as the tests expect them.
func lines(p *lint.Project, ds []diag.Diagnostic) string {
	var b strings.Builder
	for _, d := range ds {
		d.Pos.File = p.Name(d.Pos.File)
		if d.Severity == diag.Note {
			d.Message = "note: " + d.Message
		}
		b.WriteString(d.Pos.String() + ": " + d.Message + " [" + d.Rule + "]\n")
		for _, r := range d.Related {
			r.Pos.File = p.Name(r.Pos.File)
			b.WriteString("  " + r.Pos.String() + ": " + r.Message + "\n")
		}
		if d.Hint != "" {
			b.WriteString("  " + d.Hint + "\n")
		}
		if d.Fix != nil {
			b.WriteString("  fix: " + d.Fix.Message + "\n")
		}
	}
	return b.String()
}

// TestRuleExamples runs each rule's documentation: what is found in the bad
// example stands in it, word for word and from every rule, and nothing is
// found in the good one. What --fix can mend is mended: a second run finds
// nothing of it.
func TestRuleExamples(t *testing.T) {
	for _, r := range lint.Rules() {
		t.Run(r.ID, func(t *testing.T) {
			if r.Summary == "" || r.Why == "" || r.Fix == "" {
				t.Error("a rule needs its documentation")
			}
			bad, err := lint.LoadExample(r.ID, "bad")
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if n := len(bad.Files); n > 0 && bad.Files[n-1].Name == "findings" {
				want, bad.Files = bad.Files[n-1].Text, bad.Files[:n-1]
			}
			p, ds := check(t, project(bad.Files), lint.OpenOptions{})
			if got := lines(p, ds); os.Getenv("UPDATE_GOLDEN") == "1" {
				update(t, r.ID, got)
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if !slices.ContainsFunc(ds, func(d diag.Diagnostic) bool { return d.Rule == r.ID }) {
				t.Errorf("the rule finds nothing in its bad example:\n%s", lines(p, ds))
			}
			mend(t, r, project(bad.Files), p, ds)

			good, err := lint.LoadExample(r.ID, "good")
			if err != nil {
				t.Fatal(err)
			}
			if p, ds := check(t, project(good.Files), lint.OpenOptions{}); len(ds) > 0 {
				t.Errorf("the good example is not clean:\n%s", lines(p, ds))
			}
		})
	}
}

// update writes the findings into the bad example.
func update(t *testing.T, rule, found string) {
	name := filepath.Join("testdata/rules", rule, "bad.txt")
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(old), "-- findings --\n")
	if err := os.WriteFile(name, []byte(text+"-- findings --\n"+found), 0o644); err != nil {
		t.Fatal(err)
	}
}

// mend applies the fixes and runs again.
func mend(t *testing.T, r *lint.Rule, m fstest.MapFS, p *lint.Project, ds []diag.Diagnostic) {
	t.Helper()
	texts := map[string][]byte{}
	for name, f := range m {
		texts["/"+name] = f.Data
	}
	mended, left := lint.ApplyFixes(texts, ds)
	fixes := len(ds) - len(left)
	if has := slices.ContainsFunc(ds, func(d diag.Diagnostic) bool { return d.Rule == r.ID && d.Fix != nil }); has != r.Fixable {
		t.Errorf("Fixable is %v, and a finding has a fix: %v", r.Fixable, has)
	}
	if fixes == 0 {
		return
	}
	for name, text := range mended {
		if strings.Count(string(text), "\n") != strings.Count(string(texts[name]), "\n") {
			t.Errorf("a fix changes the number of lines of %s", name)
		}
		m[name[1:]] = &fstest.MapFile{Data: text}
	}
	p2, again := check(t, m, lint.OpenOptions{})
	for _, d := range again {
		if d.Fix != nil {
			t.Errorf("a second run finds more to mend:\n%s", lines(p2, []diag.Diagnostic{d}))
		}
	}
	if len(again) != len(left) {
		t.Errorf("%d findings were left, a second run has\n%s", len(left), lines(p2, again))
	}
}

// TestRulesPage keeps RULES.md in step.
func TestRulesPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The rules of pvkit lint\n\nMade from the rules and their examples, which are tests: `UPDATE_GOLDEN=1 go test ./layer/lint`. " +
		"Where an example shows no `conf/layer.conf`, it has one that makes it a layer and says `INHERIT += \"pvbase\"`.\n")
	for _, r := range lint.Rules() {
		text, err := lint.Document(r)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n" + text)
	}
	golden.Check(t, "RULES.md", []byte(b.String()))
}

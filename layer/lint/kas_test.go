package lint_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/layer/lint"
)

// TestKasPositions maps places through every way to write a string in YAML.
func TestKasPositions(t *testing.T) {
	const layer = "A ??= \"one two\"\n"
	for _, tt := range []struct {
		name, entry string
		pos         string // LINE:COL in the entry, whose first line is 1
		fixed       string // the line after --fix; "" when it cannot be mended
	}{
		{"literal", "  f: |\n    A += \"x\"\n", "2:5", "    A:append = \" x\""},
		{"literal, deep", "  f: |\n\n          B = \"1\"\n          A += \"x\"\n", "4:11", "          A:append = \" x\""},
		{"literal, chomped", "  f: |-\n    A += \"x\"\n", "2:5", "    A:append = \" x\""},
		{"literal, kept", "  f: |+\n    A += \"x\"\n\n", "2:5", "    A:append = \" x\""},
		{"literal, comment", "  f: | # note\n    A += \"x\"\n", "2:5", "    A:append = \" x\""},
		{"folded", "  f: >\n    A += \"x\"\n", "1:6", ""},
		{"single quotes", "  f: 'A += \"x\"'\n", "1:7", "  f: 'A:append = \" x\"'"},
		{"double quotes", "  f: \"A += 'x'\"\n", "1:7", "  f: \"A:append = ' x'\""},
		{"escapes", "  f: \"B = '1'\\nA += \\\"x\\\"\"\n", "1:16", "  f: \"B = '1'\\nA:append = \\\" x\\\"\""},
		{"double quotes, many lines", "  f: \"B = '\\xfc'\\n\\\n      A += 'x'\\n\\\n      \\ \"\n", "2:7", "      A:append = ' x'\\n\\"},
		{"double quotes, folded", "  f: \"B = '1\n      2'\\nA +=\n      'x'\"\n", "2:11", "      2'\\nA:append ="},
		{"plain", "  f: A += \"x\"\n", "1:6", "  f: A:append = \" x\""},
		{"anchor", "  f: &a |\n    A += \"x\"\n", "2:5", "    A:append = \" x\""},
		{"multi-line value", "  f: |\n    A += \"\\\n        x \\\n    \"\n", "2:5", "    A:append = \"\\"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head := "header:\n  version: 16\nlocal_conf_header:\n"
			m := project([]lint.ExampleFile{{Name: "classes/pvbase.bbclass", Text: layer}, {Name: "kas/a.yaml", Text: head + tt.entry}})
			p, ds := check(t, m, lint.OpenOptions{Paths: []string{root + "/kas"}})
			if len(ds) != 1 || ds[0].Rule != "weak-default-clobber" {
				t.Fatalf("got\n%s", lines(p, ds))
			}
			pos := ds[0].Pos
			pos.Line -= strings.Count(head, "\n")
			if got := fmt.Sprintf("%d:%d", pos.Line, pos.Col); got != tt.pos {
				t.Errorf("place %s, want %s", got, tt.pos)
			}
			name := root + "/kas/a.yaml"
			mended, _ := lint.ApplyFixes(map[string][]byte{name: m[name[1:]].Data}, ds)
			switch text := string(mended[name]); {
			case tt.fixed == "" && text != "":
				t.Errorf("mended to\n%s", text)
			case tt.fixed != "" && !strings.Contains(text, tt.fixed+"\n"):
				t.Errorf("mended to\n%s\nwant %q", text, tt.fixed)
			}
		})
	}
}

// FuzzKas reads any file as a kas file, a Kconfig and a recipe: no panic, and
// places and edits that lie in their files.
func FuzzKas(f *testing.F) {
	f.Add("header:\n  version: 16\nlocal_conf_header:\n  f: |\n    A += \"x\"\n", "config KAS_LOCAL_A\n\tstring\n\tdefault \"A += \\\"x\\\"\"\n", "A:append += \"x\"\n")
	f.Add("header: {version: 1, includes: [a, b]}\nlocal_conf_header: {a: 'A += \"x\"', b: \"A .= '\\u00fc'\", a: |\n", "default \"", "A_append = \"1\"")
	f.Add("header: &a\n  version: *a\nlocal_conf_header: *a\n", "config KAS_LOCAL_X\n string\n default \"\\\\\"", "# pvkit: disable=x\nREPENDS += \"ü\"")
	f.Fuzz(func(t *testing.T, kas, menu, recipe string) {
		m := project([]lint.ExampleFile{
			{Name: "classes/pvbase.bbclass", Text: "A ??= \"one two\"\n"}, {Name: "kas/a.yaml", Text: kas},
			{Name: "Kconfig", Text: menu}, {Name: "recipes-a/a/a_1.bb", Text: recipe},
		})
		p, err := lint.Open(context.Background(), m, lint.OpenOptions{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		res, err := lint.Run(context.Background(), p)
		if err != nil {
			t.Skip(err) // a limit
		}
		texts := map[string][]byte{}
		for name, file := range m {
			texts["/"+name] = file.Data
		}
		for _, d := range res.Findings {
			text, ok := texts[d.Pos.File]
			if !ok {
				t.Fatalf("a finding outside of the project: %s", d)
			}
			if n := strings.Count(string(text), "\n") + 1; d.Pos.Line > n || d.End.Line > n {
				t.Fatalf("%s ends at line %d of %d", d, d.End.Line, n)
			}
			if d.Fix == nil {
				continue
			}
			for _, e := range d.Fix.Edits {
				if e.Start < 0 || e.Start > e.End || e.End > len(texts[e.File]) {
					t.Fatalf("edit %+v of %s with %d bytes", e, d, len(texts[e.File]))
				}
			}
		}
		lint.ApplyFixes(texts, res.Findings)
	})
}

// TestOpenNothing tells an empty directory from an empty project.
func TestOpenNothing(t *testing.T) {
	m := fstest.MapFS{"w/demo/readme.txt": &fstest.MapFile{Data: []byte("x")}}
	if _, err := lint.Open(context.Background(), m, lint.OpenOptions{Root: root}); err == nil || !strings.Contains(err.Error(), "no layer") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lint.Open(ctx, m, lint.OpenOptions{Root: root}); err == nil {
		t.Error("a context that ended is not noticed")
	}
}

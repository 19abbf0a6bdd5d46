package bitbake_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/layer/bitbake"
)

// fields shows a statement without its place.
func fields(s bitbake.Stmt) string {
	switch s := s.(type) {
	case *bitbake.Assign:
		return fmt.Sprintf("assign %v %q [%q] %s %c %q", s.Export, s.Name, s.Flag, s.Op, s.Quote, s.Value)
	case *bitbake.Include:
		return fmt.Sprintf("include %v %q", s.Required, s.Files)
	case *bitbake.Inherit:
		return fmt.Sprintf("inherit %v %q", s.Deferred, s.Classes)
	case *bitbake.Export:
		return fmt.Sprintf("export %q", s.Name)
	case *bitbake.Unset:
		return fmt.Sprintf("unset %q %q", s.Name, s.Flag)
	case *bitbake.AddTask:
		return fmt.Sprintf("addtask %q %v %q %v %q", s.Name, s.HasBefore, s.Before, s.HasAfter, s.After)
	case *bitbake.DelTask:
		return fmt.Sprintf("deltask %q", s.Tasks)
	case *bitbake.AddHandler:
		return fmt.Sprintf("addhandler %q", s.Names)
	case *bitbake.ExportFunctions:
		return fmt.Sprintf("export functions %q %q", s.Class, s.Names)
	case *bitbake.AddPyLib:
		return fmt.Sprintf("addpylib %q %q", s.Dir, s.Namespace)
	case *bitbake.Function:
		return fmt.Sprintf("function %q %v %v %q", s.Name, s.Python, s.Fakeroot, s.Body)
	case *bitbake.Def:
		return fmt.Sprintf("def %q %q", s.Name, s.Body)
	case *bitbake.Comment:
		return fmt.Sprintf("comment %q", s.Lines)
	}
	return fmt.Sprintf("%T", s)
}

func allFields(stmts []bitbake.Stmt) string {
	var b strings.Builder
	for _, s := range stmts {
		b.WriteString(fields(s) + "\n")
	}
	return b.String()
}

// TestParse shows the statement that each line becomes.
func TestParse(t *testing.T) {
	for _, tt := range []struct{ file, src, want string }{
		{"a.conf", `A = "1"`, `assign false "A" [""] = " "1"`},
		{"a.conf", `A:append:foo+='x'`, `assign false "A:append:foo" [""] += ' "x"`},
		{"a.conf", `A[f@g] ??= "x"`, `assign false "A" ["f@g"] ??= " "x"`},
		{"a.conf", `A+ = "x"`, `assign false "A+" [""] = " "x"`},
		{"a.conf", `export += "x"`, `assign true "+" [""] = " "x"`},
		{"a.conf", `export = "x"`, `assign false "export" [""] = " "x"`},
		{"a.conf", `A=+"x"`, `assign false "A" [""] =+ " "x"`},
		{"a.conf", `A+=+"x"`, `assign false "A+" [""] =+ " "x"`},
		{"a.conf", "A = \"a \\\n\t b\"", `assign false "A" [""] = " "a \t b"`},
		{"a.conf", "# x \\\n# y", `comment ["# x \\" "# y"]`},
		{"a.conf", "unset A[xy]", `unset "A" "xy"`},
		{"a.conf", "addpylib ${LAYERDIR}/lib oe", `addpylib "${LAYERDIR}/lib" "oe"`},
		{"a.bb", "python () {\n    pass\n}", `function "" true false ["    pass" ""]`},
		{"a.bb", "fakeroot python do_x:append() {\n}", `function "do_x:append" true true [""]`},
		{"a.bb", "do_x:append:${P}  ( ) {\n:\n}", `function "do_x:append:${P}" false false [":" ""]`},
		{"a.bb", "def f(d):\n\n    return 1\nA = \"1\"", "def \"f\" [\"def f(d):\" \"\" \"    return 1\"]\nassign false \"A\" [\"\"] = \" \"1\""},
		{"a.bb", "addtask x before a b after c", `addtask "x" true "a b " true "c"`},
		{"a.bb", "inherit a \\\n  b", `inherit false "a   b"`},
		{"a.bb", "inherit_defer ${@'x'}", `inherit true "${@'x'}"`},
		{"b.bbclass", "EXPORT_FUNCTIONS do_x", `export functions "b" "do_x"`},
	} {
		f, ds := bitbake.Parse(tt.file, []byte(tt.src))
		if got := strings.TrimSuffix(allFields(f.Stmts), "\n"); got != tt.want || len(ds) > 0 {
			t.Errorf("%s %q:\n got %s\nwant %s\n%v", tt.file, tt.src, got, tt.want, ds)
		}
	}
}

// TestParseErrors: where BitBake refuses a file there is a finding at the
// line, and the other statements are read.
func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		file, src, kind string
		line            int
	}{
		{"a.conf", "B = \"1\"\nA = 1\n", "ParseError", 2},
		{"a.conf", " A = \"1\"", "ParseError", 1},
		{"a.conf", "A = \"a\"b\"", "ParseError", 1},
		{"a.conf", "unset A[x]", "ParseError", 1},
		{"a.conf", "# a \\\nB = \"1\"", "BBHandledException", 1},
		{"a.conf", "A = \"1\"\n\\\n\n", "IndexError", 3},
		{"a.conf", "A = \"\xff\"", "UnicodeDecodeError", 1},
		{"a.inc", "A = \"a \\\n# b\"", "BBHandledException", 2},
		{"a.inc", "A = \"a \\", "ParseError", 1},
		{"a.bb", "do_x() {\n:\n", "ParseError", 1},
		{"a.bb", "\\\nA = \"1\"", "IndexError", 2},
		{"a.bb", "addpylib a b", "ParseError", 1},
	} {
		f, ds := bitbake.Parse(tt.file, []byte(tt.src))
		switch {
		case f.Err == nil:
			t.Errorf("%q: no error", tt.src)
		case f.Err.Type != tt.kind || f.Err.Pos.Line != tt.line:
			t.Errorf("%q: %s at line %d, want %s at %d", tt.src, f.Err.Type, f.Err.Pos.Line, tt.kind, tt.line)
		case len(ds) == 0:
			t.Errorf("%q: no finding", tt.src)
		}
	}
}

// TestSpans: a fixer finds each part of a statement in the source.
func TestSpans(t *testing.T) {
	src := "B = \"1\"\r\nexport  A:append[doc]  +=  \"x \\\r\n  y\"\r\nrequire  a.inc b\n"
	f, ds := bitbake.Parse("a.conf", []byte(src))
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	a, inc := f.Stmts[1].(*bitbake.Assign), f.Stmts[2].(*bitbake.Include)
	for _, tt := range []struct {
		span bitbake.Span
		want string
	}{
		{a.NameSpan, "A:append"},
		{a.FlagSpan, "doc"},
		{a.OpSpan, "+="},
		{a.ValueSpan, "x \\\r\n  y"},
		{a.Span, "export  A:append[doc]  +=  \"x \\\r\n  y\""},
		{inc.ArgSpan, "a.inc b"},
	} {
		if got := f.Text(tt.span); got != tt.want {
			t.Errorf("span %v is %q, want %q", tt.span, got, tt.want)
		}
	}
	if a.Line != 2 || a.LastLine != 3 {
		t.Errorf("lines %d to %d", a.Line, a.LastLine)
	}
	if p := f.Position(a.OpSpan.Start); p.Line != 2 || p.Col != 24 {
		t.Errorf("operator at %v", p)
	}
}

// checkRoundTrip parses, prints and parses again.
func checkRoundTrip(t *testing.T, name string, src []byte) {
	t.Helper()
	f, _ := bitbake.Parse(name, src)
	for _, s := range f.Stmts {
		n := bitbake.NodeOf(s)
		if n.Span.Start < 0 || n.Span.End > len(f.Src) || n.Span.Start > n.Span.End || n.Line < 1 || n.LastLine < n.Line {
			t.Fatalf("%s: span %v, lines %d to %d", fields(s), n.Span, n.Line, n.LastLine)
		}
		if a, ok := s.(*bitbake.Assign); ok {
			if f.Text(a.NameSpan) != a.Name && !strings.Contains(f.Text(a.NameSpan), "\\") {
				t.Fatalf("name span %q, name %q", f.Text(a.NameSpan), a.Name)
			}
			if v := f.Text(a.ValueSpan); v != a.Value && !strings.Contains(v, "\\") {
				t.Fatalf("value span %q, value %q", v, a.Value)
			}
		}
	}
	printed := bitbake.Print(f.Stmts)
	again, ds := bitbake.Parse(name, printed)
	if got, want := allFields(again.Stmts), allFields(f.Stmts); got != want {
		t.Fatalf("%s changed by printing:\n%s\nfirst\n%s\nthen\n%s\n%v", name, printed, want, got, ds)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"A = \"1\"\n", "A:append += 'x \\\n y'\n", "# c \\\n# d\n", "python () {\n  x\n}\n", "def f():\n  return\n\nB ??= \"\"\n",
		"addtask a before b after c before d\n", "export += \"x\"\n", "include a\\\\\n\nA=\"1\"", "unset A[xy]\r\n", "\xef\xbb\xbfA=\"1\"", "addpylib a b c",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, src string, conf bool) {
		name := "a.bbclass"
		if conf {
			name = "a.conf"
		}
		if f, _ := bitbake.Parse(name, []byte(src)); f.Err != nil && f.Err.Type == "UnicodeDecodeError" {
			return
		}
		checkRoundTrip(t, name, []byte(src))
	})
}

// TestRoundTripFiles prints and reads real statements: those of the random
// configurations.
func TestRoundTripFiles(t *testing.T) {
	for _, c := range readCases(t, filepath.Join("testdata", "vectors.jsonl.gz")) {
		for name, src := range c.Files {
			checkRoundTrip(t, name, []byte(src))
		}
	}
}

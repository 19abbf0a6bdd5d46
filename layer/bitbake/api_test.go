package bitbake_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/pvkit/pvkit/layer/bitbake"
)

func TestQuestions(t *testing.T) {
	d := load(t, "foo:bar", map[string]string{
		"m.conf": "require x.inc\nA = \"a ${B}\"\nA:append:foo = \" c\"\nA:remove = \"a\"\nB ??= \"b\"\nA[doc] = \"${B}\"\nC:gone = \"x\"\nexport E = \"1\"\nunset D\n",
		"x.inc": "do_one() {\n:\n}\naddtask one after do_zero before do_two\naddtask three after do_one\ndeltask three\n" +
			"python do_py() {\n    pass\n}\nEXPORT_FUNCTIONS x\nD = \"gone\"\n",
	})
	if got := d.Tasks(); !slices.Equal(got, []string{"do_one"}) {
		t.Errorf("tasks %v", got)
	}
	if v, ok := d.GetFlag("do_one", "deps"); !ok || v.Text != "do_zero" {
		t.Errorf("deps %q", v.Text)
	}
	if v, ok := d.GetFlag("do_two", "deps"); !ok || v.Text != "do_one" {
		t.Errorf("deps of do_two %q", v.Text)
	}
	if v, _, _ := d.Get("A"); v.Text != " b c" {
		t.Errorf("A = %q", v.Text)
	}
	if v, ok, err := d.Unexpanded("A"); v.Text != "a ${B} c" || !ok || err != nil {
		t.Errorf("A unexpanded %q", v.Text)
	}
	if w, known := d.Words("A"); !known || !slices.Equal(w, []string{"b", "c"}) {
		t.Errorf("words %v", w)
	}
	if got := d.Flags("A"); !slices.Equal(got, []string{"doc"}) {
		t.Errorf("flags %v", got)
	}
	if v, _ := d.GetFlag("A", "doc"); v.Text != "${B}" {
		t.Errorf("doc %q", v.Text)
	}
	if v, err := d.Expand("<${A}${NOPE}>"); err != nil || v.Text != "< b c${NOPE}>" {
		t.Errorf("expanded %q", v.Text)
	}
	if o, known := d.Overrides(); !known || !slices.Equal(o, []string{"foo", "bar"}) {
		t.Errorf("overrides %v", o)
	}
	names := d.Names()
	for _, n := range []string{"A", "B", "C:gone", "E", "do_one"} {
		if !slices.Contains(names, n) {
			t.Errorf("%s is not in %v", n, names)
		}
	}
	if slices.Contains(names, "D") {
		t.Error("D is unset and yet there")
	}
	if _, ok, err := d.Get("C"); ok || err != nil {
		t.Error("C has no value")
	}
	h := d.History("A")
	if len(h) != 4 || h[1].Label() != ":append[foo]" || h[1].Statement() != `A:append:foo = " c"` {
		t.Errorf("history %+v", h)
	}
	a, ok := h[0].Stmt.(*bitbake.Assign)
	if !ok || a.File.Text(a.ValueSpan) != "a ${B}" {
		t.Errorf("the statement behind the event: %+v", h[0].Stmt)
	}
}

// TestMissingFile: Include says so in a way that callers can test.
func TestMissingFile(t *testing.T) {
	d := bitbake.New(bitbake.NewLoader(tree(nil)))
	if err := d.Include("/nowhere.conf", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := d.Include("/core/recipes", false); err == nil {
		t.Error("a folder is no file")
	}
	if err := d.Include("/b/conf/local.txt", false); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that is no BitBake file: %v", err)
	}
}

func TestRecipeName(t *testing.T) {
	for file, want := range map[string][3]string{
		"/a/foo_1.2_r3.bb": {"foo", "1.2", "r3"},
		"foo-bar_git.bb":   {"foo-bar", "git", ""},
		"foo.bbappend":     {"foo", "", ""},
	} {
		n, v, r := bitbake.RecipeName(file)
		if [3]string{n, v, r} != want {
			t.Errorf("%s: %q %q %q", file, n, v, r)
		}
	}
}

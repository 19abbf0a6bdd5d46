package bitbake_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/layer/bitbake"
)

// load evaluates files below /r, starting with m.conf, then the classes in
// INHERIT.
func load(t *testing.T, overrides string, files map[string]string) *bitbake.Datastore {
	t.Helper()
	c := &oracleCase{Files: files, Entry: "m.conf", Inherit: true, Overrides: &overrides}
	d, err := evalCase(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		name, overrides, conf string
		want                  []string // STATEMENT -> effect [by LINE]
	}{
		{"trap", "", `A ??= "w1 w2"` + "\n" + `A += "x"`, []string{`1 lost by 2`, `2 applied`}},
		{"trap before", "", `A += "x"` + "\n" + `A ??= "w1 w2"`, []string{`1 applied`, `2 lost by 1`}},
		{"weak counts", "", `A ??= "w"` + "\n" + `A:append = " x"`, []string{`1 applied`, `2 applied`}},
		{"last weak counts", "", `A ??= "v"` + "\n" + `A ??= "w"`, []string{`1 overwritten by 2`, `2 applied`}},
		{"later default", "", `A += "x"` + "\n" + `A ?= "w"`, []string{`1 applied`, `2 ignored by 1`}},
		{"set wins", "", `A ?= "v"` + "\n" + `A .= "x"` + "\n" + `A = "w"`, []string{`1 overwritten by 3`, `2 overwritten by 3`, `3 applied`}},
		{"now keeps itself", "", `A = "v"` + "\n" + `A := "${A} w"`, []string{`1 applied`, `2 applied`}},
		{"inactive", "foo", `A = "v"` + "\n" + `A:append:bar = "x"` + "\n" + `A:append:foo = "y"`, []string{`1 applied`, `2 inactive`, `3 applied`}},
		{"override", "foo:bar", `A = "v"` + "\n" + `A:foo = "f"` + "\n" + `A:bar = "b"` + "\n" + `A:baz = "z"` + "\n" + `A:append = "x"`,
			[]string{`1 overridden by 3`, `2 overridden by 3`, `3 applied`, `4 inactive`, `5 applied`}},
		{"override append replaces the base", "foo", `A ??= "w"` + "\n" + `A:foo:append = " x"`, []string{`1 overridden by 2`, `2 applied`}},
		{"remove", "", `A = "a b"` + "\n" + `A:remove = "b"` + "\n" + `A:append = " b"` + "\n" + `A:remove = "z"`,
			[]string{`1 applied`, `2 applied`, `3 removed by 2`, `4 useless`}},
		{"unset", "", `A = "a"` + "\n" + `A:append = "b"` + "\n" + `unset A` + "\n" + `A ?= "c"`, []string{`1 cleared by 3`, `2 cleared by 3`, `3 applied`, `4 applied`}},
		{"keyword and operator", "", `A ??= "w"` + "\n" + `A:append += "x"`, []string{`1 applied`, `2 applied`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := load(t, tt.overrides, map[string]string{"m.conf": tt.conf})
			var got []string
			for _, st := range d.Explain("A").Steps {
				line := fmt.Sprintf("%d %s", st.Pos.Line, st.Effect)
				if st.By != nil {
					line += fmt.Sprintf(" by %d", st.By.Pos.Line)
				}
				got = append(got, line)
			}
			if g, w := strings.Join(got, "\n"), strings.Join(tt.want, "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s\n%s", g, w, d.Explain("A"))
			}
		})
	}
}

// TestExplainText is the story of the trap as a person reads it, through a
// class that comes in by INHERIT.
func TestExplainText(t *testing.T) {
	d := load(t, "", map[string]string{
		"m.conf":             "INHERIT += \"pv\"\nrequire d.inc\n",
		"d.inc":              "F += \"appengine\"\n",
		"classes/pv.bbclass": "F ??= \" \\\n\txconnect \\\n\"\n",
	})
	s := d.Explain("F")
	want := `F = " appengine"
  /r/d.inc:1:1: F += "appengine"
    applied
  /r/classes/pv.bbclass:1:1: F ??= " \txconnect "
    lost: F += "appengine" at /r/d.inc:1:1 made a value without looking at this default
`
	if got := s.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if def, ok := d.WeakDefault("F"); !ok || def.Text != " \txconnect " {
		t.Errorf("weak default %+v %v", def, ok)
	}
	via := s.Steps[0].Via
	if len(via) != 2 || via[0].Verb != "require" || via[0].Pos.Line != 2 || via[1].File != "/r/m.conf" {
		t.Errorf("way to the file: %+v", via)
	}
	if v := s.Steps[1].Via; len(v) != 1 || v[0].Verb != "INHERIT" {
		t.Errorf("way to the class: %+v", v)
	}
}

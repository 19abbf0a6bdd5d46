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

// TestExplainIsTrue takes away, one by one, the statements that Explain says
// do not count: the value must stay.
func TestExplainIsTrue(t *testing.T) {
	overrides := "foo:bar"
	dropped := map[bitbake.Effect]int{}
	for seed := range uint64(6000) {
		g := newGenerator(seed)
		var lines []string
		for range 3 + g.r.IntN(10) {
			name := g.pick("A", "A", "A", "B")
			for _, o := range []string{":foo", ":bar", ":baz"} { // each once: the order of "foo:foo" is no rule
				if g.chance(15) {
					name += o
				}
			}
			if g.chance(40) {
				name += g.pick(":append", ":prepend", ":remove")
				if g.chance(30) {
					name += g.pick(":foo", ":baz", ":foo:bar")
				}
			}
			line := name + " " + g.pick("=", "=", "+=", "=+", ".=", "?=", "??=", "??=") + ` "` + g.words() + g.pick("", "", "${B}") + `"`
			if strings.HasPrefix(line, "B") {
				line = strings.ReplaceAll(line, "${B}", "z")
			}
			if g.chance(4) {
				line = "unset A"
			}
			lines = append(lines, line)
		}
		eval := func(lines []string) *bitbake.Datastore {
			d, err := evalCase(&oracleCase{Files: map[string]string{"m.conf": strings.Join(lines, "\n") + "\n"}, Entry: "m.conf", Overrides: &overrides})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		d := eval(lines)
		want, wantOK, _ := d.Get("A")
		story := d.Explain("A")
		for _, st := range story.Steps {
			if st.Effect == bitbake.Applied || st.Effect == bitbake.Removed || st.Effect == bitbake.Shadows || st.Effect == bitbake.Aside {
				continue
			}
			dropped[st.Effect]++
			less := append([]string{}, lines...)
			less[st.Pos.Line-1] = ""
			if got, ok, _ := eval(less).Get("A"); got != want || ok != wantOK {
				t.Errorf("seed %d: without line %d, %q (%s): %q, %v; with it %q, %v\n%s\n%s",
					seed, st.Pos.Line, lines[st.Pos.Line-1], st.Effect, got.Text, ok, want.Text, wantOK, strings.Join(lines, "\n"), story)
			}
		}
	}
	for _, e := range []bitbake.Effect{bitbake.Overwritten, bitbake.Ignored, bitbake.Lost, bitbake.Inactive, bitbake.Overridden, bitbake.Useless, bitbake.Cleared} {
		if dropped[e] < 10 {
			t.Errorf("only %d statements were %s", dropped[e], e)
		}
	}
	t.Logf("statements taken away: %v", dropped)
}

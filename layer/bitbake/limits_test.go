package bitbake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/layer/bitbake"
)

// within fails when f takes much longer than it should on a slow machine.
func within(t *testing.T, most time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d > most {
		t.Errorf("took %v, more than %v", d, most)
	}
}

func TestLimits(t *testing.T) {
	files := func(conf string) map[string]string { return map[string]string{"m.conf": conf} }
	eval := func(conf string) (*bitbake.Datastore, error) {
		return evalCase(&oracleCase{Files: files(conf), Entry: "m.conf"})
	}
	kindOf := func(err error) string {
		if e, ok := errors.AsType[*bitbake.Error](err); ok {
			return e.Type
		}
		return fmt.Sprint(err)
	}

	t.Run("large value", func(t *testing.T) {
		within(t, 20*time.Second, func() {
			d, err := eval(`A = "` + strings.Repeat("word ", 10<<20) + `"` + "\nB = \"${A}\"\nB:remove = \"x\"\n")
			if err != nil {
				t.Fatal(err)
			}
			if v, _, err := d.Get("B"); err != nil || len(v.Text) != 50<<20 {
				t.Errorf("%d bytes, %v", len(v.Text), err)
			}
		})
	})
	t.Run("100,000 appends", func(t *testing.T) {
		within(t, 20*time.Second, func() {
			d, err := eval(strings.Repeat("A:append = \" a\"\nA:prepend:foo = \"b \"\n", 100_000) + "OVERRIDES = \"foo\"\n")
			if err != nil {
				t.Fatal(err)
			}
			if v, _, err := d.Get("A"); err != nil || len(v.Text) != 400_000 {
				t.Errorf("%d bytes, %v", len(v.Text), err)
			}
		})
	})
	t.Run("20,000 +=", func(t *testing.T) {
		within(t, 30*time.Second, func() {
			d, err := eval(strings.Repeat("A += \"a\"\n", 20_000))
			if err != nil {
				t.Fatal(err)
			}
			if v, _, _ := d.Get("A"); len(v.Text) != 40_000 {
				t.Errorf("%d bytes", len(v.Text))
			}
		})
	})
	t.Run("nested names", func(t *testing.T) {
		const n = 100_000
		within(t, 20*time.Second, func() {
			d, err := eval(`A = "` + strings.Repeat("${", n) + strings.Repeat("}", n) + `"` + "\nB = \"" + strings.Repeat("${X", n) + "\"\n")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"A", "B"} {
				if v, ok, err := d.Get(name); err != nil || !ok || !strings.HasPrefix(v.Text, "${") {
					t.Errorf("%s: %v %v", name, ok, err)
				}
			}
		})
	})
	t.Run("doubling", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("A0 = \"0123456789abcdef\"\n")
		for i := 1; i < 60; i++ {
			fmt.Fprintf(&b, "A%d = \"${A%d}${A%d}\"\n", i, i-1, i-1)
		}
		d, err := eval(b.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Get("A59"); kindOf(err) != "LimitError" {
			t.Errorf("error %v, want a LimitError", err)
		}
		if v, _, err := d.Get("A16"); err != nil || len(v.Text) != 16<<16 {
			t.Errorf("%d bytes, %v", len(v.Text), err)
		}
	})
	t.Run("cycles", func(t *testing.T) {
		d, err := eval("A = \"${B} ${B}\"\nB = \"${C} ${A}\"\nC = \"${B}\"\nS = \"x ${S}\"\nP = \"${@d.getVar('P') or ''}\"\n")
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"A": "RecursionError", "B": "RecursionError", "S": "ExpansionError", "P": "RecursionError"} {
			if _, _, err := d.Get(name); kindOf(err) != want {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	})
	t.Run("include cycle", func(t *testing.T) {
		for _, conf := range []string{"require m.conf\n", "require m.conf\nrequire m.conf\n", "include a.inc m.conf\n"} {
			if _, err := evalCase(&oracleCase{Files: map[string]string{"m.conf": conf, "a.inc": "require m.conf\n"}, Entry: "m.conf"}); kindOf(err) != "RecursionError" {
				t.Errorf("%q: %v, want a RecursionError", conf, err)
			}
		}
	})
	t.Run("include explosion", func(t *testing.T) {
		fs := map[string]string{"f40.inc": strings.Repeat("A = \"1\"\n", 10)}
		for i := range 40 {
			fs[fmt.Sprintf("f%d.inc", i)] = strings.Repeat(fmt.Sprintf("require f%d.inc\n", i+1), 4)
		}
		fs["m.conf"] = "require f0.inc\n"
		within(t, 60*time.Second, func() {
			if _, err := evalCase(&oracleCase{Files: fs, Entry: "m.conf"}); kindOf(err) != "LimitError" {
				t.Errorf("%v, want a LimitError", err)
			}
		})
	})
	t.Run("unstable overrides", func(t *testing.T) {
		d, err := eval("OVERRIDES = \"foo${X}\"\nX = \"\"\nX:foo = \"1\"\nX:foo1 = \"\"\nA = \"1\"\nA:foo = \"2\"\n")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Get("A")
		if err != nil && kindOf(err) != "BBHandledException" {
			t.Error(err)
		}
	})
}

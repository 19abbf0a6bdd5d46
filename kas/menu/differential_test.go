package menu_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kas/menu"
	"github.com/pvkit/pvkit/kconfig"
)

// menuCase is what the oracle gets.
type menuCase struct {
	Kconfig string      `json:"kconfig"`
	Assign  [][2]string `json:"assign"`
	Saved   string      `json:"saved"` // a .config.yaml that is loaded first
}

type menuAnswer struct {
	File, Error string
	Source      bool // this kas writes _source_dir
}

// python finds an interpreter with kas and kconfiglib. PVKIT_KAS names a
// checkout of another kas than Debian's.
func python(t *testing.T) *exec.Cmd {
	t.Helper()
	env := os.Environ()
	if dir := os.Getenv("PVKIT_KAS"); dir != "" {
		env = append(env, "PYTHONPATH="+dir)
	}
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		probe := exec.Command(p, "-c", "import kas.plugins.menu, kconfiglib")
		probe.Env = env
		if probe.Run() == nil {
			cmd := exec.Command(p, "testdata/oracle.py")
			cmd.Env = env
			return cmd
		}
	}
	testreq.Feature(t, "kas", false, "no python3 with kas and kconfiglib (Debian: kas, python3-kconfiglib)")
	return nil
}

// TestDifferential compares .config.yaml, written and read back, with the code
// of the real kas menu on random Kconfig files.
func TestDifferential(t *testing.T) {
	cmd := python(t)
	const cases = 800
	all := make([]menuCase, cases)
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for i := range all {
		all[i] = generate(rand.New(rand.NewPCG(11, uint64(i))))
		if err := enc.Encode(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 16<<20)
	failed, refused := 0, 0
	for i := range all {
		if !sc.Scan() {
			t.Fatalf("the oracle stopped after %d cases", i)
		}
		var want menuAnswer
		if err := json.Unmarshal(sc.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		got, err := answer(all[i], want.Source)
		if err != nil || want.Error != "" {
			refused++
			if (err != nil) == (want.Error != "") {
				continue
			}
		}
		if err != nil || want.Error != "" || got != want.File {
			t.Errorf("case %d: error %v, want %q\ngot\n%swant\n%s\n%s\nassign %q\nsaved\n%s", i, err, want.Error, got, want.File, all[i].Kconfig, all[i].Assign, all[i].Saved)
			if failed++; failed == 3 {
				t.FailNow()
			}
		}
	}
	t.Logf("%d cases agree, %d of them refused by both", cases, refused)
	if refused > cases/3 {
		t.Errorf("%d of %d cases are errors: the generator tests too little", refused, cases)
	}
}

func answer(c menuCase, source bool) (string, error) {
	tree, err := kconfig.Load(fstest.MapFS{"Kconfig": {Data: []byte(c.Kconfig)}}, "Kconfig", kconfig.Options{})
	if err != nil {
		return "", err
	}
	conf := tree.New()
	if c.Saved != "" {
		v, err := kas.ParseYAML(menu.FileName, []byte(c.Saved))
		if err != nil {
			return "", err
		}
		if _, err := menu.Apply(conf, v); err != nil {
			return "", err
		}
	}
	for _, a := range c.Assign {
		_ = conf.Set(a[0], a[1]) // the real one warns and goes on
	}
	sel, err := menu.Select(conf, kas.Stock)
	if err != nil {
		return "", err
	}
	if !source {
		return sel.File(""), nil
	}
	return sel.File("/project"), nil
}

// generator writes a random Kconfig file as kas menus look.
type generator struct {
	*rand.Rand
	b     strings.Builder
	bools []string
	all   []string
}

func (g *generator) line(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }
func (g *generator) one(s ...string) string          { return s[g.IntN(len(s))] }

func generate(r *rand.Rand) menuCase {
	g := &generator{Rand: r}
	for range 2 + g.IntN(5) {
		g.entry()
	}
	c := menuCase{Kconfig: g.b.String(), Assign: [][2]string{}}
	if len(g.all) > 0 && g.IntN(2) == 0 {
		c.Saved = g.saved()
	}
	for range g.IntN(5) {
		if len(g.all) > 0 {
			c.Assign = append(c.Assign, [2]string{g.one(g.all...), g.one("y", "n", "5", "0x1F", g.text())})
		}
	}
	return c
}

func (g *generator) entry() {
	switch g.IntN(10) {
	case 0, 1:
		cond := g.cond() // before the name is known: no loops
		g.line("config %s\n\tbool \"b\"%s", g.bool(), cond)
		if g.IntN(2) == 0 {
			g.line("\tdefault y")
		}
	case 2:
		g.line("choice\n\tprompt \"c\"%s", g.cond())
		for range 2 + g.IntN(2) {
			g.line("config %s\n\tbool \"m\"", g.bool())
		}
		g.line("endchoice")
	case 3:
		g.line("menu \"m\"\n\tdepends on %s", g.expr())
		g.entry()
		g.line("endmenu")
	case 4:
		g.number()
	default:
		g.string()
	}
}

func (g *generator) bool() string {
	name := fmt.Sprintf("B%d", len(g.all))
	g.all, g.bools = append(g.all, name), append(g.bools, name)
	return name
}

func (g *generator) expr() string {
	if len(g.bools) == 0 {
		return g.one("y", "UNDEF", "!UNDEF")
	}
	return g.one("", "!") + g.one(g.bools...)
}

func (g *generator) cond() string {
	if g.IntN(2) == 0 {
		return ""
	}
	return " if " + g.expr()
}

func (g *generator) number() {
	name := fmt.Sprintf("N%d", len(g.all))
	g.all = append(g.all, name)
	typ := g.one("int", "hex")
	g.line("config %s\n\t%s \"n\"%s", name, typ, g.cond())
	if g.IntN(9) > 0 {
		g.line("\tdefault %s", map[string]string{"int": g.one("0", "-7", "010", "12"), "hex": g.one("0x1F", "ff", "0x0")}[typ])
	}
}

func (g *generator) string() {
	name := g.one("KAS_INCLUDE_", "KAS_TARGET_", "KAS_BUILD_SYSTEM", "KAS_LOCAL_", "VAR_", "V")
	if name != "KAS_BUILD_SYSTEM" {
		name = fmt.Sprintf("%s%d", name, len(g.all))
	}
	g.all = append(g.all, name)
	typ := "string"
	if g.IntN(40) == 0 {
		typ = g.one("bool", "int")
	}
	g.line("config %s\n\t%s%s", name, typ, g.one("", ` "s"`, ` "s"`))
	for range g.IntN(3) {
		if typ == "string" {
			g.line("\tdefault \"%s\"%s", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(g.text()), g.cond())
		}
	}
}

// text is a string that YAML has to quote in one way or another.
func (g *generator) text() string {
	return g.one("", "kas/a.yaml", "true", "12", "1.5", "~", "a: b", "- x", "# no", "it's", `say "hi"`, `back\slash`,
		"tab\there", "caf\u00e9 \u2014", " lead", "trail ", "{a}", "*x", "2024-01-01", "0x1F", "y", "null", "a #b", "%d", "@x", "`", "1:30",
		strings.Repeat("long words here ", 8)+"end", strings.Repeat("x", 100), "é"+strings.Repeat(" word", 30))
}

// saved is a .config.yaml of before, with names and values that may not fit.
func (g *generator) saved() string {
	var b strings.Builder
	b.WriteString("header:\n  version: 11\nmenu_configuration:\n")
	seen := map[string]bool{}
	for range 1 + g.IntN(5) {
		name := g.one(append(g.all, "GONE")...)
		if seen[name] {
			continue
		}
		seen[name] = true
		values := []string{"true", "false", "7", "text", `"12"`, "''"}
		if strings.HasPrefix(name, "N") {
			values = []string{"7", "12", "-3", "31"}
		}
		fmt.Fprintf(&b, "  %s: %s\n", name, g.one(values...))
	}
	return b.String()
}

package kconfig_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kconfig"
)

// kconfigCase is what the oracle gets.
type kconfigCase struct {
	Kconfig string      `json:"kconfig"`
	Assign  [][2]string `json:"assign"`
}

// kconfigAnswer is what a Kconfig file comes to.
type kconfigAnswer struct {
	Error   string               `json:"error"`
	Crash   bool                 `json:"crash"` // the real program has no answer
	Order   []string             `json:"order"`
	Values  map[string][4]string `json:"values"` // type, value, visibility, dependencies
	Choices []string             `json:"choices"`
	Modes   []string             `json:"modes"`
}

// TestDifferential compares random Kconfig files with the real Kconfiglib.
// PVKIT_SEED and PVKIT_CASES choose others and more of them.
func TestDifferential(t *testing.T) {
	python := kconfiglibPython(t)
	seed, cases := number(t, "PVKIT_SEED", 1), number(t, "PVKIT_CASES", 1500)
	cmd := exec.Command(python, "testdata/oracle.py")
	var in bytes.Buffer
	all := make([]kconfigCase, cases)
	enc := json.NewEncoder(&in)
	for i := range all {
		all[i] = generate(rand.New(rand.NewPCG(uint64(seed), uint64(i))))
		if err := enc.Encode(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdin = &in
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 16<<20)
	failed, refused, crashed := 0, 0, 0
	for i := range all {
		if !sc.Scan() {
			t.Fatalf("the oracle stopped after %d cases", i)
		}
		var want kconfigAnswer
		if err := json.Unmarshal(sc.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if want.Crash {
			crashed++
			answer(all[i]) // must come back
			continue
		}
		if want.Error != "" {
			refused++
		}
		if diff := compareAnswers(answer(all[i]), want); diff != "" {
			t.Errorf("seed %d case %d: %s\n%s\nassign %v", seed, i, diff, all[i].Kconfig, all[i].Assign)
			if failed++; failed == 5 {
				t.FailNow()
			}
		}
	}
	t.Logf("%d cases agree, %d of them refused by both; Kconfiglib crashes on %d more", cases-crashed, refused, crashed)
	if refused > cases*2/3 {
		t.Errorf("%d of %d cases are errors: the generator tests too little", refused, cases)
	}
}

func kconfiglibPython(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-c", "import kconfiglib").Run() == nil {
			return p
		}
	}
	testreq.Feature(t, "kconfiglib", false, "no python3 with kconfiglib (Debian: python3-kconfiglib)")
	return ""
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func answer(c kconfigCase) kconfigAnswer {
	tree, err := kconfig.Load(fstest.MapFS{"Kconfig": {Data: []byte(c.Kconfig)}}, "Kconfig", kconfig.Options{})
	if err != nil {
		return kconfigAnswer{Error: err.Error()}
	}
	a := kconfigAnswer{Values: map[string][4]string{}, Choices: []string{}, Modes: []string{}}
	conf := tree.New()
	for _, as := range c.Assign {
		var bad *kconfig.ErrValue
		if err := conf.Set(as[0], as[1]); err != nil && !errors.As(err, &bad) {
			return kconfigAnswer{Error: "assign: " + err.Error()}
		}
	}
	for _, s := range append(slices.Clone(tree.Symbols), tree.Lookup("MODULES")) {
		if s.Name != "MODULES" {
			a.Order = append(a.Order, s.Name)
		}
		if s.Defined() {
			a.Values[s.Name] = [4]string{s.Type.String(), conf.Str(s), conf.Visibility(s).String(), conf.Eval(s.DirectDep()).String()}
		}
	}
	for _, ch := range tree.Choices {
		name := ""
		if s := conf.Selection(ch); s != nil {
			name = s.Name
		}
		a.Choices = append(a.Choices, name)
		a.Modes = append(a.Modes, conf.ChoiceMode(ch).String())
	}
	return a
}

func compareAnswers(got, want kconfigAnswer) string {
	if (got.Error != "") != (want.Error != "") {
		return fmt.Sprintf("error %q, want %q", got.Error, want.Error)
	}
	if want.Error != "" {
		return ""
	}
	if !slices.Equal(got.Order, want.Order) {
		return fmt.Sprintf("order %v, want %v", got.Order, want.Order)
	}
	for name, w := range want.Values {
		if g := got.Values[name]; g != w {
			return fmt.Sprintf("%s: %v, want %v", name, g, w)
		}
	}
	if !slices.Equal(got.Choices, want.Choices) {
		return fmt.Sprintf("selections %q, want %q", got.Choices, want.Choices)
	}
	if !slices.Equal(got.Modes, want.Modes) {
		return fmt.Sprintf("modes %q, want %q", got.Modes, want.Modes)
	}
	return ""
}

// generator writes a random Kconfig file.
type generator struct {
	*rand.Rand
	b        strings.Builder
	defined  []string
	upstream []string        // what expressions mostly mention: defined before, so that loops are rare
	members  map[string]bool // of choices
	modules  bool
}

func generate(r *rand.Rand) kconfigCase {
	g := &generator{Rand: r, modules: r.IntN(3) == 0, members: map[string]bool{}}
	if g.modules {
		g.line("config MODULES\n\tbool \"modules\"\n\toption modules\n\tdefault %s", g.one("y", "y", "n"))
	}
	g.block(0, 3+g.IntN(10), false)
	c := kconfigCase{Kconfig: g.b.String(), Assign: [][2]string{}}
	for range g.IntN(8) {
		if len(g.defined) == 0 {
			break
		}
		name := g.defined[g.IntN(len(g.defined))]
		c.Assign = append(c.Assign, [2]string{name, g.one("y", "y", "n", "m", "5", "12", "0x1f", "text", "")})
	}
	return c
}

func (g *generator) line(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }

func (g *generator) one(s ...string) string { return s[g.IntN(len(s))] }

func (g *generator) newName(inChoice bool) string {
	// No second definitions with a choice: whether Kconfiglib calls what they
	// make a loop depends on the order of a Python set.
	if len(g.defined) > 2 && g.IntN(40) == 0 && !inChoice {
		if name := g.defined[g.IntN(len(g.defined))]; !g.members[name] {
			return name
		}
	}
	name := fmt.Sprintf("A%d", len(g.defined)+1)
	g.defined = append(g.defined, name)
	g.members[name] = inChoice
	return name
}

func (g *generator) block(depth, n int, inChoice bool) {
	for range n {
		switch k := g.IntN(20); {
		case inChoice && k < 17, k < 12 || depth > 2:
			g.config(inChoice)
		case k < 14:
			g.line("menu \"m\"")
			if g.IntN(2) == 0 {
				g.line("\tdepends on %s", g.expr(2))
			}
			if g.IntN(2) == 0 {
				g.line("\tvisible if %s", g.expr(2))
			}
			g.block(depth+1, 1+g.IntN(3), false)
			g.line("endmenu")
		case k < 17:
			g.line("if %s", g.expr(2))
			g.block(depth+1, 1+g.IntN(3), inChoice)
			g.line("endif")
		case inChoice:
			g.line("comment \"c\"\n\tdepends on %s", g.expr(1))
		default:
			g.choice(depth)
		}
	}
}

func (g *generator) choice(depth int) {
	g.line("choice")
	if g.IntN(6) > 0 {
		g.line("\tprompt \"c\"%s", g.cond())
	}
	if g.IntN(3) == 0 {
		g.line("\t%s", g.one("bool", "tristate"))
	}
	if g.IntN(5) == 0 {
		g.line("\toptional")
	}
	if g.IntN(4) == 0 {
		g.line("\tdepends on %s", g.expr(2))
	}
	for range g.IntN(3) {
		g.line("\tdefault A%d%s", len(g.defined)+1+g.IntN(4), g.cond())
	}
	g.block(depth+1, 2+g.IntN(3), true)
	g.line("endchoice")
}

func (g *generator) config(inChoice bool) {
	name := g.newName(inChoice)
	typ := g.one("bool", "bool", "bool", "tristate", "string", "int", "hex")
	if inChoice && g.IntN(8) > 0 {
		typ = g.one("bool", "bool", "tristate")
	}
	g.line("%s %s", g.one("config", "config", "config", "menuconfig"), name)
	if g.IntN(4) > 0 || inChoice {
		g.line("\t%s \"%s\"%s", typ, name, g.cond())
	} else {
		g.line("\t%s", typ)
	}
	for range g.IntN(3) {
		g.line("\tdefault %s%s", g.value(typ), g.cond())
	}
	if g.IntN(3) == 0 {
		g.line("\tdepends on %s", g.expr(2))
	}
	if typ == "bool" || typ == "tristate" {
		for range g.IntN(2) {
			g.line("\t%s A%d%s", g.one("select", "imply"), len(g.defined)+1+g.IntN(3), g.cond())
		}
	}
	if (typ == "int" || typ == "hex") && g.IntN(2) == 0 {
		low, high := g.IntN(9), 9+g.IntN(20)
		format := map[string]string{"int": "%d", "hex": "0x%x"}[typ]
		g.line("\trange "+format+" "+format+"%s", low, high, g.cond())
	}
	if g.IntN(8) == 0 {
		g.line("\thelp\n\t  Some help.\n\n\t  More.")
	}
	// Members mostly depend on what was there before, not on each other: that
	// would make nearly every file a loop.
	if !inChoice || g.IntN(10) == 0 {
		g.upstream = append(g.upstream, name)
	}
}

func (g *generator) value(typ string) string {
	if g.IntN(6) == 0 {
		return g.symbol()
	}
	switch typ {
	case "string":
		return g.one(`"a"`, `"text"`, `"with \"quotes\""`, `'single'`, `"10"`, `""`)
	case "int":
		return g.one("0", "7", "30", "-4", `"12"`)
	case "hex":
		return g.one("0x0", "0x1F", "1f", "0x30")
	}
	return g.one("y", "y", "n", "m", g.expr(1))
}

func (g *generator) cond() string {
	if g.IntN(3) > 0 {
		return ""
	}
	return " if " + g.expr(2)
}

func (g *generator) symbol() string {
	if len(g.upstream) == 0 || g.IntN(12) == 0 {
		return g.one("UNDEF", "y", "n", "m")
	}
	return g.upstream[g.IntN(len(g.upstream))]
}

func (g *generator) expr(depth int) string {
	if depth == 0 {
		return g.symbol()
	}
	switch g.IntN(9) {
	case 0:
		return "!" + g.expr(depth-1)
	case 1:
		return "(" + g.expr(depth-1) + ")"
	case 2:
		return g.expr(depth-1) + " && " + g.expr(depth-1)
	case 3:
		return g.expr(depth-1) + " || " + g.expr(depth-1)
	case 4:
		return g.symbol() + " " + g.one("=", "!=", "<", "<=", ">", ">=") + " " + g.one(g.symbol(), "y", "n", "m", `"text"`, "7", "0x1f", `"10"`)
	}
	return g.symbol()
}

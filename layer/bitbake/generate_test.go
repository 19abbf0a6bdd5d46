package bitbake_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes random configurations that reach every rule of the
// evaluator: operators, keywords, overrides, flags, includes, classes,
// recipes, key expansion, inline Python, quoting, continuation, and lines
// that BitBake refuses.
type generator struct{ r *rand.Rand }

func newGenerator(seed uint64) *generator { return &generator{rand.New(rand.NewPCG(seed, 7))} }

func (g *generator) pick(ss ...string) string { return ss[g.r.IntN(len(ss))] }
func (g *generator) chance(percent int) bool  { return g.r.IntN(100) < percent }

// Functions that pydef.go follows.
const (
	defF = "def f(a):\n    return a + 'z'\n"
	defG = "def g(d, word='a'):\n    \"\"\"Says whether A holds a word.\"\"\"\n    v = d.getVar('A') or ''\n    if word in v.split():\n        return 'has'\n    elif not v:\n        return  # nothing\n    else:\n        v = v.replace(word,\n                      'Q')\n\n    return v\n"
	defH = "def h(x, d):\n    y = [w for w in (d.getVar(x) or 'p q').split() if w != 'a']\n    if len(y) > 1: # some\n        y = y[1:]\n    return ' '.join(y) + str(y == [])\n"
)

var (
	genVars      = []string{"A", "B", "C", "FEAT", "x_1", "V-w.x"}
	genOverrides = []string{"foo", "bar", "baz", "x86-64", "pn-r", "Foo", "1a"}
	genWords     = []string{"a", "b", "runc", "xconnect", "dm-crypt", "1", "yes", "a.b", "ü"}
)

func (g *generator) variable() string { return genVars[g.r.IntN(len(genVars))] }

func (g *generator) words() string {
	var b strings.Builder
	if g.chance(40) {
		b.WriteString(g.pick(" ", "  ", "\t"))
	}
	for range g.r.IntN(4) {
		b.WriteString(genWords[g.r.IntN(len(genWords))])
		b.WriteString(g.pick(" ", " ", "  ", "\t", ""))
	}
	return b.String()
}

// python makes an expression; q is the quote that the value around it uses.
func (g *generator) python(q string) string {
	in := "'"
	if q == "'" {
		in = `"`
	}
	s := func(t string) string { return in + t + in }
	v, w := g.variable(), genWords[g.r.IntN(len(genWords)-1)]
	get := "d.getVar(" + s(v) + ")"
	switch g.r.IntN(30) {
	case 0, 1, 2:
		return fmt.Sprintf("bb.utils.contains(%s, %s, %s, %s, d)", s(v), s(w), s(g.pick("yes", "t u", "${P}")), s(g.pick("no", "")))
	case 3:
		return fmt.Sprintf("bb.utils.contains_any(%s, %s, %s, %s, d)", s(v), s(w+" b"), s("any"), s("none"))
	case 4:
		return fmt.Sprintf("bb.utils.contains(%s, [%s, %s], True, False, d)", s(v), s(w), s("a"))
	case 5:
		return fmt.Sprintf("bb.utils.filter(%s, %s, d)", s(v), s("xconnect a b"))
	case 6, 7:
		return get + " or " + s(g.pick("none", ""))
	case 8:
		return fmt.Sprintf("%s if %s in (%s or %s).split() else %s", s("t"), s(w), get, s(""), s("f"))
	case 9:
		return fmt.Sprintf("%s if %s == %s else %s", s("eq"), get, s(w), s("ne"))
	case 10:
		return fmt.Sprintf("(%s or %s).replace(%s, %s)", get, s(""), s("a"), s(g.pick("Z", "")))
	case 11:
		return fmt.Sprintf("len((%s or %s).split())", get, s(""))
	case 12:
		return fmt.Sprintf("%s.join(sorted((%s or %s).split()))", s(g.pick(",", " ")), get, s("b a"))
	case 13:
		return fmt.Sprintf("%s.join([w.upper() for w in (%s or %s).split() if w != %s])", s(" "), get, s("q"), s(w))
	case 14:
		return fmt.Sprintf("(%s or %s).split()[%s]", get, s("p q r"), g.pick("0", "-1", "1", "1:", "::-1"))
	case 15:
		return fmt.Sprintf("[%s, %s][(%s or %s) != %s]", s(""), s("-gnu"), get, s(""), s(""))
	case 16:
		return fmt.Sprintf("{%s: %s}[%s]", s(w), s("hit"), s(g.pick(w, "b")))
	case 17:
		return g.pick("1+1", "7//2", "-7%3", "2**8", "1/2", "1/0", "10*"+s("ab"), "not 1", "1 < 2 < 3", "0x1f|1", "True and None")
	case 18:
		return g.variable()
	case 19:
		return fmt.Sprintf("any(x in (%s or %s) for x in (%s, %s))", get, s(""), s(w), s("b"))
	case 20:
		return fmt.Sprintf("%s %% (%s, %s)", s("%s-%d"), s(w), g.pick("3", "True"))
	case 21:
		return fmt.Sprintf("bb.utils.to_boolean(%s, %s)", get, g.pick("False", "None"))
	case 22:
		return fmt.Sprintf("(%s or %s).strip(%s).startswith(%s)", get, s("ab"), g.pick("", s(" a")), s(w))
	case 23:
		return fmt.Sprintf("d.getVar(%s, %s)", s(v), g.pick("False", "expand=False", "True"))
	case 24:
		return fmt.Sprintf("d.getVarFlag(%s, %s) or %s", s(v), s("doc"), s("noflag"))
	case 25:
		return fmt.Sprintf("d.expand(%s)", s("$"+"{"+v+"}"))
	case 26:
		return fmt.Sprintf("(%s or %s).%s", get, s("a-b_c"), g.pick("partition("+s("-")+")[0]", "rsplit("+s("-")+", 1)[-1]", "find("+s("b")+")", "count("+s("a")+")", "title()", "isdigit()", "endswith(("+s("a")+", "+s("c")+"))"))
	}
	if g.chance(40) {
		return g.pick("f("+s(w)+")", "g(d)", "g(d, "+s(w)+")", "g(d, word="+s(w)+")", "h("+s(v)+", d)", "f("+get+")", "g()", "h(d)")
	}
	return g.pick(get+".split()", "undefined_name", "if", s("x")+"+1", "int("+get+" or 3)", "", " 1 ", s("unterminated")[:3], "str("+get+")", "x.y", "("+s("}")+")")
}

func (g *generator) reference(q string) string {
	switch g.r.IntN(10) {
	case 0:
		return "${" + g.pick("A", "B", "C") + "_${P}}"
	case 1:
		return "${NOPE}"
	case 2:
		return "${" + g.variable() + ":" + genOverrides[g.r.IntN(4)] + "}"
	case 3, 4, 5:
		return "${@" + g.python(q) + "}"
	}
	return "${" + g.variable() + "}"
}

func (g *generator) value(q string) string {
	var b strings.Builder
	b.WriteString(g.words())
	for range g.r.IntN(3) {
		if g.chance(35) {
			b.WriteString(g.reference(q))
		}
		if g.chance(10) {
			b.WriteString(" \\\n\t")
		}
		b.WriteString(g.words())
	}
	if g.chance(2) {
		b.WriteString(g.pick(`"`, `'`, `\"`, `${`, "}", "$", "{}", "${}", `"x"`))
	}
	return b.String()
}

func (g *generator) quoted() string {
	q := g.pick(`"`, `"`, `"`, `'`)
	return q + g.value(q) + q
}

// name makes a variable name with overrides and keywords.
func (g *generator) name() string {
	n := g.variable()
	switch g.r.IntN(20) {
	case 0:
		n += "_${P}"
	case 1:
		n = g.pick("OVERRIDES", "INC", "P", "MO")
	}
	add := func() {
		for g.chance(30) {
			n += ":" + genOverrides[g.r.IntN(len(genOverrides))]
		}
	}
	if g.chance(35) {
		add()
	}
	if g.chance(30) {
		n += g.pick(":append", ":append", ":prepend", ":remove")
		add()
	}
	if g.chance(3) {
		n += ":${P}"
	}
	return n
}

func (g *generator) statement(recipe bool) string {
	switch g.r.IntN(40) {
	case 0:
		return "unset " + g.variable()
	case 1:
		return "export " + g.pick("", g.name()+" = ") + g.pick(g.variable(), g.quoted())
	case 2:
		return fmt.Sprintf("%s[%s] %s %s", g.variable(), g.pick("doc", "vardeps", "noexec", "x", "t@y"), g.pick("=", "+=", "?=", "??=", ":=", ".=", "=+", "=."), g.quoted())
	case 3:
		return "unset " + g.variable() + "[" + g.pick("doc", "vardeps", "x") + "]"
	case 4:
		return g.pick("include", "require") + " " + g.pick("one.inc", "two.conf", "sub/three.inc", "${INC}.inc", "gone.inc", "one.inc two.conf")
	case 5:
		return "# " + g.words()
	case 6:
		if g.chance(10) {
			return g.pick(`A = 1`, `A = "x" # c`, ` A = "x"`, `A_append = "x"`, `B = "x`, `# c \`, `inherit`, `A["x"] = "y"`, `A@ = "1"`, `OVERRIDES = "${A}:foo"`, `A== "x"`, `export += "x"`, `A+ = "x"`, `A??? = "x"`)
		}
		return ""
	case 7:
		return g.pick("OVERRIDES", "MO", "P", "INC") + " " + g.pick("=", "?=", ".=", "=.", ":append =") + " " + g.pick(`"foo"`, `":bar"`, `"baz:"`, `"one"`, `"${MO}:foo"`, `"foo:bar:x86-64"`)
	case 8:
		if recipe {
			return g.pick("inherit c1", "inherit_defer c2", "inherit ${INC}", "inherit c1 c2")
		}
	case 9:
		if recipe {
			return g.pick("do_x() {\n\techo ${A}\n}", "do_x:append() {\n\t:\n}", "addtask x after do_y before do_z", "deltask x", "python do_p() {\n    pass\n}", "fakeroot do_f() {\n:\n}", "EXPORT_FUNCTIONS do_x", defF, defG, defH)
		}
	case 10:
		return `INHERIT += "c` + g.pick("1", "2") + `"`
	}
	gap := g.pick(" ", " ", " ", "", "  ")
	return g.name() + gap + g.pick("=", "=", "=", "+=", "+=", "=+", ".=", "=.", "?=", "?=", "??=", "??=", ":=") + g.pick(" ", gap) + g.quoted()
}

func (g *generator) file(recipe bool, most int) string {
	var b strings.Builder
	for range 1 + g.r.IntN(most) {
		b.WriteString(g.statement(recipe))
		b.WriteString("\n")
	}
	return b.String()
}

// next makes a case, without its answer.
func (g *generator) next(id string) oracleCase {
	c := oracleCase{ID: id, Entry: "main.conf", Files: map[string]string{
		"main.conf":                  g.file(false, 22),
		"one.inc":                    g.file(true, 4),
		"two.conf":                   g.file(false, 4),
		"sub/three.inc":              g.file(true, 3),
		"classes/c1.bbclass":         g.file(true, 4),
		"classes/c2.bbclass":         g.file(true, 3),
		"classes/foo.bbclass":        "B ?= \"class foo\"\n",
		"classes-recipe/one.bbclass": "C ??= \"class one\"\n",
	}}
	c.Files["main.conf"] = `P = "foo"` + "\n" + `INC = "one"` + "\n" + c.Files["main.conf"]
	if g.chance(60) {
		c.Files["lib.inc"] = defF + defG + defH
		c.Files["main.conf"] = "require lib.inc\n" + c.Files["main.conf"]
	}
	if g.chance(70) {
		o := g.pick("foo", "foo:bar", "bar:foo", "baz:x86-64:foo", "x86-64", "")
		c.Overrides = &o
	}
	c.Inherit = g.chance(50)
	c.Finalize = g.chance(30)
	if g.chance(35) {
		c.Recipe = "r.bb"
		c.Files["r.bb"] = g.file(true, 8)
		if g.chance(30) {
			c.BBAppend = []string{"r.bbappend"}
			c.Files["r.bbappend"] = g.file(true, 4)
		}
	}
	c.Vars = append([]string{"A_foo", "B_foo", "A:foo", "do_x", "OVERRIDES"}, genVars...)
	return c
}

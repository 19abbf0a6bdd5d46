package kas_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kas"
)

// generator writes YAML of every kind that a kas file can hold, seeded.
type generator struct {
	*rand.Rand
	b       strings.Builder
	anchors int
}

var words = []string{
	"a", "word", "machine", "true", "yes", "No", "oN", "off", "null", "~", "Null", "0", "007", "0o7", "08", "0x1F", "0b11",
	"1_000", "1:30", "190:20:30.15", "1.5", "1.", ".5", "1e3", "1.0e+3", "1e+17", ".inf", "-.INF", ".nan", "+12", "-0", "1.5e300",
	"2020-01-01", "2020-1-1", "2020-01-01 10:00:00", "2020-01-01T10:00:00.5Z", "2020-01-01 10:00:00 +2:30", "12345678901234567890123",
	"=x", "a=b", "-x", "--", "---", "...", "?x", ":x", "x:y", "x#y", "é", "ü—x", "日本", "${TOPDIR}/x", "it's", "\"q\"", "100%", "@x", "`x", "&x",
	"*x", "!x", "%x", "{x", "]x", ",x", "|x", ">x", "y", "n", "Y", "FALSE", "tRue", "1.2.3", "0.1", "1e-05", "123456789.125", "100000000000000000.0",
	"\U0001f600", "\u2028x", "\u0085", "\ufeff",
}

func (g *generator) text() string {
	n := 1 + g.IntN(3)
	if g.IntN(8) == 0 {
		n = 10 + g.IntN(30)
	}
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString([]string{" ", " ", " ", "  ", "\n", "\n\n", " \n", "\n ", "\t", ": ", " #"}[g.IntN(11)])
		}
		b.WriteString(words[g.IntN(len(words))])
	}
	b.WriteString([]string{"", "", "", "\n", "\n\n", " ", "\\"}[g.IntN(7)])
	if g.IntN(10) == 0 {
		return " " + b.String()
	}
	return b.String()
}

// scalar writes a scalar plain, where it can be, or quoted.
func (g *generator) scalar() string {
	if g.IntN(3) == 0 {
		for _, w := range []string{words[g.IntN(len(words))]} {
			if !strings.ContainsAny(w[:1], "-?:,[]{}&*!|>'\"%@`.=\u2028\u0085\ufeff") && !strings.ContainsAny(w, "\u2028\u0085\ufeff") {
				return w
			}
		}
	}
	s, _ := json.Marshal(g.text())
	return string(s)
}

func (g *generator) value(indent, depth int) {
	pad := strings.Repeat(" ", indent)
	switch k := g.IntN(10); {
	case depth > 4 || k < 5:
		if g.anchors > 0 && g.IntN(12) == 0 {
			fmt.Fprintf(&g.b, "*a%d\n", 1+g.IntN(g.anchors))
			return
		}
		g.b.WriteString(g.scalar() + "\n")
	case k == 5:
		g.b.WriteString([]string{"{}\n", "[]\n", "\n", "null\n"}[g.IntN(4)])
	case k < 8:
		anchor := g.IntN(6) == 0
		g.b.WriteString("\n")
		for i := range 1 + g.IntN(5) {
			fmt.Fprintf(&g.b, "%sk%d%s: ", pad, i, g.suffix())
			g.value(indent+2, depth+1)
		}
		_ = anchor
	default:
		g.b.WriteString("\n")
		for range 1 + g.IntN(4) {
			g.b.WriteString(pad + "- ")
			if g.IntN(4) == 0 {
				g.anchors++
				fmt.Fprintf(&g.b, "&a%d ", g.anchors)
				g.b.WriteString([]string{"{p: [x, 1], q: y}\n", "[1, two, {z: z}]\n", "{}\n"}[g.IntN(3)])
				continue
			}
			g.b.WriteString(g.scalar() + "\n")
		}
	}
}

func (g *generator) suffix() string {
	return []string{"", "", "-x", " y", ".z", strings.Repeat("long", 32)}[g.IntN(6)]
}

func document(seed uint64) string {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
	for i := range 1 + g.IntN(8) {
		fmt.Fprintf(&g.b, "%s: ", []string{"top" + fmt.Sprint(i), fmt.Sprint(i + 7), "yes" + fmt.Sprint(i), "é" + fmt.Sprint(i), "\"" + fmt.Sprint(i) + "\""}[g.IntN(5)])
		g.value(2, 0)
	}
	return g.b.String()
}

// TestPyYAML compares reading and dumping with the real PyYAML.
func TestPyYAML(t *testing.T) {
	python := testreq.Tool(t, "python3")
	err := exec.Command(python, "-c", "import yaml").Run()
	testreq.Feature(t, "python3-yaml", err == nil, "python3 cannot import yaml")
	cmd := exec.Command(python, "testdata/oracle.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	refused, compared := 0, 0
	ask := func(src string, seed uint64) {
		d := kas.Dialect(seed % 2)
		indent := []int{2, 4, 1, 9}[seed/2%4]
		q, _ := json.Marshal(map[string]any{"yaml": src, "indent": indent, "sort": d == kas.Pantacor})
		if _, err := in.Write(append(q, '\n')); err != nil {
			t.Fatal(err)
		}
		var a struct{ Dump, JSON, Error string }
		line, err := answers.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		v, err := kas.ParseYAML("x.yaml", []byte(src))
		if a.Error != "" {
			refused++
			if err == nil {
				t.Fatalf("seed %d: PyYAML refuses and we read\n%s\n%s", seed, src, a.Error)
			}
			return
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, src)
		}
		compared++
		got, err := kas.Render(v, d, kas.DumpOptions{Indent: indent})
		if err != nil {
			t.Fatal(err)
		}
		if got != a.Dump {
			t.Fatalf("seed %d: differs for\n%s\n--- ours\n%s\n--- PyYAML\n%s", seed, src, got, a.Dump)
		}
		if js, err := kas.Render(v, d, kas.DumpOptions{Indent: indent, Format: kas.JSON}); err == nil && a.JSON != "" && js != a.JSON+"\n" {
			t.Fatalf("seed %d: JSON differs for\n%s\n--- ours\n%s\n--- Python\n%s", seed, src, js, a.JSON)
		}
	}
	for i, src := range handwritten {
		ask(src, uint64(i))
	}
	for seed := range uint64(1500) {
		ask(document(seed), seed)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d documents compared, %d refused by both", compared, refused)
	if compared < 1000 {
		t.Errorf("only %d documents were compared", compared)
	}
}

// handwritten are documents with what the generator does not write.
var handwritten = []string{
	"a: &x {k: v, l: [1]}\nb: *x\nc: *x\n",
	"base: &b {x: 1, y: 2}\nd:\n  <<: *b\n  y: 3\n",
	"a: &a {x: 1}\nb: &b {x: 2, z: 1}\nc: {<<: [*a, *b], w: 1}\n",
	"a: 1\nb: 2\na: 3\n",
	"a: =\n", "=: x\n", "a: <<\n", "? [a]\n: b\n", "? {a: b}\n: c\n",
	"a: !!str 12\nb: !!int '7'\nc: !!float 1\n", "a: !foo x\n", "a: !!python/none x\n",
	"--- a\n--- b\n", "---\n...\n", "", "# only a comment\n", "%YAML 1.1\n---\na: 1\n",
	"a:\n\t- b\n", "a:\tb\n", "a: b\t# c\n", "a: b\t\n", "a: 'x\n  y'\n", "a: |2\n   x\n", "a: >\n  x\n  y\n\n  z\n",
	"a: |+\n  x\n\n\n", "a: |-\n  x\n", "? x\n", "- a\n- - b\n  - c\n- {d: e}\n", "x\n", "'yes'\n", "12\n", "null\n", "a: *nope\n", "a: [1, 2\n", "a: }\n",
	"a: b: c\n", "a: 'b\n", "a: \"\\q\"\n", "true: 1\n1: 2\n1.0: 3\n", "~: 1\nnull: 2\n", "2020-01-01: x\n", "{a, b: c}\n", "a:  # c\n  b\n",
	"\ufeffa: b\n", "a: 0b\n", "a: 0x_\n", "a: 09\n", "a: 1__0\n", "a: 60:59\n", "a: -1:30:15\n", "a: 1:30.5\n", "a: 2020-13-01\n", "a: 2020-02-30\n",
	"a: 1e400.0\nb: 1.0e+400\nc: -1.7976931348623157e+308\nd: 5.0e-324\n", "- &a [1]\n- *a\n- *a\n- x\n", "- &d 2020-01-01\n- *d\n", "a: &k [x, {y: z}]\nb: *k\nc: {d: *k}\n",
	"a: {b: {}, c: []}\n", "a: ''\n'': b\n", "\"a\\nb\": c\n",
}

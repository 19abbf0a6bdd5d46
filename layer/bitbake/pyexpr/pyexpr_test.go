package pyexpr_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// names is an Env of variables only.
type names map[string]string

func (n names) Lookup(id string) (pyexpr.Value, bool, error) {
	s, ok := n[id]
	return pyexpr.Str(s), ok, nil
}

func (names) Attr(path, attr string) (pyexpr.Value, error) { return pyexpr.Obj(path + "." + attr), nil }

func (names) Call(path string, _ []pyexpr.Value, _ map[string]pyexpr.Value) (pyexpr.Value, error) {
	return pyexpr.Value{}, &pyexpr.Unsupported{Reason: path}
}

// outcome is the text of the value, or the type of what Python raises, or "?"
// where it is not known.
func outcome(src string) string {
	e, err := pyexpr.Parse(src)
	if err == nil {
		var v pyexpr.Value
		if v, err = e.Eval(names{"A": "a b c", "E": ""}); err == nil {
			var s string
			if s, err = v.String(); err == nil {
				return "= " + s
			}
		}
	}
	if x, ok := errors.AsType[*pyexpr.Exception](err); ok {
		return x.Type
	}
	if _, ok := errors.AsType[*pyexpr.SyntaxError](err); ok {
		return "SyntaxError"
	}
	return "?"
}

// expressions are evaluated here and, where there is a python3, there.
var expressions = []string{
	"1+1", "1 + 2 * 3 - 4 // 3", "-7 // 2", "-7 % 3", "7 % -3", "2 ** 10", "2 ** 3 ** 2", "-2 ** 2", "1 / 2", "4 / 2", "1 / 0", "1 // 0", "1 % 0",
	"0x1f", "0b101", "0o17", "1_000", "1e3", "1.5e-7", "1e22", "0.1 + 0.2", "007", "1__0", "1_", "9223372036854775807", "1 << 4", "5 & 3 | 8 ^ 1", "~5", "True + True", "True & False",
	"'a' + 'b'", "'a' 'b'", "'ab' * 3", "3 * 'ab'", "'ab' * -1", "'a' + 1", "1 + 'a'", "'a' - 'b'", "[] + [1]", "[1, 2] * 2", "(1,) + (2,)", "[1] + (2,)",
	"'x' if 1 else 'y'", "'x' if '' else 'y'", "1 and 2", "0 and 2", "0 or 'z'", "not 1", "not ''", "not not 'a'", "1 if 0 else 2 if 0 else 3",
	"1 < 2 < 3", "1 < 3 < 2", "'a' < 'b'", "[1, 2] < [1, 3]", "1 < 'a'", "1 == 1.0", "'a' == 1", "None == 0", "None is None", "[] == []", "(1, 2) == [1, 2]", "{1, 2} == {2, 1}", "{'a': 1} == {'a': 1}",
	"'a' in 'abc'", "'a' in ['b', 'a']", "1 in 'abc'", "'x' not in 'abc'", "'a' in None", "'a' in {'a': 1}", "'' in 'abc'",
	"'abc'[0]", "'abc'[-1]", "'abc'[5]", "'abc'[1:]", "'abc'[::-1]", "'abc'[:-1]", "'abcdef'[1:5:2]", "'abc'[::0]", "[1, 2, 3][1]", "[1, 2, 3][-2:]", "{'a': 'b'}['a']", "{'a': 'b'}['c']", "'abc'['a']", "None[0]", "1[0]", "'üöä'[1]", "(1, 2)[5]",
	"len('abc')", "len('ü')", "len([1, 2])", "len(1)", "len()", "str(1)", "str(None)", "str('x')", "str([1, 'a', None, True, 1.5])", "str(('a',))", "str(())", "str({'a': 'b'})", "str(set())", "str(['it\\'s'])", "str(['a\"b\\'c'])", "str(['\\n\\t\\\\'])",
	"int('12')", "int(' -3 ')", "int('x')", "int('')", "int(1.9)", "int('1_0')", "int('ff', 16)", "int('0x1f', 16)", "int(None)", "int('ü')", "int('1ü')", "int('\u00a05')", "float('1.5')", "float('x')", "bool('')", "bool('a')", "int()", "int(True)",
	"max(1, 3, 2)", "min('b', 'a')", "max([1, 2])", "max([])", "any([0, 1])", "all([])", "all([1, 0])", "sorted(['b', 'a', 'c'])", "sorted('cab')", "list('ab')", "tuple([1])", "set(['a'])", "sorted(set(['b', 'a', 'b']))",
	"'a b  c'.split()", "'a,b,,c'.split(',')", "'a b c'.split(None, 1)", "' a b c '.split(None, 1)", "'a b c'.rsplit(None, 1)", "' a  b c '.rsplit(None, 1)", "'a-b-c'.rsplit('-', 1)", "'a-b-c'.split('-', maxsplit=1)", "'abc'.split('')", "''.split()", "''.split(',')", "'a\\u00a0b\\tc'.split()",
	"' '.join(['a', 'b'])", "' '.join([1])", "'-'.join('abc')", "','.join(x.upper() for x in 'ab')", "' '.join(x for x in 'a b'.split() if x != 'a')", "' '.join(None)",
	"'abc'.replace('b', 'x')", "'aaa'.replace('a', 'b', 2)", "'abc'.replace('', '-')", "'aaa'.replace('a', 'b', -1)", "'abc'.replace('b', 1)", "'aXbX'.partition('X')", "'aXbX'.rpartition('X')", "'abc'.partition('X')", "'abc'.rpartition('X')", "'abc'.partition('')",
	"'  a '.strip()", "'xxaxx'.strip('x')", "'xya'.lstrip('yx')", "'ayx'.rstrip('xy')", "'a'.strip(None)", "'abc'.startswith('ab')", "'abc'.startswith(('x', 'a'))", "'abc'.endswith('bc')", "'abc'.startswith(1)", "'abc'.find('c')", "'abc'.find('x')", "'üb'.find('b')", "'abcabc'.rfind('b')", "'aXa'.count('a')", "'abc'.count('')",
	"'aB'.upper()", "'aB'.lower()", "'ab cd'.title()", "'ab CD'.capitalize()", "'12'.isdigit()", "''.isdigit()", "'1a'.isdigit()", "'ab'.isalpha()", "'5'.zfill(3)", "'-5'.zfill(4)", "'abc'.removeprefix('a')", "'abc'.removesuffix('c')",
	"'%s' % 'a'", "'%s-%d' % ('a', 3)", "'%d' % 'a'", "'%s' % (1, 2)", "'%s %s' % ('a',)", "'%%'", "'%%' % ()", "'%d' % 3.7", "'%s' % None", "'%r' % 'a'", "'a' % 1",
	"[x for x in 'abc']", "[x + y for x in 'ab' for y in 'cd']", "{x: 1 for x in 'ab'}", "[a for a, b in [(1, 2), (3, 4)]]", "[a for a, b in [(1,)]]", "sorted({x for x in 'aab'})", "[x for x in 5]", "[[y for y in x] for x in ['ab']]",
	"A", "NOPE", "A.split()[0]", "E or 'empty'", "len(A.split())", "A.nope()", "A.nope", "None.split()", "(1).x", "[1].nope()", "'a'()", "5()", "A()",
	"{'a': 1}.get('a')", "{'a': 1}.get('b', 'c')", "[1, 2, 1].count(1)", "[1, 2].index(2)", "[1].index(5)", "{1: 2}.keys() == 1 or 1", "set(['a', 'b']) & set(['b'])", "set(['a']) - set(['a'])", "set(['a']).issubset(['a', 'b'])", "{[]: 1}", "{[1]}", "sorted(set('ab') | set('bc'))", "sorted(set('ab').union('cd'))",
	"", " ", "if", "1 +", "a b", "(", ")", "[1, 2", "'abc", "\"abc", "'''abc", "$x", "a ? b", "x = 1", "import os", "lambda: 1", "lambda x: x", "(lambda: 1)()", "yield 1", "print 1", "f(a for a in b, c)", "f(a=1, 2)", "f(a=1, a=2)", "1 if 2", "not", "*a", "(*a)", "[*'ab']", "[*'ab', 1]", "x := 1", "...", "a.1", "1.a", "'\\x4'", "'\\x41'", "'\\101'", "'\\q'", "r'\\n'", "b'a'", "b'a' 'b'", "f'{1}'", "'a' # c", "#", "()", "(1)", "(1,)", "1,", "1, 2", "[]", "{}", "{1: 2, **{}}", "a[1, 2]", "'abc'[1:2, 3]", "'abc'[:]", "'abc'[]", "1 is 1 is 1", "1 <> 2", "await x", "True = 1", "None()", "1 if True else", "[x for x in]", "[for x in y]", "{a: b for}",
}

func TestAgainstPython(t *testing.T) {
	python := testreq.Tool(t, "python3")
	const script = `
import json, sys
for src in json.load(sys.stdin):
    try:
        import warnings
        warnings.simplefilter("ignore")
        r = "= " + str(eval(compile(src.strip(), "x", "eval"), {}, {"A": "a b c", "E": ""}))
    except Exception as e:
        r = type(e).__name__
    print(json.dumps(r))
`
	in, err := json.Marshal(expressions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(expressions) {
		t.Fatalf("%d answers for %d expressions", len(lines), len(expressions))
	}
	unknown := 0
	for i, src := range expressions {
		var want string
		if err := json.Unmarshal([]byte(lines[i]), &want); err != nil {
			t.Fatal(err)
		}
		switch got := outcome(src); got {
		case want:
		case "?":
			unknown++
			t.Logf("unknown: %s (Python: %s)", src, want)
		default:
			t.Errorf("%s: %s, Python: %s", src, got, want)
		}
	}
	t.Logf("%d expressions, %d unknown", len(expressions), unknown)
	if unknown > len(expressions)/8 {
		t.Errorf("%d of %d are unknown", unknown, len(expressions))
	}
}

// TestValues holds a few answers for machines without Python.
func TestValues(t *testing.T) {
	for src, want := range map[string]string{
		"1+1": "= 2", "'t' if 'a' in A.split() else 'f'": "= t", "1/0": "ZeroDivisionError", "NOPE": "NameError", "1 +": "SyntaxError",
		"['', '-gnu'][(E or '') != '']": "= ", "f'{A}'": "?", "lambda: 1": "?", "str({'a', 'b'})": "?", "'a' * 10**9": "?", "10**30": "?",
		strings.Repeat("(", 150) + "1" + strings.Repeat(")", 150):                 "= 1",
		strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000):         "?",
		strings.Repeat("{", 150) + "1" + strings.Repeat("}", 150):                 "TypeError",
		"[x for x in 'aaaaaaaaaa' for y in 'a' * 1000000 for z in 'a' * 1000000]": "?",
	} {
		if got := outcome(src); got != want {
			t.Errorf("%.60s: %s, want %s", src, got, want)
		}
	}
}

func TestReferences(t *testing.T) {
	e, err := pyexpr.Parse("bb.utils.contains('A', 'x', d.getVar('B') or '', d.getVar(c), d) + d.getVarFlag('C', 'f') + oe.utils.conditional('D', 'x', 1, 2, d)")
	if err != nil {
		t.Fatal(err)
	}
	refs, contained := e.References()
	if got := strings.Join(refs, " "); got != "C[f] B D" && got != "B C[f] D" {
		t.Errorf("references %q", got)
	}
	if strings.Join(contained, " ") != "A" {
		t.Errorf("contained %q", contained)
	}
}

func TestTests(t *testing.T) {
	for src, want := range map[string]string{
		"bb.utils.contains('F', 'a b', 'x', 'y', d)":                                      "bb.utils.contains F [a b] false",
		"bb.utils.contains_any('F', ['a', 'b'], 'x', 'y', d) + '1'":                       "bb.utils.contains_any F [a b] true",
		"bb.utils.filter('F', w, d)":                                                      "bb.utils.filter F [] true",
		"oe.utils.all_distro_features(d, 'a', '1', bb.utils.contains('G', 'b', 1, 2, d))": "oe.utils.all_distro_features DISTRO_FEATURES [a] false; bb.utils.contains G [b] false",
		"'y' if 'a' in (d.getVar('F') or '').split() else 'n'":                            "in F [a] true",
		"'a' not in d.getVar('F')":                                                        "in F [a] true",
		"x in d.getVar('F')":                                                              "",
		"bb.utils.contains(v, 'a', 1, 2, d)":                                              "",
	} {
		e, err := pyexpr.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range e.Tests() {
			got = append(got, fmt.Sprintf("%s %s %v %v", x.Func, x.Var, x.Words, x.Any))
		}
		if g := strings.Join(got, "; "); g != want {
			t.Errorf("%s: %q, want %q", src, g, want)
		}
	}
}

func FuzzEval(f *testing.F) {
	for _, src := range expressions {
		f.Add(src)
	}
	f.Fuzz(func(_ *testing.T, src string) {
		outcome(src)
		if e, err := pyexpr.Parse(src); err == nil {
			e.References()
			e.Tests()
			e.Calls()
		}
	})
}

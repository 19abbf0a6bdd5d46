package pyexpr

import "strings"

// References says which variables the text of an expression names, as
// BitBake's code parser finds them (bb/codeparser.py, PythonParser.visit_Call):
// refs are literal arguments of getVar and its like, contained those of
// bb.utils.contains, contains_any and filter.
func (e *Expr) References() (refs, contained []string) {
	var walk func(n node)
	walk = func(n node) {
		if c, ok := n.(*call); ok && len(c.args) > 0 {
			fn := dotted(c.fn)
			if first, ok := literal(c.args[0]); ok {
				switch {
				case fn == "bb.utils.contains" || fn == "base_contains" || fn == "bb.utils.contains_any" || fn == "bb.utils.filter":
					if len(c.args) > 1 {
						if _, ok := c.args[1].(*constant); ok {
							contained = append(contained, first)
						} else {
							refs = append(refs, first)
						}
					}
				case suffixed(fn, ".getVarFlag", ".appendVarFlag", ".prependVarFlag"):
					if len(c.args) > 1 {
						if flag, ok := literal(c.args[1]); ok {
							refs = append(refs, first+"["+flag+"]")
						}
					}
				case suffixed(fn, ".getVar", ".appendVar", ".prependVar", "oe.utils.conditional"):
					refs = append(refs, first)
				}
			}
		}
		children(n, walk)
	}
	walk(e.root)
	return refs, contained
}

// Test is a place where an expression looks for words in a variable.
type Test struct {
	Func  string   // the function, or "in" for the operator
	Var   string   // the variable, as written
	Words []string // the words it looks for; nil when they are no literals
	Any   bool     // one of the words is enough
}

// wordTests maps a function to the index of its variable (-1: DISTRO_FEATURES)
// and of its words.
var wordTests = map[string]struct {
	variable, words int
	any             bool
}{
	"bb.utils.contains":            {0, 1, false},
	"base_contains":                {0, 1, false},
	"bb.utils.contains_any":        {0, 1, true},
	"bb.utils.filter":              {0, 1, true},
	"oe.utils.any_distro_features": {-1, 1, true},
	"oe.utils.all_distro_features": {-1, 1, false},
}

// Tests lists where the expression asks whether words are in a variable:
// bb.utils.contains and its like, and "'word' in d.getVar('X')".
func (e *Expr) Tests() []Test {
	var out []Test
	var walk func(n node)
	walk = func(n node) {
		switch n := n.(type) {
		case *call:
			fn := dotted(n.fn)
			if t, ok := wordTests[fn]; ok && len(n.args) > t.words {
				name, known := "DISTRO_FEATURES", true
				if t.variable >= 0 {
					name, known = literal(n.args[t.variable])
				}
				if known {
					out = append(out, Test{fn, name, literalWords(n.args[t.words]), t.any})
				}
			}
		case *compare:
			x := n.x
			for i, op := range n.ops {
				if word, ok := literal(x); ok && (op == "in" || op == "not in") {
					if v := variableOf(n.ys[i]); v != "" {
						out = append(out, Test{"in", v, []string{word}, true})
					}
				}
				x = n.ys[i]
			}
		}
		children(n, walk)
	}
	walk(e.root)
	return out
}

// literalWords are the words of a str or of a list of str.
func literalWords(n node) []string {
	if s, ok := literal(n); ok {
		return Split(s)
	}
	l, ok := n.(*sequence)
	if !ok {
		return nil
	}
	out := []string{}
	for _, x := range l.items {
		s, ok := literal(x)
		if !ok {
			return nil
		}
		out = append(out, s)
	}
	return out
}

// variableOf finds X in d.getVar('X'), d.getVar('X').split(),
// (d.getVar('X') or ”).split(): the one variable that the value comes from.
func variableOf(n node) string {
	switch n := n.(type) {
	case *call:
		if strings.HasSuffix(dotted(n.fn), ".getVar") && len(n.args) > 0 {
			s, _ := literal(n.args[0])
			return s
		}
		if a, ok := n.fn.(*attribute); ok && a.attr == "split" {
			return variableOf(a.x)
		}
	case *boolean:
		if n.or {
			return variableOf(n.xs[0])
		}
	}
	return ""
}

// Calls lists the dotted names of what the expression calls.
func (e *Expr) Calls() []string {
	var out []string
	var walk func(n node)
	walk = func(n node) {
		if c, ok := n.(*call); ok {
			if fn := dotted(c.fn); fn != "" {
				out = append(out, fn)
			}
		}
		children(n, walk)
	}
	walk(e.root)
	return out
}

func suffixed(s string, ends ...string) bool {
	for _, e := range ends {
		if strings.HasSuffix(s, e) {
			return true
		}
	}
	return false
}

func literal(n node) (string, bool) {
	if c, ok := n.(*constant); ok {
		return c.v.Text()
	}
	return "", false
}

// dotted is the name of a function as written, "" for anything but names.
func dotted(n node) string {
	switch n := n.(type) {
	case *name:
		return n.id
	case *attribute:
		if x := dotted(n.x); x != "" {
			return x + "." + n.attr
		}
	}
	return ""
}

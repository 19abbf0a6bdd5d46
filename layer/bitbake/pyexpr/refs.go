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

package bitbake

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Limits of evaluation. BitBake's own limit for nesting is Python's stack,
// 1000 frames of which a variable takes about six.
const (
	maxNesting     = 160
	maxText        = 64 << 20  // bytes of one value
	maxRounds      = 1000      // rescans of one value
	maxWork        = 128 << 20 // bytes that they look at
	maxDiagnostics = 10000
	maxStatements  = 1_000_000 // of one datastore
)

// LimitError says which bound of this package an evaluation ran into.
type LimitError struct {
	What string
	Max  int
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s exceeds %d", e.What, e.Max) }

// parsed is a VariableParse: a value before and after expansion.
type parsed struct {
	raw     text // before
	value   text // after, words of :remove taken out
	none    bool
	removed map[string]bool // texts of :remove that took something out
}

// collector gathers the names that a text refers to.
type collector struct{ names []string }

// expand replaces ${NAME} and ${@...} until nothing changes
// (DataSmart.expandWithRefs). name is the variable whose value t is, for the
// check against self reference.
func (d *Datastore) expand(t text, name string, c *collector) (text, error) {
	if !strings.Contains(t.s, "${") {
		return t, nil
	}
	if d.depth++; d.depth > maxNesting {
		d.depth--
		return t, &Error{Type: "RecursionError", Msg: "variables refer to each other without end", Err: &LimitError{"nesting of variables", maxNesting}}
	}
	defer func() { d.depth-- }()
	x := &expansion{d: d, name: name, refs: c, unk: t.unk}
	s, work := t.s, 0
	for round := 0; strings.Contains(s, "${"); round++ {
		if work += len(s); round > maxRounds || work > maxWork {
			return t, &Error{Type: "LimitError", Msg: name + " expands without end", Err: &LimitError{"expansion", maxRounds}}
		}
		old := s
		var err error
		if s, err = x.variables(s); err == nil {
			s, err = x.expressions(s)
		}
		if err != nil {
			return t, d.expansionError(name, old, err)
		}
		if s == old {
			break
		}
	}
	return text{s, x.unk}, nil
}

// expansionError wraps what went wrong once; outer variables pass it on.
func (d *Datastore) expansionError(name, expr string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	kind, msg := "Exception", err.Error()
	if ex, ok := errors.AsType[*pyexpr.Exception](err); ok {
		kind = ex.Type
	}
	if _, ok := errors.AsType[*pyexpr.SyntaxError](err); ok {
		kind = "SyntaxError"
	}
	return &Error{Type: "ExpansionError", Msg: fmt.Sprintf("%s cannot be expanded: %s (in %q)", name, msg, clip(expr)), Err: &expandCause{kind, err}}
}

// expandCause keeps the Python exception's name beside the cause.
type expandCause struct {
	kind string
	err  error
}

func (e *expandCause) Error() string { return e.err.Error() }
func (e *expandCause) Unwrap() error { return e.err }

type expansion struct {
	d    *Datastore
	name string
	refs *collector
	unk  *unknown
}

// selfError is a direct self reference.
type selfError struct{ name string }

func (e *selfError) Error() string { return fmt.Sprintf("variable %s references itself", e.name) }

// splice is a text in which parts are replaced, from left to right.
type splice struct {
	text string
	out  strings.Builder
	done int // how much of text is in out
}

// replace puts with in place of text[from:to]; the error is that the value of
// the variable of that name becomes too large.
func (t *splice) replace(from, to int, with, name string) error {
	t.out.WriteString(t.text[t.done:from])
	t.out.WriteString(with)
	t.done = to
	if t.out.Len() > maxText {
		return &Error{Type: "LimitError", Msg: name + " is too large", Err: &LimitError{"size of a value", maxText}}
	}
	return nil
}

// finish returns the whole text; nothing can be replaced any more.
func (t *splice) finish() string {
	if t.done == 0 {
		return t.text
	}
	t.out.WriteString(t.text[t.done:])
	return t.out.String()
}

// variables replaces each ${NAME} by its value, once; an undefined one stays.
func (x *expansion) variables(s string) (string, error) {
	t := splice{text: s}
	for at := 0; ; {
		i := strings.Index(s[at:], "${")
		if i < 0 {
			break
		}
		i += at
		end := varEnd(s, i+2)
		if end < 0 {
			at = i + 2
			continue
		}
		at = end + 1
		name := s[i+2 : end]
		if name == x.name {
			return "", &selfError{name}
		}
		v, ok, err := x.d.getMaybe(name)
		if err != nil {
			return "", err
		}
		if x.refs != nil {
			x.refs.names = append(x.refs.names, name)
		}
		x.unk = merge(x.unk, v.unk)
		if !ok {
			continue
		}
		if err := t.replace(i, at, v.s, x.name); err != nil {
			return "", err
		}
	}
	return t.finish(), nil
}

// varEnd returns the index of the brace that closes a plain name at i, -1
// when what is there is no `[a-zA-Z0-9\-_+./~:]+}`.
func varEnd(s string, i int) int {
	for k := i; k < len(s); k++ {
		switch c := s[k]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-' || c == '_' || c == '+' || c == '.' || c == '/' || c == '~' || c == ':':
		case c == '}' && k > i:
			return k
		default:
			return -1
		}
	}
	return -1
}

// expressions replaces each ${@...} by its value, once. A string literal
// without its end makes the whole round void: BitBake takes it for an
// expression that was cut off too early.
func (x *expansion) expressions(s string) (string, error) {
	t := splice{text: s}
	for at := 0; ; {
		i := strings.Index(s[at:], "${@")
		if i < 0 {
			break
		}
		i += at
		end := exprEnd(s, i+3)
		if end < 0 {
			at = i + 3
			continue
		}
		at = end
		out, err := x.expression(s[i+3 : end-1])
		if err != nil {
			if se, ok := errors.AsType[*pyexpr.SyntaxError](err); ok && se.Unterminated {
				return s, nil
			}
			return "", err
		}
		if err := t.replace(i, at, out, x.name); err != nil {
			return "", err
		}
	}
	return t.finish(), nil
}

// exprEnd finds the end of the code that starts at i, behind its closing
// brace: data_smart.__expand_python_regexp__, `(?:{.*?}|.)+?}`. At an opening
// brace the pattern prefers to jump behind the next closing one, and gives
// that up only if no brace follows in the line. The first character is taken
// whatever it is.
func exprEnd(s string, i int) int {
	line := s[i:]
	if n := strings.IndexByte(line, '\n'); n >= 0 {
		line = line[:n]
	}
	for p := 0; p < len(line); {
		switch {
		case p > 0 && line[p] == '}':
			return i + p + 1
		case line[p] == '{':
			q := strings.IndexByte(line[p+1:], '}')
			if q < 0 {
				return -1
			}
			if q += p + 2; strings.IndexByte(line[q:], '}') >= 0 {
				p = q
				continue
			}
			p++
		default:
			p++
		}
	}
	return -1
}

// expression evaluates the code of one ${@...}.
func (x *expansion) expression(code string) (string, error) {
	if hasVarRef(code) {
		// An undefined variable is left in the code: BitBake does not run it.
		return "${@" + code + "}", nil
	}
	if x.unk != nil && holdsHidden(code) {
		return hidden("${@" + code + "}"), nil
	}
	e, err := x.d.loader.expression(code)
	if err == nil && x.refs != nil {
		refs, contained := e.References()
		x.refs.names = append(append(x.refs.names, refs...), contained...)
	}
	if err == nil {
		err = x.touchDependencies()
	}
	var v pyexpr.Value
	env := &pyEnv{d: x.d, name: x.name, calls: new(int)}
	if err == nil {
		v, err = e.Eval(env)
	}
	var out string
	if err == nil {
		out, err = v.String()
	}
	if err == nil {
		return out, nil
	}
	if u, ok := errors.AsType[*pyexpr.Unsupported](err); ok {
		x.unk = merge(x.unk, &unknown{fmt.Sprintf("${@%s}: %s", clip(strings.TrimSpace(code)), u.Reason)})
		return hidden("${@" + code + "}"), nil
	}
	return "", err
}

// touchDependencies expands the flag vardeps of the variable, because BitBake
// does so before it runs the code: it can fail, or run into itself.
func (x *expansion) touchDependencies() error {
	if x.name == "" {
		return nil
	}
	f, ok := x.d.flag(x.name, "vardeps")
	if !ok {
		return nil
	}
	_, err := x.d.expand(f.text, x.name+"[vardeps]", nil)
	return err
}

func hasVarRef(code string) bool {
	for at := 0; ; {
		i := strings.Index(code[at:], "${")
		if i < 0 {
			return false
		}
		at += i + 2
		if varEnd(code, at) >= 0 {
			return true
		}
	}
}

// references lists what the expansion of a text refers to.
func (d *Datastore) references(t text, name string) ([]string, error) {
	c := &collector{}
	_, err := d.expand(t, name, c)
	return c.names, err
}

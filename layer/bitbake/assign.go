package bitbake

import "strings"

// parseAssign matches an assignment as ConfHandler.__config_regexp__ does.
// The first "=" decides: no part before the value may hold one. The pattern
// takes the shortest name that lets the rest match, and tries "export" first,
// which gives the surprises: `A+ = "x"` sets a variable called "A+", and
// `export += "x"` exports one called "+".
func parseAssign(l *logical) *Assign {
	s := l.text
	eq := strings.IndexByte(s, '=')
	if eq < 1 {
		return nil
	}
	for _, export := range []bool{true, false} {
		for _, form := range operatorForms {
			if !strings.HasSuffix(s[:eq], form.before) || !strings.HasPrefix(s[eq+1:], form.after) {
				continue
			}
			a := &Assign{Export: export, Op: form.op}
			opAt, opEnd := eq-len(form.before), eq+1+len(form.after)
			if !a.target(l, opAt) || !a.operand(l, opEnd) {
				continue
			}
			a.OpSpan = l.span(opAt, opEnd)
			return a
		}
	}
	return nil
}

// operatorForms in the order in which the pattern meets them: an operator
// that begins before "=" leaves the shorter name, so it comes first.
var operatorForms = []struct {
	before, after string
	op            Op
}{
	{":", "", OpNow},
	{"??", "", OpWeak},
	{"?", "", OpDefault},
	{"+", "", OpAppend},
	{".", "", OpPostdot},
	{"", "+", OpPrepend},
	{"", ".", OpPredot},
	{"", "", OpSet},
}

// target reads `export NAME[flag]` before the operator.
func (a *Assign) target(l *logical, opAt int) bool {
	s := rstrip(l.text[:opAt])
	at := 0
	if a.Export {
		rest, n, ok := cutWord(s, "export")
		if !ok {
			return false
		}
		s, at = rest, n
	}
	if strings.HasSuffix(s, "]") {
		open := strings.IndexByte(s, '[')
		if open < 0 || !isFlag(s[open+1:len(s)-1], 1) {
			return false
		}
		a.Flag = s[open+1 : len(s)-1]
		a.FlagSpan = l.span(at+open+1, at+len(s)-1)
		s = s[:open]
	}
	if s == "" || strings.IndexFunc(s, notNameRune) >= 0 {
		return false
	}
	a.Name, a.NameSpan = s, l.span(at, at+len(s))
	return true
}

// operand reads the quoted value. A value that holds exactly one quote of its
// own kind is refused, two or more are taken: the pattern's lookaheads.
func (a *Assign) operand(l *logical, at int) bool {
	s, n := cutSpace(l.text[at:])
	at += n
	if len(s) < 2 || s[0] != '"' && s[0] != '\'' || s[len(s)-1] != s[0] {
		return false
	}
	if strings.Count(s, s[:1]) == 3 {
		return false
	}
	a.Quote = s[0]
	a.Value = s[1 : len(s)-1]
	a.ValueSpan = l.span(at+1, at+len(s)-1)
	if a.Value == "" {
		a.ValueSpan = Span{l.offset(at) + 1, l.offset(at) + 1}
	}
	return true
}

// notNameRune is the complement of [a-zA-Z0-9\-_+.${}/~:].
func notNameRune(r rune) bool { return r != ':' && notPlainRune(r) }

// notPlainRune is the complement of [a-zA-Z0-9\-_+.${}/~], the names of
// export and unset.
func notPlainRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return r >= 0x80 || !strings.ContainsRune("-_+.${}/~", r)
}

// isFlag matches [a-zA-Z0-9\-_+.][a-zA-Z0-9\-_+.@]* of at least min letters.
func isFlag(s string, least int) bool {
	if len(s) < least {
		return false
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case r < 0x80 && strings.ContainsRune("-_+.", r):
		case r == '@' && i > 0:
		default:
			return false
		}
	}
	return true
}

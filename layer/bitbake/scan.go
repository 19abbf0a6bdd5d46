package bitbake

import (
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Ref is a ${...} in a value as written.
type Ref struct {
	// Span is the whole of it, "${" to "}", in the text that was scanned.
	Span Span
	// Name is the variable; "" for an expression.
	Name string
	// Code is the code of ${@...}; "" for a variable.
	Code string
}

// Refs lists the references in a text, expressions first closed as BitBake
// closes them; those inside an expression follow it.
func Refs(s string) []Ref {
	var out []Ref
	for at := 0; ; {
		i := strings.Index(s[at:], "${")
		if i < 0 {
			return out
		}
		i += at
		at = i + 2
		if end := varEnd(s, i+2); end >= 0 {
			out = append(out, Ref{Span: Span{i, end + 1}, Name: s[i+2 : end]})
			continue
		}
		if strings.HasPrefix(s[i:], "${@") {
			if end := exprEnd(s, i+3); end >= 0 {
				out = append(out, Ref{Span: Span{i, end}, Code: s[i+3 : end-1]})
			}
		}
	}
}

// Expr parses the code of an expression. References in it stay text, as in a
// string literal; it is for looking at, not for evaluating.
func (r Ref) Expr() (*pyexpr.Expr, error) {
	return pyexpr.Parse(strings.TrimFunc(r.Code, pyexpr.IsSpace))
}

package kconfig

import "strings"

// Expr is a condition: a *Symbol, a *Choice, or one of the operators below.
type Expr interface{ appendTo(b *strings.Builder) }

type (
	notExpr struct{ x Expr }
	andExpr struct{ a, b Expr }
	orExpr  struct{ a, b Expr }
	// cmpExpr compares two symbols by their values.
	cmpExpr struct {
		op   string // = != < <= > >=
		a, b *Symbol
	}
)

// ExprString writes an expression as a Kconfig file would.
func ExprString(e Expr) string {
	var b strings.Builder
	e.appendTo(&b)
	return b.String()
}

func (s *Symbol) appendTo(b *strings.Builder) {
	if s.Const && s.Name != "n" && s.Name != "m" && s.Name != "y" {
		b.WriteByte('"')
		b.WriteString(escape(s.Name))
		b.WriteByte('"')
		return
	}
	b.WriteString(s.Name)
}

func (c *Choice) appendTo(b *strings.Builder) {
	b.WriteString("<choice")
	if c.Name != "" {
		b.WriteString(" " + c.Name)
	}
	b.WriteByte('>')
}

func (e *notExpr) appendTo(b *strings.Builder) {
	b.WriteByte('!')
	_, isSym := e.x.(*Symbol)
	group(b, e.x, !isSym)
}

func (e *andExpr) appendTo(b *strings.Builder) {
	_, or := e.a.(*orExpr)
	group(b, e.a, or)
	b.WriteString(" && ")
	_, or = e.b.(*orExpr)
	group(b, e.b, or)
}

func (e *orExpr) appendTo(b *strings.Builder) {
	e.a.appendTo(b)
	b.WriteString(" || ")
	e.b.appendTo(b)
}

func (e *cmpExpr) appendTo(b *strings.Builder) {
	e.a.appendTo(b)
	b.WriteString(" " + e.op + " ")
	e.b.appendTo(b)
}

func group(b *strings.Builder, e Expr, parens bool) {
	if parens {
		b.WriteByte('(')
	}
	e.appendTo(b)
	if parens {
		b.WriteByte(')')
	}
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}

// and joins conditions, leaving out what is always true.
func (t *Tree) and(a, b Expr) Expr {
	switch {
	case a == t.y:
		return b
	case b == t.y:
		return a
	case a == t.n || b == t.n:
		return t.n
	}
	return &andExpr{a, b}
}

func (t *Tree) or(a, b Expr) Expr {
	switch {
	case a == t.n:
		return b
	case b == t.n:
		return a
	case a == t.y || b == t.y:
		return t.y
	}
	return &orExpr{a, b}
}

// dependsOn reports whether e can only hold while s does, as far as the menu
// looks: it decides what becomes a submenu of s, and thereby what in a choice
// is a member (scripts/kconfig/menu.c, expr_depends_symbol).
func (t *Tree) dependsOn(e Expr, s *Symbol) bool {
	switch e := e.(type) {
	case *Symbol:
		return e == s
	case *andExpr:
		return t.dependsOn(e.a, s) || t.dependsOn(e.b, s)
	case *cmpExpr:
		a, b := e.a, e.b
		if b == s {
			a, b = b, a
		}
		if a != s {
			return false
		}
		return e.op == "=" && (b == t.m || b == t.y) || e.op == "!=" && b == t.n
	}
	return false
}

// symbolsOf yields every symbol and choice in e, constants left out.
func symbolsOf(e Expr, yield func(Expr) bool) bool {
	switch e := e.(type) {
	case *Symbol:
		return e.Const || yield(e)
	case *Choice:
		return yield(e)
	case *notExpr:
		return symbolsOf(e.x, yield)
	case *andExpr:
		return symbolsOf(e.a, yield) && symbolsOf(e.b, yield)
	case *orExpr:
		return symbolsOf(e.a, yield) && symbolsOf(e.b, yield)
	case *cmpExpr:
		return symbolsOf(e.a, yield) && symbolsOf(e.b, yield)
	}
	return true
}

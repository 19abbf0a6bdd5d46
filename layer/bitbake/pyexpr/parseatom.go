package pyexpr

import (
	"math"
	"strconv"
	"strings"
)

// This file reads literals, displays and comprehensions.

func (p *parser) atom() (node, error) {
	t := p.next()
	switch t.kind {
	case tokString:
		return p.stringLit(t)
	case tokNumber:
		return number(t)
	case tokName:
		switch t.text {
		case "True", "False":
			return &constant{Bool(t.text == "True")}, nil
		case "None":
			return &constant{None()}, nil
		}
		if keywords[t.text] {
			p.pos--
			return nil, p.fail()
		}
		return &name{t.text}, nil
	case tokOp:
		switch t.text {
		case "(":
			return p.paren()
		case "[":
			return p.display("]", List)
		case "{":
			return p.brace()
		case "...":
			return &opaqueLit{"an ellipsis"}, nil
		}
	}
	if t.kind != tokEnd {
		p.pos--
	}
	return nil, p.fail()
}

// stringLit joins neighbouring string literals.
func (p *parser) stringLit(t token) (node, error) {
	var b strings.Builder
	opaque, bytes, plain := false, false, false
	for {
		opaque = opaque || t.opaque
		if strings.Contains(t.text, "b") {
			bytes = true
		} else {
			plain = true
		}
		b.WriteString(t.str)
		if p.peek().kind != tokString {
			break
		}
		t = p.next()
	}
	if bytes && plain {
		return nil, &SyntaxError{Offset: t.off, Msg: "cannot mix bytes and nonbytes literals"}
	}
	if opaque {
		return &opaqueLit{"an f-string or bytes literal"}, nil
	}
	return &constant{Str(b.String())}, nil
}

func number(t token) (node, error) {
	s := t.text
	bad := &SyntaxError{Offset: t.off, Msg: "invalid decimal literal"}
	if strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return nil, bad
	}
	lower := strings.ToLower(strings.ReplaceAll(s, "_", ""))
	for prefix, base := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if digits, ok := strings.CutPrefix(lower, prefix); ok {
			n, err := strconv.ParseInt(digits, base, 64)
			if err != nil {
				return numberError(err, bad)
			}
			return &constant{Int(n)}, nil
		}
	}
	if j, ok := strings.CutSuffix(lower, "j"); ok {
		if _, err := strconv.ParseFloat(j, 64); err != nil {
			return nil, bad
		}
		return &opaqueLit{"a complex number"}, nil
	}
	if !strings.ContainsAny(lower, ".e") {
		if len(lower) > 1 && lower[0] == '0' && strings.Trim(lower, "0") != "" {
			return nil, bad
		}
		n, err := strconv.ParseInt(lower, 10, 64)
		if err != nil {
			return numberError(err, bad)
		}
		return &constant{Int(n)}, nil
	}
	if strings.ContainsAny(lower, "xpnif") {
		return nil, bad
	}
	f, err := strconv.ParseFloat(lower, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, bad
	}
	return &constant{Float(f)}, nil
}

func numberError(err error, bad *SyntaxError) (node, error) {
	if ne, ok := err.(*strconv.NumError); ok && ne.Err == strconv.ErrRange { //nolint:errorlint // strconv documents this type
		return &opaqueLit{"a number beyond 64 bits"}, nil
	}
	return nil, bad
}

func (p *parser) paren() (node, error) {
	if p.accept(")") {
		return &sequence{Tuple, nil}, nil
	}
	if p.isWord("yield") {
		return nil, p.fail()
	}
	first, err := p.item()
	if err != nil {
		return nil, err
	}
	if p.isComp() {
		x, err := p.comp(Iterator, first, nil)
		if err != nil {
			return nil, err
		}
		return x, p.expect(")")
	}
	if p.accept(")") {
		if _, star := first.(*starred); star {
			return nil, p.fail()
		}
		return first, nil
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	rest, err := p.items(")")
	return &sequence{Tuple, append([]node{first}, rest...)}, err
}

func (p *parser) item() (node, error) {
	if p.accept("*") {
		x, err := p.binary(0)
		return &starred{x}, err
	}
	return p.named()
}

// items reads elements up to and including the closing bracket.
func (p *parser) items(closing string) ([]node, error) {
	var out []node
	for !p.accept(closing) {
		x, err := p.item()
		if err != nil {
			return nil, err
		}
		out = append(out, x)
		if !p.accept(",") && !p.isOp(closing) {
			return nil, p.fail()
		}
	}
	return out, nil
}

func (p *parser) display(closing string, kind Kind) (node, error) {
	if p.accept(closing) {
		return &sequence{kind, nil}, nil
	}
	first, err := p.item()
	if err != nil {
		return nil, err
	}
	return p.displayAfter(first, closing, kind)
}

func (p *parser) displayAfter(first node, closing string, kind Kind) (node, error) {
	if p.isComp() {
		x, err := p.comp(kind, first, nil)
		if err != nil {
			return nil, err
		}
		return x, p.expect(closing)
	}
	items := []node{first}
	if !p.accept(closing) {
		if err := p.expect(","); err != nil {
			return nil, err
		}
		rest, err := p.items(closing)
		if err != nil {
			return nil, err
		}
		items = append(items, rest...)
	}
	return &sequence{kind, items}, nil
}

// brace reads a dict or a set, whose "{" is behind.
func (p *parser) brace() (node, error) {
	if p.accept("}") {
		return &mapping{}, nil
	}
	if p.isOp("**") {
		return p.dict(&mapping{})
	}
	first, err := p.item()
	if err != nil {
		return nil, err
	}
	if !p.accept(":") {
		return p.displayAfter(first, "}", Set)
	}
	val, err := p.expr()
	if err != nil {
		return nil, err
	}
	if p.isComp() {
		x, err := p.comp(Dict, first, val)
		if err != nil {
			return nil, err
		}
		return x, p.expect("}")
	}
	if !p.accept(",") && !p.isOp("}") {
		return nil, p.fail()
	}
	return p.dict(&mapping{keys: []node{first}, values: []node{val}})
}

// dict reads entries up to and including the closing brace.
func (p *parser) dict(m *mapping) (node, error) {
	for !p.accept("}") {
		var k, v node
		var err error
		if p.accept("**") {
			v, err = p.binary(0)
		} else {
			if k, err = p.expr(); err != nil {
				return nil, err
			}
			if err = p.expect(":"); err != nil {
				return nil, err
			}
			v, err = p.expr()
		}
		if err != nil {
			return nil, err
		}
		m.keys, m.values = append(m.keys, k), append(m.values, v)
		if !p.accept(",") && !p.isOp("}") {
			return nil, p.fail()
		}
	}
	return m, nil
}

func (p *parser) isComp() bool {
	return p.isWord("for") || p.isWord("async") && p.toks[p.pos+1].text == "for"
}

func (p *parser) comp(kind Kind, elem, val node) (node, error) {
	c := &comp{kind: kind, elem: elem, val: val}
	if _, star := elem.(*starred); star {
		return nil, p.fail()
	}
	for p.acceptWord("for") {
		target, err := p.target()
		if err != nil {
			return nil, err
		}
		if !p.acceptWord("in") {
			return nil, p.fail()
		}
		iter, err := p.disjunction()
		if err != nil {
			return nil, err
		}
		g := generator{target: target, iter: iter}
		for p.acceptWord("if") {
			cond, err := p.disjunction()
			if err != nil {
				return nil, err
			}
			g.conds = append(g.conds, cond)
		}
		c.generators = append(c.generators, g)
	}
	if len(c.generators) == 0 {
		return nil, p.fail() // "async for" outside an async function
	}
	return c, nil
}

// target reads the loop variables of a comprehension: names, with commas and
// parentheses.
func (p *parser) target() (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var items []node
	tuple := false
	for {
		switch t := p.next(); {
		case t.kind == tokName && !keywords[t.text]:
			items = append(items, &name{t.text})
		case t.kind == tokOp && (t.text == "(" || t.text == "["):
			x, err := p.target()
			if err != nil {
				return nil, err
			}
			if !p.accept(")") && !p.accept("]") {
				return nil, p.fail()
			}
			items = append(items, x)
		default:
			if t.kind != tokEnd {
				p.pos--
			}
			return nil, p.fail()
		}
		if !p.accept(",") {
			break
		}
		tuple = true
		if p.isWord("in") {
			break
		}
	}
	if len(items) == 1 && !tuple {
		return items[0], nil
	}
	return &sequence{Tuple, items}, nil
}

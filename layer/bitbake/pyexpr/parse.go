package pyexpr

import (
	"math"
	"strconv"
	"strings"
)

// maxDepth bounds the nesting of an expression. CPython's own parser gives up
// at 200 nested parentheses ("too many nested parentheses").
const maxDepth = 200

// Expr is a parsed expression. It does not change and may be evaluated by
// several goroutines.
type Expr struct {
	src  string
	root node
}

// String returns the source text.
func (e *Expr) String() string { return e.src }

// Parse parses the text as Python's eval() would. The error is a *SyntaxError
// where Python would raise one, and an *Unsupported where the text is nested
// too deeply for this package.
func Parse(src string) (*Expr, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	root, err := p.exprList()
	if err != nil {
		return nil, err
	}
	if p.peek().kind != tokEnd {
		return nil, p.fail()
	}
	return &Expr{src: src, root: root}, nil
}

type parser struct {
	toks  []token
	pos   int
	depth int
}

func (p *parser) peek() token { return p.toks[p.pos] }
func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}
func (p *parser) isOp(s string) bool { t := p.peek(); return t.kind == tokOp && t.text == s }
func (p *parser) isWord(s string) bool {
	t := p.peek()
	return t.kind == tokName && t.text == s
}
func (p *parser) accept(op string) bool {
	if p.isOp(op) {
		p.pos++
		return true
	}
	return false
}
func (p *parser) acceptWord(w string) bool {
	if p.isWord(w) {
		p.pos++
		return true
	}
	return false
}
func (p *parser) fail() error {
	return &SyntaxError{Offset: p.peek().off, Msg: "invalid syntax"}
}
func (p *parser) expect(op string) error {
	if p.accept(op) {
		return nil
	}
	return p.fail()
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return unsupported("the expression is nested more than %d levels", maxDepth)
	}
	return nil
}

// exprList reads one expression, or several with commas as a tuple, up to the
// end of the text.
func (p *parser) exprList() (node, error) {
	x, err := p.expr()
	if err != nil || !p.isOp(",") {
		return x, err
	}
	items := []node{x}
	for p.accept(",") {
		if p.peek().kind == tokEnd {
			break
		}
		if x, err = p.expr(); err != nil {
			return nil, err
		}
		items = append(items, x)
	}
	return &sequence{Tuple, items}, nil
}

func (p *parser) expr() (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if p.isWord("lambda") {
		return p.lambda()
	}
	yes, err := p.disjunction()
	if err != nil || !p.acceptWord("if") {
		return yes, err
	}
	cond, err := p.disjunction()
	if err != nil {
		return nil, err
	}
	if !p.acceptWord("else") {
		return nil, p.fail()
	}
	no, err := p.expr()
	return &conditional{cond, yes, no}, err
}

// named reads an expression where "name := value" is allowed.
func (p *parser) named() (node, error) {
	if t := p.peek(); t.kind == tokName && !keywords[t.text] && p.toks[p.pos+1].kind == tokOp && p.toks[p.pos+1].text == ":=" {
		p.pos += 2
		_, err := p.expr()
		return &walrus{}, err
	}
	return p.expr()
}

// lambda checks the form of a lambda; its value is not modelled.
func (p *parser) lambda() (node, error) {
	p.pos++
	for !p.accept(":") {
		p.accept("*")
		p.accept("**")
		t := p.next()
		if t.kind == tokOp && t.text == "/" || t.kind == tokName && !keywords[t.text] || t.kind == tokOp && t.text == "," {
			if p.accept("=") {
				if _, err := p.expr(); err != nil {
					return nil, err
				}
			}
			if !p.isOp(":") && !p.accept(",") {
				return nil, p.fail()
			}
			continue
		}
		p.pos--
		return nil, p.fail()
	}
	_, err := p.expr()
	return &lambda{}, err
}

func (p *parser) disjunction() (node, error) { return p.boolean("or", p.conjunction) }
func (p *parser) conjunction() (node, error) { return p.boolean("and", p.inversion) }

func (p *parser) boolean(word string, sub func() (node, error)) (node, error) {
	x, err := sub()
	if err != nil || !p.isWord(word) {
		return x, err
	}
	b := &boolean{or: word == "or", xs: []node{x}}
	for p.acceptWord(word) {
		if x, err = sub(); err != nil {
			return nil, err
		}
		b.xs = append(b.xs, x)
	}
	return b, nil
}

func (p *parser) inversion() (node, error) {
	if p.acceptWord("not") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		x, err := p.inversion()
		return &unary{"not", x}, err
	}
	return p.comparison()
}

func (p *parser) comparison() (node, error) {
	x, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	var c *compare
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == tokOp && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			op = t.text
			p.pos++
		case p.acceptWord("in"):
			op = "in"
		case p.isWord("not") && p.toks[p.pos+1].text == "in" && p.toks[p.pos+1].kind == tokName:
			op = "not in"
			p.pos += 2
		case p.acceptWord("is"):
			op = "is"
			if p.acceptWord("not") {
				op = "is not"
			}
		}
		if op == "" {
			break
		}
		y, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		if c == nil {
			c = &compare{x: x}
		}
		c.ops, c.ys = append(c.ops, op), append(c.ys, y)
	}
	if c == nil {
		return x, nil
	}
	return c, nil
}

// levels are the binary operators from loose to tight; all are left-associative.
var levels = [][]string{{"|"}, {"^"}, {"&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "//", "%", "@"}}

func (p *parser) binary(level int) (node, error) {
	if level == len(levels) {
		return p.factor()
	}
	x, err := p.binary(level + 1)
	if err != nil {
		return nil, err
	}
	for {
		op := ""
		for _, o := range levels[level] {
			if p.accept(o) {
				op = o
				break
			}
		}
		if op == "" {
			return x, nil
		}
		y, err := p.binary(level + 1)
		if err != nil {
			return nil, err
		}
		x = &binary{op, x, y}
	}
}

func (p *parser) factor() (node, error) {
	for _, op := range []string{"+", "-", "~"} {
		if p.accept(op) {
			if err := p.enter(); err != nil {
				return nil, err
			}
			defer func() { p.depth-- }()
			x, err := p.factor()
			return &unary{op, x}, err
		}
	}
	x, err := p.primary()
	if err != nil || !p.accept("**") {
		return x, err
	}
	y, err := p.factor()
	return &binary{"**", x, y}, err
}

func (p *parser) primary() (node, error) {
	x, err := p.atom()
	if err != nil {
		return nil, err
	}
	for {
		switch {
		case p.accept("."):
			t := p.next()
			if t.kind != tokName || keywords[t.text] {
				p.pos--
				return nil, p.fail()
			}
			x = &attribute{x, t.text}
		case p.accept("("):
			if x, err = p.call(x); err != nil {
				return nil, err
			}
		case p.accept("["):
			idx, err := p.subscripts()
			if err != nil {
				return nil, err
			}
			x = &subscript{x, idx}
		default:
			return x, nil
		}
	}
}

func (p *parser) call(fn node) (node, error) {
	c := &call{fn: fn}
	seen := map[string]bool{}
	for !p.accept(")") {
		switch t := p.peek(); {
		case p.accept("*"):
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			c.args = append(c.args, &starred{x})
		case p.accept("**"):
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			c.kwargs = append(c.kwargs, keyword{"", x})
		case t.kind == tokName && p.toks[p.pos+1].kind == tokOp && p.toks[p.pos+1].text == "=":
			if keywords[t.text] || seen[t.text] {
				return nil, p.fail()
			}
			seen[t.text] = true
			p.pos += 2
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			c.kwargs = append(c.kwargs, keyword{t.text, x})
		default:
			x, err := p.named()
			if err != nil {
				return nil, err
			}
			if p.isComp() {
				if x, err = p.comp(Iterator, x, nil); err != nil {
					return nil, err
				}
				if len(c.args)+len(c.kwargs) > 0 || !p.isOp(")") {
					return nil, &SyntaxError{Offset: t.off, Msg: "Generator expression must be parenthesized"}
				}
			} else if len(c.kwargs) > 0 {
				return nil, &SyntaxError{Offset: t.off, Msg: "positional argument follows keyword argument"}
			}
			c.args = append(c.args, x)
		}
		if !p.accept(",") && !p.isOp(")") {
			return nil, p.fail()
		}
	}
	return c, nil
}

func (p *parser) subscripts() (node, error) {
	x, err := p.slice()
	if err != nil {
		return nil, err
	}
	if p.accept("]") {
		return x, nil
	}
	items := []node{x}
	for !p.accept("]") {
		if err := p.expect(","); err != nil {
			return nil, err
		}
		if p.isOp("]") {
			continue
		}
		if x, err = p.slice(); err != nil {
			return nil, err
		}
		items = append(items, x)
	}
	return &sequence{Tuple, items}, nil
}

func (p *parser) slice() (node, error) {
	var parts [3]node
	colons := 0
	for {
		switch {
		case p.isOp("]") || p.isOp(","):
			if colons == 0 {
				return nil, p.fail()
			}
			return &slice{parts[0], parts[1], parts[2]}, nil
		case p.accept(":"):
			if colons++; colons > 2 {
				return nil, p.fail()
			}
		default:
			if parts[colons] != nil {
				return nil, p.fail()
			}
			x, err := p.named()
			if err != nil {
				return nil, err
			}
			parts[colons] = x
			if colons == 0 && !p.isOp(":") {
				return x, nil
			}
		}
	}
}

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

var keywords = map[string]bool{
	"False": true, "None": true, "True": true, "and": true, "as": true, "assert": true, "async": true, "await": true,
	"break": true, "class": true, "continue": true, "def": true, "del": true, "elif": true, "else": true, "except": true,
	"finally": true, "for": true, "from": true, "global": true, "if": true, "import": true, "in": true, "is": true,
	"lambda": true, "nonlocal": true, "not": true, "or": true, "pass": true, "raise": true, "return": true, "try": true,
	"while": true, "with": true, "yield": true,
}

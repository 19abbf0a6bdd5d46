package pyexpr

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

var keywords = map[string]bool{
	"False": true, "None": true, "True": true, "and": true, "as": true, "assert": true, "async": true, "await": true,
	"break": true, "class": true, "continue": true, "def": true, "del": true, "elif": true, "else": true, "except": true,
	"finally": true, "for": true, "from": true, "global": true, "if": true, "import": true, "in": true, "is": true,
	"lambda": true, "nonlocal": true, "not": true, "or": true, "pass": true, "raise": true, "return": true, "try": true,
	"while": true, "with": true, "yield": true,
}

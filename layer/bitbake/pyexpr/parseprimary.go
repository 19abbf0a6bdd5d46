package pyexpr

// This file reads what follows an atom: attributes, calls, subscripts.

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

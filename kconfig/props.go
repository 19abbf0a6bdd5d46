package kconfig

import (
	"slices"
	"strings"
)

// properties parses the lines below a config, choice, menu or comment up to
// the first that is none of theirs.
func (p *parser) properties(n *Node) error {
	for {
		st, err := p.next()
		if err != nil {
			return err
		}
		if st == nil {
			return nil
		}
		more, err := p.property(n, st)
		if err != nil {
			return err
		}
		if !more {
			p.reused = st
			return nil
		}
		if st.keyword != "help" {
			if err := st.atEnd(); err != nil {
				return err
			}
		}
	}
}

var types = map[string]Type{
	"bool": Bool, "boolean": Bool, "tristate": Tristate, "string": String, "int": Int, "hex": Hex,
}

// property handles one line; more is false when the line is not a property.
func (p *parser) property(n *Node, st *statement) (more bool, err error) {
	if typ, ok := types[st.keyword]; ok {
		p.setType(n, typ)
		if _, prompt := st.peek(); prompt {
			return true, p.prompt(n, st)
		}
		return true, nil
	}
	if name, ok := strings.CutPrefix(st.keyword, "def_"); ok {
		p.setType(n, types[name])
		return true, p.defaultValue(n, st)
	}
	switch st.keyword {
	case "prompt":
		err = p.prompt(n, st)
	case "default":
		err = p.defaultValue(n, st)
	case "depends":
		err = p.depends(n, st)
	case "select", "imply":
		err = p.selects(n, st)
	case "range":
		err = p.bounds(n, st)
	case "visible":
		err = p.visible(n, st)
	case "option":
		err = p.option(n, st)
	case "optional":
		if n.Choice == nil {
			return true, st.errorf(`"optional" is only valid for choices`)
		}
		n.Choice.Optional = true
	case "help":
		if n.Help = p.src.help(); n.Help == "" {
			p.warnf(st.pos(), "%s has 'help' but empty help text", nodeName(n))
		}
	default:
		return false, nil
	}
	return true, err
}

func (p *parser) setType(n *Node, typ Type) {
	n.typ = typ
	switch {
	case n.Symbol != nil:
		if old := n.Symbol.Type; old != Unknown && old != typ {
			p.warnf(n.Pos, "%s defined with multiple types, %s will be used", nameAndLoc(n.Symbol), typ)
		}
		n.Symbol.Type = typ
	case n.Choice != nil:
		n.Choice.Type = typ
	}
}

func (p *parser) prompt(n *Node, st *statement) error {
	if n.HasPrompt {
		p.warnf(st.pos(), "%s defined with multiple prompts in single location", nodeName(n))
	}
	text, err := st.str()
	if err != nil {
		return err
	}
	if trimmed := strings.TrimSpace(text); trimmed != text {
		p.warnf(st.pos(), "%s has leading or trailing whitespace in its prompt", nodeName(n))
		text = trimmed
	}
	n.Prompt, n.HasPrompt = text, true
	n.conds = slices.DeleteFunc(n.conds, func(c Condition) bool { return c.Kind == PromptIf })
	if n.PromptCond, err = p.cond(st); n.PromptCond != Expr(p.tree.y) {
		n.conds = append(n.conds, Condition{PromptIf, n.PromptCond, st.pos()})
	}
	return err
}

func (p *parser) defaultValue(n *Node, st *statement) error {
	if n.Symbol == nil && n.Choice == nil {
		return st.errorf(`"default" is only valid for symbols and choices`)
	}
	value, err := p.expr(st, false)
	if err != nil {
		return err
	}
	cond, err := p.cond(st)
	if err != nil {
		return err
	}
	if _, ok := value.(*Symbol); !ok && n.Choice != nil {
		return st.errorf("the default of a choice must be one of its members")
	}
	n.defaults = append(n.defaults, Default{value, cond, st.pos(), cond})
	return nil
}

func (p *parser) depends(n *Node, st *statement) error {
	if !st.accept(wordToken, "on") {
		return st.errorf(`expected "on" after "depends"`)
	}
	e, err := p.expr(st, true)
	if err != nil {
		return err
	}
	n.Dep = p.tree.and(n.Dep, e)
	n.conds = append(n.conds, Condition{DependsOn, e, st.pos()})
	return nil
}

func (p *parser) selects(n *Node, st *statement) error {
	if n.Symbol == nil {
		return st.errorf("only symbols can %s", st.keyword)
	}
	target, err := p.nonConst(st)
	if err != nil {
		return err
	}
	cond, err := p.cond(st)
	if err != nil {
		return err
	}
	sel := Select{target, cond, st.pos(), cond}
	if st.keyword == "select" {
		n.selects = append(n.selects, sel)
	} else {
		n.implies = append(n.implies, sel)
	}
	return nil
}

func (p *parser) bounds(n *Node, st *statement) error {
	if n.Symbol == nil {
		return st.errorf(`"range" is only valid for symbols`)
	}
	low, err := p.operand(st)
	if err != nil {
		return err
	}
	high, err := p.operand(st)
	if err != nil {
		return err
	}
	cond, err := p.cond(st)
	if err != nil {
		return err
	}
	n.ranges = append(n.ranges, Range{low, high, cond, st.pos(), cond})
	return nil
}

func (p *parser) visible(n *Node, st *statement) error {
	if n.Kind != MenuNode {
		return st.errorf(`"visible if" is only valid for menus`)
	}
	if !st.accept(wordToken, "if") {
		return st.errorf(`expected "if" after "visible"`)
	}
	e, err := p.expr(st, true)
	if err != nil {
		return err
	}
	n.VisibleIf = p.tree.and(n.VisibleIf, e)
	n.conds = append(n.conds, Condition{VisibleIf, e, st.pos()})
	return nil
}

// option handles the old forms: env="NAME" gives a symbol the value of an
// environment variable; modules names the symbol that switches m on.
func (p *parser) option(n *Node, st *statement) error {
	switch {
	case st.accept(wordToken, "env"):
		if !st.accept(opToken, "=") || n.Symbol == nil {
			return st.errorf(`expected env="NAME" on a symbol`)
		}
		name, err := st.str()
		if err != nil {
			return err
		}
		return p.fromEnv(n, st, name)
	case st.accept(wordToken, "modules"):
		if n.Symbol != p.tree.modules {
			p.warnf(st.pos(), "the 'modules' option is not supported on %s: only MODULES can be the modules symbol", nodeName(n))
		}
		return nil
	case st.accept(wordToken, "defconfig_list"), st.accept(wordToken, "allnoconfig_y"):
		return nil
	}
	return st.errorf("unrecognized option")
}

func (p *parser) fromEnv(n *Node, st *statement, name string) error {
	s := n.Symbol
	s.Env = name
	value, set := p.env(name)
	if !set {
		p.warnf(st.pos(), "%s has 'option env=\"%s\"', but the environment variable %s is not set", s.Name, name, name)
		return nil
	}
	s.hasEnv = true
	n.defaults = append(n.defaults, Default{p.tree.constant(value), p.tree.y, st.pos(), p.tree.y})
	if s.Name != name {
		p.warnf(st.pos(), "Kconfiglib expands environment variables in strings directly, meaning you do not need 'option env=...' \"bounce\" symbols. "+
			"For compatibility with the C tools, rename %s to %s (so that the symbol name matches the environment variable name).", s.Name, name)
	}
	return nil
}

// cond parses an optional "if" and its condition.
func (p *parser) cond(st *statement) (Expr, error) {
	if !st.accept(wordToken, "if") {
		return p.tree.y, nil
	}
	return p.expr(st, true)
}

// nonConst takes the name of a symbol.
func (p *parser) nonConst(st *statement) (*Symbol, error) {
	tok, ok := st.peek()
	if !ok || tok.kind != wordToken || keywords[tok.text] || p.tree.consts[tok.text] != nil && isTri(tok.text) {
		return nil, st.errorf("expected nonconstant symbol")
	}
	st.i++
	return p.tree.symbol(tok.text), nil
}

func isTri(s string) bool { return s == "n" || s == "m" || s == "y" }

// operand takes a symbol or a constant.
func (p *parser) operand(st *statement) (*Symbol, error) {
	tok, ok := st.peek()
	if !ok || tok.kind == opToken || tok.kind == wordToken && keywords[tok.text] {
		return nil, st.errorf("expected symbol")
	}
	st.i++
	if tok.kind == stringToken || isTri(tok.text) {
		return p.tree.constant(tok.text), nil
	}
	return p.tree.symbol(tok.text), nil
}

// expr parses an expression. In conditions a bare m means m && MODULES.
func (p *parser) expr(st *statement, condition bool) (Expr, error) {
	return p.orExpr(st, condition, 0)
}

func (p *parser) orExpr(st *statement, condition bool, depth int) (Expr, error) {
	return p.binary(st, "||", p.andExpr, func(a, b Expr) Expr { return &orExpr{a, b} }, condition, depth)
}

func (p *parser) andExpr(st *statement, condition bool, depth int) (Expr, error) {
	return p.binary(st, "&&", p.factor, func(a, b Expr) Expr { return &andExpr{a, b} }, condition, depth)
}

type operandFunc func(st *statement, condition bool, depth int) (Expr, error)

func (p *parser) binary(st *statement, op string, operand operandFunc, join func(a, b Expr) Expr, condition bool, depth int) (Expr, error) {
	e, err := operand(st, condition, depth)
	for err == nil && st.accept(opToken, op) {
		var next Expr
		if next, err = operand(st, condition, depth); err == nil {
			e = join(e, next)
		}
	}
	return e, err
}

func (p *parser) factor(st *statement, condition bool, depth int) (Expr, error) {
	if depth > maxExprNest {
		return nil, st.errorf("the expression is nested more than %d deep", maxExprNest)
	}
	switch {
	case st.accept(opToken, "!"):
		e, err := p.factor(st, condition, depth+1)
		if err != nil {
			return nil, err
		}
		return &notExpr{e}, nil
	case st.accept(opToken, "("):
		e, err := p.orExpr(st, condition, depth+1)
		if err != nil {
			return nil, err
		}
		if !st.accept(opToken, ")") {
			return nil, st.errorf("missing end parenthesis")
		}
		return e, nil
	}
	a, err := p.operand(st)
	if err != nil {
		return nil, st.errorf("malformed expression")
	}
	if tok, ok := st.peek(); ok && tok.kind == opToken && strings.ContainsAny(tok.text, "=<>") {
		st.i++
		b, err := p.operand(st)
		if err != nil {
			return nil, err
		}
		return &cmpExpr{tok.text, a, b}, nil
	}
	if condition && a == p.tree.m {
		return &andExpr{a, p.tree.modules}, nil
	}
	return a, nil
}

package kconfig

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// finalize hands dependencies down, gives symbols the properties of their
// definitions, makes submenus of what depends on the symbol above, dissolves
// if blocks and says what the members of choices are.
func (t *Tree) finalize() {
	t.finalizeBlock(t.Root, t.y)
	for _, s := range t.byName {
		if s.directDep == nil {
			s.directDep = t.n
		}
	}
}

// finalizeBlock finalizes a menu, a choice, an if or a comment, and what is in
// it.
func (t *Tree) finalizeBlock(n *Node, visibleIf Expr) {
	if n.Kind == MenuNode {
		visibleIf = t.and(visibleIf, n.VisibleIf)
	}
	t.propagate(n, visibleIf)
	nodes := n.Children
	n.Children = nil
	for i := 0; i < len(nodes); {
		first := nodes[i]
		i = t.finalizeFrom(nodes, i, visibleIf)
		n.Children = append(n.Children, first)
	}
	n.Children = dissolve(n, n.Children)
	if n.Choice != nil {
		n.Choice.directDep = t.orNil(n.Choice.directDep, n.Dep)
		n.Choice.Defaults = append(n.Choice.Defaults, n.defaults...)
		t.members(n)
	}
}

// finalizeFrom finalizes nodes[i] and, if it is a symbol, takes the nodes
// behind it that depend on it below it. It returns the index of the first node
// that stays beside it.
func (t *Tree) finalizeFrom(nodes []*Node, i int, visibleIf Expr) int {
	n := nodes[i]
	i++
	if n.Symbol == nil {
		t.finalizeBlock(n, visibleIf)
		return i
	}
	t.addProperties(n)
	for i < len(nodes) && t.belongsBelow(nodes[i], n.Symbol) {
		child := nodes[i]
		i = t.finalizeFrom(nodes, i, visibleIf)
		child.Parent = n
		n.Children = append(n.Children, child)
	}
	n.Children = dissolve(n, n.Children)
	return i
}

func (t *Tree) orNil(a, b Expr) Expr {
	if a == nil {
		return b
	}
	return t.or(a, b)
}

// propagate gives a block's condition to the nodes in it. The condition of a
// choice is the choice itself: its members follow its mode.
func (t *Tree) propagate(parent *Node, visibleIf Expr) {
	base := parent.Dep
	if parent.Choice != nil {
		base = parent.Choice
	}
	for _, n := range parent.Children {
		n.outer = parent
		n.Dep = t.and(n.Dep, base)
		if n.Symbol == nil && n.Choice == nil {
			n.PromptCond = t.and(n.PromptCond, n.Dep)
			continue
		}
		n.PromptCond = t.and(n.PromptCond, t.and(visibleIf, n.Dep))
		for i := range n.defaults {
			n.defaults[i].Cond = t.and(n.defaults[i].Cond, n.Dep)
		}
		for i := range n.selects {
			n.selects[i].Cond = t.and(n.selects[i].Cond, n.Dep)
		}
		for i := range n.implies {
			n.implies[i].Cond = t.and(n.implies[i].Cond, n.Dep)
		}
		for i := range n.ranges {
			n.ranges[i].Cond = t.and(n.ranges[i].Cond, n.Dep)
		}
	}
}

// addProperties gives a symbol what one of its definitions says.
func (t *Tree) addProperties(n *Node) {
	s := n.Symbol
	s.Defaults = append(s.Defaults, n.defaults...)
	s.Selects = append(s.Selects, n.selects...)
	s.Implies = append(s.Implies, n.implies...)
	s.Ranges = append(s.Ranges, n.ranges...)
	s.directDep = t.orNil(s.directDep, n.Dep)
	for _, sel := range n.selects {
		if sel.Cond != Expr(t.n) { // one that can never hold is none
			sel.Target.selected = append(sel.Target.selected, selector{s, sel.Cond, sel.Pos})
		}
	}
	for _, sel := range n.implies {
		if sel.Cond != Expr(t.n) {
			sel.Target.implied = append(sel.Target.implied, selector{s, sel.Cond, sel.Pos})
		}
	}
}

func (t *Tree) belongsBelow(n *Node, s *Symbol) bool {
	if n.HasPrompt {
		return t.dependsOn(n.PromptCond, s)
	}
	return t.dependsOn(n.Dep, s)
}

// dissolve lifts the children of if blocks, and of nodes without a prompt that
// took others below them, to where the block stood.
func dissolve(parent *Node, nodes []*Node) []*Node {
	var out []*Node
	for _, n := range nodes {
		lift := n.Children
		switch {
		case n.Kind == ifNode:
		case n.Kind == SymbolNode && !n.HasPrompt && len(lift) > 0:
			n.Children = nil
			out = append(out, n)
		default:
			out = append(out, n)
			continue
		}
		for _, c := range lift {
			c.Parent = parent
		}
		out = append(out, lift...)
	}
	return out
}

// members settles a choice: the symbols that stand directly in it, and types
// that are not written down.
func (t *Tree) members(n *Node) {
	c := n.Choice
	for _, child := range n.Children {
		if s := child.Symbol; s != nil {
			s.Choice = c
			c.Members = append(c.Members, s)
		}
	}
	if c.Type == Unknown {
		for _, s := range c.Members {
			if s.Type != Unknown {
				c.Type = s.Type
				break
			}
		}
	}
	for _, s := range c.Members {
		if s.Type == Unknown {
			s.Type = c.Type
		}
	}
}

// nameAndLoc names a symbol with the places that define it.
func nameAndLoc(s *Symbol) string {
	if len(s.Nodes) == 0 {
		return s.Name + " (undefined)"
	}
	at := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		at[i] = fmt.Sprintf("%s:%d", n.Pos.File, n.Pos.Line)
	}
	return s.Name + " (defined at " + strings.Join(at, ", ") + ")"
}

func nodeName(n *Node) string {
	switch {
	case n.Symbol != nil:
		return nameAndLoc(n.Symbol)
	case n.Choice != nil:
		return fmt.Sprintf("the choice at %s", n.Pos)
	}
	return fmt.Sprintf("%q", n.Prompt)
}

func (t *Tree) warnf(pos diag.Position, format string, args ...any) {
	t.warnings = append(t.warnings, diag.Diagnostic{
		Pos: pos, Severity: diag.Warning, Rule: "kconfig", Message: fmt.Sprintf(format, args...),
	})
}

// checkSanity notes what is allowed and cannot have been meant.
func (t *Tree) checkSanity() error {
	for _, s := range t.defined {
		if err := t.checkSymbol(s); err != nil {
			return err
		}
	}
	for _, c := range t.Choices {
		t.checkChoice(c)
	}
	return nil
}

func (t *Tree) checkSymbol(s *Symbol) error {
	pos := s.Pos()
	for _, d := range s.Defaults {
		if _, ok := d.Value.(*Symbol); !ok && (s.Type == String || s.Type == Int || s.Type == Hex) {
			return &SyntaxError{Pos: d.Pos, Msg: fmt.Sprintf("the %s symbol %s has a malformed default %s -- expected a single symbol", s.Type, nameAndLoc(s), ExprString(d.Value))}
		}
	}
	switch s.Type {
	case Unknown:
		t.warnf(pos, "%s defined without a type", nameAndLoc(s))
	case Int, Hex:
		for _, d := range s.Defaults {
			v, ok := d.Value.(*Symbol)
			if ok && (v.Const || !v.Defined()) && !isNumber(v.Name, base(s.Type)) {
				t.warnf(d.Pos, "the %s symbol %s has a non-%s default %s", s.Type, nameAndLoc(s), s.Type, ExprString(v))
			}
		}
	case Bool, Tristate:
		for _, d := range s.Defaults {
			if v, ok := d.Value.(*Symbol); ok && v.Const && !isTri(v.Name) {
				t.warnf(d.Pos, "the %s symbol %s has an invalid default %s", s.Type, nameAndLoc(s), ExprString(v))
			}
		}
	}
	if s.Type != Bool && s.Type != Tristate && len(s.Selects)+len(s.Implies) > 0 {
		t.warnf(pos, "the %s symbol %s has selects or implies", s.Type, nameAndLoc(s))
	}
	for _, sel := range append(append([]Select(nil), s.Selects...), s.Implies...) {
		if target := sel.Target; target.Defined() && target.Type != Bool && target.Type != Tristate && target.Type != Unknown {
			t.warnf(sel.Pos, "%s selects the %s symbol %s, which is not bool or tristate", nameAndLoc(s), target.Type, nameAndLoc(target))
		}
	}
	if s.Choice != nil {
		if len(s.Defaults) > 0 {
			t.warnf(pos, "default on the choice symbol %s will have no effect, as defaults do not affect choice symbols", nameAndLoc(s))
		}
		for _, sel := range s.selected {
			t.warnf(sel.pos, "the choice symbol %s is selected by %s, which has no effect, as select/imply has no effect on choice symbols", nameAndLoc(s), nameAndLoc(sel.by))
		}
	}
	if len(s.Ranges) > 0 && s.Type != Int && s.Type != Hex {
		t.warnf(pos, "the %s symbol %s has ranges, but is not int or hex", s.Type, nameAndLoc(s))
	}
	return nil
}

func (t *Tree) checkChoice(c *Choice) {
	if c.Type != Unknown && c.Type != Bool && c.Type != Tristate {
		t.warnf(c.Pos(), "%s defined with type %s", nodeName(c.Nodes[0]), c.Type)
	}
	hasPrompt := false
	for _, n := range c.Nodes {
		hasPrompt = hasPrompt || n.HasPrompt
	}
	if !hasPrompt {
		t.warnf(c.Pos(), "%s defined without a prompt", nodeName(c.Nodes[0]))
	}
	for _, d := range c.Defaults {
		if s := d.Value.(*Symbol); s.Choice != c {
			t.warnf(d.Pos, "the default selection %s of %s is not contained in the choice", nameAndLoc(s), nodeName(c.Nodes[0]))
		}
	}
}

func base(typ Type) int {
	switch typ {
	case Hex:
		return 16
	case Int:
		return 10
	}
	return 0
}

func isNumber(s string, base int) bool {
	_, err := parseNumber(s, base)
	return err == nil
}

// parseNumber reads an integer as Python's int(s, base) does, within 64 bits.
func parseNumber(s string, base int) (int64, error) {
	s = strings.TrimSpace(s)
	if base == 16 {
		sign := ""
		if s != "" && (s[0] == '-' || s[0] == '+') {
			sign, s = s[:1], s[1:]
		}
		if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
			s = s[2:]
		}
		if strings.ContainsAny(s, "+-") {
			return 0, strconv.ErrSyntax
		}
		s = sign + s
	}
	if digits := strings.TrimLeft(s, "+-"); base == 0 && len(digits) > 1 && digits[0] == '0' {
		if strings.Trim(digits, "0") == "" {
			return 0, nil
		}
		if digits[1] >= '0' && digits[1] <= '9' {
			return 0, strconv.ErrSyntax // 010: Python takes no C octals
		}
	}
	return strconv.ParseInt(s, base, 64)
}

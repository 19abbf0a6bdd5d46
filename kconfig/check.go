package kconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// The rules of Check. RuleSyntax and RuleValue are the findings that parsing
// and evaluation report by themselves.
const (
	RuleSyntax       = "kconfig"
	RuleValue        = "kconfig-value"
	RuleNotBool      = "kconfig-not-bool"
	RuleUndefined    = "kconfig-undefined"
	RuleUnread       = "kconfig-unread"
	RuleSelectUnread = "kconfig-select-unread"
	RuleEnvString    = "kconfig-env-in-string"
	RuleChoiceMember = "kconfig-choice-member"
	RuleEmptyChoice  = "kconfig-empty-choice"
	RuleMissingFile  = "kconfig-missing-file"
	RuleMachine      = "kconfig-machine"
	RuleKasType      = "kconfig-kas-type"
	RuleDialect      = "kconfig-dialect"
)

// The names that kas menu gives a meaning (kas/plugins/menu.py). KAS_LOCAL_ is
// one in the pantacor fork only.
const (
	IncludePrefix   = "KAS_INCLUDE_"
	TargetPrefix    = "KAS_TARGET_"
	LocalPrefix     = "KAS_LOCAL_"
	BuildSystemName = "KAS_BUILD_SYSTEM"
)

// machineDir holds a kas file for each machine.
const machineDir = "kas/machines"

// Project is what surrounds a Kconfig file that is checked.
type Project struct {
	// FS is the project's directory, where KAS_INCLUDE_* files are; nil leaves
	// out what concerns them.
	FS fs.FS
	// Stock says that the menu is run by siemens' kas, which has no KAS_LOCAL_*.
	Stock bool
}

// Check looks for what parses, evaluates, and cannot have been meant. The
// findings are sorted by place, those of parsing included. An error is a
// directory that cannot be read.
func Check(t *Tree, p Project) ([]diag.Diagnostic, error) {
	c := &checker{tree: t, project: p, reads: map[*Symbol]bool{}}
	for u := range t.uses {
		c.use(u)
	}
	for _, s := range t.defined {
		c.symbol(s)
	}
	for _, ch := range t.Choices {
		c.members(ch)
		c.empty(ch)
	}
	c.envStrings()
	if p.FS != nil {
		if err := c.files(); err != nil {
			return nil, err
		}
	}
	for _, d := range t.warnings {
		if !slices.ContainsFunc(c.found, func(f diag.Diagnostic) bool {
			return f.Rule == RuleChoiceMember && f.Pos.Line == d.Pos.Line && f.Pos.File == d.Pos.File
		}) {
			c.found = append(c.found, d)
		}
	}
	diag.Sort(c.found)
	return slices.CompactFunc(c.found, func(a, b diag.Diagnostic) bool {
		return a.Pos == b.Pos && a.Rule == b.Rule && a.Message == b.Message
	}), nil
}

type checker struct {
	tree    *Tree
	project Project
	reads   map[*Symbol]bool
	found   []diag.Diagnostic
}

func (c *checker) add(rule string, sev diag.Severity, pos diag.Position, format string, args ...any) *diag.Diagnostic {
	c.found = append(c.found, diag.Diagnostic{Pos: pos, Rule: rule, Severity: sev, Message: fmt.Sprintf(format, args...)})
	return &c.found[len(c.found)-1]
}

// use is an expression on a line.
type use struct {
	expr  Expr
	truth bool // it is tested, not compared or copied
	pos   diag.Position
}

// uses yields every expression of the tree that is read for its value, each
// once, where it stands.
func (t *Tree) uses(yield func(use) bool) {
	done := map[*Node]bool{}
	ok := true
	give := func(e Expr, truth bool, pos diag.Position) {
		if ok && e != Expr(t.y) {
			ok = yield(use{e, truth, pos})
		}
	}
	visit := func(n *Node) {
		for ; n != nil && !done[n]; n = n.outer {
			done[n] = true
			for _, cond := range n.conds {
				give(cond.Expr, true, cond.Pos)
			}
			for _, d := range n.defaults {
				if n.Symbol != nil { // the default of a choice names a member
					give(d.Value, n.Symbol.Type == Bool || n.Symbol.Type == Tristate, d.Pos)
				}
				give(d.own, true, d.Pos)
			}
			for _, sel := range slices.Concat(n.selects, n.implies) {
				give(sel.own, true, sel.Pos)
			}
			for _, r := range n.ranges {
				give(r.Low, false, r.Pos)
				give(r.High, false, r.Pos)
				give(r.own, true, r.Pos)
			}
		}
	}
	var walk func(n *Node)
	walk = func(n *Node) {
		visit(n)
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(t.Root)
}

// use notes what an expression reads, and finds strings that are tested and
// names that nobody defines.
func (c *checker) use(u use) {
	var look func(e Expr, truth bool)
	look = func(e Expr, truth bool) {
		switch e := e.(type) {
		case *notExpr:
			look(e.x, truth)
		case *andExpr:
			look(e.a, truth)
			look(e.b, truth)
		case *orExpr:
			look(e.a, truth)
			look(e.b, truth)
		case *cmpExpr:
			look(e.a, false)
			look(e.b, false)
		case *Symbol:
			if !literal(e) && e != c.tree.modules {
				c.reads[e] = true
				c.operand(e, truth, u.pos)
			}
		}
	}
	look(u.expr, u.truth)
}

func (c *checker) operand(s *Symbol, truth bool, pos diag.Position) {
	switch {
	case !s.Defined() && truth:
		d := c.add(RuleUndefined, diag.Warning, pos, "%s is defined nowhere: the condition counts it as n", s.Name)
		if none, ok := errors.AsType[*ErrNoSymbol](c.tree.noSymbol(s.Name)); ok && none.Nearest != "" {
			d.Hint = fmt.Sprintf("did you mean %s?", none.Nearest)
		}
	case !s.Defined():
		c.add(RuleUndefined, diag.Note, pos, "%s is defined nowhere and stands for its own name: write %q if that is meant", s.Name, s.Name)
	case truth && s.Type != Bool && s.Type != Tristate:
		d := c.add(RuleNotBool, diag.Warning, pos, "%s is a %s and tested as a bool: that is always n", s.Name, s.Type)
		d.Hint = fmt.Sprintf("compare it: %s != \"\"", s.Name)
		d.Related = []diag.Related{{Pos: s.Pos(), Message: s.Name + " is defined here"}}
	}
}

// symbol checks one symbol by itself.
func (c *checker) symbol(s *Symbol) {
	truth := s.Type == Bool || s.Type == Tristate
	switch {
	case strings.HasPrefix(s.Name, IncludePrefix), strings.HasPrefix(s.Name, TargetPrefix), s.Name == BuildSystemName,
		!c.project.Stock && strings.HasPrefix(s.Name, LocalPrefix):
		if s.Type != String {
			c.add(RuleKasType, diag.Error, s.Pos(), "%s must be a string, and is %s: kas menu stops there", s.Name, s.Type)
		}
		return
	case strings.HasPrefix(s.Name, LocalPrefix):
		c.add(RuleDialect, diag.Error, s.Pos(), "%s is only known to the pantacor fork of kas: stock kas writes a variable of that name to local.conf, and the lines in it have no effect", s.Name).
			Hint = "put the lines into a kas file that a KAS_INCLUDE_* symbol chooses: both know that"
	case s.Type == Tristate && hasPrompt(s), s.Type == Unknown:
		c.add(RuleKasType, diag.Error, s.Pos(), "%s has type %s, which kas menu cannot write: bool, int, hex and string are possible", s.Name, s.Type)
	}
	for _, sel := range slices.Concat(s.Selects, s.Implies) {
		if !sel.Target.Defined() {
			c.add(RuleUndefined, diag.Warning, sel.Pos, "%s is selected and defined nowhere", sel.Target.Name)
		}
	}
	if !truth || c.reads[s] || s.Choice != nil || s == c.tree.modules {
		return
	}
	if len(s.selected) == 0 {
		c.add(RuleUnread, diag.Warning, s.Pos(), "nothing reads %s: setting it changes nothing", s.Name)
		return
	}
	d := c.add(RuleSelectUnread, diag.Warning, s.Pos(), "%s is selected and nothing reads it", s.Name)
	for _, sel := range s.selected[:min(len(s.selected), 3)] {
		d.Related = append(d.Related, diag.Related{Pos: sel.pos, Message: "selected by " + sel.by.Name})
	}
}

// envStrings finds strings that change with the environment of the menu.
func (c *checker) envStrings() {
	for _, u := range c.tree.envUses {
		if strings.ContainsAny(u.name[:1], "0123456789") {
			continue // a price, not a name
		}
		c.add(RuleEnvString, diag.Warning, u.pos,
			"${%s} is replaced when the environment of the menu has a variable of that name, and kept as it is otherwise", u.name).
			Hint = "if BitBake's variable is meant, set it in a kas file that a KAS_INCLUDE_* symbol chooses"
	}
}

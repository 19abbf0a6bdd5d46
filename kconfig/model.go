// Package kconfig parses and evaluates Kconfig files as Kconfiglib 14 does
// (github.com/ulfalizer/Kconfiglib), the evaluator that kas uses for its menu,
// and can say why a symbol has its value.
//
// Load gives a Tree, which never changes. Tree.New gives a Config: one set of
// user values with the values that follow from them. Many Configs can share a
// Tree, from several goroutines.
package kconfig

import (
	"github.com/pvkit/pvkit/internal/diag"
)

// Type is the type of a symbol or a choice.
type Type uint8

// The types. Unknown is a symbol that is mentioned and never defined.
const (
	Unknown Type = iota
	Bool
	Tristate
	String
	Int
	Hex
)

func (t Type) String() string {
	return [...]string{"unknown", "bool", "tristate", "string", "int", "hex"}[t]
}

// Tri is a truth value: n, m or y.
type Tri uint8

// The truth values in rising order: && is the lower of two, || the higher.
const (
	N Tri = iota
	M
	Y
)

func (t Tri) String() string { return [...]string{"n", "m", "y"}[t] }

// Tree is a parsed Kconfig file with everything that it sources.
type Tree struct {
	Title   string
	Root    *Node
	Symbols []*Symbol // in order of first mention, MODULES left out
	Choices []*Choice // in order of definition
	Files   []string  // every file read, in order, each once

	defined  []*Symbol // in order of definition, MODULES among them
	byName   map[string]*Symbol
	consts   map[string]*Symbol
	modules  *Symbol
	n, m, y  *Symbol
	warnings []diag.Diagnostic
	envUses  []envUse
}

// envUse is an environment variable in a quoted string.
type envUse struct {
	name string
	pos  diag.Position
}

// Lookup returns the symbol of that name, nil when no file mentions it.
func (t *Tree) Lookup(name string) *Symbol { return t.byName[name] }

// Warnings are the findings of parsing, by place.
func (t *Tree) Warnings() []diag.Diagnostic { return t.warnings }

// Symbol is a configuration symbol, or a constant in an expression.
type Symbol struct {
	Name     string
	Type     Type
	Const    bool
	Nodes    []*Node // its definitions, in order
	Defaults []Default
	Selects  []Select
	Implies  []Select
	Ranges   []Range
	Choice   *Choice // the choice that it is a member of, or nil
	Env      string  // option env="…"

	directDep Expr // any definition's dependencies
	selected  []selector
	implied   []selector
	hasEnv    bool
}

// Defined reports whether any file defines the symbol.
func (s *Symbol) Defined() bool { return len(s.Nodes) > 0 }

// Pos is the place of the first definition.
func (s *Symbol) Pos() diag.Position {
	if len(s.Nodes) == 0 {
		return diag.Position{}
	}
	return s.Nodes[0].Pos
}

// DirectDep is the dependency of the symbol: that of each definition, ORed.
func (s *Symbol) DirectDep() Expr { return s.directDep }

// Default is a default value and its condition, dependencies included.
type Default struct {
	Value, Cond Expr
	Pos         diag.Position

	own Expr // the condition as written behind the value
}

// Select is a select or imply: Target follows the symbol while Cond holds.
type Select struct {
	Target *Symbol
	Cond   Expr
	Pos    diag.Position

	own Expr // the condition as written behind the target
}

// selector is a Select seen from its target.
type selector struct {
	by   *Symbol
	cond Expr
	pos  diag.Position
}

// Range bounds an int or hex symbol while Cond holds.
type Range struct {
	Low, High *Symbol
	Cond      Expr
	Pos       diag.Position

	own Expr // the condition as written behind the bounds
}

// Choice is a choice block: while it is visible, one member is y.
type Choice struct {
	Name     string
	Type     Type
	Optional bool
	Nodes    []*Node
	Defaults []Default // values are *Symbol
	Members  []*Symbol

	directDep Expr
}

// Pos is the place of the first definition.
func (c *Choice) Pos() diag.Position { return c.Nodes[0].Pos }

// Prompt is the text of the first definition that has one.
func (c *Choice) Prompt() string {
	for _, n := range c.Nodes {
		if n.HasPrompt {
			return n.Prompt
		}
	}
	return ""
}

// NodeKind says what a menu node shows.
type NodeKind uint8

// The kinds of menu nodes. If nodes are dissolved into their parents.
const (
	SymbolNode NodeKind = iota + 1
	ChoiceNode
	MenuNode
	CommentNode
	ifNode
)

// Node is an entry of the menu tree: one definition of a symbol or choice, a
// menu or a comment.
type Node struct {
	Kind       NodeKind
	Symbol     *Symbol
	Choice     *Choice
	HasPrompt  bool
	Prompt     string
	PromptCond Expr // dependencies and "visible if" included
	Dep        Expr // dependencies, the parents' included
	VisibleIf  Expr // menus only
	Menuconfig bool
	Help       string
	Pos        diag.Position
	Parent     *Node
	Children   []*Node

	defaults []Default
	selects  []Select
	implies  []Select
	ranges   []Range
	typ      Type

	outer *Node       // the block around it as written, if blocks included
	conds []Condition // its own conditions, line by line
}

// ConditionKind says which statement states a condition.
type ConditionKind uint8

// The kinds of conditions.
const (
	DependsOn ConditionKind = iota // depends on, of an entry or of a block around it
	IfBlock                        // the if block around an entry
	VisibleIf                      // the menu around an entry: hides it only
	PromptIf                       // behind a prompt: hides it only
	InChoice                       // the choice around an entry
)

func (k ConditionKind) String() string {
	return [...]string{"depends on", "if", "visible if", "prompt if", "choice"}[k]
}

// Hides reports whether the condition hides an entry and leaves its value be.
func (k ConditionKind) Hides() bool { return k == VisibleIf || k == PromptIf }

// Condition is one condition of a node and the line that states it.
type Condition struct {
	Kind ConditionKind
	Expr Expr
	Pos  diag.Position
}

// Conditions yields every condition that a node is under, its own first and
// then those of the blocks around it. Together with && they are Dep, and with
// those that hide PromptCond.
func (n *Node) Conditions(yield func(Condition) bool) {
	member := false // past a choice, whose mode stands for all but what hides
	for at := n; at != nil; at = at.outer {
		for _, c := range at.conds {
			own := at == n
			if own && c.Kind == VisibleIf || !own && c.Kind == PromptIf || member && c.Kind != VisibleIf {
				continue
			}
			if !yield(c) {
				return
			}
		}
		if at != n && at.Choice != nil && !member {
			member = true
			if !yield(Condition{InChoice, at.Choice, at.Pos}) {
				return
			}
		}
	}
}

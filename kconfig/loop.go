package kconfig

import (
	"fmt"
	"strings"
)

// LoopError is a symbol whose value depends on itself. Path holds the symbols
// and choices of the loop in order; the last one depends on the first.
type LoopError struct{ Path []Expr }

func (e *LoopError) Error() string {
	var b strings.Builder
	b.WriteString("dependency loop: ")
	for _, item := range append(e.Path, e.Path[0]) {
		if b.Len() > len("dependency loop: ") {
			b.WriteString(" depends on ")
		}
		switch item := item.(type) {
		case *Symbol:
			b.WriteString(nameAndLoc(item))
		case *Choice:
			fmt.Fprintf(&b, "the choice at %s", item.Pos())
		}
	}
	return b.String()
}

// checkLoops looks for values that depend on themselves. A member of a choice
// influences the others, through the choice; that is no loop by itself, but a
// path from one member to another by way of a third symbol is one.
func (t *Tree) checkLoops() error {
	const (
		entered = 1
		done    = 2
	)
	state := map[visit]int{}
	var stack []visit
	var walk func(v visit) *LoopError
	walk = func(v visit) *LoopError {
		switch state[v] {
		case done:
			return nil
		case entered:
			return loopFrom(stack, v)
		}
		state[v] = entered
		stack = append(stack, v)
		for _, next := range t.influences(v) {
			if err := walk(next); err != nil {
				return err
			}
		}
		stack = stack[:len(stack)-1]
		state[v] = done
		return nil
	}
	for _, s := range t.Symbols {
		if err := walk(visit{item: s}); err != nil {
			return err
		}
	}
	return nil
}

// visit is a node of the loop search. A member that was reached through its
// choice does not lead back into the choice.
type visit struct {
	item    Expr
	through bool
}

func loopFrom(stack []visit, v visit) *LoopError {
	for i := range stack {
		if stack[i] == v {
			var path []Expr
			for _, s := range stack[i:] {
				path = append(path, s.item)
			}
			return &LoopError{path}
		}
	}
	return &LoopError{[]Expr{v.item}}
}

// influences lists what v's value is computed from.
func (t *Tree) influences(v visit) []visit {
	var out []visit
	seen := map[Expr]bool{}
	add := func(e Expr) {
		if e == nil {
			return
		}
		symbolsOf(e, func(x Expr) bool {
			if !seen[x] {
				seen[x] = true
				out = append(out, visit{item: x})
			}
			return true
		})
	}
	switch x := v.item.(type) {
	case *Choice:
		for _, n := range x.Nodes {
			add(n.PromptCond)
		}
		for _, d := range x.Defaults {
			add(d.Cond)
		}
	case *Symbol:
		t.symbolInfluences(x, add)
		if x.Choice != nil && !v.through {
			for _, other := range x.Choice.Members {
				if other != x {
					out = append(out, visit{other, true})
				}
			}
		}
	}
	return out
}

func (t *Tree) symbolInfluences(s *Symbol, add func(Expr)) {
	for _, n := range s.Nodes {
		if n.HasPrompt {
			add(n.PromptCond)
		}
	}
	for _, d := range s.Defaults {
		add(d.Value)
		add(d.Cond)
	}
	for _, sels := range [][]selector{s.selected, s.implied} {
		for _, sel := range sels {
			add(sel.by)
			add(sel.cond)
		}
	}
	for _, r := range s.Ranges {
		add(r.Low)
		add(r.High)
		add(r.Cond)
	}
	add(s.directDep)
}

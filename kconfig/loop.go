package kconfig

import (
	"fmt"
	"slices"
	"strings"
)

// LoopError is a symbol whose value depends on itself. Path holds the symbols
// and choices of the loop in order; the last one depends on the first.
type LoopError struct{ Path []Expr }

func (e *LoopError) Error() string {
	var b strings.Builder
	b.WriteString("dependency loop: ")
	for _, item := range append(slices.Clone(e.Path), e.Path[0]) {
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

// checkLoops looks for values that depend on themselves. It walks as the C
// tools and Kconfiglib do: from a symbol to what mentions it, from a member of
// a choice to the other members, as one of them becoming y makes the others n.
func (t *Tree) checkLoops() error {
	w := loopSearch{mentions: t.mentions(), state: map[Expr]loopState{}}
	for _, s := range t.defined {
		if err := w.symbol(s, false); err != nil {
			return err
		}
	}
	return nil
}

type loopState uint8

const (
	unvisited loopState = iota
	onPath
	loopFree
)

type loopSearch struct {
	mentions map[*Symbol][]Expr // the symbols and choices whose values a symbol has a part in
	state    map[Expr]loopState
	path     []Expr
}

// symbol searches from s on. A symbol that was reached through its choice does
// not lead back into it.
func (w *loopSearch) symbol(s *Symbol, throughChoice bool) error {
	done, err := w.enter(s)
	if done {
		return err
	}
	for _, m := range w.mentions[s] {
		switch m := m.(type) {
		case *Symbol:
			err = w.symbol(m, false)
		case *Choice:
			err = w.choice(m, nil)
		}
		if err != nil {
			return err
		}
	}
	if s.Choice != nil && !throughChoice {
		if err := w.choice(s.Choice, s); err != nil {
			return err
		}
	}
	w.leave(s)
	return nil
}

func (w *loopSearch) choice(c *Choice, from *Symbol) error {
	if done, err := w.enter(c); done {
		return err
	}
	for _, s := range c.Members {
		if s != from {
			if err := w.symbol(s, true); err != nil {
				return err
			}
		}
	}
	w.leave(c)
	return nil
}

func (w *loopSearch) enter(item Expr) (done bool, err error) {
	switch w.state[item] {
	case loopFree:
		return true, nil
	case onPath:
		// The path leads from causes to effects; the message reads better
		// the other way around.
		loop := slices.Clone(w.path[slices.Index(w.path, item):])
		slices.Reverse(loop)
		return true, &LoopError{loop}
	}
	w.state[item] = onPath
	w.path = append(w.path, item)
	return false, nil
}

func (w *loopSearch) leave(item Expr) {
	w.state[item] = loopFree
	w.path = w.path[:len(w.path)-1]
}

// mentions inverts the dependencies, in order of definition.
func (t *Tree) mentions() map[*Symbol][]Expr {
	out := map[*Symbol][]Expr{}
	note := func(user Expr, e Expr) {
		symbolsOf(e, func(x Expr) bool {
			if s, ok := x.(*Symbol); ok && !slices.Contains(out[s][max(0, len(out[s])-8):], user) {
				out[s] = append(out[s], user)
			}
			return true
		})
	}
	for _, s := range t.defined {
		symbolInfluences(s, func(e Expr) { note(s, e) })
	}
	for _, c := range t.Choices {
		for _, n := range c.Nodes {
			if n.HasPrompt {
				note(c, n.PromptCond)
			}
		}
		for _, d := range c.Defaults {
			note(c, d.Cond)
		}
	}
	return out
}

// symbolInfluences yields every expression that a symbol's value is made from.
func symbolInfluences(s *Symbol, add func(Expr)) {
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

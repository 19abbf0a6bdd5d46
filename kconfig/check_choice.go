package kconfig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// members checks the types of a choice's members, and that they are of use.
func (c *checker) members(ch *Choice) {
	read := false
	for _, s := range ch.Members {
		read = read || c.reads[s] || s.Type != Bool && s.Type != Tristate
		if (ch.Type == Bool || ch.Type == Tristate) && s.Type != Bool && s.Type != Tristate {
			d := c.add(RuleChoiceMember, diag.Warning, s.Pos(), "%s is a %s in a %s choice: nobody can select it, and it never is y", s.Name, s.Type, ch.Type)
			d.Hint = "make it a bool, and a symbol outside of the choice for the text"
			d.Related = []diag.Related{{Pos: ch.Pos(), Message: ch.label() + " is here"}}
		}
	}
	if !read && len(ch.Members) > 0 {
		c.add(RuleUnread, diag.Warning, ch.Pos(), "nothing reads any member of %s: it changes nothing", ch.label())
	}
}

// maxTries bounds how many settings are tried for one choice.
const maxTries = 1 << 12

// empty looks for settings under which a choice shows and none of its members
// does: a filter that lets nothing through.
func (c *checker) empty(ch *Choice) {
	if ch.Optional {
		return
	}
	s := newSearch(c.tree, ch)
	if len(s.axes) == 0 && len(ch.Members) > 0 && s.conf.Selection(ch) != nil {
		return
	}
	best, complete := s.run()
	if best == nil {
		if !complete {
			c.add(RuleEmptyChoice, diag.Note, ch.Pos(), "%s depends on too many settings to try them all: those that differ from the defaults in one or two were tried", ch.label())
		}
		return
	}
	when := "always"
	if len(best) > 0 {
		when = "with " + strings.Join(best, ", ")
	}
	d := c.add(RuleEmptyChoice, diag.Warning, ch.Pos(), "%s can be left without a member: %s, none of its %d can be selected", ch.label(), when, len(ch.Members))
	for _, r := range s.why[:min(len(s.why), 3)] {
		d.Related = append(d.Related, diag.Related{Pos: r.Pos, Message: r.Text})
	}
}

// axis is something that a person can set, and what it can be set to. The
// first value is what it is without a setting, "" for none.
type axis struct {
	symbols []*Symbol // one for a symbol, all members for a choice
	values  []string  // of a symbol; a choice has its members
}

func (a axis) size() int {
	if a.values == nil {
		return len(a.symbols) + 1
	}
	return len(a.values) + 1
}

// search tries settings of what has a part in a choice's members.
type search struct {
	conf *Config
	ch   *Choice
	axes []axis
	best []string
	hit  bool
	why  []Reason
}

func newSearch(t *Tree, ch *Choice) *search {
	s := &search{conf: t.New(), ch: ch}
	seen := map[Expr]bool{ch: true}
	constants := map[*Symbol][]string{}
	var follow func(e Expr)
	follow = func(e Expr) {
		compared(e, constants)
		for x := range func(yield func(Expr) bool) { symbolsOf(e, yield) } {
			if seen[x] {
				continue
			}
			seen[x] = true
			switch x := x.(type) {
			case *Choice:
				s.choice(x, seen, follow)
			case *Symbol:
				if x.Choice != nil {
					if !seen[x.Choice] {
						seen[x.Choice] = true
						s.choice(x.Choice, seen, follow)
					}
					continue
				}
				if hasPrompt(x) {
					s.axes = append(s.axes, axis{symbols: []*Symbol{x}})
				}
				symbolInfluences(x, follow)
			}
		}
	}
	for _, n := range ch.Nodes {
		follow(n.PromptCond)
	}
	for _, m := range ch.Members {
		for _, n := range m.Nodes {
			follow(n.PromptCond)
		}
	}
	for i := range s.axes {
		s.axes[i].setValues(constants)
	}
	return s
}

// choice makes an axis of a choice and follows what its members depend on.
func (s *search) choice(ch *Choice, seen map[Expr]bool, follow func(Expr)) {
	a := axis{}
	for _, m := range ch.Members {
		if m.Type == Bool || m.Type == Tristate {
			a.symbols = append(a.symbols, m)
		}
		seen[m] = true
	}
	if len(a.symbols) > 0 {
		s.axes = append(s.axes, a)
	}
	for _, n := range ch.Nodes {
		follow(n.PromptCond)
	}
	for _, m := range ch.Members {
		for _, n := range m.Nodes {
			follow(n.PromptCond)
		}
	}
}

// setValues says what a symbol outside of choices can be set to: a text or a
// number to what it is compared with, and a text to nothing.
func (a *axis) setValues(constants map[*Symbol][]string) {
	if len(a.symbols) != 1 || a.symbols[0].Choice != nil {
		return
	}
	s := a.symbols[0]
	switch s.Type {
	case Bool:
		a.values = []string{"n", "y"}
	case Tristate:
		a.values = []string{"n", "m", "y"}
	default:
		a.values = []string{}
		if s.Type == String {
			a.values = append(a.values, "") // what nothing is compared with
		}
		for _, v := range constants[s] {
			if fits(s.Type, v) && !slices.Contains(a.values, v) {
				a.values = append(a.values, v)
			}
		}
	}
}

// compared notes which constants a symbol is compared with.
func compared(e Expr, out map[*Symbol][]string) {
	switch e := e.(type) {
	case *notExpr:
		compared(e.x, out)
	case *andExpr:
		compared(e.a, out)
		compared(e.b, out)
	case *orExpr:
		compared(e.a, out)
		compared(e.b, out)
	case *cmpExpr:
		if literal(e.b) {
			out[e.a] = append(out[e.a], e.b.Name)
		}
		if literal(e.a) {
			out[e.b] = append(out[e.b], e.a.Name)
		}
	}
}

// run tries every combination if there are few enough, and otherwise those
// that differ from the defaults in at most two places. It returns the shortest
// setting that empties the choice, nil when there is none.
func (s *search) run() (best []string, complete bool) {
	product := 1
	for _, a := range s.axes {
		if product *= a.size(); product > maxTries {
			break
		}
	}
	picked := make([]int, len(s.axes))
	tries := 0
	deepest := 2
	if product <= maxTries {
		deepest = len(s.axes)
	}
	for depth := 0; depth <= min(deepest, len(s.axes)) && !s.hit && tries < maxTries; depth++ {
		s.pick(picked, 0, depth, &tries)
	}
	return s.best, product <= maxTries
}

// pick sets exactly left more axes, from axis i on.
func (s *search) pick(picked []int, i, left int, tries *int) {
	if s.hit || *tries >= maxTries {
		return
	}
	if left == 0 {
		*tries++
		s.try(picked)
		return
	}
	if len(picked)-i < left {
		return
	}
	for v := 1; v < s.axes[i].size(); v++ {
		picked[i] = v
		s.pick(picked, i+1, left-1, tries)
	}
	picked[i] = 0
	s.pick(picked, i+1, left, tries)
}

// try evaluates one setting.
func (s *search) try(picked []int) {
	c := s.conf.tree.New()
	set := []string{}
	for i, v := range picked {
		if v == 0 {
			continue
		}
		a := s.axes[i]
		sym, value := a.symbols[0], "y"
		if a.values == nil {
			sym = a.symbols[v-1]
		} else {
			value = a.values[v-1]
		}
		if err := c.Set(sym.Name, value); err != nil {
			return // not a setting that anybody can make
		}
		set = append(set, fmt.Sprintf("%s=%s", sym.Name, value))
	}
	for i, v := range picked {
		if v > 0 && !s.effective(c, s.axes[i], v) {
			return // the same as without this setting, which was tried
		}
	}
	if c.ChoiceMode(s.ch) != Y || c.Selection(s.ch) != nil {
		return
	}
	s.hit, s.best = true, set
	x := &explainer{Config: c, told: map[Expr]bool{}}
	for _, m := range s.ch.Members {
		for _, r := range x.conditions(m.Nodes, true) {
			s.why = append(s.why, Reason{Pos: r.Pos, Text: m.Name + ": " + r.Text})
		}
	}
}

// effective reports whether a setting took effect.
func (s *search) effective(c *Config, a axis, v int) bool {
	if a.values == nil {
		return c.Selection(a.symbols[v-1].Choice) == a.symbols[v-1]
	}
	return c.Str(a.symbols[0]) == a.values[v-1]
}

package bitbake

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Effect says what became of a statement in the final value.
type Effect uint8

// The effects.
const (
	// Applied: the statement is part of the value.
	Applied Effect = iota
	// Overwritten: a later statement replaced the value; By is that one.
	Overwritten
	// Ignored: a ?= that found a value; By is what made the value exist.
	Ignored
	// Lost: a ??= that never counts, because the variable has a value; By is
	// what made the value exist. With += and its like there this is the trap:
	// they do not see the weak default, and end it.
	Lost
	// Inactive: its override words are not in OVERRIDES.
	Inactive
	// Overridden: the value of an overriding variable counts instead; By is
	// its statement.
	Overridden
	// Removed: all of its words are taken out by :remove; By is that one.
	Removed
	// Useless: a :remove whose words are not in the value.
	Useless
	// Cleared: an unset statement ended it; By is that one.
	Cleared
	// Shadows: inactive or useless itself, but by naming the overriding
	// variable it brings that into play, with a value or without one.
	Shadows
	// Aside: it does not touch the value: a flag, an export.
	Aside
)

func (e Effect) String() string {
	return [...]string{"applied", "overwritten", "ignored", "lost", "inactive", "overridden", "removed", "useless", "cleared", "shadows", "aside"}[e]
}

// Step is an event with what became of it.
type Step struct {
	Event
	Effect Effect
	// By is the event that decided, nil when there is none.
	By *Event
}

// Story is how a variable came to its value.
type Story struct {
	Name  string
	Value Value
	Set   bool  // false when the variable has no value
	Err   error // why it cannot be expanded
	// Steps are the statements on the variable and on its overriding forms
	// ("X:foo"), in the order in which they were evaluated.
	Steps []Step
}

// Additive reports whether an event adds to a value at once: += =+ .= =.,
// which see neither weak defaults nor overrides. With a keyword (":append
// +=") nothing is added at once.
func (e Event) Additive() bool {
	switch e.Op {
	case "append", "prepend", "postdot", "predot":
		return e.Keyword == "" && e.Flag == ""
	}
	return false
}

// Weak reports whether an event is a ??= on the variable itself.
func (e Event) Weak() bool { return e.Flag == "_defaultval" && e.Keyword == "" }

// Explain works out what each statement did to the value of a variable.
func (d *Datastore) Explain(name string) *Story {
	s := &Story{Name: name}
	s.Value, s.Set, s.Err = d.Get(name)
	steps := d.account(name)
	if data, ok := d.overriding(name); ok && d.needOverrides() == nil && d.overrides.known {
		steps = d.accountOverrides(steps, data)
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.seq, b.seq) })
	s.Steps = steps
	return s
}

// accountOverrides adds the steps on the overriding names, and takes away
// from the base what the winner among them hides.
func (d *Datastore) accountOverrides(steps []Step, data []override) []Step {
	winner, found := d.winner(data)
	by := d.contentEvent(winner)
	hasValue := false
	if found {
		_, ok, _, err := d.content(winner, false, true)
		hasValue = ok && err == nil
	}
	if hasValue {
		for i := range steps {
			if st := &steps[i]; st.Keyword == "" && st.Op != "del" && st.Effect == Applied {
				st.Effect, st.By = Overridden, by
			}
		}
	}
	unset := lastUnset(steps)
	for _, o := range data {
		more := d.account(o.name)
		back := slices.IndexFunc(more, func(st Step) bool { return st.seq > unset && st.Effect != Aside && st.Op != "del" })
		for i := range more {
			st := &more[i]
			switch {
			case i == back && unset > 0 && o.name == winner && st.Effect != Applied && st.Effect != Removed:
				st.Effect, st.By = Shadows, nil // it brings the name back into play
			case st.Op == "del":
			case o.name == winner && !hasValue && st.Keyword != "" && st.Effect != Cleared:
				st.Effect, st.By = Shadows, nil
			case st.Effect != Applied && st.Effect != Useless && st.Effect != Removed:
			case !d.overrides.active(o.words):
				st.Effect, st.By = Inactive, nil
			case o.name != winner:
				st.Effect, st.By = Overridden, by
			}
		}
		steps = append(steps, more...)
	}
	return steps
}

// lastUnset is when the variable was last unset, which also makes BitBake
// forget the names that override it; 0 if never.
func lastUnset(steps []Step) int {
	for _, st := range slices.Backward(steps) {
		if st.Op == "del" {
			return st.seq
		}
	}
	return 0
}

// contentEvent is the last event that gave a name its value.
func (d *Datastore) contentEvent(name string) *Event {
	for _, e := range slices.Backward(d.events(name)) {
		if (e.Flag == "" || e.Flag == "_defaultval") && e.Op != "del" {
			return &e
		}
	}
	return nil
}

// account follows the events on one name.
func (d *Datastore) account(name string) []Step {
	events := d.events(name)
	steps := make([]Step, len(events))
	var content []int // steps that the plain value is made of
	weak := -1
	var changes []int
	lose := func(list []int, how Effect, by int) {
		for _, i := range list {
			steps[i].Effect, steps[i].By = how, &events[by]
		}
	}
	for i, e := range events {
		steps[i] = Step{Event: e}
		switch {
		case e.Op == opRewrite || strings.HasPrefix(e.Op, "rename"):
			steps[i].Effect = Aside
		case e.Op == "del":
			lose(content, Cleared, i)
			lose(changes, Cleared, i)
			if weak >= 0 {
				lose([]int{weak}, Cleared, i)
			}
			content, changes, weak = nil, nil, -1
		case e.Keyword != "":
			changes = append(changes, i)
		case e.Weak():
			if weak >= 0 {
				lose([]int{weak}, Overwritten, i)
			}
			weak = i
		case e.Flag != "":
			steps[i].Effect = Aside
		case e.Op == "set?" && len(content) > 0:
			steps[i].Effect, steps[i].By = Ignored, &events[content[0]]
		case e.Additive():
			content = append(content, i)
		default:
			if e.Op != "immediate" || !strings.Contains(e.Operand, "${"+name+"}") {
				lose(content, Overwritten, i)
				content = nil
			}
			content = append(content, i)
			if e.Internal && e.Stmt == nil { // python's setVar
				lose(changes, Overwritten, i)
				changes = nil
			}
		}
	}
	if weak >= 0 && len(content) > 0 {
		lose([]int{weak}, Lost, content[0])
	}
	d.accountChanges(name, steps, append(slices.Clone(content), changes...), weak)
	return steps
}

// accountChanges decides about :append, :prepend and :remove, and about what
// is taken out again.
func (d *Datastore) accountChanges(name string, steps []Step, live []int, weak int) {
	if weak >= 0 && steps[weak].Effect == Applied {
		live = append(live, weak)
	}
	if d.needOverrides() != nil {
		return
	}
	_, _, p, err := d.content(name, true, false)
	removedBy := map[string]*Event{}
	for _, i := range live {
		st := &steps[i]
		if st.Keyword == "" {
			continue
		}
		if !d.overrides.listed(st.Overrides) {
			st.Effect = Inactive
			continue
		}
		if st.Keyword != ":remove" || err != nil {
			continue
		}
		if !d.removedSomething(p, st) {
			st.Effect = Useless
			continue
		}
		t, err := d.expand(text{s: st.Operand}, "", nil)
		if err != nil {
			continue
		}
		for _, w := range pyexpr.Split(t.s) {
			if removedBy[w] == nil {
				removedBy[w] = &st.Event
			}
		}
	}
	if len(removedBy) == 0 {
		return
	}
	for _, i := range live {
		st := &steps[i]
		if st.Effect != Applied || st.Keyword == ":remove" {
			continue
		}
		t, err := d.expand(text{s: st.Operand}, name, nil)
		if err != nil {
			continue
		}
		words := pyexpr.Split(t.s)
		if len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return removedBy[w] == nil }) {
			st.Effect, st.By = Removed, removedBy[words[0]]
		}
	}
}

// removedSomething reports whether a :remove took a word out. What counts is
// the stored text: with an operator such as += beside it a blank is in front.
func (d *Datastore) removedSomething(p *parsed, st *Step) bool {
	for r := range p.removed {
		if strings.TrimSpace(r) == strings.TrimSpace(st.Operand) {
			return true
		}
	}
	if v := d.find(st.nameBase()); v != nil {
		for _, r := range v.removes {
			if p.removed[r.s] && strings.Contains(r.s, st.Operand) && st.Operand != "" {
				return true
			}
		}
	}
	return false
}

// nameBase is the name without keyword and words.
func (st *Step) nameBase() string {
	if base, _, _, ok := splitKeyword(st.Name); ok {
		return base
	}
	return st.Name
}

// WeakDefault returns the last ??= on a variable, expanded, whether it counts
// or not.
func (d *Datastore) WeakDefault(name string) (v Value, ok bool) {
	r := d.find(name)
	if r == nil || r.weak == nil {
		return Value{}, false
	}
	t, err := d.expand(*r.weak, name, nil)
	if err != nil {
		return Value{Text: r.weak.plain(), Why: err.Error()}, true
	}
	return t.value(), true
}

// verb is how a step reads in a sentence.
var opText = map[string]string{
	"set": "=", "set?": "?=", "immediate": ":=", "append": "+=", "prepend": "=+", "postdot": ".=", "predot": "=.",
}

// Statement is the event as it could be written: `A:append = " x"`.
func (e Event) Statement() string {
	op := opText[e.Op]
	switch {
	case e.Op == "del" || e.Op == "delFlag":
		if e.Flag != "" {
			return "unset " + e.Name + "[" + e.Flag + "]"
		}
		return "unset " + e.Name
	case e.Op == "exported":
		return "export " + e.Name
	case e.Weak():
		op = "??="
	case e.Flag != "":
		return fmt.Sprintf("%s[%s] %s %q", e.Name, e.Flag, cmp.Or(op, "="), e.Operand)
	case op == "":
		return e.Op + " " + e.Name
	}
	return fmt.Sprintf("%s %s %q", e.Name, op, e.Operand)
}

// String tells the story, a step a line.
func (s *Story) String() string {
	var b strings.Builder
	switch {
	case s.Err != nil:
		fmt.Fprintf(&b, "%s cannot be expanded: %v\n", s.Name, s.Err)
	case !s.Value.Known:
		fmt.Fprintf(&b, "%s is not known: %s\n", s.Name, s.Value.Why)
	case !s.Set:
		fmt.Fprintf(&b, "%s is not set\n", s.Name)
	default:
		fmt.Fprintf(&b, "%s = %q\n", s.Name, s.Value.Text)
	}
	for _, st := range s.Steps {
		if st.Effect == Aside {
			continue
		}
		fmt.Fprintf(&b, "  %s: %s\n    %s\n", st.Pos, st.Statement(), st.Sentence())
	}
	return b.String()
}

// Sentence says in words what became of the step.
func (st *Step) Sentence() string {
	by := "another statement"
	if st.By != nil {
		by = fmt.Sprintf("%s at %s", st.By.Statement(), st.By.Pos)
	}
	switch st.Effect {
	case Overwritten:
		return "overwritten by " + by
	case Ignored:
		return "ignored: there is a value already, since " + by
	case Lost:
		if st.By != nil && st.By.Additive() {
			return "lost: " + by + " made a value without looking at this default"
		}
		return "not needed: there is a value, since " + by
	case Inactive:
		return "inactive: its override is not in OVERRIDES"
	case Overridden:
		return "hidden by " + by
	case Removed:
		return "taken out again by " + by
	case Useless:
		return "removes nothing: its words are not in the value"
	case Cleared:
		return "ended by " + by
	case Shadows:
		return "adds nothing, and yet it counts: naming the overriding variable brings that into play"
	case Aside:
		return "does not touch the value"
	}
	switch {
	case st.Keyword != "":
		return "applied at the end"
	case st.Weak():
		return "counts: nothing else set a value"
	}
	return "applied"
}

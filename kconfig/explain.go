package kconfig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Reason is a step of an explanation: what holds, the line that makes it so,
// and why that line has its effect.
type Reason struct {
	Kind    ReasonKind    `json:"kind"`
	Text    string        `json:"text"`
	Pos     diag.Position `json:"position,omitzero"`
	Because []Reason      `json:"because,omitempty"`
}

// ReasonKind names what gave a symbol its value, or kept a value from it.
type ReasonKind string

// The kinds of reasons.
const (
	ByUser    ReasonKind = "user"       // a user value
	ByDefault ReasonKind = "default"    // a default line
	ByNothing ReasonKind = "no-default" // no default holds
	BySelect  ReasonKind = "select"     // another symbol selects it
	ByImply   ReasonKind = "imply"      // another symbol implies it
	ByChoice  ReasonKind = "choice"     // the selection of its choice
	ByRange   ReasonKind = "range"      // clamped into a range
	Unmet     ReasonKind = "unmet"      // a condition that does not hold
	Hidden    ReasonKind = "hidden"     // a person cannot set it
	Undefined ReasonKind = "undefined"  // no file defines it
	Holds     ReasonKind = "condition"  // part of a condition
	Ignored   ReasonKind = "ignored"    // a user value without effect
)

// Explanation says why a symbol has its value.
type Explanation struct {
	Name       string        `json:"name"`
	Type       string        `json:"type"`
	Value      string        `json:"value"`
	Visibility string        `json:"visibility"`
	Prompt     string        `json:"prompt,omitempty"`
	Pos        diag.Position `json:"position,omitzero"`
	Reasons    []Reason      `json:"reasons"`
}

// Explain says why a symbol has its value, with the lines behind it. The error
// is an *ErrNoSymbol for a name that no file mentions.
func (c *Config) Explain(name string) (*Explanation, error) {
	s := c.tree.byName[name]
	if s == nil {
		return nil, c.tree.noSymbol(name)
	}
	x := &explainer{Config: c, told: map[Expr]bool{s: true}}
	e := &Explanation{Name: name, Type: s.Type.String(), Value: c.Str(s), Visibility: c.Visibility(s).String(), Pos: s.Pos()}
	for _, n := range s.Nodes {
		if n.HasPrompt {
			e.Prompt = n.Prompt
			break
		}
	}
	e.Reasons = x.value(s)
	if s.Defined() && c.Visibility(s) == N {
		e.Reasons = append(e.Reasons, x.hidden(s)...)
	}
	return e, nil
}

// explainer tells each symbol's story once: what depends on one symbol in many
// ways would take exponential space otherwise.
type explainer struct {
	*Config
	told map[Expr]bool
}

// value says where the value of s comes from.
func (x *explainer) value(s *Symbol) []Reason {
	switch {
	case !s.Defined():
		return []Reason{{Kind: Undefined, Text: fmt.Sprintf("%s is mentioned and no file defines it: as a condition it is n, in a comparison it is its own name", s.Name)}}
	case s.Choice != nil && (s.Type == Bool || s.Type == Tristate):
		return x.member(s)
	}
	if s.Type == Bool || s.Type == Tristate {
		return x.truth(s)
	}
	return x.text(s)
}

// truth explains a bool or tristate outside of choices.
func (x *explainer) truth(s *Symbol) []Reason {
	var out []Reason
	if c := x.Eval(s.directDep); c == N {
		out = append(out, x.unmet(s)...)
	}
	user, set := x.user[s]
	switch {
	case set && x.Visibility(s) != N:
		out = append(out, Reason{Kind: ByUser, Text: fmt.Sprintf("set to %s by the user", user)})
		if triOf(user) > x.Visibility(s) {
			out = append(out, Reason{Kind: Ignored, Text: fmt.Sprintf("the prompt allows %s at most", x.Visibility(s)), Pos: s.Pos()})
		}
	default:
		if set {
			out = append(out, x.unused(s, user))
		}
		if x.Eval(s.directDep) != N {
			out = append(out, x.defaults(s)...)
		}
		out = append(out, x.selectors(s.implied, ByImply, "implied")...)
	}
	out = append(out, x.selectors(s.selected, BySelect, "selected")...)
	if x.Tri(s) == N {
		for _, sel := range s.selected {
			out = append(out, Reason{Kind: Unmet, Pos: sel.pos, Text: fmt.Sprintf("%s does not select it: %s", sel.by.Name, x.whyNot(sel))})
		}
	}
	return out
}

// whyNot says what keeps a select from its effect, without going deeper: a
// symbol may have hundreds of them.
func (x *explainer) whyNot(sel selector) string {
	if x.Tri(sel.by) == N {
		return fmt.Sprintf("%s is n", sel.by.Name)
	}
	return ExprString(sel.cond) + " is n"
}

// unused says that a user value waits for the prompt to show.
func (x *explainer) unused(s *Symbol, user string) Reason {
	return Reason{Kind: Ignored, Text: fmt.Sprintf("the user's %s is kept and not used, as %s cannot be set now", quote(s, user), s.Name)}
}

func (x *explainer) selectors(sels []selector, kind ReasonKind, verb string) []Reason {
	var out []Reason
	for _, sel := range sels {
		v := min(x.Tri(sel.by), x.Eval(sel.cond))
		if v == N {
			continue
		}
		r := Reason{Kind: kind, Text: fmt.Sprintf("%s by %s, which is %s", verb, sel.by.Name, x.Tri(sel.by)), Pos: sel.pos}
		r.Because = x.symbol(sel.by)
		out = append(out, r)
	}
	return out
}

// text explains a string, int or hex symbol.
func (x *explainer) text(s *Symbol) []Reason {
	var out []Reason
	value := x.Str(s)
	user, set := x.user[s]
	if set && x.Visibility(s) != N && value == user {
		return []Reason{{Kind: ByUser, Text: fmt.Sprintf("set to %s by the user", quote(s, user))}}
	}
	if set && x.Visibility(s) == N {
		out = append(out, x.unused(s, user))
	} else if set {
		out = append(out, Reason{Kind: Ignored, Text: fmt.Sprintf("the user's %s is out of range", user)})
	}
	if x.Eval(s.directDep) == N {
		out = append(out, x.unmet(s)...)
	}
	out = append(out, x.defaults(s)...)
	if s.Type == Int || s.Type == Hex {
		out = append(out, x.clamped(s, value)...)
	}
	return out
}

func (x *explainer) clamped(s *Symbol, value string) []Reason {
	for _, r := range s.Ranges {
		if x.Eval(r.Cond) == N {
			continue
		}
		if d, ok := x.activeDefault(s); !ok && value != "" || ok && x.Config.text(d.Value) != value {
			return []Reason{{Kind: ByRange, Pos: r.Pos, Text: fmt.Sprintf("moved into the range %s to %s", x.Str(r.Low), x.Str(r.High))}}
		}
		return nil
	}
	return nil
}

// defaults says which default applies, and why those before it do not.
func (x *explainer) defaults(s *Symbol) []Reason {
	var out []Reason
	for _, d := range s.Defaults {
		if x.Eval(d.Cond) == N {
			out = append(out, x.lostDefault(d))
			continue
		}
		r := Reason{Kind: ByDefault, Pos: d.Pos, Text: "default " + ExprString(d.Value)}
		if d.own != Expr(x.tree.y) {
			r.Text += " if " + ExprString(d.own)
			r.Because = x.condition(d.own, true)
		}
		if v, ok := d.Value.(*Symbol); !ok || !literal(v) {
			text := x.Config.text(d.Value)
			if ok {
				text = quote(v, text)
			}
			r.Text += ", which is " + text
			r.Because = append(r.Because, x.condition(d.Value, x.Eval(d.Value) != N)...)
		}
		return append(out, r)
	}
	empty := "n"
	if s.Type != Bool && s.Type != Tristate {
		empty = "empty"
	}
	return append(out, Reason{Kind: ByNothing, Pos: s.Pos(), Text: fmt.Sprintf("no default applies, so %s is %s", s.Name, empty)})
}

// lostDefault says why a default does not apply.
func (x *explainer) lostDefault(d Default) Reason {
	cond := d.own
	if x.Eval(cond) != N {
		cond = d.Cond // what is around it
	}
	return Reason{
		Kind: Unmet, Pos: d.Pos, Because: x.condition(cond, false),
		Text: fmt.Sprintf("default %s does not apply: %s is n", ExprString(d.Value), ExprString(cond)),
	}
}

// literal reports whether a symbol stands for itself: a quoted string, n, m or
// y, or a number, which Kconfig reads as the name of a symbol nobody defines.
func literal(s *Symbol) bool { return s.Const || !s.Defined() && isNumber(s.Name, 0) }

// member explains a member of a choice.
func (x *explainer) member(s *Symbol) []Reason {
	ch := s.Choice
	at := ch.Pos()
	if x.ChoiceMode(ch) == N {
		r := Reason{Kind: ByChoice, Pos: at, Text: fmt.Sprintf("%s is not active", ch.label())}
		if ch.Optional && x.mode[ch] == N && x.visibility(ch.Nodes, ch.Type, nil) != N {
			r.Text += ": it is optional and the user has not switched it on"
		} else {
			r.Because = x.conditions(ch.Nodes, true)
		}
		return []Reason{r}
	}
	sel := x.Selection(ch)
	switch {
	case sel == nil:
		return []Reason{{Kind: ByChoice, Pos: at, Text: ch.label() + " has no member that can be set: it is empty", Because: x.conditions(s.Nodes, true)}}
	case sel == s:
		return []Reason{x.selection(ch, s)}
	}
	r := Reason{Kind: ByChoice, Pos: at, Text: fmt.Sprintf("%s has %s selected", ch.label(), sel.Name)}
	r.Because = append(r.Because, x.selection(ch, sel))
	return []Reason{r}
}

// selection says why a choice has that member selected.
func (x *explainer) selection(ch *Choice, s *Symbol) Reason {
	picked := x.picked[ch]
	if picked == s {
		return Reason{Kind: ByUser, Text: fmt.Sprintf("the user selected %s", s.Name), Pos: s.Pos()}
	}
	var because []Reason
	if picked != nil {
		because = append(because, Reason{
			Kind: Ignored, Text: fmt.Sprintf("the user's %s cannot be selected now", picked.Name), Pos: picked.Pos(),
			Because: x.conditions(picked.Nodes, true),
		})
	}
	for _, d := range ch.Defaults {
		m := d.Value.(*Symbol)
		if m == s && x.Eval(d.Cond) != N {
			return Reason{Kind: ByDefault, Text: fmt.Sprintf("%s is the default of %s", s.Name, ch.label()), Pos: d.Pos, Because: because}
		}
		r := Reason{Kind: Unmet, Pos: d.Pos, Text: fmt.Sprintf("default %s does not apply", m.Name)}
		if x.Eval(d.Cond) == N {
			r.Because = x.condition(d.Cond, false)
		} else {
			r.Because = x.conditions(m.Nodes, true)
		}
		because = append(because, r)
	}
	return Reason{Kind: ByChoice, Text: fmt.Sprintf("%s is the first member of %s that can be set", s.Name, ch.label()), Pos: s.Pos(), Because: because}
}

func (c *Choice) label() string {
	if p := c.Prompt(); p != "" {
		return fmt.Sprintf("the choice %q", p)
	}
	return "the choice"
}

// unmet lists the conditions that keep a symbol's dependencies from holding.
func (x *explainer) unmet(s *Symbol) []Reason { return x.conditions(s.Nodes, false) }

// hidden says why a person cannot set a symbol, as far as value has not said it
// already.
func (x *explainer) hidden(s *Symbol) []Reason {
	r := Reason{Kind: Hidden, Text: s.Name + " cannot be set", Pos: s.Pos()}
	inChoice := s.Choice != nil && (s.Type == Bool || s.Type == Tristate)
	switch {
	case !hasPrompt(s):
		r.Text += ": it has no prompt"
		return []Reason{r}
	case inChoice && (x.ChoiceMode(s.Choice) == N || x.Selection(s.Choice) == nil):
		return nil
	}
	r.Because = x.conditions(s.Nodes, true)
	if !inChoice && x.Eval(s.directDep) == N {
		told := x.unmet(s)
		r.Because = slices.DeleteFunc(r.Because, func(c Reason) bool {
			return slices.ContainsFunc(told, func(t Reason) bool { return t.Pos == c.Pos && t.Text == c.Text })
		})
	}
	if len(r.Because) == 0 {
		return nil
	}
	return []Reason{r}
}

// conditions lists, line by line, the conditions of nodes that do not hold;
// those that only hide a prompt if all is set.
func (x *explainer) conditions(nodes []*Node, all bool) []Reason {
	var out []Reason
	for _, n := range nodes {
		for c := range n.Conditions {
			if c.Kind.Hides() && !all || x.Eval(c.Expr) != N {
				continue
			}
			r := Reason{Kind: Unmet, Pos: c.Pos, Because: x.condition(c.Expr, false)}
			if c.Kind == InChoice {
				r.Text = fmt.Sprintf("%s is not active", n.enclosing().label())
			} else {
				r.Text = fmt.Sprintf("%s %s does not hold", c.Kind, ExprString(c.Expr))
			}
			out = append(out, r)
		}
	}
	return out
}

func (n *Node) enclosing() *Choice {
	for at := n.outer; at != nil; at = at.outer {
		if at.Choice != nil {
			return at.Choice
		}
	}
	return nil
}

// condition says why an expression holds or does not: only the parts that
// decide it, down to the symbols.
func (x *explainer) condition(e Expr, holds bool) []Reason {
	switch e := e.(type) {
	case *notExpr:
		return x.condition(e.x, !holds)
	case *andExpr, *orExpr:
		return x.parts(e, holds)
	case *cmpExpr:
		return append(x.operand(e.a), x.operand(e.b)...)
	case *Choice:
		return x.choiceMode(e)
	case *Symbol:
		return x.operand(e)
	}
	return nil
}

// parts explains those operands of a chain of && or || that have the value of
// the whole, each once. A chain leans to the left and may be long: asking for
// the value of each link anew would take quadratic time.
func (x *explainer) parts(e Expr, holds bool) []Reason {
	_, and := e.(*andExpr)
	var chain []Expr
	for {
		a, b, ok := sides(e, and)
		if !ok {
			break
		}
		chain = append(chain, b)
		e = a
	}
	chain = append(chain, e)
	var out []Reason
	seen := map[Expr]bool{}
	for _, e := range slices.Backward(chain) {
		if !seen[e] && (x.Eval(e) != N) == holds {
			out = append(out, x.condition(e, holds)...)
		}
		seen[e] = true
	}
	return out
}

// sides are the operands of an && or ||.
func sides(e Expr, and bool) (a, b Expr, ok bool) {
	switch e := e.(type) {
	case *andExpr:
		return e.a, e.b, and
	case *orExpr:
		return e.a, e.b, !and
	}
	return nil, nil, false
}

func (x *explainer) operand(s *Symbol) []Reason {
	if literal(s) {
		return nil
	}
	r := Reason{Kind: Holds, Pos: s.Pos(), Text: fmt.Sprintf("%s is %s", s.Name, quote(s, x.Str(s))), Because: x.symbol(s)}
	if !s.Defined() {
		r.Kind, r.Text, r.Because = Undefined, s.Name+" is defined nowhere", nil
	}
	return []Reason{r}
}

func (x *explainer) choiceMode(ch *Choice) []Reason {
	if x.told[ch] {
		return nil
	}
	x.told[ch] = true
	return x.conditions(ch.Nodes, true)
}

// symbol tells a symbol's story the first time.
func (x *explainer) symbol(s *Symbol) []Reason {
	if x.told[s] {
		return nil
	}
	x.told[s] = true
	return x.value(s)
}

func quote(s *Symbol, v string) string {
	if s.Type == String {
		return fmt.Sprintf("%q", v)
	}
	return v
}

// String writes the explanation for a person: a line a reason, what is behind
// it indented below.
func (e *Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", e.Name)
	if e.Prompt != "" {
		fmt.Fprintf(&b, " (%s)", e.Prompt)
	}
	value := e.Value
	if e.Type == String.String() {
		value = fmt.Sprintf("%q", value)
	}
	fmt.Fprintf(&b, " is %s, type %s, defined at %s\n", value, e.Type, e.Pos)
	writeReasons(&b, e.Reasons, "  ")
	return b.String()
}

func writeReasons(b *strings.Builder, rs []Reason, indent string) {
	for _, r := range rs {
		b.WriteString(indent + r.Text)
		if r.Pos.File != "" {
			fmt.Fprintf(b, "  [%s]", r.Pos)
		}
		b.WriteByte('\n')
		writeReasons(b, r.Because, indent+"  ")
	}
}

package kconfig

import (
	"fmt"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Config is a set of user values on a Tree, and the values that follow. It is
// not safe for concurrent use; the Tree below it is.
type Config struct {
	tree     *Tree
	user     map[*Symbol]string
	picked   map[*Choice]*Symbol
	mode     map[*Choice]Tri
	tri      map[*Symbol]Tri
	str      map[*Symbol]string
	vis      map[*Symbol]Tri
	warnings []diag.Diagnostic
	warned   map[string]bool
}

// New returns a configuration without user values.
func (t *Tree) New() *Config {
	return &Config{
		tree: t, user: map[*Symbol]string{}, picked: map[*Choice]*Symbol{}, mode: map[*Choice]Tri{},
		tri: map[*Symbol]Tri{}, str: map[*Symbol]string{}, vis: map[*Symbol]Tri{}, warned: map[string]bool{},
	}
}

// Tree returns what the configuration configures.
func (c *Config) Tree() *Tree { return c.tree }

// Clone returns an independent copy.
func (c *Config) Clone() *Config {
	n := c.tree.New()
	for k, v := range c.user {
		n.user[k] = v
	}
	for k, v := range c.picked {
		n.picked[k] = v
	}
	for k, v := range c.mode {
		n.mode[k] = v
	}
	return n
}

// Warnings are the findings of the evaluation so far.
func (c *Config) Warnings() []diag.Diagnostic { return c.warnings }

func (c *Config) warnf(pos diag.Position, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if c.warned[msg] {
		return
	}
	c.warned[msg] = true
	c.warnings = append(c.warnings, diag.Diagnostic{Pos: pos, Severity: diag.Warning, Rule: "kconfig-value", Message: msg})
}

// ErrNoSymbol is a name that no Kconfig file defines.
type ErrNoSymbol struct{ Name, Nearest string }

func (e *ErrNoSymbol) Error() string {
	if e.Nearest == "" {
		return fmt.Sprintf("no symbol %q is defined", e.Name)
	}
	return fmt.Sprintf("no symbol %q is defined; did you mean %q?", e.Name, e.Nearest)
}

func (t *Tree) noSymbol(name string) error {
	var known []string
	for _, k := range t.Symbols {
		if k.Defined() {
			known = append(known, k.Name)
		}
	}
	return &ErrNoSymbol{name, diag.Nearest(name, known)}
}

// ErrValue is a value that does not fit a symbol's type.
type ErrValue struct {
	Symbol *Symbol
	Value  string
}

func (e *ErrValue) Error() string {
	return fmt.Sprintf("the value %q is invalid for %s, which has type %s", e.Value, nameAndLoc(e.Symbol), e.Symbol.Type)
}

// Set gives a symbol a user value. The value takes effect while the symbol is
// visible and is kept otherwise. The error is an *ErrNoSymbol or *ErrValue.
func (c *Config) Set(name, value string) error {
	s := c.tree.byName[name]
	if s == nil || !s.Defined() {
		return c.tree.noSymbol(name)
	}
	if !fits(s.Type, value) {
		return &ErrValue{s, value}
	}
	c.user[s] = value
	if s.Choice != nil && value == "y" && (s.Type == Bool || s.Type == Tristate) {
		c.picked[s.Choice] = s
		c.mode[s.Choice] = max(c.mode[s.Choice], 0)
	}
	if !hasPrompt(s) {
		c.warnf(s.Pos(), "%s has no prompt, meaning user values have no effect on it", nameAndLoc(s))
	}
	c.invalidate()
	return nil
}

// Unset takes a user value back.
func (c *Config) Unset(name string) {
	s := c.tree.byName[name]
	if s == nil {
		return
	}
	delete(c.user, s)
	if s.Choice != nil && c.picked[s.Choice] == s {
		delete(c.picked, s.Choice)
	}
	c.invalidate()
}

// SetMode sets the mode of a choice: an optional choice is n until it is y.
func (c *Config) SetMode(ch *Choice, mode Tri) {
	c.mode[ch] = mode
	c.invalidate()
}

// User returns the user value of a symbol.
func (c *Config) User(s *Symbol) (string, bool) {
	v, ok := c.user[s]
	return v, ok
}

func (c *Config) invalidate() {
	clear(c.tri)
	clear(c.str)
	clear(c.vis)
}

func fits(typ Type, value string) bool {
	switch typ {
	case Bool:
		return value == "y" || value == "n"
	case Tristate:
		return isTri(value)
	case String:
		return true
	case Int:
		return isNumber(value, 10)
	case Hex:
		n, err := parseNumber(value, 16)
		return err == nil && n >= 0
	}
	return false
}

func hasPrompt(s *Symbol) bool {
	for _, n := range s.Nodes {
		if n.HasPrompt {
			return true
		}
	}
	return false
}

// typeOf is a symbol's type as it counts: a tristate is bool without MODULES.
func (c *Config) typeOf(t Type) Type {
	if t == Tristate && c.Tri(c.tree.modules) == N {
		return Bool
	}
	return t
}

// Eval gives the truth value of a condition.
func (c *Config) Eval(e Expr) Tri {
	switch e := e.(type) {
	case *Symbol:
		return c.Tri(e)
	case *Choice:
		return c.ChoiceMode(e)
	case *notExpr:
		return Y - c.Eval(e.x)
	case *andExpr:
		if a := c.Eval(e.a); a != N {
			return min(a, c.Eval(e.b))
		}
		return N
	case *orExpr:
		if a := c.Eval(e.a); a != Y {
			return max(a, c.Eval(e.b))
		}
		return Y
	case *cmpExpr:
		if c.compare(e) {
			return Y
		}
	}
	return N
}

// compare relates two values: as numbers if both are some, else as text.
func (c *Config) compare(e *cmpExpr) bool {
	var d int
	a, errA := c.number(e.a)
	b, errB := c.number(e.b)
	switch {
	case e.a.Type == String && e.b.Type == String || errA != nil || errB != nil:
		d = strings.Compare(c.Str(e.a), c.Str(e.b))
	case a < b:
		d = -1
	case a > b:
		d = 1
	}
	switch e.op {
	case "=":
		return d == 0
	case "!=":
		return d != 0
	case "<":
		return d < 0
	case "<=":
		return d <= 0
	case ">":
		return d > 0
	}
	return d >= 0
}

func (c *Config) number(s *Symbol) (int64, error) {
	if s.Type == Bool || s.Type == Tristate {
		return int64(c.Tri(s)), nil
	}
	return parseNumber(c.Str(s), base(s.Type))
}

// Visibility says whether a person can set the symbol.
func (c *Config) Visibility(s *Symbol) Tri {
	if v, ok := c.vis[s]; ok {
		return v
	}
	v := c.visibility(s.Nodes, s.Type, s.Choice)
	c.vis[s] = v
	return v
}

func (c *Config) visibility(nodes []*Node, typ Type, in *Choice) Tri {
	vis := N
	for _, n := range nodes {
		if n.HasPrompt {
			vis = max(vis, c.Eval(n.PromptCond))
		}
	}
	if in != nil {
		mode := c.ChoiceMode(in)
		if in.Type == Tristate && typ != Tristate && mode != Y || typ == Tristate && vis == M && mode == Y {
			return N
		}
	}
	if vis == M && c.typeOf(typ) != Tristate {
		return Y
	}
	return vis
}

// ChoiceMode is the truth value of a choice: y makes one member y.
func (c *Config) ChoiceMode(ch *Choice) Tri {
	v := M
	if ch.Optional {
		v = N
	}
	if mode, ok := c.mode[ch]; ok {
		v = max(v, mode)
	}
	v = min(v, c.visibility(ch.Nodes, ch.Type, nil))
	if v == M && c.typeOf(ch.Type) == Bool {
		return Y
	}
	return v
}

// Selection is the member of a choice that is y, nil when there is none.
func (c *Config) Selection(ch *Choice) *Symbol {
	if c.ChoiceMode(ch) != Y {
		return nil
	}
	if s := c.picked[ch]; s != nil && c.Visibility(s) != N {
		return s
	}
	for _, d := range ch.Defaults {
		if s := d.Value.(*Symbol); c.Eval(d.Cond) != N && c.Visibility(s) != N {
			return s
		}
	}
	for _, s := range ch.Members {
		if c.Visibility(s) != N {
			return s
		}
	}
	return nil
}

// evaluating marks a value that is being computed. Loop detection follows
// Kconfiglib, which does not see loops by way of MODULES or of a choice's
// default that is no member; they must end all the same.
const evaluating Tri = 0xff

// Tri is a symbol's truth value. Only bool and tristate symbols have one;
// anything else is n.
func (c *Config) Tri(s *Symbol) Tri {
	if s.Const {
		switch s {
		case c.tree.y:
			return Y
		case c.tree.m:
			return M
		}
		return N
	}
	if s.Type != Bool && s.Type != Tristate {
		if s.Type != Unknown {
			c.warnf(s.Pos(), "The %s symbol %s is being evaluated in a logical context somewhere. It will always evaluate to n.", s.Type, nameAndLoc(s))
		}
		return N
	}
	if v, ok := c.tri[s]; ok {
		if v == evaluating {
			c.warnf(s.Pos(), "the value of %s depends on itself; n is taken", nameAndLoc(s))
			return N
		}
		return v
	}
	c.tri[s] = evaluating
	v := c.triValue(s)
	c.tri[s] = v
	return v
}

func (c *Config) triValue(s *Symbol) Tri {
	vis := c.Visibility(s)
	if s.Choice != nil {
		user := c.user[s]
		switch {
		case vis == Y:
			if c.Selection(s.Choice) == s {
				return Y
			}
		case vis != N && (user == "m" || user == "y"):
			return M
		}
		return N
	}
	v := N
	if user, ok := c.user[s]; ok && vis != N {
		v = min(triOf(user), vis)
	} else {
		if d, ok := c.activeDefault(s); ok {
			v = min(c.Eval(d.Value), c.Eval(d.Cond))
		}
		if w := c.any(s.implied); w != N && c.Eval(s.directDep) != N {
			v = max(v, w)
		}
	}
	if r := c.any(s.selected); r != N {
		if dep := c.Eval(s.directDep); dep < r {
			c.warnSelect(s, dep)
		}
		v = max(v, r)
	}
	if v == M && (c.typeOf(s.Type) == Bool || c.any(s.implied) == Y) {
		v = Y
	}
	return v
}

func triOf(s string) Tri {
	switch s {
	case "y":
		return Y
	case "m":
		return M
	}
	return N
}

func (c *Config) activeDefault(s *Symbol) (Default, bool) {
	for _, d := range s.Defaults {
		if c.Eval(d.Cond) != N {
			return d, true
		}
	}
	return Default{}, false
}

// any is the strongest of a symbol's selects or implies.
func (c *Config) any(sels []selector) Tri {
	v := N
	for _, sel := range sels {
		v = max(v, min(c.Tri(sel.by), c.Eval(sel.cond)))
	}
	return v
}

// warnSelect says that a select overrules the dependencies of its target.
func (c *Config) warnSelect(s *Symbol, dep Tri) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has direct dependencies %s with value %s, but is currently being %s-selected by the following symbols:",
		nameAndLoc(s), ExprString(s.directDep), dep, c.any(s.selected))
	for _, sel := range s.selected {
		v := min(c.Tri(sel.by), c.Eval(sel.cond))
		if v <= dep {
			continue
		}
		fmt.Fprintf(&b, "\n - %s, with value %s, direct dependencies %s (value: %s)",
			nameAndLoc(sel.by), c.Str(sel.by), ExprString(sel.by.directDep), c.Eval(sel.by.directDep))
		if cond := sel.cond; cond != Expr(c.tree.y) && cond != sel.by.directDep {
			fmt.Fprintf(&b, ", and select condition %s (value: %s)", ExprString(cond), c.Eval(cond))
		}
	}
	c.warnf(s.Pos(), "%s", b.String())
}

// Str is a symbol's value as text, the form that .config files hold.
func (c *Config) Str(s *Symbol) string {
	if s.Const || s.Type == Unknown {
		return s.Name
	}
	if s.Type == Bool || s.Type == Tristate {
		return c.Tri(s).String()
	}
	if v, ok := c.str[s]; ok {
		return v
	}
	var v string
	if s.Type == String {
		v = c.stringValue(s)
	} else {
		v = c.numberValue(s)
	}
	c.str[s] = v
	return v
}

func (c *Config) stringValue(s *Symbol) string {
	if v, ok := c.user[s]; ok && c.Visibility(s) != N {
		return v
	}
	if d, ok := c.activeDefault(s); ok {
		return c.text(d.Value)
	}
	return ""
}

// text is the value of a default as text.
func (c *Config) text(e Expr) string {
	if s, ok := e.(*Symbol); ok {
		return c.Str(s)
	}
	return c.Eval(e).String()
}

func (c *Config) numberValue(s *Symbol) string {
	low, high, bounded := c.activeRange(s)
	inside := func(n int64) bool { return !bounded || low <= n && n <= high }
	if v, ok := c.user[s]; ok && v != "" && c.Visibility(s) != N {
		if n, err := parseNumber(v, base(s.Type)); err == nil && inside(n) {
			return v
		}
		c.warnf(s.Pos(), "user value %s on the %s symbol %s ignored due to being outside the active range ([%s, %s]) -- falling back on defaults",
			v, s.Type, nameAndLoc(s), number(s.Type, low), number(s.Type, high))
	}
	d, ok := c.activeDefault(s)
	v, n := "", int64(0)
	if ok {
		v = c.text(d.Value)
		n, _ = parseNumber(v, base(s.Type))
	}
	if inside(n) {
		return v
	}
	clamped := number(s.Type, min(max(n, low), high))
	if n < low {
		clamped = number(s.Type, low)
	}
	if ok {
		c.warnf(d.Pos, "default value %s on %s clamped to %s due to being outside the active range ([%s, %s])",
			v, nameAndLoc(s), clamped, number(s.Type, low), number(s.Type, high))
	}
	return clamped
}

func number(typ Type, n int64) string {
	if typ == Hex {
		return fmt.Sprintf("%#x", n)
	}
	return fmt.Sprint(n)
}

func (c *Config) activeRange(s *Symbol) (low, high int64, ok bool) {
	for _, r := range s.Ranges {
		if c.Eval(r.Cond) != N {
			low, _ = parseNumber(c.Str(r.Low), base(s.Type))
			high, _ = parseNumber(c.Str(r.High), base(s.Type))
			return low, high, true
		}
	}
	return 0, 0, false
}

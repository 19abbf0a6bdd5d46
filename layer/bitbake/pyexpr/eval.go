package pyexpr

import (
	"math"
	"strings"
)

// Limits of one evaluation. Python has none of them; metadata does not come
// near them.
const (
	maxText  = 64 << 20  // bytes of one text
	maxItems = 1 << 20   // elements of one list
	maxSteps = 1_000_000 // nodes walked
)

// Env is what an expression can reach outside itself.
type Env interface {
	// Lookup finds a name that is neither a loop variable nor a builtin
	// function of this package. ok is false where Python raises NameError.
	Lookup(id string) (v Value, ok bool, err error)
	// Attr is the attribute attr of the Object at path.
	Attr(path, attr string) (Value, error)
	// Call calls the Object at path.
	Call(path string, args []Value, kwargs map[string]Value) (Value, error)
}

// Eval evaluates the expression.
func (e *Expr) Eval(env Env) (Value, error) {
	return e.EvalWith(env, nil)
}

// EvalWith evaluates with local names, such as the parameters of a function.
func (e *Expr) EvalWith(env Env, locals map[string]Value) (Value, error) {
	m := &machine{env: env}
	if locals != nil {
		m.scopes = []map[string]Value{locals}
	}
	return m.eval(e.root)
}

type machine struct {
	env    Env
	scopes []map[string]Value
	inComp int // > 0 inside a comprehension's own scope
	steps  int
	depth  int
}

func (m *machine) step() error {
	if m.steps++; m.steps > maxSteps {
		return unsupported("the evaluation takes more than %d steps", maxSteps)
	}
	return nil
}

func (m *machine) eval(n node) (Value, error) {
	if err := m.step(); err != nil {
		return Value{}, err
	}
	if m.depth++; m.depth > 10*maxDepth {
		return Value{}, unsupported("the expression is nested too deeply")
	}
	defer func() { m.depth-- }()
	switch n := n.(type) {
	case *constant:
		return n.v, nil
	case *opaqueLit:
		return Value{}, unsupported("%s is not modelled", n.what)
	case *name:
		return m.name(n.id)
	case *attribute:
		return m.attribute(n)
	case *subscript:
		return m.subscript(n)
	case *call:
		return m.call(n)
	case *unary:
		return m.unary(n)
	case *binary:
		return m.binary(n)
	case *boolean:
		return m.boolean(n)
	case *compare:
		return m.compare(n)
	case *conditional:
		return m.conditional(n)
	case *sequence:
		return m.sequence(n)
	case *mapping:
		return m.mapping(n)
	case *comp:
		return m.comp(n)
	case *lambda:
		return Value{}, unsupported("a lambda is not modelled")
	case *walrus:
		return Value{}, unsupported("an assignment expression is not modelled")
	}
	return Value{}, unsupported("this form of expression is not modelled")
}

func (m *machine) name(id string) (Value, error) {
	for i := len(m.scopes) - 1; i >= 0; i-- {
		if v, ok := m.scopes[i][id]; ok {
			return v, nil
		}
	}
	if builtins[id] != nil {
		return Obj("builtins." + id), nil
	}
	if pyBuiltins[id] {
		return Value{}, unsupported("%s is not modelled", id)
	}
	v, ok, err := m.env.Lookup(id)
	if err != nil {
		return Value{}, err
	}
	if m.inComp > 0 && (!ok || v.kind != Object) {
		// Up to Python 3.11 a comprehension is a function of its own and does
		// not see the variables; from 3.12 on it does.
		return Value{}, unsupported("the name %s inside a comprehension depends on Python's version", id)
	}
	if !ok {
		return Value{}, raise("NameError", "name '%s' is not defined", id)
	}
	return v, nil
}

func (m *machine) attribute(n *attribute) (Value, error) {
	x, err := m.eval(n.x)
	if err != nil {
		return Value{}, err
	}
	if x.kind == Object {
		if strings.HasPrefix(x.s, "builtins.") || strings.HasPrefix(x.s, "method.") {
			return Value{}, unsupported("%s.%s is not modelled", x.s, n.attr)
		}
		return m.env.Attr(x.s, n.attr)
	}
	if hasMethod(x, n.attr) {
		return Value{kind: Object, s: "method." + n.attr, items: []Value{x}}, nil
	}
	if missingMethod(x, n.attr) {
		return Value{}, raise("AttributeError", "'%s' object has no attribute '%s'", x.typeName(), n.attr)
	}
	return Value{}, unsupported("%s.%s is not modelled", x.typeName(), n.attr)
}

func (m *machine) call(n *call) (Value, error) {
	fn, err := m.eval(n.fn)
	if err != nil {
		return Value{}, err
	}
	var args []Value
	for _, a := range n.args {
		if args, err = m.appendItem(args, a); err != nil {
			return Value{}, err
		}
	}
	kwargs := map[string]Value{}
	for _, k := range n.kwargs {
		v, err := m.eval(k.v)
		if err != nil {
			return Value{}, err
		}
		if k.name == "" {
			return Value{}, unsupported("keyword arguments from a mapping are not modelled")
		}
		kwargs[k.name] = v
	}
	if fn.kind != Object {
		return Value{}, raise("TypeError", "'%s' object is not callable", fn.typeName())
	}
	if id, ok := strings.CutPrefix(fn.s, "builtins."); ok {
		return builtins[id](m, args, kwargs)
	}
	if id, ok := strings.CutPrefix(fn.s, "method."); ok {
		return m.method(fn.items[0], id, args, kwargs)
	}
	return m.env.Call(fn.s, args, kwargs)
}

// appendItem evaluates an element of a call or display, "*x" in place.
func (m *machine) appendItem(out []Value, n node) ([]Value, error) {
	if s, ok := n.(*starred); ok {
		x, err := m.eval(s.x)
		if err != nil {
			return nil, err
		}
		items, err := iterate(x)
		if err != nil {
			return nil, err
		}
		return append(out, items...), tooMany(len(out) + len(items))
	}
	x, err := m.eval(n)
	if err != nil {
		return nil, err
	}
	return append(out, x), nil
}

func tooMany(n int) error {
	if n > maxItems {
		return unsupported("a list grew over %d elements", maxItems)
	}
	return nil
}

func (m *machine) unary(n *unary) (Value, error) {
	x, err := m.eval(n.x)
	if err != nil {
		return Value{}, err
	}
	if n.op == "not" {
		return Bool(!x.True()), nil
	}
	switch {
	case x.kind == KindFloat && n.op == "-":
		return Float(-x.f), nil
	case x.kind == KindFloat && n.op == "+":
		return x, nil
	case !x.isNumber() || x.kind == KindFloat:
		if x.kind == Object {
			return Value{}, unsupported("%s%s is not modelled", n.op, x.describe())
		}
		return Value{}, raise("TypeError", "bad operand type for unary %s: '%s'", n.op, x.typeName())
	case n.op == "~":
		return Int(^x.n), nil
	case n.op == "-" && x.n == math.MinInt64:
		return Value{}, unsupported("a number beyond 64 bits is not modelled")
	case n.op == "-":
		return Int(-x.n), nil
	}
	return Int(x.n), nil
}

func (m *machine) boolean(n *boolean) (Value, error) {
	var v Value
	for _, x := range n.xs {
		var err error
		if v, err = m.eval(x); err != nil {
			return Value{}, err
		}
		if v.True() == n.or {
			return v, nil
		}
	}
	return v, nil
}

func (m *machine) conditional(n *conditional) (Value, error) {
	c, err := m.eval(n.cond)
	if err != nil {
		return Value{}, err
	}
	if c.True() {
		return m.eval(n.yes)
	}
	return m.eval(n.no)
}

func (m *machine) sequence(n *sequence) (Value, error) {
	var items []Value
	for _, x := range n.items {
		if _, ok := x.(*slice); ok {
			return Value{}, unsupported("an index of several slices is not modelled")
		}
		var err error
		if items, err = m.appendItem(items, x); err != nil {
			return Value{}, err
		}
	}
	if n.kind == Set {
		return newSet(items)
	}
	return Value{kind: n.kind, items: items}, nil
}

func (m *machine) mapping(n *mapping) (Value, error) {
	d := Value{kind: Dict}
	for i, k := range n.keys {
		if k == nil {
			return Value{}, unsupported("** in a dict is not modelled")
		}
		key, err := m.eval(k)
		if err != nil {
			return Value{}, err
		}
		val, err := m.eval(n.values[i])
		if err != nil {
			return Value{}, err
		}
		if err := setItem(&d, key, val); err != nil {
			return Value{}, err
		}
	}
	return d, nil
}

func setItem(d *Value, key, val Value) error {
	if err := hashable(key); err != nil {
		return err
	}
	i, err := indexOf(d.items, key)
	if err != nil {
		return err
	}
	if i >= 0 {
		d.vals[i] = val
		return nil
	}
	d.items, d.vals = append(d.items, key), append(d.vals, val)
	return tooMany(len(d.items))
}

func (m *machine) comp(n *comp) (Value, error) {
	if n.kind == Iterator {
		n = &comp{kind: List, elem: n.elem, generators: n.generators}
		v, err := m.comp(n)
		v.kind = Iterator
		return v, err
	}
	scope := map[string]Value{}
	out := Value{kind: n.kind}
	m.scopes = append(m.scopes, scope)
	err := m.generate(n, 0, scope, &out)
	m.scopes = m.scopes[:len(m.scopes)-1]
	if err == nil && n.kind == Set {
		return newSet(out.items)
	}
	return out, err
}

func (m *machine) generate(n *comp, level int, scope map[string]Value, out *Value) error {
	if level == len(n.generators) {
		v, err := m.eval(n.elem)
		if err != nil {
			return err
		}
		if n.kind == Dict {
			val, err := m.eval(n.val)
			if err != nil {
				return err
			}
			return setItem(out, v, val)
		}
		out.items = append(out.items, v)
		return tooMany(len(out.items))
	}
	g := n.generators[level]
	if level > 0 {
		m.inComp++
	}
	src, err := m.eval(g.iter)
	if level > 0 {
		m.inComp--
	}
	if err != nil {
		return err
	}
	items, err := iterate(src)
	if err != nil {
		return err
	}
	m.inComp++
	defer func() { m.inComp-- }()
next:
	for _, x := range items {
		if err := bind(g.target, x, scope); err != nil {
			return err
		}
		for _, c := range g.conds {
			ok, err := m.eval(c)
			if err != nil {
				return err
			}
			if !ok.True() {
				continue next
			}
		}
		if err := m.generate(n, level+1, scope, out); err != nil {
			return err
		}
	}
	return nil
}

func bind(target node, v Value, scope map[string]Value) error {
	switch t := target.(type) {
	case *name:
		scope[t.id] = v
		return nil
	case *sequence:
		items, err := iterate(v)
		if err != nil {
			return err
		}
		if len(items) < len(t.items) {
			return raise("ValueError", "not enough values to unpack (expected %d, got %d)", len(t.items), len(items))
		}
		if len(items) > len(t.items) {
			return raise("ValueError", "too many values to unpack (expected %d)", len(t.items))
		}
		for i, x := range t.items {
			if err := bind(x, items[i], scope); err != nil {
				return err
			}
		}
		return nil
	}
	return unsupported("this loop variable is not modelled")
}

// iterate lists the elements that a for loop over v would see.
func iterate(v Value) ([]Value, error) {
	switch v.kind {
	case List, Tuple, Dict, Iterator:
		return v.items, nil
	case Set:
		if len(v.items) > 1 {
			return nil, unsupported("the order of a set is not defined")
		}
		return v.items, nil
	case KindStr:
		if len(v.s) > maxItems {
			return nil, tooMany(len(v.s))
		}
		out := make([]Value, 0, len(v.s))
		for _, r := range v.s {
			out = append(out, Str(string(r)))
		}
		return out, nil
	case Object:
		return nil, unsupported("a loop over %s is not modelled", v.describe())
	}
	return nil, raise("TypeError", "'%s' object is not iterable", v.typeName())
}

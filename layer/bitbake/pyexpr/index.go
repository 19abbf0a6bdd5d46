package pyexpr

import "unicode/utf8"

// subscript evaluates x[i] and x[a:b:c].
func (m *machine) subscript(n *subscript) (Value, error) {
	x, err := m.eval(n.x)
	if err != nil {
		return Value{}, err
	}
	if s, ok := n.index.(*slice); ok {
		return m.slice(x, s)
	}
	i, err := m.eval(n.index)
	if err != nil {
		return Value{}, err
	}
	switch x.kind {
	case Dict:
		if err := hashable(i); err != nil {
			return Value{}, err
		}
		at, err := indexOf(x.items, i)
		if err != nil {
			return Value{}, err
		}
		if at < 0 {
			text, err := (Seq(List, []Value{i})).String()
			if err != nil {
				return Value{}, err
			}
			return Value{}, raise("KeyError", "%s", text[1:len(text)-1])
		}
		return x.vals[at], nil
	case KindStr, List, Tuple:
		at, ok := i.Int64()
		if !ok {
			if x.kind == KindStr {
				return Value{}, raise("TypeError", "string indices must be integers, not '%s'", i.typeName())
			}
			return Value{}, raise("TypeError", "%s indices must be integers or slices, not %s", x.typeName(), i.typeName())
		}
		return element(x, at)
	case Object, Iterator:
		return Value{}, unsupported("an index of %s is not modelled", x.describe())
	}
	return Value{}, raise("TypeError", "'%s' object is not subscriptable", x.typeName())
}

func element(x Value, at int64) (Value, error) {
	n := int64(len(x.items))
	if x.kind == KindStr {
		n = int64(runeLen(x.s))
	}
	if at < 0 {
		at += n
	}
	if at < 0 || at >= n {
		what := x.typeName()
		if x.kind == KindStr {
			what = "string"
		}
		return Value{}, raise("IndexError", "%s index out of range", what)
	}
	if x.kind != KindStr {
		return x.items[at], nil
	}
	if int(n) == len(x.s) {
		return Str(x.s[at : at+1]), nil
	}
	s := x.s
	for ; at > 0; at-- {
		_, w := utf8.DecodeRuneInString(s)
		s = s[w:]
	}
	_, w := utf8.DecodeRuneInString(s)
	return Str(s[:w]), nil
}

func (m *machine) slice(x Value, s *slice) (Value, error) {
	var parts [3]*int64
	for i, n := range []node{s.low, s.high, s.step} {
		if n == nil {
			continue
		}
		v, err := m.eval(n)
		if err != nil {
			return Value{}, err
		}
		if v.IsNone() {
			continue
		}
		k, ok := v.Int64()
		if !ok {
			return Value{}, raise("TypeError", "slice indices must be integers or None or have an __index__ method")
		}
		parts[i] = &k
	}
	switch x.kind {
	case KindStr, List, Tuple:
	case Object, Iterator:
		return Value{}, unsupported("a slice of %s is not modelled", x.describe())
	case Dict:
		return Value{}, raise("TypeError", "unhashable type: 'slice'")
	default:
		return Value{}, raise("TypeError", "'%s' object is not subscriptable", x.typeName())
	}
	if x.kind != KindStr {
		at, err := positions(int64(len(x.items)), parts)
		out := Value{kind: x.kind}
		for _, i := range at {
			out.items = append(out.items, x.items[i])
		}
		return out, err
	}
	rs := []rune(x.s)
	at, err := positions(int64(len(rs)), parts)
	out := make([]rune, 0, len(at))
	for _, i := range at {
		out = append(out, rs[i])
	}
	return Str(string(out)), err
}

// positions lists the indices that a slice of a sequence of length n takes
// (The Python Library Reference, "Common Sequence Operations", notes 4 and 5).
func positions(n int64, parts [3]*int64) ([]int64, error) {
	step := int64(1)
	if parts[2] != nil {
		if step = *parts[2]; step == 0 {
			return nil, raise("ValueError", "slice step cannot be zero")
		}
	}
	low, high := int64(0), n
	if step < 0 {
		low, high = n-1, -1
	}
	clamp := func(p *int64, def int64) int64 {
		if p == nil {
			return def
		}
		k := *p
		if k < 0 {
			k += n
		}
		if step < 0 {
			return min(max(k, -1), n-1)
		}
		return min(max(k, 0), n)
	}
	low, high = clamp(parts[0], low), clamp(parts[1], high)
	var out []int64
	for i := low; step > 0 && i < high || step < 0 && i > high; i += step {
		out = append(out, i)
		if step > n || step < -n {
			break
		}
	}
	return out, nil
}

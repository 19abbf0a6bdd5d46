package pyexpr

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of value that are modelled.
const (
	KindNone Kind = iota
	KindBool
	KindInt
	KindFloat
	KindStr
	List
	Tuple
	Set
	Dict
	Iterator // a generator, map or filter object: iterated once, not shown
	Object   // something of Python's that only Env knows: d, bb.utils, a function
)

var kindNames = [...]string{"NoneType", "bool", "int", "float", "str", "list", "tuple", "set", "dict", "generator", "module"}

// Value is a Python value. The zero Value is None.
type Value struct {
	kind  Kind
	n     int64
	f     float64
	s     string // text of a str, dotted path of an Object
	items []Value
	vals  []Value // of a dict, beside its keys in items
}

// None returns Python's None.
func None() Value { return Value{} }

// Bool returns True or False.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.n = 1
	}
	return v
}

// Int returns an int.
func Int(n int64) Value { return Value{kind: KindInt, n: n} }

// Float returns a float.
func Float(f float64) Value { return Value{kind: KindFloat, f: f} }

// Str returns a str.
func Str(s string) Value { return Value{kind: KindStr, s: s} }

// Strings returns a list of str.
func Strings(ss ...string) Value {
	items := make([]Value, len(ss))
	for i, s := range ss {
		items[i] = Str(s)
	}
	return Value{kind: List, items: items}
}

// Seq returns a list or tuple of items.
func Seq(kind Kind, items []Value) Value { return Value{kind: kind, items: items} }

// Obj returns an object known to Env by its dotted path.
func Obj(path string) Value { return Value{kind: Object, s: path} }

// Kind returns the type.
func (v Value) Kind() Kind { return v.kind }

// IsNone reports whether v is None.
func (v Value) IsNone() bool { return v.kind == KindNone }

// Text returns the content of a str, and whether v is one.
func (v Value) Text() (string, bool) { return v.s, v.kind == KindStr }

// Path returns the dotted path of an Object, "" for anything else.
func (v Value) Path() string {
	if v.kind != Object {
		return ""
	}
	return v.s
}

// Items returns the elements of a list, tuple or set, or the keys of a dict.
func (v Value) Items() []Value { return v.items }

// Int64 returns the number of an int or bool, and whether v is one.
func (v Value) Int64() (int64, bool) { return v.n, v.kind == KindInt || v.kind == KindBool }

// True is Python's truth value of v.
func (v Value) True() bool {
	switch v.kind {
	case KindNone:
		return false
	case KindBool, KindInt:
		return v.n != 0
	case KindFloat:
		return v.f != 0
	case KindStr:
		return v.s != ""
	case List, Tuple, Set, Dict:
		return len(v.items) > 0
	}
	return true
}

// typeName is Python's name of v's type.
func (v Value) typeName() string { return kindNames[v.kind] }

// String is str(v); the error is an *Unsupported where Python's answer is not
// a function of the value, as for a set with several members.
func (v Value) String() (string, error) {
	if v.kind == KindStr {
		return v.s, nil
	}
	var b strings.Builder
	err := v.repr(&b, 0)
	return b.String(), err
}

func (v Value) repr(b *strings.Builder, depth int) error {
	if depth > maxDepth {
		return unsupported("a value is nested too deeply")
	}
	switch v.kind {
	case KindNone:
		b.WriteString("None")
	case KindBool:
		b.WriteString(map[int64]string{0: "False", 1: "True"}[v.n])
	case KindInt:
		b.WriteString(strconv.FormatInt(v.n, 10))
	case KindFloat:
		b.WriteString(floatRepr(v.f))
	case KindStr:
		quoteTo(b, v.s)
	case List:
		return v.reprItems(b, "[", "]", depth)
	case Tuple:
		if len(v.items) == 1 {
			return v.reprItems(b, "(", ",)", depth)
		}
		return v.reprItems(b, "(", ")", depth)
	case Set:
		if len(v.items) == 0 {
			b.WriteString("set()")
			return nil
		}
		if len(v.items) > 1 {
			return unsupported("the order of a set is not defined")
		}
		return v.reprItems(b, "{", "}", depth)
	case Dict:
		b.WriteByte('{')
		for i, k := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			if err := k.repr(b, depth+1); err != nil {
				return err
			}
			b.WriteString(": ")
			if err := v.vals[i].repr(b, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	default:
		return unsupported("the text of %s is not modelled", v.describe())
	}
	return nil
}

func (v Value) reprItems(b *strings.Builder, open, closing string, depth int) error {
	b.WriteString(open)
	for i, x := range v.items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := x.repr(b, depth+1); err != nil {
			return err
		}
		if b.Len() > maxText {
			return unsupported("a text grew over %d bytes", maxText)
		}
	}
	b.WriteString(closing)
	return nil
}

func (v Value) describe() string {
	if v.kind == Object {
		return v.s
	}
	return "a " + v.typeName()
}

// quoteTo writes repr() of a str: single quotes unless only they occur inside.
func quoteTo(b *strings.Builder, s string) {
	q := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b.WriteRune(q)
	for _, r := range s {
		switch {
		case r == q || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x20 || r == 0x7f || r > 0x7f && r < 0x100 && !unicode.IsPrint(r):
			b.WriteString(`\x` + string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15]))
		case r > 0xff && !unicode.IsPrint(r) && r <= 0xffff:
			b.WriteString(`\u` + hex(int64(r), 4))
		case r > 0xffff && !unicode.IsPrint(r):
			b.WriteString(`\U` + hex(int64(r), 8))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteRune(q)
}

func hex(n int64, width int) string {
	s := strconv.FormatInt(n, 16)
	return strings.Repeat("0", max(0, width-len(s))) + s
}

// floatRepr is repr() of a float: the shortest digits that read back, with an
// exponent below 1e-4 and from 1e16 on.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Equal is Python's ==.
func Equal(a, b Value) (bool, error) { return equal(a, b) }

func equal(a, b Value) (bool, error) {
	if a.isNumber() && b.isNumber() {
		if a.kind != KindFloat && b.kind != KindFloat {
			return a.n == b.n, nil
		}
		return a.number() == b.number(), nil
	}
	if a.kind == Object || b.kind == Object || a.kind == Iterator || b.kind == Iterator {
		if a.kind != b.kind && (a.kind == KindNone || b.kind == KindNone) {
			return false, nil
		}
		return false, unsupported("the comparison of %s with %s is not modelled", a.describe(), b.describe())
	}
	if a.kind != b.kind {
		return false, nil
	}
	switch a.kind {
	case KindNone:
		return true, nil
	case KindStr:
		return a.s == b.s, nil
	}
	if len(a.items) != len(b.items) {
		return false, nil
	}
	for i, x := range a.items {
		j := i
		if a.kind == Set || a.kind == Dict {
			var err error
			if j, err = indexOf(b.items, x); err != nil || j < 0 {
				return false, err
			}
		} else if ok, err := equal(x, b.items[i]); !ok || err != nil {
			return false, err
		}
		if a.kind == Dict {
			if ok, err := equal(a.vals[i], b.vals[j]); !ok || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func indexOf(items []Value, x Value) (int, error) {
	for i, y := range items {
		if ok, err := equal(x, y); ok || err != nil {
			return i, err
		}
	}
	return -1, nil
}

func (v Value) isNumber() bool {
	return v.kind == KindBool || v.kind == KindInt || v.kind == KindFloat
}

func (v Value) number() float64 {
	if v.kind == KindFloat {
		return v.f
	}
	return float64(v.n)
}

// hashable reports an error for a value that cannot be in a set or a key.
func hashable(v Value) error {
	switch v.kind {
	case List, Set, Dict:
		return raise("TypeError", "unhashable type: '%s'", v.typeName())
	case Tuple:
		for _, x := range v.items {
			if err := hashable(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// newSet returns the set of items.
func newSet(items []Value) (Value, error) {
	out := Value{kind: Set}
	seen := map[string]bool{}
	for _, x := range items {
		if err := hashable(x); err != nil {
			return out, err
		}
		if x.kind == KindStr {
			if !seen[x.s] {
				seen[x.s] = true
				out.items = append(out.items, x)
			}
			continue
		}
		i, err := indexOf(out.items, x)
		if err != nil {
			return out, err
		}
		if i < 0 {
			out.items = append(out.items, x)
		}
	}
	return out, nil
}

// IsSpace reports whether Python's str methods take r for white space.
func IsSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1c && r <= ' ', r == 0x85, r == 0xa0, r == 0x1680,
		r >= 0x2000 && r <= 0x200a, r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f, r == 0x3000:
		return true
	}
	return false
}

// Split is str.split() without arguments.
func Split(s string) []string { return strings.FieldsFunc(s, IsSpace) }

func runeLen(s string) int { return utf8.RuneCountInString(s) }

func sortedStrings(items []Value) ([]Value, error) {
	out := slices.Clone(items)
	for _, x := range out {
		if x.kind != KindStr {
			return nil, unsupported("the order of a mixed list is not modelled")
		}
	}
	slices.SortStableFunc(out, func(a, b Value) int { return strings.Compare(a.s, b.s) })
	return out, nil
}

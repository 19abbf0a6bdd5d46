package pyexpr

import (
	"cmp"
	"math"
	"math/bits"
	"strings"
)

func (m *machine) compare(n *compare) (Value, error) {
	x, err := m.eval(n.x)
	if err != nil {
		return Value{}, err
	}
	for i, op := range n.ops {
		y, err := m.eval(n.ys[i])
		if err != nil {
			return Value{}, err
		}
		ok, err := compareOne(op, x, y)
		if err != nil || !ok {
			return Bool(false), err
		}
		x = y
	}
	return Bool(true), nil
}

func compareOne(op string, x, y Value) (bool, error) {
	switch op {
	case "==":
		return equal(x, y)
	case "!=":
		ok, err := equal(x, y)
		return !ok, err
	case "in":
		return contains(y, x)
	case "not in":
		ok, err := contains(y, x)
		return !ok, err
	case "is", "is not":
		same, err := identical(x, y)
		return same == (op == "is"), err
	}
	return order(op, x, y)
}

// identical is "is" where the answer does not depend on how an interpreter
// shares its objects.
func identical(x, y Value) (bool, error) {
	single := func(v Value) bool { return v.kind == KindNone || v.kind == KindBool }
	if single(x) || single(y) {
		return x.kind == y.kind && x.n == y.n, nil
	}
	if x.kind != y.kind {
		return false, nil
	}
	return false, unsupported("the identity of two values of type %s is not defined", x.typeName())
}

func contains(in, x Value) (bool, error) {
	switch in.kind {
	case KindStr:
		if x.kind != KindStr {
			return false, raise("TypeError", "'in <string>' requires string as left operand, not %s", x.typeName())
		}
		return strings.Contains(in.s, x.s), nil
	case List, Tuple, Iterator:
		i, err := indexOf(in.items, x)
		return i >= 0, err
	case Set, Dict:
		if err := hashable(x); err != nil {
			return false, err
		}
		i, err := indexOf(in.items, x)
		return i >= 0, err
	case Object:
		return false, unsupported("a search in %s is not modelled", in.describe())
	}
	return false, raise("TypeError", "argument of type '%s' is not iterable", in.typeName())
}

func order(op string, x, y Value) (bool, error) {
	c := 0
	switch {
	case x.isNumber() && y.isNumber() && x.kind != KindFloat && y.kind != KindFloat:
		c = cmp.Compare(x.n, y.n)
	case x.isNumber() && y.isNumber():
		a, b := x.number(), y.number()
		if math.IsNaN(a) || math.IsNaN(b) {
			return false, nil
		}
		switch {
		case a < b:
			c = -1
		case a > b:
			c = 1
		}
	case x.kind == KindStr && y.kind == KindStr:
		c = strings.Compare(x.s, y.s) // UTF-8 sorts by code point, as Python does
	case x.kind == y.kind && (x.kind == List || x.kind == Tuple):
		for i := range min(len(x.items), len(y.items)) {
			same, err := equal(x.items[i], y.items[i])
			if err != nil {
				return false, err
			}
			if !same {
				return order(op, x.items[i], y.items[i])
			}
		}
		c = len(x.items) - len(y.items)
	case x.kind == Set && y.kind == Set:
		sub, err := subset(x, y)
		if err != nil {
			return false, err
		}
		super, err := subset(y, x)
		if err != nil {
			return false, err
		}
		return map[string]bool{"<": sub && !super, "<=": sub, ">": super && !sub, ">=": super}[op], nil
	case x.kind == Object || y.kind == Object:
		return false, unsupported("the order of %s and %s is not modelled", x.describe(), y.describe())
	default:
		return false, raise("TypeError", "'%s' not supported between instances of '%s' and '%s'", op, x.typeName(), y.typeName())
	}
	return map[string]bool{"<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op], nil
}

func subset(x, y Value) (bool, error) {
	for _, v := range x.items {
		if i, err := indexOf(y.items, v); err != nil || i < 0 {
			return false, err
		}
	}
	return true, nil
}

func (m *machine) binary(n *binary) (Value, error) {
	x, err := m.eval(n.x)
	if err != nil {
		return Value{}, err
	}
	y, err := m.eval(n.y)
	if err != nil {
		return Value{}, err
	}
	if x.kind == Object || y.kind == Object || x.kind == Iterator || y.kind == Iterator {
		return Value{}, unsupported("%s %s %s is not modelled", x.describe(), n.op, y.describe())
	}
	switch {
	case x.isNumber() && y.isNumber():
		return arithmetic(n.op, x, y)
	case n.op == "+" && x.kind == KindStr && y.kind == KindStr:
		if len(x.s)+len(y.s) > maxText {
			return Value{}, unsupported("a text grew over %d bytes", maxText)
		}
		return Str(x.s + y.s), nil
	case n.op == "+" && x.kind == y.kind && (x.kind == List || x.kind == Tuple):
		items := append(append([]Value{}, x.items...), y.items...)
		return Value{kind: x.kind, items: items}, tooMany(len(items))
	case n.op == "*" && repeats(x, y):
		return repeat(x, y.n)
	case n.op == "*" && repeats(y, x):
		return repeat(y, x.n)
	case n.op == "%" && x.kind == KindStr:
		return format(x.s, y)
	case x.kind == Set && y.kind == Set && (n.op == "&" || n.op == "|" || n.op == "-" || n.op == "^"):
		return setOp(n.op, x, y)
	case n.op == "|" && x.kind == Dict && y.kind == Dict:
		return Value{}, unsupported("the union of two dicts is not modelled")
	case n.op == "+" && x.kind == KindStr:
		return Value{}, raise("TypeError", `can only concatenate str (not "%s") to str`, y.typeName())
	case n.op == "+" && (x.kind == List || x.kind == Tuple):
		return Value{}, raise("TypeError", `can only concatenate %s (not "%s") to %s`, x.typeName(), y.typeName(), x.typeName())
	case n.op == "*" && (x.kind == KindStr || x.kind == List || x.kind == Tuple):
		return Value{}, raise("TypeError", "can't multiply sequence by non-int of type '%s'", y.typeName())
	case n.op == "*" && (y.kind == KindStr || y.kind == List || y.kind == Tuple):
		return Value{}, raise("TypeError", "can't multiply sequence by non-int of type '%s'", x.typeName())
	}
	op := n.op
	if op == "**" {
		op = "** or pow()"
	}
	return Value{}, raise("TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op, x.typeName(), y.typeName())
}

func repeats(x, y Value) bool {
	return (x.kind == KindStr || x.kind == List || x.kind == Tuple) && (y.kind == KindInt || y.kind == KindBool)
}

func repeat(x Value, n int64) (Value, error) {
	n = max(n, 0)
	if x.kind == KindStr {
		if len(x.s) > 0 && n > maxText/int64(len(x.s)) {
			return Value{}, unsupported("a text grew over %d bytes", maxText)
		}
		return Str(strings.Repeat(x.s, int(n))), nil
	}
	if len(x.items) > 0 && n > maxItems/int64(len(x.items)) {
		return Value{}, tooMany(maxItems + 1)
	}
	out := Value{kind: x.kind}
	if len(x.items) > 0 {
		for range n {
			out.items = append(out.items, x.items...)
		}
	}
	return out, nil
}

func setOp(op string, x, y Value) (Value, error) {
	out := Value{kind: Set}
	take := func(from, other Value, want bool) error {
		for _, v := range from.items {
			i, err := indexOf(other.items, v)
			if err != nil {
				return err
			}
			if (i >= 0) == want {
				out.items = append(out.items, v)
			}
		}
		return nil
	}
	var err error
	switch op {
	case "&":
		err = take(x, y, true)
	case "-":
		err = take(x, y, false)
	case "|":
		out.items = append(out.items, x.items...)
		err = take(y, x, false)
	case "^":
		if err = take(x, y, false); err == nil {
			err = take(y, x, false)
		}
	}
	return out, err
}

func arithmetic(op string, x, y Value) (Value, error) {
	if x.kind == KindBool && y.kind == KindBool && (op == "&" || op == "|" || op == "^") {
		n := map[string]int64{"&": x.n & y.n, "|": x.n | y.n, "^": x.n ^ y.n}[op]
		return Bool(n == 1), nil
	}
	if x.kind == KindFloat || y.kind == KindFloat || op == "/" {
		return floatArithmetic(op, x, y)
	}
	a, b := x.n, y.n
	over := unsupported("a number beyond 64 bits is not modelled")
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return Int(c), nil
		}
		return Value{}, over
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return Int(c), nil
		}
		return Value{}, over
	case "*":
		neg := (a < 0) != (b < 0)
		hi, lo := bits.Mul64(abs(a), abs(b))
		if hi != 0 || lo > math.MaxInt64 {
			return Value{}, over
		}
		if neg {
			return Int(-int64(lo)), nil
		}
		return Int(int64(lo)), nil
	case "//", "%":
		return divide(op, a, b)
	case "&":
		return Int(a & b), nil
	case "|":
		return Int(a | b), nil
	case "^":
		return Int(a ^ b), nil
	case "<<", ">>":
		return shift(op, a, b)
	case "**":
		return power(a, b)
	}
	return Value{}, raise("TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op, x.typeName(), y.typeName())
}

// divide rounds towards minus infinity, and the remainder has b's sign.
func divide(op string, a, b int64) (Value, error) {
	if b == 0 {
		if op == "%" {
			return Value{}, raise("ZeroDivisionError", "integer modulo by zero")
		}
		return Value{}, raise("ZeroDivisionError", "integer division or modulo by zero")
	}
	if b == -1 {
		if op == "%" {
			return Int(0), nil
		}
		return arithmetic("*", Int(a), Int(-1))
	}
	q, r := a/b, a%b
	if r != 0 && (r < 0) != (b < 0) {
		q, r = q-1, r+b
	}
	if op == "%" {
		return Int(r), nil
	}
	return Int(q), nil
}

func abs(n int64) uint64 {
	if n < 0 {
		return uint64(-(n + 1)) + 1
	}
	return uint64(n)
}

func shift(op string, a, b int64) (Value, error) {
	switch {
	case b < 0:
		return Value{}, raise("ValueError", "negative shift count")
	case op == ">>":
		return Int(a >> min(b, 63)), nil
	case a != 0 && (b > 62 || a<<b>>b != a):
		return Value{}, unsupported("a number beyond 64 bits is not modelled")
	}
	return Int(a << min(b, 63)), nil
}

func power(a, b int64) (Value, error) {
	if b < 0 {
		return Value{}, unsupported("a negative power is not modelled")
	}
	out := Int(1)
	for range b {
		var err error
		if out, err = arithmetic("*", out, Int(a)); err != nil {
			return Value{}, err
		}
		if a == 0 || a == 1 {
			break
		}
		if a == -1 {
			return Int(1 - 2*(b%2)), nil
		}
	}
	return out, nil
}

func floatArithmetic(op string, x, y Value) (Value, error) {
	a, b := x.number(), y.number()
	exact := func(v Value) bool { return v.kind == KindFloat || v.n == int64(float64(v.n)) }
	if !exact(x) || !exact(y) {
		return Value{}, unsupported("a number beyond 53 bits is not modelled as a float")
	}
	switch op {
	case "+":
		return Float(a + b), nil
	case "-":
		return Float(a - b), nil
	case "*":
		return Float(a * b), nil
	case "/":
		if b == 0 {
			if x.kind == KindFloat || y.kind == KindFloat {
				return Value{}, raise("ZeroDivisionError", "float division by zero")
			}
			return Value{}, raise("ZeroDivisionError", "division by zero")
		}
		return Float(a / b), nil
	}
	return Value{}, unsupported("%s of floats is not modelled", op)
}

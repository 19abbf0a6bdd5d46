package pyexpr

import (
	"strconv"
	"strings"
)

// format is "text" % value for %s, %d, %i, %r and %% without width: what
// metadata uses.
func format(f string, v Value) (Value, error) {
	args := []Value{v}
	if v.kind == Tuple {
		args = v.items
	}
	if v.kind == Dict {
		return Value{}, unsupported("%% with a dict is not modelled")
	}
	var b strings.Builder
	used := 0
	for {
		i := strings.IndexByte(f, '%')
		if i < 0 {
			break
		}
		b.WriteString(f[:i])
		if i+1 == len(f) {
			return Value{}, raise("ValueError", "incomplete format")
		}
		verb := f[i+1]
		f = f[i+2:]
		if verb == '%' {
			b.WriteByte('%')
			continue
		}
		if verb != 's' && verb != 'd' && verb != 'i' && verb != 'r' {
			return Value{}, unsupported("the format %%%c is not modelled", verb)
		}
		if used == len(args) {
			return Value{}, raise("TypeError", "not enough arguments for format string")
		}
		x := args[used]
		used++
		if err := formatOne(&b, verb, x); err != nil {
			return Value{}, err
		}
		if b.Len() > maxText {
			return Value{}, unsupported("a text grew over %d bytes", maxText)
		}
	}
	b.WriteString(f)
	if used < len(args) && (v.kind == Tuple || v.kind != List && v.kind != Object) {
		return Value{}, raise("TypeError", "not all arguments converted during string formatting")
	}
	return Str(b.String()), nil
}

func formatOne(b *strings.Builder, verb byte, x Value) error {
	switch verb {
	case 's':
		s, err := x.String()
		b.WriteString(s)
		return err
	case 'r':
		return x.repr(b, 0)
	}
	n, ok := x.Int64()
	if x.kind == KindFloat {
		n, ok = int64(x.f), x.f > -1e15 && x.f < 1e15
	}
	if !ok {
		if x.kind == KindFloat || x.kind == Object {
			return unsupported("%%%c of %s is not modelled", verb, x.describe())
		}
		return raise("TypeError", "%%%c format: a real number is required, not %s", verb, x.typeName())
	}
	b.WriteString(strconv.FormatInt(n, 10))
	return nil
}

package pyexpr

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

type builtin func(m *machine, args []Value, kw map[string]Value) (Value, error)

// builtins are the functions of Python that are modelled. They are found
// before variables: BitBake keeps the names of builtins from being variables.
var builtins = map[string]builtin{
	"all": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return quantify("all", args, kw, false)
	},
	"any": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return quantify("any", args, kw, true)
	},
	"bool": toBool,
	"dict": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return emptyOnly("dict", Dict, args, kw)
	},
	"float": toFloat,
	"int":   toInt,
	"len":   length,
	"list": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return collect("list", List, args, kw)
	},
	"max": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return extreme("max", ">", args, kw)
	},
	"min": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return extreme("min", "<", args, kw)
	},
	"set": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return collect("set", Set, args, kw)
	},
	"sorted": sorted,
	"str":    toStr,
	"tuple": func(_ *machine, args []Value, kw map[string]Value) (Value, error) {
		return collect("tuple", Tuple, args, kw)
	},
}

func quantify(name string, args []Value, kw map[string]Value, stop bool) (Value, error) {
	a := &arguments{name + "()", args, kw}
	if err := a.done(nil, 1, 1); err != nil {
		return Value{}, err
	}
	items := args[0].items
	if args[0].kind != Set { // the order of a set does not matter here
		var err error
		if items, err = iterate(args[0]); err != nil {
			return Value{}, err
		}
	}
	for _, x := range items {
		if x.True() == stop {
			return Bool(stop), nil
		}
	}
	return Bool(!stop), nil
}

func toBool(_ *machine, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{"bool()", args, kw}
	if err := a.done(nil, 0, 1); err != nil || len(args) == 0 {
		return Bool(false), err
	}
	return Bool(args[0].True()), nil
}

func emptyOnly(name string, kind Kind, args []Value, kw map[string]Value) (Value, error) {
	if len(args)+len(kw) > 0 {
		return Value{}, unsupported("%s() with arguments is not modelled", name)
	}
	return Value{kind: kind}, nil
}

func collect(name string, kind Kind, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{name + "()", args, kw}
	if err := a.done(nil, 0, 1); err != nil || len(args) == 0 {
		return Value{kind: kind}, err
	}
	if kind == Set && args[0].kind == Set {
		return args[0], nil
	}
	items, err := iterate(args[0])
	if err != nil {
		return Value{}, err
	}
	if kind == Set {
		return newSet(items)
	}
	return Value{kind: kind, items: items}, nil
}

func extreme(name, op string, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{name + "()", args, kw}
	if err := a.done(nil, 1, maxItems); err != nil {
		return Value{}, err
	}
	items := args
	if len(args) == 1 {
		items = args[0].items
		if args[0].kind != Set {
			var err error
			if items, err = iterate(args[0]); err != nil {
				return Value{}, err
			}
		}
	}
	if len(items) == 0 {
		return Value{}, raise("ValueError", "%s() arg is an empty sequence", name)
	}
	best := items[0]
	for _, x := range items[1:] {
		ok, err := order(op, x, best)
		if err != nil {
			return Value{}, err
		}
		if ok {
			best = x
		}
	}
	return best, nil
}

func length(_ *machine, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{"len()", args, kw}
	if err := a.done(nil, 1, 1); err != nil {
		return Value{}, err
	}
	switch v := args[0]; v.kind {
	case KindStr:
		return Int(int64(runeLen(v.s))), nil
	case List, Tuple, Set, Dict:
		return Int(int64(len(v.items))), nil
	case Object, Iterator:
		return Value{}, unsupported("the length of %s is not modelled", v.describe())
	default:
		return Value{}, raise("TypeError", "object of type '%s' has no len()", v.typeName())
	}
}

func sorted(_ *machine, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{"sorted()", args, kw}
	if err := a.done(nil, 1, 1); err != nil {
		return Value{}, err
	}
	items := args[0].items
	if args[0].kind != Set {
		var err error
		if items, err = iterate(args[0]); err != nil {
			return Value{}, err
		}
	}
	items, err := sortedStrings(items)
	return Value{kind: List, items: items}, err
}

func toStr(_ *machine, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{"str()", args, kw}
	if len(args) > 1 {
		return Value{}, unsupported("str() with an encoding is not modelled")
	}
	if err := a.done(nil, 0, 1); err != nil || len(args) == 0 {
		return Str(""), err
	}
	s, err := args[0].String()
	return Str(s), err
}

// number reads the text of int() or float(): blanks around, single
// underscores between digits.
func numberText(s string) (string, bool) {
	s = strings.TrimFunc(s, IsSpace)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") {
		return "", false
	}
	return strings.ReplaceAll(s, "_", ""), true
}

func toInt(_ *machine, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{"int()", args, kw}
	base, err := a.integer(1, 10)
	if err := a.done(err, 0, 2); err != nil || len(args) == 0 {
		return Int(0), err
	}
	switch v := args[0]; v.kind {
	case KindInt, KindBool:
		if len(args) == 2 {
			return Value{}, raise("TypeError", "int() can't convert non-string with explicit base")
		}
		return Int(v.n), nil
	case KindFloat:
		if math.IsNaN(v.f) || math.Abs(v.f) >= 1<<62 {
			return Value{}, unsupported("int() of %s is not modelled", floatRepr(v.f))
		}
		return Int(int64(v.f)), nil
	case KindStr:
		return parseInt(v, base)
	case Object, Iterator:
		return Value{}, unsupported("int() of %s is not modelled", v.describe())
	default:
		return Value{}, raise("TypeError", "int() argument must be a string, a bytes-like object or a real number, not '%s'", v.typeName())
	}
}

func parseInt(v Value, base int64) (Value, error) {
	if base != 10 && base != 16 && base != 8 && base != 2 {
		return Value{}, unsupported("int() with base %d is not modelled", base)
	}
	s, ok := numberText(v.s)
	if base != 10 {
		prefix := map[int64]string{16: "0x", 8: "0o", 2: "0b"}[base]
		if rest, cut := strings.CutPrefix(strings.ToLower(s), prefix); cut {
			s = rest
		}
	}
	n, err := strconv.ParseInt(s, int(base), 64)
	if ok && err == nil {
		return Int(n), nil
	}
	for _, r := range v.s {
		if r > 0x7f && unicode.IsDigit(r) {
			return Value{}, unsupported("int() of digits outside ASCII is not modelled")
		}
	}
	if ne, is := err.(*strconv.NumError); ok && is && ne.Err == strconv.ErrRange { //nolint:errorlint // strconv documents this type
		return Value{}, unsupported("a number beyond 64 bits is not modelled")
	}
	quoted := &strings.Builder{}
	quoteTo(quoted, v.s)
	return Value{}, raise("ValueError", "invalid literal for int() with base %d: %s", base, quoted)
}

func toFloat(_ *machine, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{"float()", args, kw}
	if err := a.done(nil, 0, 1); err != nil || len(args) == 0 {
		return Float(0), err
	}
	v := args[0]
	if v.isNumber() {
		return Float(v.number()), nil
	}
	if v.kind != KindStr {
		return Value{}, raise("TypeError", "float() argument must be a string or a real number, not '%s'", v.typeName())
	}
	s, ok := numberText(v.s)
	if ok && strings.Trim(s, "+-.0123456789eE") == "" {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return Float(f), nil
		}
	} else if ok && strings.Trim(strings.ToLower(s), "+-infatyINFATY") == "" {
		return Value{}, unsupported("float() of %q is not modelled", v.s)
	}
	if strings.ContainsFunc(v.s, func(r rune) bool { return r > 0x7f && unicode.IsDigit(r) }) {
		return Value{}, unsupported("float() of digits outside ASCII is not modelled")
	}
	return Value{}, raise("ValueError", "could not convert string to float: '%s'", v.s)
}

// pyBuiltins are the other public names of Python's builtins module: they
// exist, so using one is no NameError.
var pyBuiltins = words("ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError " +
	"BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError " +
	"ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning " +
	"EnvironmentError Exception ExceptionGroup FileExistsError FileNotFoundError FloatingPointError FutureWarning " +
	"GeneratorExit IOError ImportError ImportWarning IndentationError IndexError InterruptedError IsADirectoryError " +
	"KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError " +
	"NotImplemented NotImplementedError OSError OverflowError PendingDeprecationWarning PermissionError " +
	"ProcessLookupError RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration " +
	"StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError TypeError UnboundLocalError " +
	"UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning ValueError " +
	"Warning ZeroDivisionError abs aiter anext ascii bin breakpoint bytearray bytes callable chr classmethod compile " +
	"complex copyright credits delattr dir divmod enumerate eval exec exit filter format frozenset getattr globals " +
	"hasattr hash help hex id input isinstance issubclass iter license locals map memoryview next object oct open ord " +
	"pow print property quit range repr reversed round setattr slice staticmethod sum super type vars zip")

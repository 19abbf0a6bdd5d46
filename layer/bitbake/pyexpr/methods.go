package pyexpr

import (
	"strings"
	"unicode/utf8"
)

// strMethods are the methods of str that are modelled. otherStrMethods exist
// in Python and are not; any other attribute of a str is an AttributeError.
var strMethods = map[string]func(s string, a *arguments) (Value, error){
	"capitalize": nil, // by asciiCase
	"count":      strCount,
	"endswith":   func(s string, a *arguments) (Value, error) { return affix(s, a, strings.HasSuffix) },
	"find":       func(s string, a *arguments) (Value, error) { return find(s, a, strings.Index) },
	"isalpha":    nil,
	"isdigit":    isDigits,
	"join":       join,
	"lower":      nil,
	"lstrip":     func(s string, a *arguments) (Value, error) { return strip(s, a, true, false) },
	"partition":  func(s string, a *arguments) (Value, error) { return partition(s, a, strings.Index, false) },
	"replace":    replace,
	"removeprefix": func(s string, a *arguments) (Value, error) {
		p, err := a.text(0)
		return Str(strings.TrimPrefix(s, p)), a.done(err, 1, 1)
	},
	"removesuffix": func(s string, a *arguments) (Value, error) {
		p, err := a.text(0)
		return Str(strings.TrimSuffix(s, p)), a.done(err, 1, 1)
	},
	"rfind":      func(s string, a *arguments) (Value, error) { return find(s, a, strings.LastIndex) },
	"rpartition": func(s string, a *arguments) (Value, error) { return partition(s, a, strings.LastIndex, true) },
	"rsplit":     func(s string, a *arguments) (Value, error) { return split(s, a, true) },
	"rstrip":     func(s string, a *arguments) (Value, error) { return strip(s, a, false, true) },
	"split":      func(s string, a *arguments) (Value, error) { return split(s, a, false) },
	"startswith": func(s string, a *arguments) (Value, error) { return affix(s, a, strings.HasPrefix) },
	"strip":      func(s string, a *arguments) (Value, error) { return strip(s, a, true, true) },
	"title":      nil,
	"upper":      nil,
	"zfill":      nil,
}

var otherMethods = map[Kind]map[string]bool{
	KindStr: words("casefold center encode expandtabs format format_map index isalnum isascii isdecimal isidentifier " +
		"islower isnumeric isprintable isspace istitle isupper ljust maketrans rindex rjust splitlines swapcase translate"),
	List:     words("append clear copy extend insert pop remove reverse sort"),
	Tuple:    {},
	Set:      words("add clear copy difference_update discard intersection_update pop remove symmetric_difference symmetric_difference_update update"),
	Dict:     words("clear copy fromkeys pop popitem setdefault update"),
	KindInt:  words("as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes"),
	KindBool: words("as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes"),
	KindNone: {},
}

var modelled = map[Kind]map[string]bool{
	List:  words("count index"),
	Tuple: words("count index"),
	Set:   words("difference intersection isdisjoint issubset issuperset union"),
	Dict:  words("get items keys values"),
}

func words(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}

func hasMethod(v Value, attr string) bool {
	if v.kind == KindStr {
		_, ok := strMethods[attr]
		return ok
	}
	return modelled[v.kind][attr]
}

// missingMethod reports that Python has no such attribute. Attributes with
// two underscores exist in plenty and are left unknown.
func missingMethod(v Value, attr string) bool {
	others, known := otherMethods[v.kind]
	return known && !others[attr] && !hasMethod(v, attr) && !strings.HasPrefix(attr, "__")
}

// arguments are the arguments of one call of a builtin function or method.
type arguments struct {
	what string
	list []Value
	kw   map[string]Value
}

// text is the str argument at i; an absent one is empty.
func (a *arguments) text(i int) (string, error) {
	if i >= len(a.list) {
		return "", nil
	}
	if a.list[i].kind != KindStr {
		if a.list[i].kind == Object || a.list[i].kind == Iterator {
			return "", unsupported("%s with %s is not modelled", a.what, a.list[i].describe())
		}
		return "", raise("TypeError", "%s: a str is needed, not %s", a.what, a.list[i].typeName())
	}
	return a.list[i].s, nil
}

func (a *arguments) integer(i int, def int64) (int64, error) {
	if i >= len(a.list) {
		return def, nil
	}
	n, ok := a.list[i].Int64()
	if !ok {
		return 0, raise("TypeError", "'%s' object cannot be interpreted as an integer", a.list[i].typeName())
	}
	return n, nil
}

// done checks the number of arguments; keywords are only taken by those who
// handled them before.
func (a *arguments) done(err error, least, most int) error {
	switch {
	case err != nil:
		return err
	case len(a.kw) > 0:
		return unsupported("keyword arguments of %s are not modelled", a.what)
	case len(a.list) < least || len(a.list) > most:
		return raise("TypeError", "%s takes %d to %d arguments (%d given)", a.what, least, most, len(a.list))
	}
	return nil
}

func (m *machine) method(x Value, id string, args []Value, kw map[string]Value) (Value, error) {
	a := &arguments{what: x.typeName() + "." + id + "()", list: args, kw: kw}
	switch x.kind {
	case KindStr:
		if fn := strMethods[id]; fn != nil {
			return fn(x.s, a)
		}
		return asciiCase(x.s, id, a)
	case List, Tuple:
		if err := a.done(nil, 1, 1); err != nil {
			return Value{}, err
		}
		n := int64(0)
		for i, y := range x.items {
			same, err := equal(y, args[0])
			if err != nil {
				return Value{}, err
			}
			if same && id == "index" {
				return Int(int64(i)), nil
			}
			if same {
				n++
			}
		}
		if id == "index" {
			return Value{}, raise("ValueError", "the value is not in the %s", x.typeName())
		}
		return Int(n), nil
	case Set:
		return setMethod(x, id, a)
	case Dict:
		return dictMethod(x, id, a)
	}
	return Value{}, unsupported("%s is not modelled", a.what)
}

func setMethod(x Value, id string, a *arguments) (Value, error) {
	if err := a.done(nil, 0, maxItems); err != nil {
		return Value{}, err
	}
	ops := map[string]string{"difference": "-", "intersection": "&", "union": "|"}
	if ops[id] == "" && len(a.list) != 1 {
		return Value{}, raise("TypeError", "%s takes exactly one argument (%d given)", a.what, len(a.list))
	}
	out := x
	for _, arg := range a.list {
		if arg.kind != Set {
			items, err := iterate(arg)
			if err != nil {
				return Value{}, err
			}
			if arg, err = newSet(items); err != nil {
				return Value{}, err
			}
		}
		var ok bool
		var err error
		switch id {
		case "issubset":
			ok, err = subset(x, arg)
			return Bool(ok), err
		case "issuperset":
			ok, err = subset(arg, x)
			return Bool(ok), err
		case "isdisjoint":
			both, err := setOp("&", x, arg)
			return Bool(len(both.items) == 0), err
		}
		if out, err = setOp(ops[id], out, arg); err != nil {
			return Value{}, err
		}
	}
	return out, nil
}

func dictMethod(x Value, id string, a *arguments) (Value, error) {
	switch id {
	case "get":
		if err := a.done(nil, 1, 2); err != nil {
			return Value{}, err
		}
		i, err := indexOf(x.items, a.list[0])
		switch {
		case err != nil:
			return Value{}, err
		case i >= 0:
			return x.vals[i], nil
		case len(a.list) == 2:
			return a.list[1], nil
		}
		return None(), nil
	case "keys":
		return Value{kind: Iterator, items: x.items}, a.done(nil, 0, 0)
	case "values":
		return Value{kind: Iterator, items: x.vals}, a.done(nil, 0, 0)
	}
	items := make([]Value, len(x.items))
	for i := range items {
		items[i] = Seq(Tuple, []Value{x.items[i], x.vals[i]})
	}
	return Value{kind: Iterator, items: items}, a.done(nil, 0, 0)
}

// asciiCase holds the methods that depend on Unicode tables, whose version
// differs between Pythons: they are modelled for ASCII.
func asciiCase(s, id string, a *arguments) (Value, error) {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return Value{}, unsupported("%s of a text outside ASCII is not modelled", a.what)
		}
	}
	if id == "zfill" {
		n, err := a.integer(0, 0)
		if err := a.done(err, 1, 1); err != nil {
			return Value{}, err
		}
		if n > maxText {
			return Value{}, unsupported("a text grew over %d bytes", maxText)
		}
		sign := ""
		if s != "" && (s[0] == '+' || s[0] == '-') {
			sign, s = s[:1], s[1:]
		}
		return Str(sign + strings.Repeat("0", max(0, int(n)-len(s)-len(sign))) + s), nil
	}
	if err := a.done(nil, 0, 0); err != nil {
		return Value{}, err
	}
	letter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
	switch id {
	case "lower":
		return Str(strings.ToLower(s)), nil
	case "upper":
		return Str(strings.ToUpper(s)), nil
	case "isalpha":
		for i := range len(s) {
			if !letter(s[i]) {
				return Bool(false), nil
			}
		}
		return Bool(s != ""), nil
	}
	b := []byte(strings.ToLower(s))
	for i, c := range b {
		if letter(c) && (i == 0 || id == "title" && !letter(b[i-1])) {
			b[i] = c - 0x20
		}
	}
	return Str(string(b)), nil
}

func isDigits(s string, a *arguments) (Value, error) {
	for _, r := range s {
		if r >= utf8.RuneSelf {
			return Value{}, unsupported("%s of a text outside ASCII is not modelled", a.what)
		}
		if r < '0' || r > '9' {
			return Bool(false), a.done(nil, 0, 0)
		}
	}
	return Bool(s != ""), a.done(nil, 0, 0)
}

func strCount(s string, a *arguments) (Value, error) {
	sub, err := a.text(0)
	if err := a.done(err, 1, 1); err != nil {
		return Value{}, err
	}
	return Int(int64(strings.Count(s, sub))), nil
}

func affix(s string, a *arguments, has func(s, x string) bool) (Value, error) {
	if len(a.list) > 1 {
		return Value{}, unsupported("%s with a range is not modelled", a.what)
	}
	if len(a.list) == 1 && a.list[0].kind == Tuple {
		for _, x := range a.list[0].items {
			if x.kind != KindStr {
				return Value{}, raise("TypeError", "%s: a tuple of str is needed", a.what)
			}
			if has(s, x.s) {
				return Bool(true), a.done(nil, 1, 1)
			}
		}
		return Bool(false), a.done(nil, 1, 1)
	}
	x, err := a.text(0)
	return Bool(has(s, x)), a.done(err, 1, 1)
}

func find(s string, a *arguments, index func(s, sub string) int) (Value, error) {
	if len(a.list) > 1 {
		return Value{}, unsupported("%s with a range is not modelled", a.what)
	}
	sub, err := a.text(0)
	if err := a.done(err, 1, 1); err != nil {
		return Value{}, err
	}
	i := index(s, sub)
	if i > 0 {
		i = runeLen(s[:i])
	}
	return Int(int64(i)), nil
}

func join(sep string, a *arguments) (Value, error) {
	if err := a.done(nil, 1, 1); err != nil {
		return Value{}, err
	}
	items, err := iterate(a.list[0])
	if err != nil {
		return Value{}, err
	}
	parts, size := make([]string, len(items)), 0
	for i, x := range items {
		if x.kind != KindStr {
			if x.kind == Object {
				return Value{}, unsupported("%s with %s is not modelled", a.what, x.describe())
			}
			return Value{}, raise("TypeError", "sequence item %d: expected str instance, %s found", i, x.typeName())
		}
		parts[i] = x.s
		if size += len(x.s) + len(sep); size > maxText {
			return Value{}, unsupported("a text grew over %d bytes", maxText)
		}
	}
	return Str(strings.Join(parts, sep)), nil
}

func partition(s string, a *arguments, index func(s, sub string) int, last bool) (Value, error) {
	sep, err := a.text(0)
	if err := a.done(err, 1, 1); err != nil {
		return Value{}, err
	}
	if sep == "" {
		return Value{}, raise("ValueError", "empty separator")
	}
	i := index(s, sep)
	parts := []Value{Str(s), Str(""), Str("")}
	switch {
	case i >= 0:
		parts = []Value{Str(s[:i]), Str(sep), Str(s[i+len(sep):])}
	case last:
		parts = []Value{Str(""), Str(""), Str(s)}
	}
	return Seq(Tuple, parts), nil
}

func replace(s string, a *arguments) (Value, error) {
	from, err := a.text(0)
	if err != nil {
		return Value{}, err
	}
	to, err := a.text(1)
	if err != nil {
		return Value{}, err
	}
	n, err := a.integer(2, -1)
	if err := a.done(err, 2, 3); err != nil {
		return Value{}, err
	}
	if grow := len(to) - len(from); grow > 0 {
		if hits := int64(strings.Count(s, from)); hits*int64(grow) > maxText {
			return Value{}, unsupported("a text grew over %d bytes", maxText)
		}
	}
	return Str(strings.Replace(s, from, to, int(max(n, -1)))), nil
}

func split(s string, a *arguments, fromRight bool) (Value, error) {
	for i, k := range []string{"sep", "maxsplit"} {
		if v, ok := a.kw[k]; ok && len(a.list) <= i {
			for len(a.list) < i {
				a.list = append(a.list, None())
			}
			a.list = append(a.list, v)
			delete(a.kw, k)
		}
	}
	limit, err := a.integer(1, -1)
	if err := a.done(err, 0, 2); err != nil {
		return Value{}, err
	}
	if len(a.list) == 0 || a.list[0].IsNone() {
		if limit >= 0 {
			return splitSpaceLimit(s, limit, fromRight)
		}
		return Strings(Split(s)...), nil
	}
	sep, err := a.text(0)
	if err != nil {
		return Value{}, err
	}
	if sep == "" {
		return Value{}, raise("ValueError", "empty separator")
	}
	parts := strings.Split(s, sep)
	if limit >= 0 && int64(len(parts))-1 > limit {
		n := int(limit)
		if fromRight {
			cut := len(parts) - n
			parts = append([]string{strings.Join(parts[:cut], sep)}, parts[cut:]...)
		} else {
			parts = append(append([]string{}, parts[:n]...), strings.Join(parts[n:], sep))
		}
	}
	return Strings(parts...), tooMany(len(parts))
}

func splitSpaceLimit(s string, limit int64, fromRight bool) (Value, error) {
	var out []string
	if !fromRight {
		s = strings.TrimLeftFunc(s, IsSpace)
		for ; s != "" && limit > 0; limit-- {
			i := strings.IndexFunc(s, IsSpace)
			if i < 0 {
				break
			}
			out, s = append(out, s[:i]), strings.TrimLeftFunc(s[i:], IsSpace)
		}
		if s != "" {
			out = append(out, s)
		}
		return Strings(out...), nil
	}
	s = strings.TrimRightFunc(s, IsSpace)
	for ; s != "" && limit > 0; limit-- {
		i := strings.LastIndexFunc(s, IsSpace)
		if i < 0 {
			break
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		out, s = append([]string{s[i+n:]}, out...), strings.TrimRightFunc(s[:i], IsSpace)
	}
	if s != "" {
		out = append([]string{s}, out...)
	}
	return Strings(out...), nil
}

func strip(s string, a *arguments, left, right bool) (Value, error) {
	in := IsSpace
	if len(a.list) > 0 && !a.list[0].IsNone() {
		set, err := a.text(0)
		if err != nil {
			return Value{}, err
		}
		in = func(r rune) bool { return strings.ContainsRune(set, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, in)
	}
	if right {
		s = strings.TrimRightFunc(s, in)
	}
	return Str(s), a.done(nil, 0, 1)
}

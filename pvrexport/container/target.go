package container

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/pvkit/pvkit/internal/diag"
)

// target is one row of the table that a definition is: where a value goes,
// how it is read, and the JSON Schema of what may stand there. Decoder, schema
// and reference page all walk the same targets, so none of them can go stale.
type target struct {
	want   string // for messages and the reference: "a list of strings"
	schema map[string]any
	decode func(d *decoder, n *yaml.Node)
	keys   []key // of an object, for the reference
}

// key is a named target in a mapping.
type key struct {
	name     string
	doc      string
	into     target
	required bool
}

// rule is a check of a string, with what a JSON Schema can say about it.
type rule struct {
	pattern string
	hint    string
	enum    []string
}

func matching(pattern, hint string) rule { return rule{pattern: "^(?:" + pattern + ")$", hint: hint} }
func oneOf(words ...string) rule         { return rule{enum: words} }

// text is a string. A number or boolean is not taken for one: YAML readers
// differ in what they make of "no", "1.10" or "012".
func text(p *string, rules ...rule) target {
	t := target{want: "a string", schema: map[string]any{"type": "string"}}
	for _, r := range rules {
		switch {
		case r.enum != nil:
			t.schema["enum"], t.want = r.enum, "one of "+strings.Join(r.enum, ", ")
		default:
			t.schema["pattern"], t.want = r.pattern, r.hint
		}
	}
	t.decode = func(d *decoder, n *yaml.Node) {
		s := d.enter(n, yaml.ScalarNode, t.want)
		switch {
		case s == nil:
		case s.Tag != "!!str":
			hint := ""
			if s.Tag != "!!null" {
				hint = fmt.Sprintf("put it in quotes: %q", s.Value)
			}
			d.errorf(n, hint, "want %s, found %s", t.want, found(s))
		case strings.IndexByte(s.Value, 0) >= 0:
			d.errorf(n, "", "the string holds a NUL byte")
		default:
			*p = s.Value
			d.checkText(n, s.Value, rules)
		}
	}
	return t
}

func (d *decoder) checkText(n *yaml.Node, s string, rules []rule) {
	for _, r := range rules {
		switch {
		case r.enum != nil && !slices.Contains(r.enum, s):
			d.errorf(n, suggest(s, r.enum), "%q is not one of %s", s, strings.Join(r.enum, ", "))
		case r.pattern != "" && !regexp.MustCompile(r.pattern).MatchString(s):
			d.errorf(n, "want "+r.hint, "%q does not fit", s)
		}
	}
}

// suggest is the hint for a word that is nearly one of known.
func suggest(word string, known []string) string {
	if near := diag.Nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// scalar is any scalar as the text that stands in the file.
func scalar(p *string) target {
	return target{
		want: "a string or number", schema: map[string]any{"type": []string{"string", "number", "boolean"}},
		decode: func(d *decoder, n *yaml.Node) {
			if s := d.enter(n, yaml.ScalarNode, "a string or number"); s != nil {
				*p = s.Value
			}
		},
	}
}

func boolean(p *bool) target {
	const want = "true or false"
	return target{
		want: want, schema: map[string]any{"type": "boolean"},
		decode: func(d *decoder, n *yaml.Node) {
			s := d.enter(n, yaml.ScalarNode, want)
			switch {
			case s == nil:
			case s.Tag != "!!bool":
				d.errorf(n, "", "want %s, found %s", want, found(s))
			default:
				*p = strings.EqualFold(s.Value, "true")
			}
		},
	}
}

func integer(p *int64, low, high int64) target {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	return target{
		want: want, schema: map[string]any{"type": "integer", "minimum": low, "maximum": high},
		decode: func(d *decoder, n *yaml.Node) {
			s := d.enter(n, yaml.ScalarNode, want)
			if s == nil {
				return
			}
			v, err := strconv.ParseInt(s.Value, 10, 64)
			if s.Tag != "!!int" || err != nil || v < low || v > high {
				d.errorf(n, "", "want %s, found %s", want, found(s))
				return
			}
			*p = v
		},
	}
}

// list is an ordered list whose items are all alike.
func list[T any](p *[]T, item func(*T) target) target {
	it := item(new(T))
	want := "a list; each item: " + it.want
	if p := plural(it.want); p != it.want {
		want = "a list of " + p
	}
	return target{
		want: want, schema: map[string]any{"type": "array", "items": it.schema}, keys: it.keys,
		decode: func(d *decoder, n *yaml.Node) {
			n = d.enter(n, yaml.SequenceNode, want)
			if n == nil {
				return
			}
			*p = make([]T, 0, min(len(n.Content), 1024))
			for i, c := range n.Content {
				var v T
				d.within(fmt.Sprintf("[%d]", i), c, item(&v))
				*p = append(*p, v)
			}
		},
	}
}

// plural makes "a string" into "strings" and leaves other phrases alone.
func plural(s string) string {
	if rest, ok := strings.CutPrefix(s, "a "); ok && !strings.ContainsAny(rest, " ,:") {
		return rest + "s"
	}
	return s
}

func texts(p *[]string, rules ...rule) target {
	return list(p, func(s *string) target { return text(s, rules...) })
}

// object is a mapping with known keys. at, when not nil, gets its place.
func object(at *diag.Position, keys []key) target {
	props, required := map[string]any{}, []string{}
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		s := map[string]any{"description": k.doc}
		for name, v := range k.into.schema {
			s[name] = v
		}
		props[k.name] = s
		names = append(names, k.name)
		if k.required {
			required = append(required, k.name)
		}
	}
	schema := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		schema["required"] = required
	}
	return target{want: "a mapping", schema: schema, keys: keys, decode: func(d *decoder, n *yaml.Node) {
		want := "a mapping"
		if len(names) <= 8 {
			want += " with the keys " + strings.Join(names, ", ")
		}
		m := d.enter(n, yaml.MappingNode, want)
		if m == nil {
			return
		}
		if at != nil {
			*at = d.position(n)
		}
		d.object(m, keys, names)
	}}
}

func (d *decoder) object(n *yaml.Node, keys []key, names []string) {
	seen := map[string]bool{}
	for _, p := range d.pairs(n) {
		i := slices.Index(names, p.key.Value)
		if i < 0 {
			hint := suggest(p.key.Value, names)
			if hint == "" {
				hint = "known keys: " + strings.Join(names, ", ")
			}
			d.errorf(p.key, hint, "unknown key %q", p.key.Value)
			continue
		}
		seen[p.key.Value] = true
		d.within(p.key.Value, p.value, keys[i].into)
	}
	for _, k := range keys {
		if k.required && !seen[k.name] {
			d.errorf(n, "", "%q is missing", k.name)
		}
	}
}

// choice takes a value in one of two forms, told apart by the node's kind.
func choice(kind yaml.Kind, short, long target) target {
	want := short.want + ", or " + long.want
	keys := long.keys
	if keys == nil {
		keys = short.keys
	}
	return target{
		want: want, schema: map[string]any{"anyOf": []any{short.schema, long.schema}}, keys: keys,
		decode: func(d *decoder, n *yaml.Node) {
			written := n.Kind
			if n.Kind == yaml.AliasNode {
				written = n.Alias.Kind
			}
			switch written {
			case kind:
				short.decode(d, n)
			case yaml.ScalarNode:
				d.errorf(n, "", "want %s, found %s", want, found(n))
			default:
				long.decode(d, n)
			}
		},
	}
}

// documents is a mapping of names to any values that JSON can hold, for what is
// handed through to a template argument: map[string]any, []any, string,
// json.Number, bool, nil.
func documents(p *map[string]any) target {
	return target{
		want: "a mapping", schema: map[string]any{"type": "object"},
		decode: func(d *decoder, n *yaml.Node) {
			if m := d.enter(n, yaml.MappingNode, "a mapping"); m != nil {
				d.nodes--
				*p, _ = d.document(m).(map[string]any)
			}
		},
	}
}

func (d *decoder) document(n *yaml.Node) any {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.enter(n, n.Kind, "") == nil {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for _, p := range d.pairs(n) {
			d.path = append(d.path, p.key.Value)
			m[p.key.Value] = d.document(p.value)
			d.path = d.path[:len(d.path)-1]
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, 0, min(len(n.Content), 1024))
		for i, c := range n.Content {
			d.path = append(d.path, fmt.Sprintf("[%d]", i))
			l = append(l, d.document(c))
			d.path = d.path[:len(d.path)-1]
		}
		return l
	}
	return d.scalarValue(n)
}

var octalLooking = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

// scalarValue gives a scalar as JSON knows it. Numbers keep the digits that
// stand in the file where JSON allows them.
func (d *decoder) scalarValue(n *yaml.Node) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if octalLooking.MatchString(n.Value) {
			d.errorf(n, fmt.Sprintf("write %q for text, or the number without the zero", n.Value), "%s is octal for some readers of YAML and decimal for others", n.Value)
			return nil
		}
		var num json.Number
		if json.Unmarshal([]byte(n.Value), &num) == nil {
			return num
		}
		var i int64
		var f float64
		if n.Decode(&i) == nil {
			return json.Number(strconv.FormatInt(i, 10))
		}
		if n.Decode(&f) == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
		}
		d.errorf(n, "put it in quotes if it is text", "%s is a number that JSON cannot hold", n.Value)
		return nil
	case "!!str":
		return n.Value
	}
	d.errorf(n, "put it in quotes", "%s has the type %s, which JSON does not know", n.Value, n.Tag)
	return nil
}

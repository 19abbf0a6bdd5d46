package manifest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Type is the kind of value that an argument takes.
type Type int

// The types of arguments.
const (
	Bool     Type = iota + 1 // true or false, or a word for it
	Number                   // a whole number, as a number or as text
	Text                     // one line of text
	RawText                  // any number of lines
	Choice                   // one of Argument.Values
	List                     // a list of texts
	TextList                 // texts with commas between them
	PairList                 // "from:to" texts with commas between them
	Object                   // an object
	Objects                  // a list of objects
	Services                 // a list of service requirements, or their names with commas between them
	AnyValue                 // any JSON
)

var typeNames = map[Type]string{
	Bool:     "a boolean (true, yes, on, 1 or false, no, off, 0)",
	Number:   "a whole number",
	Text:     "a text",
	RawText:  "a text",
	Choice:   "one of these words",
	List:     "a list of strings",
	TextList: `a text "one,two"`,
	PairList: `a text "from:to,from:to"`,
	Object:   "an object",
	Services: `a list of objects {"name": ...}, or a text "one,two"`,
	AnyValue: "any value",
}

func (t Type) String() string { return typeNames[t] }

// Argument describes one template argument.
type Argument struct {
	Name    string
	Type    Type
	Values  []string // of a Choice; of a List, the known words
	Default string   // in words, "" when leaving it out has no effect
	Effect  string   // the line or key it makes
	Doc     string   // what it is for
	// Since is the pvr release that brought it, "" for pvr of April 2023.
	Since      string
	Deprecated string // what to use instead
}

// argument is a row of the table: what is public, and what only this package
// needs to check a value beyond its type.
type argument struct {
	Argument
	check func(c *checker, path string, value any)
	// emptyCounts says that an empty value is not the same as none: an empty
	// part of lxc.mount.auto switches that mount off, an empty list of roles
	// reads like "no rights".
	emptyCounts bool
}

// Arguments returns the table of all known arguments, in the order of their
// names.
func Arguments() []Argument {
	list := make([]Argument, len(table))
	for i, a := range table {
		list[i] = a.Argument
		list[i].Values = slices.Clone(a.Values)
	}
	return list
}

// find returns the row of name, nil when there is none.
func find(name string) *argument {
	i, ok := slices.BinarySearchFunc(table, name, func(a argument, n string) int { return strings.Compare(a.Name, n) })
	if !ok {
		return nil
	}
	return &table[i]
}

func names() []string {
	list := make([]string, len(table))
	for i, a := range table {
		list[i] = a.Name
	}
	return list
}

// arguments checks the given arguments against the table and returns those
// that are set, in their normal form.
func (c *checker) arguments(given map[string]any) values {
	vs := values{}
	for _, name := range sortedKeys(given) {
		path := "args." + name
		a := find(name)
		if a == nil {
			c.report(ruleUnknown, diag.Warning, path, shorten(name)+" is not a template argument and has no effect", nearest(name, names()))
			continue
		}
		if a.Deprecated != "" {
			c.report(ruleDeprecated, diag.Warning, path, name+" is deprecated", a.Deprecated)
		}
		v, ok := c.read(a, path, given[name])
		if !ok || v == nil {
			continue
		}
		if a.check != nil {
			a.check(c, path, v)
		}
		vs[name] = v
	}
	return vs
}

// values are arguments in their normal form: bool for Bool, string for Number,
// Text, RawText and Choice, []string for List and TextList, []pair for
// PairList, []requirement for Services, and plain JSON for the rest.
type values map[string]any

func (v values) has(name string) bool         { _, ok := v[name]; return ok }
func (v values) yes(name string) bool         { b, _ := v[name].(bool); return b }
func (v values) list(name string) []string    { l, _ := v[name].([]string); return l }
func (v values) pairs(name string) []pair     { l, _ := v[name].([]pair); return l }
func (v values) text(name string) string      { return v.textOr(name, "") }
func (v values) needs(n string) []requirement { l, _ := v[n].([]requirement); return l }

func (v values) textOr(name, fallback string) string {
	if s, ok := v[name].(string); ok {
		return s
	}
	return fallback
}

// pair is one "from:to" of a PairList.
type pair struct{ from, to string }

// read turns a given value into its normal form. It reports what does not fit
// and returns false then; nil means "not set".
func (c *checker) read(a *argument, path string, v any) (any, bool) {
	wrong := func(hint string) (any, bool) {
		c.report(ruleType, diag.Error, path, fmt.Sprintf("%s: got %s, want %s", a.Name, describe(v), a.Type), hint)
		return nil, false
	}
	if v == nil {
		return nil, true
	}
	s, isText := v.(string)
	switch a.Type {
	case Bool:
		if b, ok := boolean(v); ok {
			return b, true
		}
		if isText && s == "" {
			return nil, true
		}
		return wrong("")
	case Number:
		if n, ok := number(v); ok {
			return n, true
		}
		return wrong("")
	case Text, RawText, Choice, TextList, PairList:
		if !isText {
			return wrong(textHint(v))
		}
		return c.readText(a, path, s)
	case List:
		return c.readList(a, path, v, wrong)
	case Services:
		return c.readRequirements(a.Name, path, v, wrong)
	case Object:
		m, ok := v.(map[string]any)
		if !ok {
			return wrong("")
		}
		if len(m) == 0 {
			return nil, true
		}
	case AnyValue:
		if empty(v) {
			return nil, true
		}
	}
	return v, true
}

// readText reads the types that are written as text.
func (c *checker) readText(a *argument, path, s string) (any, bool) {
	if s == "" && !a.emptyCounts {
		return nil, true
	}
	switch a.Type {
	case Choice:
		if slices.Contains(a.Values, s) {
			return s, true
		}
		hint := nearest(s, a.Values)
		if i := slices.IndexFunc(a.Values, func(v string) bool { return strings.EqualFold(v, s) }); i >= 0 {
			hint = "did you mean " + a.Values[i] + "?"
		}
		c.report(ruleValue, diag.Error, path, fmt.Sprintf("%s: got %q, want one of %s", a.Name, s, strings.Join(a.Values, ", ")), hint)
		return nil, false
	case TextList:
		return c.splitWords(a.Name, path, s)
	case PairList:
		return c.splitPairs(a.Name, path, s)
	}
	return s, true
}

func (c *checker) readList(a *argument, path string, v any, wrong func(string) (any, bool)) (any, bool) {
	list, ok := v.([]any)
	if !ok {
		if s, isText := v.(string); isText {
			return wrong(fmt.Sprintf("write [%q]", s))
		}
		return wrong("")
	}
	out := make([]string, len(list))
	for i, e := range list {
		s, isText := e.(string)
		if !isText || s == "" {
			c.report(ruleType, diag.Error, path, fmt.Sprintf("%s: element %d is %s, want a text", a.Name, i+1, describe(e)), "")
			return nil, false
		}
		out[i] = s
	}
	if len(out) == 0 && !a.emptyCounts {
		return nil, true
	}
	return out, true
}

func (c *checker) splitWords(name, path, s string) (any, bool) {
	words := strings.Split(s, ",")
	for i, w := range words {
		words[i] = strings.TrimSpace(w)
		if words[i] == "" {
			c.report(ruleValue, diag.Error, path, fmt.Sprintf("%s: %q has an empty part", name, s), "")
			return nil, false
		}
	}
	return words, true
}

func (c *checker) splitPairs(name, path, s string) (any, bool) {
	words, ok := c.splitWords(name, path, s)
	if !ok {
		return nil, false
	}
	var out []pair
	for _, w := range words.([]string) {
		from, to, found := strings.Cut(w, ":")
		if !found || from == "" || to == "" || strings.Contains(to, ":") {
			c.report(ruleValue, diag.Error, path, fmt.Sprintf("%s: got %q, want \"from:to\"", name, w), "")
			return nil, false
		}
		out = append(out, pair{from, to})
	}
	return out, true
}

func textHint(v any) string {
	if list, ok := v.([]any); ok {
		var words []string
		for _, e := range list {
			s, isText := e.(string)
			if !isText {
				return ""
			}
			words = append(words, s)
		}
		return fmt.Sprintf("write %q", strings.Join(words, ","))
	}
	return ""
}

// empty tells what the template's "if" takes as not given.
func empty(v any) bool {
	switch v := v.(type) {
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return v == "" || v == false || v == json.Number("0")
}

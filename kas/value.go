package kas

import (
	"iter"

	"github.com/pvkit/pvkit/internal/diag"
)

// Kind is the type of a Value, as Python sees it.
type Kind uint8

// The kinds.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Timestamp
	List
	Map
)

func (k Kind) String() string {
	return [...]string{"null", "boolean", "integer", "number", "string", "date", "list", "mapping"}[k]
}

// article is the kind in a sentence.
func (k Kind) article() string {
	switch k {
	case Null:
		return "null"
	case Int:
		return "an integer"
	}
	return "a " + k.String()
}

// Value is a node of a configuration. Values are shared between
// configurations and never change.
type Value struct {
	Kind Kind
	// Text is a scalar as Python prints it: "true", "16", "1.5", the string.
	Text  string
	Items []*Value // of a List
	Pos   diag.Position

	entries []*Entry
	index   map[string]int // by identity of the key, for large mappings
	// merged is set on mappings that a merge made. The fork's merge makes
	// OrderedDicts of them, which its dump does not sort.
	merged bool
	block  bool // a string written as a block: its text begins a line further down
	size   int  // nodes, with aliases expanded
}

// Entry is a key of a mapping with its value.
type Entry struct {
	Key, Value *Value
	// Over holds the values that other files had set before, oldest first.
	Over []*Value
	// Dropped holds values of the same key further up in the same mapping,
	// which YAML readers drop without a word.
	Dropped []*Entry

	at *Value // the last of equal keys, where Key is the first
}

// indexFrom is the size from which a mapping keeps an index.
const indexFrom = 12

// All yields the entries of a mapping in order.
func (v *Value) All() iter.Seq2[string, *Value] {
	return func(yield func(string, *Value) bool) {
		for _, e := range v.Entries() {
			if !yield(e.Key.Text, e.Value) {
				return
			}
		}
	}
}

// Entries returns the entries of a mapping in order; nil for anything else.
// The caller must not change them.
func (v *Value) Entries() []*Entry {
	if v == nil || v.Kind != Map {
		return nil
	}
	return v.entries
}

// Entry returns the entry of a string key, nil when there is none.
func (v *Value) Entry(key string) *Entry {
	if v == nil || v.Kind != Map {
		return nil
	}
	if i := v.find("s" + key); i >= 0 {
		return v.entries[i]
	}
	return nil
}

// Get returns the value below a path of string keys, nil when there is none.
func (v *Value) Get(path ...string) *Value {
	for _, key := range path {
		e := v.Entry(key)
		if e == nil {
			return nil
		}
		v = e.Value
	}
	return v
}

// Str returns the text of a string value, "" for anything else.
func (v *Value) Str() string {
	if v == nil || v.Kind != String {
		return ""
	}
	return v.Text
}

// LinePos is the place of a line of a string, counted from 0, as far as it can
// be known: that of a block, else the string's own.
func (v *Value) LinePos(i int) diag.Position {
	if v.block {
		return diag.Position{File: v.Pos.File, Line: v.Pos.Line + 1 + i}
	}
	return v.Pos
}

// Has reports whether a mapping has a string key, with null as value, too.
func (v *Value) Has(key string) bool { return v.Entry(key) != nil }

// find returns the place of a key by its identity, -1 when it is not there.
func (v *Value) find(id string) int {
	if v.index != nil {
		if i, ok := v.index[id]; ok {
			return i
		}
		return -1
	}
	for i, e := range v.entries {
		if e.Key.identity() == id {
			return i
		}
	}
	return -1
}

// put sets a key as Python's dict does: a key that exists keeps its place.
func (v *Value) put(e *Entry) {
	id := e.Key.identity()
	if i := v.find(id); i >= 0 {
		e.Key = v.entries[i].Key
		v.entries[i] = e
		return
	}
	v.entries = append(v.entries, e)
	switch {
	case v.index != nil:
		v.index[id] = len(v.entries) - 1
	case len(v.entries) >= indexFrom:
		v.index = make(map[string]int, 2*indexFrom)
		for i, e := range v.entries {
			v.index[e.Key.identity()] = i
		}
	}
}

// identity is equal for keys that Python holds to be equal: 1, 1.0 and True
// are.
func (v *Value) identity() string {
	switch v.Kind {
	case String:
		return "s" + v.Text
	case Bool:
		if v.Text == "true" {
			return "n1"
		}
		return "n0"
	case Int:
		return "n" + v.Text
	case Float:
		if s, ok := integral(v.Text); ok {
			return "n" + s
		}
		return "n" + v.Text
	case Timestamp:
		return "t" + v.Text
	}
	return "0"
}

// NewMap makes a mapping from keys and values in turn: what a program adds to
// a configuration has no position.
func NewMap(pairs ...*Value) *Value {
	m := &Value{Kind: Map}
	for i := 0; i+1 < len(pairs); i += 2 {
		m.put(&Entry{Key: pairs[i], Value: pairs[i+1]})
	}
	return m
}

// NewString makes a string.
func NewString(s string) *Value { return &Value{Kind: String, Text: s} }

// NewList makes a list.
func NewList(items ...*Value) *Value { return &Value{Kind: List, Items: items} }

// NewBool makes a boolean.
func NewBool(b bool) *Value {
	if b {
		return &Value{Kind: Bool, Text: "true"}
	}
	return &Value{Kind: Bool, Text: "false"}
}

// with returns a copy of a mapping with one key set.
func (v *Value) with(key string, value *Value) *Value {
	c := v.clone()
	e := &Entry{Key: NewString(key), Value: value}
	if old := v.Entry(key); old != nil {
		e.Over = old.Over
	}
	c.put(e)
	return c
}

// without returns a copy of a mapping without a key, v itself if it has none.
func (v *Value) without(key string) *Value {
	if !v.Has(key) {
		return v
	}
	c := &Value{Kind: Map, Pos: v.Pos, merged: v.merged}
	for _, e := range v.entries {
		if e.Key.Kind != String || e.Key.Text != key {
			c.put(e)
		}
	}
	return c
}

// clone copies a mapping, not what is below.
func (v *Value) clone() *Value {
	c := &Value{Kind: Map, Pos: v.Pos, merged: v.merged, entries: make([]*Entry, 0, len(v.entries)+4)}
	for _, e := range v.entries {
		c.put(e)
	}
	return c
}

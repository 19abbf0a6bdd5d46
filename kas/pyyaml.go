package kas

import "fmt"

// node is a node of PyYAML's representation graph. Two occurrences of one
// node become an anchor and an alias.
type node struct {
	kind  nodeKind
	tag   resolved // of a scalar
	text  []rune   // of a scalar
	style byte     // of a scalar: '|' or 0
	items []*node  // of a sequence, or keys and values in turn

	count  int // occurrences
	anchor string
	done   bool
}

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	sequenceNode
	mappingNode
)

// representer turns values into nodes as yaml/representer.py does with the
// Dumper of kas (plugins/dump.py, KasYamlDumper). That dumper handles strings
// and nulls before PyYAML has set its alias key, so that a scalar is
// remembered under the collection around it: shared collections come out
// wrong there, and here.
type representer struct {
	sortAll   bool // sort every mapping
	sortPlain bool // sort mappings that no merge made
	known     map[*Value]*node
	alias     *Value // PyYAML's alias_key
	stock     bool   // a plain yaml.Dumper, not the one of kas
}

func (r *representer) value(v *Value) *node {
	if !r.stock {
		switch v.Kind {
		case String:
			n := &node{tag: plainString, text: []rune(v.Text)}
			for _, c := range n.text {
				if c == '\n' {
					n.style = '|'
				}
			}
			return r.remember(n)
		case Null:
			return r.remember(&node{tag: plainNull})
		case Map:
			// OrderedDicts are handled early as well.
			if v.merged && r.sortPlain && !r.sortAll {
				return r.mapping(v)
			}
		}
	}
	switch v.Kind {
	case List, Map, Timestamp:
		r.alias = v
		if n := r.known[v]; n != nil {
			return n
		}
	default:
		r.alias = nil
	}
	switch v.Kind {
	case List:
		n := r.remember(&node{kind: sequenceNode})
		for _, item := range v.Items {
			n.items = append(n.items, r.value(item))
		}
		return n
	case Map:
		return r.mapping(v)
	}
	return r.remember(r.scalar(v))
}

func (r *representer) remember(n *node) *node {
	if r.alias != nil {
		r.known[r.alias] = n
	}
	return n
}

func (r *representer) scalar(v *Value) *node {
	switch v.Kind {
	case Bool:
		return &node{tag: plainBool, text: []rune(v.Text)}
	case Int:
		return &node{tag: plainInt, text: []rune(v.Text)}
	case Float:
		return &node{tag: plainFloat, text: []rune(yamlFloat(v.Text))}
	case Timestamp:
		return &node{tag: plainTimestamp, text: []rune(v.Text)}
	case Null:
		return &node{tag: plainNull, text: []rune("null")}
	}
	n := &node{tag: plainString, text: []rune(v.Text)}
	if len(splitLines(v.Text)) > 1 {
		n.style = '|' // the representer of `kas menu`
	}
	return n
}

func (r *representer) mapping(v *Value) *node {
	n := r.remember(&node{kind: mappingNode})
	entries := v.entries
	if r.sortAll || r.sortPlain && !v.merged {
		entries = sortedEntries(entries)
	}
	for _, e := range entries {
		n.items = append(n.items, r.value(e.Key))
		n.items = append(n.items, r.value(e.Value))
	}
	return n
}

// emitYAML writes a value as yaml.dump does.
func (r *representer) emit(v *Value, indent int) string {
	r.known = map[*Value]*node{}
	root := r.value(v)
	last := 0
	var count func(n *node)
	count = func(n *node) {
		n.count++
		if n.count == 2 {
			last++
			n.anchor = fmt.Sprintf("id%03d", last)
		}
		if n.count > 1 {
			return
		}
		for _, item := range n.items {
			count(item)
		}
	}
	count(root)
	e := newEmitter(indent)
	e.document(root)
	return e.out.String()
}

// yamlFloat is a float as PyYAML writes it.
func yamlFloat(text string) string {
	switch text {
	case "nan":
		return ".nan"
	case "inf":
		return ".inf"
	case "-inf":
		return "-.inf"
	}
	dot := false
	for i, c := range text {
		dot = dot || c == '.'
		if c == 'e' && !dot {
			return text[:i] + ".0" + text[i:]
		}
	}
	return text
}

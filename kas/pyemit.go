package kas

import (
	"strings"
)

// emitter writes nodes as yaml/emitter.py does, in block style, 80 columns
// wide, ASCII only. It tells apart what PyYAML tells apart: whether the last
// character was white space, and whether it was part of an indentation.
type emitter struct {
	out        strings.Builder
	best       int // spaces for each level
	indent     int // -1 outside of the document
	column     int
	whitespace bool
	indention  bool
	openEnded  bool
}

const bestWidth = 80

func newEmitter(indent int) *emitter {
	best := 2
	if indent > 1 && indent < 10 {
		best = indent
	}
	return &emitter{best: best, indent: -1, whitespace: true, indention: true}
}

// position says where a node stands.
type position struct {
	root, mapping, key bool
}

func (e *emitter) document(n *node) {
	// Two collections in one another never make an empty first scalar, so
	// the document start stays implicit.
	e.node(n, position{root: true})
	e.writeIndent()
	if e.openEnded {
		e.indicator("...", true, false, false)
		e.writeIndent()
	}
}

func (e *emitter) node(n *node, at position) {
	if n.done {
		e.indicator("*"+n.anchor, true, false, false)
		return
	}
	n.done = true
	if n.anchor != "" {
		e.indicator("&"+n.anchor, true, false, false)
	}
	switch n.kind {
	case scalarNode:
		e.scalar(n, at)
	case sequenceNode:
		if len(n.items) == 0 {
			e.indicator("[", true, true, false)
			e.indicator("]", false, false, false)
			return
		}
		e.sequence(n, at)
	case mappingNode:
		if len(n.items) == 0 {
			e.indicator("{", true, true, false)
			e.indicator("}", false, false, false)
			return
		}
		e.mapping(n)
	}
}

// push increases the indentation and returns what it was.
func (e *emitter) push(flow, indentless bool) int {
	old := e.indent
	switch {
	case old < 0 && flow:
		e.indent = e.best
	case old < 0:
		e.indent = 0
	case !indentless:
		e.indent += e.best
	}
	return old
}

func (e *emitter) sequence(n *node, at position) {
	old := e.push(false, at.mapping && !e.indention)
	for _, item := range n.items {
		e.writeIndent()
		e.indicator("-", true, false, true)
		e.node(item, position{})
	}
	e.indent = old
}

func (e *emitter) mapping(n *node) {
	old := e.push(false, false)
	for i := 0; i < len(n.items); i += 2 {
		key, value := n.items[i], n.items[i+1]
		e.writeIndent()
		if e.simpleKey(key) {
			e.node(key, position{mapping: true, key: true})
			e.indicator(":", false, false, false)
		} else {
			e.indicator("?", true, false, true)
			e.node(key, position{mapping: true})
			e.writeIndent()
			e.indicator(":", true, false, true)
		}
		e.node(value, position{mapping: true})
	}
	e.indent = old
}

// simpleKey decides whether a key goes without "?". PyYAML counts the anchor
// and the tag, too.
func (e *emitter) simpleKey(n *node) bool {
	if n.kind != scalarNode {
		return len(n.items) == 0
	}
	length := len(n.anchor)
	if n.done {
		return length < 128
	}
	a := analyze(n.text)
	length += len(n.tag.long()) + len(n.text)
	return length < 128 && !a.empty && !a.multiline
}

// long is the tag as PyYAML counts it: "!!str".
func (t resolved) long() string {
	return [...]string{"!!str", "!!null", "!!bool", "!!int", "!!float", "!!timestamp", "!!merge", "!!value"}[t]
}

func (e *emitter) scalar(n *node, at position) {
	a := analyze(n.text)
	implicit := resolvePlain(string(n.text)) == n.tag
	style := chooseStyle(n, a, implicit, at.key)
	if style != 0 && n.tag != plainString || style == 0 && !implicit {
		e.indicator(n.tag.long(), true, false, false)
	}
	old := e.push(true, false)
	split := !at.key
	switch style {
	case '"':
		e.doubleQuoted(n.text, split)
	case '\'':
		e.singleQuoted(n.text, split)
	case '|':
		e.literal(n.text)
	default:
		e.plain(n.text, split, at.root)
	}
	e.indent = old
}

// chooseStyle picks plain (0), quotes, or a block.
func chooseStyle(n *node, a analysis, implicit, key bool) byte {
	if n.style == 0 && implicit && (!key || !a.empty && !a.multiline) && a.allowPlain {
		return 0
	}
	if n.style == '|' && !key && a.allowBlock {
		return '|'
	}
	if n.style == 0 && a.allowSingle && (!key || !a.multiline) {
		return '\''
	}
	return '"'
}

func (e *emitter) indicator(s string, needSpace, whitespace, indention bool) {
	if !e.whitespace && needSpace {
		s = " " + s
	}
	e.whitespace = whitespace
	e.indention = e.indention && indention
	e.column += len(s)
	e.openEnded = false
	e.out.WriteString(s)
}

func (e *emitter) writeIndent() {
	indent := max(e.indent, 0)
	if !e.indention || e.column > indent || e.column == indent && !e.whitespace {
		e.lineBreak('\n')
	}
	if e.column < indent {
		e.whitespace = true
		e.out.WriteString(strings.Repeat(" ", indent-e.column))
		e.column = indent
	}
}

func (e *emitter) lineBreak(c rune) {
	e.whitespace, e.indention = true, true
	e.column = 0
	e.out.WriteRune(c)
}

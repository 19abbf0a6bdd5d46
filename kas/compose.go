package kas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/pvkit/pvkit/internal/diag"
)

// Limits of a file. Real ones have a few hundred lines.
const (
	// MaxFileSize is the largest configuration file that is read.
	MaxFileSize = 1 << 20
	// maxNodes bounds what aliases may expand to.
	maxNodes = 1 << 20
	// maxMerged bounds what the merge keys of a mapping bring in.
	maxMerged = 1 << 14
	// maxNesting is about where Python's recursion limit ends PyYAML's composer.
	maxNesting = 250
)

// SyntaxError is a file that is not YAML or JSON.
type SyntaxError struct {
	Pos diag.Position
	Msg string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s: %s", e.Pos, e.Msg) }

// Diagnostic turns the error into a finding.
func (e *SyntaxError) Diagnostic() diag.Diagnostic {
	return diag.Diagnostic{Pos: e.Pos, Severity: diag.Error, Rule: RuleSyntax, Message: e.Msg}
}

// yamlLine finds the line in the reader's own messages.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// ParseYAML reads a document as PyYAML's safe_load does: YAML 1.1 scalars,
// the last of equal keys wins at the place of the first, shared nodes stay
// shared. An empty document is null. The error is a *SyntaxError.
func ParseYAML(name string, src []byte) (*Value, error) {
	if len(src) > MaxFileSize {
		return nil, &SyntaxError{Pos: diag.Position{File: name}, Msg: fmt.Sprintf("the file is larger than %d bytes", MaxFileSize)}
	}
	if err := printable(name, src); err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return &Value{Kind: Null, Pos: diag.Position{File: name, Line: 1, Col: 1}}, nil
	} else if err != nil {
		return nil, yamlError(name, err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return nil, &SyntaxError{Pos: diag.Position{File: name, Line: second.Line, Col: second.Column}, Msg: "a second document begins here: a configuration is one document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(name, err)
	}
	c := composer{name: name, lines: bytes.Split(src, []byte("\n")), done: map[*yaml.Node]*Value{}, open: map[*yaml.Node]bool{}}
	return c.value(doc.Content[0], 0)
}

// yamlError gives the reader's error a position.
func yamlError(name string, err error) error {
	msg := err.Error()
	m := yamlLine.FindStringSubmatch(msg)
	pos := diag.Position{File: name, Line: 1}
	if m != nil {
		if m[1] != "" {
			pos.Line, _ = strconv.Atoi(m[1])
		}
		msg = msg[len(m[0]):]
	}
	return &SyntaxError{Pos: pos, Msg: "not valid YAML: " + msg}
}

// printable refuses the characters that PyYAML's reader refuses, so that the
// message has a position.
func printable(name string, src []byte) error {
	line := 1
	for i, b := range src {
		switch {
		case b == '\n':
			line++
		case b < 0x20 && b != '\t' && b != '\r', b == 0x7f:
			if i < 4 { // the mark of UTF-16 or UTF-32
				return nil
			}
			return &SyntaxError{Pos: diag.Position{File: name, Line: line}, Msg: fmt.Sprintf("not valid YAML: the character 0x%02x is not allowed", b)}
		}
	}
	return nil
}

// composer turns nodes into values. Each node becomes one value, so that
// aliases share it, as they do in Python.
type composer struct {
	name  string
	lines [][]byte
	done  map[*yaml.Node]*Value
	open  map[*yaml.Node]bool // on the way from the root
}

func (c *composer) errorf(n *yaml.Node, format string, args ...any) error {
	return &SyntaxError{Pos: c.pos(n), Msg: fmt.Sprintf(format, args...)}
}

// pos is a node's place. The reader counts characters, a position bytes.
func (c *composer) pos(n *yaml.Node) diag.Position {
	p := diag.Position{File: c.name, Line: n.Line, Col: n.Column}
	if n.Line < 1 || n.Line > len(c.lines) {
		return p
	}
	line, bytes := c.lines[n.Line-1], 0
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(line[bytes:])
		bytes += size
	}
	p.Col = bytes + 1
	return p
}

func (c *composer) value(n *yaml.Node, depth int) (*Value, error) {
	if n.Kind == yaml.AliasNode {
		if c.open[n.Alias] {
			return nil, c.errorf(n, "the alias *%s contains itself", n.Value)
		}
		n = n.Alias
	}
	if v := c.done[n]; v != nil {
		return v, nil
	}
	if depth > maxNesting {
		return nil, c.errorf(n, "nested deeper than %d levels", maxNesting)
	}
	if err := c.tabs(n); err != nil {
		return nil, err
	}
	c.open[n] = true
	v, err := c.node(n, depth)
	delete(c.open, n)
	if err != nil {
		return nil, err
	}
	if v.size > maxNodes {
		return nil, c.errorf(n, "aliases expand to more than %d values", maxNodes)
	}
	v.Pos = c.pos(n)
	c.done[n] = v
	return v, nil
}

// tabs refuses a tab in front of a value, in a plain one, or behind it:
// PyYAML's scanner skips blanks only.
func (c *composer) tabs(n *yaml.Node) error {
	p := c.pos(n)
	if p.Line < 1 || p.Line > len(c.lines) {
		return nil
	}
	l := c.lines[p.Line-1]
	found := p.Col >= 2 && p.Col-2 < len(l) && l[p.Col-2] == '\t'
	if n.Kind == yaml.ScalarNode && n.Style&^yaml.TaggedStyle == 0 {
		found = found || strings.Contains(n.Value, "\t") || c.tabBehind(n.Value, p)
	}
	if found {
		return c.errorf(n, "not valid YAML: a tab beside a value; write blanks")
	}
	return nil
}

// tabBehind follows a plain scalar through the source, over folded lines, and
// looks at the character behind it.
func (c *composer) tabBehind(text string, p diag.Position) bool {
	line, rest := p.Line-1, c.lines[p.Line-1]
	rest = rest[min(p.Col-1, len(rest)):]
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == '\n' }) {
		for rest = bytes.TrimLeft(rest, " \r"); len(rest) == 0; rest = bytes.TrimLeft(rest, " \r") {
			if line++; line >= len(c.lines) {
				return false
			}
			rest = c.lines[line]
		}
		var ok bool
		if rest, ok = bytes.CutPrefix(rest, []byte(word)); !ok {
			return false
		}
	}
	return bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte("\t"))
}

func (c *composer) node(n *yaml.Node, depth int) (*Value, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return c.scalar(n)
	case yaml.SequenceNode:
		if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!seq" {
			return nil, c.errorf(n, "the tag %s has no meaning in a kas file", n.ShortTag())
		}
		v := &Value{Kind: List, Items: make([]*Value, 0, len(n.Content)), size: 1}
		for _, item := range n.Content {
			w, err := c.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			v.Items = append(v.Items, w)
			v.size = min(v.size+w.size, maxNodes+1)
		}
		return v, nil
	case yaml.MappingNode:
		if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!map" {
			return nil, c.errorf(n, "the tag %s has no meaning in a kas file", n.ShortTag())
		}
		return c.mapping(n, depth)
	}
	return nil, c.errorf(n, "an empty document")
}

var tagTypes = map[string]resolved{
	"!!str": plainString, "!!null": plainNull, "!!bool": plainBool,
	"!!int": plainInt, "!!float": plainFloat, "!!timestamp": plainTimestamp,
}

func (c *composer) scalar(n *yaml.Node) (*Value, error) {
	t := plainString
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		var ok bool
		if t, ok = tagTypes[n.ShortTag()]; !ok {
			return nil, c.errorf(n, "the tag %s has no meaning in a kas file", n.ShortTag())
		}
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0:
		t = resolvePlain(n.Value)
	}
	v, err := scalar(t, n.Value)
	if err != nil {
		return nil, c.errorf(n, "%v", err)
	}
	v.size = 1
	v.block = n.Style&yaml.LiteralStyle != 0
	return v, nil
}

// pair is a key with its value, before and after merge keys are resolved.
type pair struct{ key, value *yaml.Node }

func (c *composer) mapping(n *yaml.Node, depth int) (*Value, error) {
	pairs, merged, err := c.flatten(n, 0)
	if err != nil {
		return nil, err
	}
	v := &Value{Kind: Map, entries: make([]*Entry, 0, len(pairs)), size: 1}
	own := make(map[*Entry]bool)
	for i, p := range pairs {
		key, err := c.key(p.key, depth)
		if err != nil {
			return nil, err
		}
		w, err := c.value(p.value, depth+1)
		if err != nil {
			return nil, err
		}
		e := &Entry{Key: key, Value: w}
		// Overriding a merged key is what merge keys are for; the same key
		// twice in the mapping itself is a mistake that is worth keeping.
		if i >= merged {
			own[e] = true
			if old := v.findEntry(key); old != nil && own[old] {
				// The list grows in place: old goes.
				old.Dropped = append(old.Dropped, &Entry{Key: old.Key, Value: old.Value})
				e.Dropped = old.Dropped
				e.at = key
			}
		}
		v.put(e)
		v.size = min(v.size+1+w.size, maxNodes+1)
	}
	return v, nil
}

func (c *composer) key(n *yaml.Node, depth int) (*Value, error) {
	if n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value == "=" {
		v := &Value{Kind: String, Text: "=", Pos: c.pos(n), size: 1}
		c.done[n] = v
		return v, nil
	}
	key, err := c.value(n, depth+1)
	if err != nil {
		return nil, err
	}
	if key.Kind == Map || key.Kind == List {
		return nil, c.errorf(n, "a %s cannot be a key", key.Kind)
	}
	return key, nil
}

// flatten puts the mappings of merge keys ("<<") in front of a mapping's own
// pairs (yaml/constructor.py, flatten_mapping) and says how many there are.
func (c *composer) flatten(n *yaml.Node, depth int) (pairs []pair, merged int, err error) {
	if depth > maxNesting {
		return nil, 0, c.errorf(n, "merge keys nested deeper than %d levels", maxNesting)
	}
	var own []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Style != 0 || key.Value != "<<" {
			own = append(own, pair{key, value})
			continue
		}
		more, err := c.mergeKey(n, value, depth)
		if err != nil {
			return nil, 0, err
		}
		if pairs = append(pairs, more...); len(pairs) > maxMerged {
			return nil, 0, c.errorf(key, "merge keys expand to more than %d values", maxMerged)
		}
	}
	return append(pairs, own...), len(pairs), nil
}

func (c *composer) mergeKey(n, value *yaml.Node, depth int) ([]pair, error) {
	value = unalias(value)
	switch value.Kind {
	case yaml.MappingNode:
		if value == n || c.open[value] {
			return nil, c.errorf(value, "a mapping is merged into itself")
		}
		pairs, _, err := c.flatten(value, depth+1)
		return pairs, err
	case yaml.SequenceNode:
		// The first of a list wins, so it comes last.
		var out []pair
		for i := len(value.Content) - 1; i >= 0; i-- {
			sub := unalias(value.Content[i])
			if sub.Kind != yaml.MappingNode {
				return nil, c.errorf(sub, "a merge key takes mappings only")
			}
			if sub == n || c.open[sub] {
				return nil, c.errorf(sub, "a mapping is merged into itself")
			}
			more, _, err := c.flatten(sub, depth+1)
			if err != nil {
				return nil, err
			}
			if out = append(out, more...); len(out) > maxMerged {
				return nil, c.errorf(sub, "merge keys expand to more than %d values", maxMerged)
			}
		}
		return out, nil
	}
	return nil, c.errorf(value, "a merge key takes a mapping or a list of mappings")
}

func unalias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// extension gives the part of a name that decides how a file is read.
func extension(name string) string {
	base := name[strings.LastIndexByte(name, '/')+1:]
	// Python's splitext: dots at the front of a name belong to the stem.
	trimmed := strings.TrimLeft(base, ".")
	if i := strings.LastIndexByte(trimmed, '.'); i >= 0 {
		return trimmed[i:]
	}
	return ""
}

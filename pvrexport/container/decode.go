package container

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

// What a definition may cost before it is refused. Nodes are counted where
// they are used, so an alias costs as much as what it stands for.
const (
	maxFile  = 1 << 20
	maxNodes = 20_000
	maxDepth = 32
	maxDiags = 50
)

// ruleDefinition marks every finding about a container.yaml.
const ruleDefinition = "container-yaml"

// decoder turns YAML nodes into a Definition and notes what is wrong with
// them; it goes on after a problem so that one run shows all of them.
type decoder struct {
	file    string
	lines   [][]byte
	diags   []diag.Diagnostic
	path    []string
	nodes   int
	stopped bool
}

// parse reads the only document of src into into.
func (d *decoder) parse(src []byte, into target) {
	if len(src) > maxFile {
		d.fail(diag.Position{File: d.file}, "", "the file has more than %d bytes", maxFile)
		return
	}
	if !utf8.Valid(src) {
		d.fail(d.badUTF8(src), "", "the file is not valid UTF-8")
		return
	}
	d.lines = bytes.Split(src, []byte("\n"))
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		d.fail(diag.Position{File: d.file, Line: 1, Col: 1}, `it needs at least "name" and "rootfs"`, "the file is empty")
		return
	} else if err != nil {
		d.syntax(err)
		return
	}
	if err := dec.Decode(&second); err == nil {
		d.errorf(&second, "one file defines one container", "a second YAML document")
		return
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return
	}
	into.decode(d, doc.Content[0])
}

func (d *decoder) badUTF8(src []byte) diag.Position {
	line, start, i := 1, 0, 0
	for i < len(src) {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
		if r == '\n' {
			line, start = line+1, i
		}
	}
	return diag.Position{File: d.file, Line: line, Col: i - start + 1}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports what the YAML parser said. It gives the line only in words.
func (d *decoder) syntax(err error) {
	text, _, _ := strings.Cut(err.Error(), "\n")
	pos := diag.Position{File: d.file}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		pos.Line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	d.fail(pos, "", "not YAML: %s", text)
}

// position is where n begins. The parser counts columns in characters.
func (d *decoder) position(n *yaml.Node) diag.Position {
	col := n.Column
	if l := n.Line - 1; l >= 0 && l < len(d.lines) {
		col = 1
		rest := d.lines[l]
		for range n.Column - 1 {
			_, size := utf8.DecodeRune(rest)
			rest = rest[size:]
			col += size
		}
	}
	return diag.Position{File: d.file, Line: n.Line, Col: col}
}

// errorf notes a problem with n. The path of keys that led to n comes first.
func (d *decoder) errorf(n *yaml.Node, hint, format string, args ...any) {
	d.fail(d.position(n), hint, "%s%s", d.where(), fmt.Sprintf(format, args...))
}

func (d *decoder) fail(pos diag.Position, hint, format string, args ...any) {
	if d.stopped {
		return
	}
	d.diags = append(d.diags, diag.Diagnostic{
		Pos: pos, Severity: diag.Error, Rule: ruleDefinition, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
	d.stopped = len(d.diags) >= maxDiags
}

func (d *decoder) where() string {
	if len(d.path) == 0 {
		return ""
	}
	path := d.path
	cut := ""
	if len(path) > 8 {
		path, cut = path[:8], "…"
	}
	return strings.ReplaceAll(strings.Join(path, "."), ".[", "[") + cut + ": "
}

// within decodes n one level further down.
func (d *decoder) within(name string, n *yaml.Node, t target) {
	d.path = append(d.path, name)
	t.decode(d, n)
	d.path = d.path[:len(d.path)-1]
}

// enter follows an alias, counts n, and checks that it is what the target
// can take; nil means that there is nothing more to do.
func (d *decoder) enter(n *yaml.Node, kind yaml.Kind, want string) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.nodes++
	switch {
	case d.stopped:
		return nil
	case d.nodes > maxNodes:
		d.errorf(n, "are there aliases of aliases?", "more than %d values", maxNodes)
		d.stopped = true
		return nil
	case len(d.path) > maxDepth:
		d.errorf(n, "", "nested more than %d deep", maxDepth)
		d.stopped = true
		return nil
	case n.Kind != kind:
		d.errorf(n, listHint(n, kind), "want %s, found %s", want, found(n))
		return nil
	}
	return n
}

// listHint shows a string as the list that was wanted in its place.
func listHint(n *yaml.Node, kind yaml.Kind) string {
	if kind != yaml.SequenceNode || n.Kind != yaml.ScalarNode || n.Tag != "!!str" || len(n.Value) > 60 {
		return ""
	}
	var words []string
	for w := range strings.FieldsSeq(n.Value) {
		words = append(words, strconv.Quote(w))
	}
	return "write [" + strings.Join(words, ", ") + "]"
}

// found says what a node is, for a person.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.AliasNode:
		return found(n.Alias)
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	text := n.Value
	if len(text) > 40 {
		text = text[:40] + "…"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "the boolean " + text
	case "!!int", "!!float":
		return "the number " + text
	case "!!str":
		return fmt.Sprintf("the string %q", text)
	}
	return fmt.Sprintf("%q (%s)", text, n.Tag)
}

// pairs yields the keys and values of a mapping and reports keys that are
// not plain strings, come twice, or merge other mappings in.
func (d *decoder) pairs(n *yaml.Node) []pair {
	seen := map[string]*yaml.Node{}
	out := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch first := seen[k.Value]; {
		case k.Tag == "!!merge":
			d.errorf(k, "write the keys out, or use an alias for a whole value", "merge keys (<<) are not supported")
		case k.Kind != yaml.ScalarNode:
			d.errorf(k, "", "want a name as key, found %s", found(k))
		case first != nil:
			d.errorf(k, fmt.Sprintf("the first is on line %d", first.Line), "key %q comes twice", k.Value)
		default:
			seen[k.Value] = k
			out = append(out, pair{k, v})
		}
	}
	return out
}

type pair struct{ key, value *yaml.Node }

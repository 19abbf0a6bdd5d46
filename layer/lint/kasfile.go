package lint

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/pvkit/pvkit/internal/diag"
)

// kasFile is what this package reads of a kas configuration file: the parts
// that stand in it as plain text. Chains and includes are not resolved.
type kasFile struct {
	src      *source
	root     *yaml.Node // the top mapping
	machine  string
	distro   string
	includes []*yaml.Node
	headers  []header // local_conf_header, sorted by id as kas writes them
	repos    []kasRepo
	findings []diag.Diagnostic
}

type kasRepo struct {
	id     string
	path   string
	layers []string
}

// header is a local_conf_header entry.
type header struct {
	id   string
	key  *yaml.Node
	text *yaml.Node
}

// maxKas bounds a kas file; what is larger is something else.
const maxKas = 4 << 20

// parseKas reads a YAML file; nil means that it is no kas file.
func parseKas(src *source) *kasFile {
	if !strings.Contains(src.text, "header") || len(src.text) > maxKas {
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(src.text), &doc); err != nil {
		if !strings.Contains(src.text, "local_conf_header:") {
			return nil
		}
		return &kasFile{src: src, findings: []diag.Diagnostic{yamlError(src, err)}}
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	k := &kasFile{src: src, root: doc.Content[0]}
	head := member(k.root, "header")
	if head == nil || member(head, "version") == nil {
		return nil
	}
	k.machine, k.distro = scalar(member(k.root, "machine")), scalar(member(k.root, "distro"))
	if inc := member(head, "includes"); inc != nil && inc.Kind == yaml.SequenceNode {
		k.includes = inc.Content
	}
	for key, val := range members(member(k.root, "local_conf_header")) {
		if val.Kind == yaml.ScalarNode && val.Tag != "!!null" {
			k.headers = append(k.headers, header{key.Value, key, val})
		}
	}
	slices.SortStableFunc(k.headers, func(a, b header) int { return strings.Compare(a.id, b.id) })
	for key, val := range members(member(k.root, "repos")) {
		r := kasRepo{id: key.Value, path: scalar(member(val, "path"))}
		for layer, state := range members(member(val, "layers")) {
			if state.Tag == "!!null" || state.Kind == yaml.MappingNode {
				r.layers = append(r.layers, layer.Value)
			}
		}
		k.repos = append(k.repos, r)
	}
	return k
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// yamlError turns an error of the YAML reader into a finding: the line is in
// its text only.
func yamlError(src *source, err error) diag.Diagnostic {
	var te *yaml.TypeError
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if errors.As(err, &te) && len(te.Errors) > 0 {
		msg = te.Errors[0]
	}
	pos := diag.Position{File: src.name}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			pos.Line = n
			msg = strings.Replace(msg, m[0]+": ", "", 1)
		}
	}
	return diag.Diagnostic{Pos: pos, Severity: diag.Error, Rule: RuleYAML, Message: "this is no YAML: " + msg}
}

// members walks a mapping; nothing for any other node.
func members(n *yaml.Node) func(func(k, v *yaml.Node) bool) {
	return func(yield func(k, v *yaml.Node) bool) {
		n = deref(n)
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], deref(n.Content[i+1])) {
				return
			}
		}
	}
}

// member returns the last value of a key, which is the one that counts.
func member(n *yaml.Node, name string) (found *yaml.Node) {
	for k, v := range members(n) {
		if k.Value == name {
			found = v
		}
	}
	return found
}

func deref(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

func (k *kasFile) pos(n *yaml.Node) diag.Position {
	return diag.Position{File: k.src.name, Line: n.Line, Col: n.Column}
}

// localConf is the local.conf that kas would write for this file alone, as
// libcmds.py WriteBBConfig does: the entries sorted by id, then machine and
// distro.
func (k *kasFile) localConf(name string) *embedded {
	e := &embedded{name: name, host: k.src}
	for _, h := range k.headers {
		start := max(k.src.offset(h.text.Line, h.text.Column), 0)
		e.literal("# "+h.id+"\n", start)
		e.scalar(h.text)
		e.literal("\n", start)
	}
	for _, v := range []struct{ name, value, key string }{{"MACHINE", k.machine, "machine"}, {"DISTRO", k.distro, "distro"}} {
		if v.value != "" {
			n := member(k.root, v.key)
			e.literal(fmt.Sprintf("%s ??= %q\n", v.name, v.value), max(k.src.offset(n.Line, n.Column), 0))
		}
	}
	return e
}

// scalar adds the value of a YAML scalar, byte by byte where the file holds it
// as it is.
func (e *embedded) scalar(n *yaml.Node) {
	start := e.host.offset(n.Line, n.Column)
	if start < 0 {
		e.literal(n.Value, 0)
		return
	}
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle:
		e.block(n, start)
	case yaml.DoubleQuotedStyle:
		e.quoted(n, start)
	default:
		for _, skip := range []int{0, 1} {
			if strings.HasPrefix(e.host.text[min(start+skip, len(e.host.text)):], n.Value) {
				e.take(start+skip, len(n.Value))
				return
			}
		}
		e.literal(n.Value, start)
	}
}

// block maps a literal block scalar: the lines below its header, without their
// indentation.
func (e *embedded) block(n *yaml.Node, start int) {
	line := n.Line
	for v := range strings.SplitAfterSeq(n.Value, "\n") {
		line++
		content := strings.TrimSuffix(v, "\n")
		text := e.host.line(line)
		if indent := len(text) - len(content); content != "" && indent >= 0 && text[indent:] == content {
			e.take(e.host.offset(line, indent+1), len(content))
		} else {
			e.literal(content, max(e.host.offset(line, 1), start))
		}
		if len(content) < len(v) {
			e.literal("\n", min(e.host.offset(line, len(text)+1), len(e.host.text)))
		}
	}
}

// quoted maps a double-quoted scalar. What comes out must be the value that
// the YAML reader found; else all of it maps to the scalar's start.
func (e *embedded) quoted(n *yaml.Node, start int) {
	q := &unquoter{src: e.host.text, i: start + 1}
	for q.i < len(q.src) && q.src[q.i] != '"' {
		q.step()
	}
	if string(q.out) != n.Value {
		e.literal(n.Value, start)
		return
	}
	e.text, e.at = append(e.text, q.out...), append(e.at, q.at...)
}

// unquoter takes a double-quoted YAML scalar apart (YAML 1.1, 5.7 and 9.2).
type unquoter struct {
	src string
	i   int
	out []byte
	at  []int
}

func (q *unquoter) emit(from int, text string) {
	for i := range len(text) {
		q.out, q.at = append(q.out, text[i]), append(q.at, from)
	}
}

func (q *unquoter) blanks() {
	for q.i < len(q.src) && (q.src[q.i] == ' ' || q.src[q.i] == '\t') {
		q.i++
	}
}

func (q *unquoter) step() {
	from := q.i
	switch c := q.src[q.i]; {
	case c == '\n':
		q.fold(from)
	case c == '\\' && q.i+1 < len(q.src):
		q.escape(from)
	default:
		q.emit(from, string([]byte{c}))
		q.i++
	}
}

// fold joins lines: blanks around the break go, one break is a blank, further
// ones stay.
func (q *unquoter) fold(from int) {
	for n := len(q.out); n > 0 && (q.out[n-1] == ' ' || q.out[n-1] == '\t') && q.src[q.at[n-1]] != '\\'; n-- {
		q.out, q.at = q.out[:n-1], q.at[:n-1]
	}
	breaks := 0
	for q.i < len(q.src) && q.src[q.i] == '\n' {
		breaks++
		q.i++
		q.blanks()
	}
	if breaks == 1 {
		q.emit(from, " ")
		return
	}
	q.emit(from, strings.Repeat("\n", breaks-1))
}

var (
	simpleEscapes = strings.NewReplacer("0", "\x00", "a", "\a", "b", "\b", "t", "\t", "n", "\n", "v", "\v", "f", "\f", "r", "\r", "e", "\x1b",
		"N", "\u0085", "_", "\u00a0", "L", "\u2028", "P", "\u2029")
	numberEscapes = map[byte]int{'x': 2, 'u': 4, 'U': 8}
)

func (q *unquoter) escape(from int) {
	c := q.src[q.i+1]
	q.i += 2
	if c == '\n' { // the line goes on
		q.blanks()
		return
	}
	if digits := numberEscapes[c]; digits > 0 && q.i+digits <= len(q.src) {
		if n, err := strconv.ParseUint(q.src[q.i:q.i+digits], 16, 32); err == nil {
			q.emit(from, string(rune(n)))
			q.i += digits
			return
		}
	}
	q.emit(from, simpleEscapes.Replace(string([]byte{c})))
}

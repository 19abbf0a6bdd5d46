package lint

import (
	"sort"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// source is a file's text with its line starts.
type source struct {
	name  string
	text  string
	lines []int // offset of each line's first byte
}

func newSource(name, text string) *source {
	s := &source{name: name, text: text, lines: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

func (s *source) position(off int) diag.Position {
	i := sort.SearchInts(s.lines, off+1) - 1
	return diag.Position{File: s.name, Line: i + 1, Col: off - s.lines[i] + 1}
}

// offset is the reverse of position; -1 for a place outside the file.
func (s *source) offset(line, col int) int {
	if line < 1 || line > len(s.lines) {
		return -1
	}
	return min(s.lines[line-1]+max(col, 1)-1, len(s.text))
}

// line returns a line without its end.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	rest := s.text[s.lines[n-1]:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return strings.TrimSuffix(rest, "\r")
}

// embedded is BitBake text that stands in another file: a kas file's
// local_conf_header, a Kconfig default. The evaluator sees it as the file
// name; at maps each of its bytes to the byte of the host that it comes from.
type embedded struct {
	name string
	text []byte
	host *source
	at   []int
	self *source
}

// literal adds text of our own, which has no place in the host but where.
func (e *embedded) literal(s string, where int) {
	e.text = append(e.text, s...)
	for range len(s) {
		e.at = append(e.at, where)
	}
}

// take adds n bytes of the host.
func (e *embedded) take(off, n int) {
	e.text = append(e.text, e.host.text[off:off+n]...)
	for i := range n {
		e.at = append(e.at, off+i)
	}
}

// hostOffset maps an offset of the embedded text.
func (e *embedded) hostOffset(off int) int {
	switch {
	case off < len(e.at):
		return e.at[max(off, 0)]
	case len(e.at) > 0:
		return e.at[len(e.at)-1] + 1
	}
	return 0
}

// position maps a position in the embedded text.
func (e *embedded) position(p diag.Position) diag.Position {
	if e.self == nil {
		e.self = newSource(e.name, string(e.text))
	}
	off := e.self.offset(p.Line, p.Col)
	if off < 0 {
		return diag.Position{File: e.host.name}
	}
	return e.host.position(e.hostOffset(off))
}

// edit maps an edit; ok is false where the bytes do not lie side by side in
// the host as they do here, or where the host would read the new ones in
// another way.
func (e *embedded) edit(ed diag.Edit) (diag.Edit, bool) {
	from, to := e.hostOffset(ed.Start), e.hostOffset(ed.End)
	if ed.End > ed.Start {
		to = e.hostOffset(ed.End-1) + 1
	}
	same := to-from == ed.End-ed.Start && e.host.text[from:to] == string(e.text[ed.Start:ed.End])
	if !same || strings.ContainsAny(ed.Text, "\"\\\n") {
		return ed, false
	}
	return diag.Edit{File: e.host.name, Start: from, End: to, Text: ed.Text}, true
}

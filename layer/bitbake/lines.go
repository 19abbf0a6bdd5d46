package bitbake

import (
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// A physical line, its trailing white space cut as Python's rstrip does.
type physical struct {
	text  string
	start int // offset of its first byte
}

// splitLines cuts src into lines. Python opens metadata with universal
// newlines: "\n", "\r\n" and a lone "\r" all end a line, nothing else does.
func splitLines(src string) []physical {
	var out []physical
	for start := 0; start < len(src); {
		n := strings.IndexAny(src[start:], "\r\n")
		if n < 0 {
			return append(out, physical{rstrip(src[start:]), start})
		}
		end := start + n
		out = append(out, physical{rstrip(src[start:end]), start})
		if src[end] == '\r' && end+1 < len(src) && src[end+1] == '\n' {
			end++
		}
		start = end + 1
	}
	return out
}

func rstrip(s string) string {
	if s == "" {
		return s
	}
	if c := s[len(s)-1]; c > ' ' && c < 0x80 {
		return s
	}
	return strings.TrimRightFunc(s, pyexpr.IsSpace)
}

// logical is one line of the language: physical lines joined where a
// backslash ends them.
type logical struct {
	text        string
	first, last int // line numbers from 1
	end         int // offset behind the last physical line's text
	segs        []segment
}

// segment says that the joined text from at on comes from the source at off.
type segment struct{ at, off int }

// offset maps an index of the joined text to the source. The end of a span
// is mapped with its last byte, so that it does not slip to the next line.
func (l *logical) offset(i int) int {
	for k := len(l.segs) - 1; k > 0; k-- {
		if i >= l.segs[k].at {
			return l.segs[k].off + i - l.segs[k].at
		}
	}
	return l.segs[0].off + i
}

// span maps the range [a, b) of the joined text to the source.
func (l *logical) span(a, b int) Span {
	if a == b {
		at := l.offset(a)
		return Span{at, at}
	}
	return Span{l.offset(a), l.offset(b-1) + 1}
}

// whole is the span of the full line.
func (l *logical) whole() Span { return Span{l.segs[0].off, l.end} }

// cutSpace cuts leading white space (regexp \s) and returns how much it was.
func cutSpace(s string) (rest string, n int) {
	rest = strings.TrimLeftFunc(s, pyexpr.IsSpace)
	return rest, len(s) - len(rest)
}

// cutWord cuts a keyword that must be followed by white space and something
// else: the shape `word\s+(.+)` of BitBake's statement patterns. at is where
// the rest starts.
func cutWord(s, word string) (rest string, at int, ok bool) {
	tail, ok := strings.CutPrefix(s, word)
	if !ok {
		return "", 0, false
	}
	rest, n := cutSpace(tail)
	if n == 0 || rest == "" {
		return "", 0, false
	}
	return rest, len(word) + n, true
}

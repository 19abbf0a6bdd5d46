package bitbake

import "strings"

// Value is the answer to a question about a variable. Where Known is false,
// Text is what could be worked out, with the unknown ${@...} left in place,
// and Why says what was in the way.
type Value struct {
	Text  string
	Known bool
	Why   string
}

// unknown is the mark that an unknown leaves on everything made from it.
type unknown struct {
	why string
}

// text is a value inside the datastore: a string and perhaps the mark.
type text struct {
	s   string
	unk *unknown
}

// merge keeps the first mark.
func merge(a, b *unknown) *unknown {
	if a != nil {
		return a
	}
	return b
}

// hidden wraps a reference or expression whose value is not known, so that
// expansion does not run into it again, it stays one word, and quotes and
// braces around it keep their meaning. Only texts with a mark hold such a piece.
func hidden(code string) string { return "\x00" + hide.Replace(code) + "\x01" }

func holdsHidden(s string) bool { return strings.IndexByte(s, 0) >= 0 }

var (
	hide = strings.NewReplacer("{", "\x02", "}", "\x03", "$", "\x04", "'", "\x05", `"`, "\x06", ":", "\x07", " ", "\x0e", "\t", "\x0f")
	show = strings.NewReplacer("\x02", "{", "\x03", "}", "\x04", "$", "\x05", "'", "\x06", `"`, "\x07", ":", "\x0e", " ", "\x0f", "\t", "\x00", "", "\x01", "")
)

// value turns an inner text into an answer.
func (t text) value() Value {
	if t.unk == nil {
		return Value{Text: t.s, Known: true}
	}
	return Value{Text: t.plain(), Why: t.unk.why}
}

func (t text) plain() string {
	if t.unk == nil || !holdsHidden(t.s) {
		return t.s
	}
	return show.Replace(t.s)
}

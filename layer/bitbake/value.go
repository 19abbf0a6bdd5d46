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

// guard stands for "${@" in an unknown text, so that expansion does not run
// into the same expression again. Only texts with a mark hold it.
const guard = "\x00{@"

// value turns an inner text into an answer.
func (t text) value() Value {
	if t.unk == nil {
		return Value{Text: t.s, Known: true}
	}
	return Value{Text: t.plain(), Why: t.unk.why}
}

func (t text) plain() string {
	if t.unk == nil {
		return t.s
	}
	return strings.ReplaceAll(t.s, guard, "${@")
}

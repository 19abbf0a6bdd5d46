package kas

import (
	"fmt"
	"strconv"
	"strings"
)

// analysis says which styles a text can have (yaml/emitter.py,
// analyze_scalar, for block context).
type analysis struct {
	empty, multiline                    bool
	allowPlain, allowSingle, allowBlock bool
}

func isBreak(c rune) bool { return c == '\n' || c == 0x85 || c == 0x2028 || c == 0x2029 }

func isBlankOrBreak(c rune) bool {
	return c == 0 || c == ' ' || c == '\t' || c == '\r' || isBreak(c)
}

// shape is what analyze finds on its way through a text.
type shape struct {
	indicators, breaks, special            bool
	leadSpace, leadBreak                   bool
	trailSpace, trailBreak                 bool
	breakSpace, spaceBreak                 bool
	previousSpace, previousBreak, preceded bool
}

func analyze(text []rune) analysis {
	if len(text) == 0 {
		return analysis{empty: true, allowPlain: true, allowSingle: true}
	}
	s := shape{preceded: true}
	if len(text) >= 3 {
		head := string(text[:3])
		s.indicators = head == "---" || head == "..."
	}
	for i, c := range text {
		followed := i+1 >= len(text) || isBlankOrBreak(text[i+1])
		s.indicators = s.indicators || isIndicator(c, i, s.preceded, followed)
		s.breaks = s.breaks || isBreak(c)
		s.special = s.special || c != '\n' && (c < 0x20 || c > 0x7e)
		s.blanks(c, i, len(text))
		s.preceded = isBlankOrBreak(c)
	}
	a := analysis{multiline: s.breaks, allowPlain: true, allowSingle: true, allowBlock: true}
	if s.leadSpace || s.leadBreak || s.trailSpace || s.trailBreak || s.breaks || s.indicators {
		a.allowPlain = false
	}
	if s.trailSpace {
		a.allowBlock = false
	}
	if s.breakSpace {
		a.allowPlain, a.allowSingle = false, false
	}
	if s.spaceBreak || s.special {
		a.allowPlain, a.allowSingle, a.allowBlock = false, false, false
	}
	return a
}

// isIndicator reports whether a character keeps a text from being plain in
// block context.
func isIndicator(c rune, i int, preceded, followed bool) bool {
	if i == 0 {
		return strings.ContainsRune("#,[]{}&*!|>'\"%@`", c) || followed && (c == '?' || c == ':' || c == '-')
	}
	return c == ':' && followed || c == '#' && preceded
}

// blanks notes blanks and line breaks next to each other and at the ends.
func (s *shape) blanks(c rune, i, n int) {
	switch {
	case c == ' ':
		s.leadSpace = s.leadSpace || i == 0
		s.trailSpace = s.trailSpace || i == n-1
		s.breakSpace = s.breakSpace || s.previousBreak
		s.previousSpace, s.previousBreak = true, false
	case isBreak(c):
		s.leadBreak = s.leadBreak || i == 0
		s.trailBreak = s.trailBreak || i == n-1
		s.spaceBreak = s.spaceBreak || s.previousSpace
		s.previousSpace, s.previousBreak = false, true
	default:
		s.previousSpace, s.previousBreak = false, false
	}
}

// write puts out a run of a text.
func (e *emitter) write(text []rune) {
	e.column += len(text)
	e.out.WriteString(string(text))
}

// end stands for the end of a text in the loops below.
const end rune = -1

func at(text []rune, i int) rune {
	if i < len(text) {
		return text[i]
	}
	return end
}

func (e *emitter) plain(text []rune, split, root bool) {
	if root {
		e.openEnded = true
	}
	if len(text) == 0 {
		return
	}
	if !e.whitespace {
		e.write([]rune{' '})
	}
	e.whitespace, e.indention = false, false
	// A plain text has no line breaks.
	spaces, start := false, 0
	for i := 0; i <= len(text); i++ {
		c := at(text, i)
		if spaces {
			if c != ' ' {
				if start+1 == i && e.column > bestWidth && split {
					e.writeIndent()
					e.whitespace, e.indention = false, false
				} else {
					e.write(text[start:i])
				}
				start = i
			}
		} else if c == end || c == ' ' {
			e.write(text[start:i])
			start = i
		}
		spaces = c == ' '
	}
}

func (e *emitter) singleQuoted(text []rune, split bool) {
	e.indicator("'", true, false, false)
	spaces, breaks, start := false, false, 0
	for i := 0; i <= len(text); i++ {
		c := at(text, i)
		switch {
		case spaces:
			if c != ' ' {
				if start+1 == i && e.column > bestWidth && split && start != 0 && i != len(text) {
					e.writeIndent()
				} else {
					e.write(text[start:i])
				}
				start = i
			}
		case breaks:
			if !isBreak(c) {
				if text[start] == '\n' {
					e.lineBreak('\n')
				}
				for _, br := range text[start:i] {
					e.lineBreak(br)
				}
				e.writeIndent()
				start = i
			}
		case c == end || c == ' ' || isBreak(c) || c == '\'':
			if start < i {
				e.write(text[start:i])
				start = i
			}
		}
		if c == '\'' {
			e.write([]rune("''"))
			start = i + 1
		}
		spaces, breaks = c == ' ', isBreak(c)
	}
	e.indicator("'", false, false, false)
}

var escapes = map[rune]string{
	0: "0", 7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 0x1b: "e",
	'"': "\"", '\\': "\\", 0x85: "N", 0xa0: "_", 0x2028: "L", 0x2029: "P",
}

func escape(c rune) string {
	if s, ok := escapes[c]; ok {
		return "\\" + s
	}
	switch {
	case c <= 0xff:
		return fmt.Sprintf("\\x%02X", c)
	case c <= 0xffff:
		return fmt.Sprintf("\\u%04X", c)
	}
	return fmt.Sprintf("\\U%08X", c)
}

func (e *emitter) doubleQuoted(text []rune, split bool) {
	e.indicator("\"", true, false, false)
	start := 0
	for i := 0; i <= len(text); i++ {
		c := at(text, i)
		if c == end || c == '"' || c == '\\' || c < 0x20 || c > 0x7e {
			if start < i {
				e.write(text[start:i])
				start = i
			}
			if c != end {
				e.write([]rune(escape(c)))
				start = i + 1
			}
		}
		if 0 < i && i < len(text)-1 && (c == ' ' || start >= i) && e.column+(i-start) > bestWidth && split {
			var data []rune
			if start < i {
				data = text[start:i]
				start = i
			}
			e.write(append(data[:len(data):len(data)], '\\'))
			e.writeIndent()
			e.whitespace, e.indention = false, false
			if text[start] == ' ' {
				e.write([]rune{'\\'})
			}
		}
	}
	e.indicator("\"", false, false, false)
}

// hints are the numbers and signs behind "|".
func (e *emitter) hints(text []rune) string {
	if len(text) == 0 {
		return ""
	}
	out := ""
	if text[0] == ' ' || isBreak(text[0]) {
		out = strconv.Itoa(e.best)
	}
	last := len(text) - 1
	switch {
	case !isBreak(text[last]):
		out += "-"
	case last == 0 || isBreak(text[last-1]):
		out += "+"
	}
	return out
}

func (e *emitter) literal(text []rune) {
	hints := e.hints(text)
	e.indicator("|"+hints, true, false, false)
	if strings.HasSuffix(hints, "+") {
		e.openEnded = true
	}
	e.lineBreak('\n')
	breaks, start := true, 0
	for i := 0; i <= len(text); i++ {
		c := at(text, i)
		if breaks {
			if !isBreak(c) {
				for _, br := range text[start:i] {
					e.lineBreak(br)
				}
				if c != end {
					e.writeIndent()
				}
				start = i
			}
		} else if c == end || isBreak(c) {
			// The column does not count here, as in PyYAML.
			e.out.WriteString(string(text[start:i]))
			if c == end {
				e.lineBreak('\n')
			}
			start = i
		}
		breaks = isBreak(c)
	}
}

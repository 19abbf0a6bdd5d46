package kconfig

import (
	"fmt"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// SyntaxError is a Kconfig file that cannot be read as one. The text is the
// one of Kconfiglib.
type SyntaxError struct {
	Pos  diag.Position
	Line string // the logical line, without blanks around it
	Msg  string
}

func (e *SyntaxError) Error() string {
	at := fmt.Sprintf("%s:%d: error: ", e.Pos.File, e.Pos.Line)
	if e.Line == "" {
		return at + e.Msg
	}
	return fmt.Sprintf("%scouldn't parse '%s': %s", at, e.Line, e.Msg)
}

type tokenKind uint8

const (
	wordToken tokenKind = iota // an identifier or keyword
	stringToken
	opToken
)

type token struct {
	kind tokenKind
	text string
	col  int // from 1, in bytes, of the logical line
}

// line is a logical line: physical lines joined at a backslash.
type line struct {
	file   string
	number int // of its first physical line, from 1
	text   string
}

func (l line) pos() diag.Position { return diag.Position{File: l.file, Line: l.number} }

func (l line) errorf(format string, args ...any) error {
	return &SyntaxError{Pos: l.pos(), Line: strings.TrimSpace(l.text), Msg: fmt.Sprintf(format, args...)}
}

// source delivers the logical lines of a file. Help texts are read raw.
type source struct {
	file  string
	lines []string
	next  int
}

func newSource(file, text string) *source {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if n := len(lines); lines[n-1] == "" {
		lines = lines[:n-1]
	}
	return &source{file: file, lines: lines}
}

func (s *source) read() (line, bool) {
	if s.next >= len(s.lines) {
		return line{}, false
	}
	l := line{file: s.file, number: s.next + 1, text: s.lines[s.next]}
	s.next++
	if !strings.HasSuffix(l.text, `\`) {
		return l, true
	}
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(l.text, `\`))
	for s.next < len(s.lines) {
		text := s.lines[s.next]
		s.next++
		joined, more := strings.CutSuffix(text, `\`)
		b.WriteString(joined)
		if !more {
			break
		}
	}
	l.text = b.String()
	return l, true
}

// help reads the block below a help line. Its indentation is that of its first
// line that is not blank; it ends before the first line with less. A tab goes
// to the next multiple of 8.
func (s *source) help() string {
	for s.next < len(s.lines) && strings.TrimSpace(s.lines[s.next]) == "" {
		s.next++
	}
	if s.next >= len(s.lines) {
		return ""
	}
	indent := indentation(s.lines[s.next])
	if indent == 0 {
		return ""
	}
	var out []string
	for ; s.next < len(s.lines); s.next++ {
		text := expandTabs(s.lines[s.next])
		if strings.TrimSpace(text) == "" {
			out = append(out, "")
			continue
		}
		if indentation(text) < indent {
			break
		}
		out = append(out, strings.TrimRight(text[indent:], " \t"))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

func indentation(s string) int {
	s = expandTabs(s)
	return len(s) - len(strings.TrimLeft(s, " "))
}

func expandTabs(s string) string {
	if strings.IndexByte(s, '\t') < 0 {
		return s
	}
	var b strings.Builder
	col := 0
	for _, r := range s {
		if r != '\t' {
			b.WriteRune(r)
			col++
			continue
		}
		for n := 8 - col%8; n > 0; n-- {
			b.WriteByte(' ')
			col++
		}
	}
	return b.String()
}

func isIdent(c byte) bool {
	return c == '_' || c == '-' || c == '/' || c == '.' ||
		'0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isBlank(c byte) bool {
	return c == ' ' || c == '\t' || c == '\f' || c == '\v' || c == '\r' || c == '\n'
}

var operators = [...]string{"&&", "||", "!=", "<=", ">=", "!", "=", "(", ")", "<", ">"}

// tokenize splits a logical line. Macros in names and strings are expanded on
// the way. A comment ends the line.
func (p *parser) tokenize(l line) ([]token, error) {
	var toks []token
	s := l.text
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case isBlank(c):
			i++
		case c == '#':
			return toks, nil
		case c == '"' || c == '\'':
			text, end, err := p.quoted(l, s, i)
			if err != nil {
				return nil, err
			}
			toks = append(toks, token{stringToken, text, i + 1})
			i = end
		case isIdent(c) || c == '$':
			text, end, err := p.name(l, s, i)
			if err != nil {
				return nil, err
			}
			if text != "" { // a macro may expand to nothing
				toks = append(toks, token{wordToken, text, i + 1})
			}
			i = end
		default:
			op := operatorAt(s[i:])
			if op == "" {
				return nil, l.errorf("unknown tokens in line")
			}
			toks = append(toks, token{opToken, op, i + 1})
			i += len(op)
		}
	}
	return toks, nil
}

func operatorAt(s string) string {
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

// name reads an identifier that starts at s[i], macros included.
func (p *parser) name(l line, s string, i int) (string, int, error) {
	var b strings.Builder
	for i < len(s) {
		switch {
		case isIdent(s[i]):
			b.WriteByte(s[i])
			i++
		case strings.HasPrefix(s[i:], "$("):
			text, end, err := p.macro(l, s, i, 0)
			if err != nil {
				return "", 0, err
			}
			b.WriteString(text)
			i = end
		case s[i] == '$':
			return "", 0, l.errorf("unknown tokens in line")
		default:
			return b.String(), i, nil
		}
	}
	return b.String(), i, nil
}

// quoted reads a string that starts with the quote s[i]. A backslash takes the
// next character as it is; $(…) is a macro, and $NAME and ${NAME} are taken
// from the environment when they are set there.
func (p *parser) quoted(l line, s string, i int) (string, int, error) {
	quote, start := s[i], i+1
	var b strings.Builder
	for i++; i < len(s); {
		switch c := s[i]; {
		case c == quote:
			return p.expandEnv(b.String(), diag.Position{File: l.file, Line: l.number, Col: start}), i + 1, nil
		case c == '\\':
			if i++; i == len(s) {
				return "", 0, l.errorf("unterminated string")
			}
			b.WriteByte(s[i])
			i++
		case strings.HasPrefix(s[i:], "$("):
			text, end, err := p.macro(l, s, i, 0)
			if err != nil {
				return "", 0, err
			}
			b.WriteString(text)
			i = end
		default:
			b.WriteByte(c)
			i++
		}
	}
	return "", 0, l.errorf("unterminated string")
}

// expandEnv replaces $NAME and ${NAME} by the environment's value; what is not
// set there stays as it is written.
func (p *parser) expandEnv(s string, pos diag.Position) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		rest := s[i+1:]
		name, used := envName(rest)
		value, set := "", false
		if name != "" {
			p.tree.envUses = append(p.tree.envUses, envUse{name, pos})
			value, set = p.env(name)
		}
		if !set {
			b.WriteByte('$')
			s = rest
			continue
		}
		b.WriteString(value)
		s = rest[used:]
	}
}

// envName finds the name behind a dollar sign, and how many bytes it takes.
func envName(s string) (name string, used int) {
	if s[0] == '{' {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", 0
		}
		return s[1:end], end + 1
	}
	n := 0
	for n < len(s) && isIdent(s[n]) && s[n] != '-' && s[n] != '/' && s[n] != '.' {
		n++
	}
	return s[:n], n
}

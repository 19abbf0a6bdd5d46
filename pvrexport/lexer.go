package pvrexport

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError is JSON that cannot be used, with its place. Lines and columns
// count from 1, columns and the offset in bytes.
type SyntaxError struct {
	Offset    int64
	Line, Col int
	Message   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d (byte %d): %s", e.Line, e.Col, e.Offset, e.Message)
}

// lexer reads JSON tokens (RFC 8259) and knows where it stands. It is not
// encoding/json's because that one hides invalid UTF-8, lone surrogates and
// positions.
type lexer struct {
	src []byte
	pos int
}

func (l *lexer) errorf(at int, format string, args ...any) error {
	line, col := position(l.src, at)
	return &SyntaxError{Offset: int64(at), Line: line, Col: col, Message: fmt.Sprintf(format, args...)}
}

// position turns an offset into a line and a column.
func position(src []byte, at int) (line, col int) {
	before := src[:at]
	return bytes.Count(before, []byte{'\n'}) + 1, at - bytes.LastIndexByte(before, '\n')
}

func (l *lexer) unexpected(want string) error {
	if l.pos >= len(l.src) {
		return l.errorf(l.pos, "the text ends where %s should be", want)
	}
	r, n := utf8.DecodeRune(l.src[l.pos:])
	if r == utf8.RuneError && n == 1 {
		return l.errorf(l.pos, "byte 0x%02X where %s should be", l.src[l.pos], want)
	}
	return l.errorf(l.pos, "%q where %s should be", r, want)
}

func (l *lexer) peek() byte {
	if l.pos < len(l.src) {
		return l.src[l.pos]
	}
	return 0
}

func (l *lexer) accept(b byte) bool {
	if l.pos < len(l.src) && l.src[l.pos] == b {
		l.pos++
		return true
	}
	return false
}

func (l *lexer) space() {
	for l.pos < len(l.src) && strings.IndexByte(" \t\r\n", l.src[l.pos]) >= 0 {
		l.pos++
	}
}

// end makes sure that nothing but blanks follows.
func (l *lexer) end() error {
	if l.space(); l.pos < len(l.src) {
		return l.unexpected("the end")
	}
	return nil
}

// str reads a string; the position is at its first quote.
func (l *lexer) str() (string, error) {
	start := l.pos
	l.pos++
	var buf []byte // used from the first escape on
	from := l.pos
	for l.pos < len(l.src) {
		switch b := l.src[l.pos]; {
		case b == '"':
			s := l.src[from:l.pos]
			if buf != nil {
				s = append(buf, s...)
			}
			l.pos++
			return string(s), nil
		case b == '\\':
			buf = append(buf, l.src[from:l.pos]...)
			r, err := l.escape()
			if err != nil {
				return "", err
			}
			buf = utf8.AppendRune(buf, r)
			from = l.pos
		case b < 0x20:
			return "", l.errorf(l.pos, "control character 0x%02X in a string", b)
		case b < utf8.RuneSelf:
			l.pos++
		default:
			r, n := utf8.DecodeRune(l.src[l.pos:])
			if r == utf8.RuneError && n == 1 {
				return "", l.errorf(l.pos, "byte 0x%02X is not valid UTF-8", b)
			}
			l.pos += n
		}
	}
	return "", l.errorf(start, "the string does not end")
}

// escape reads an escape sequence; a pair of surrogates is one.
func (l *lexer) escape() (rune, error) {
	at := l.pos
	l.pos++
	b := l.peek()
	l.pos++
	if i := strings.IndexByte(`"\/bfnrt`, b); i >= 0 && b != 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if b != 'u' {
		return 0, l.errorf(at, "unknown escape sequence")
	}
	r, ok := l.hex4()
	if !ok {
		return 0, l.errorf(at, `\u needs four hexadecimal digits`)
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if bytes.HasPrefix(l.src[min(l.pos, len(l.src)):], []byte(`\u`)) {
		l.pos += 2
		if low, ok := l.hex4(); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, nil
			}
		}
	}
	return 0, l.errorf(at, "half of a surrogate pair")
}

func (l *lexer) hex4() (rune, bool) {
	if l.pos+4 > len(l.src) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(l.src[l.pos:l.pos+4]), 16, 16)
	l.pos += 4
	return rune(n), err == nil
}

// digits reads a run of decimal digits and returns it.
func (l *lexer) digits() []byte {
	start := l.pos
	for l.pos < len(l.src) && '0' <= l.src[l.pos] && l.src[l.pos] <= '9' {
		l.pos++
	}
	return l.src[start:l.pos]
}

// num reads a number without losing anything of it.
func (l *lexer) num() (decimal, error) {
	start := l.pos
	var d decimal
	d.negative = l.accept('-')
	whole := l.digits()
	switch {
	case len(whole) == 0:
		return d, l.unexpected("a digit")
	case len(whole) > 1 && whole[0] == '0':
		return d, l.errorf(start, "a number must not begin with 0")
	}
	var frac []byte
	if l.accept('.') {
		if frac = l.digits(); len(frac) == 0 {
			return d, l.unexpected("a digit")
		}
	}
	var exp int64
	if l.accept('e') || l.accept('E') {
		neg := l.accept('-')
		if !neg {
			l.accept('+')
		}
		text := l.digits()
		if len(text) == 0 {
			return d, l.unexpected("a digit")
		}
		// Nine digits leave room to add the mantissa's length.
		if text = bytes.TrimLeft(text, "0"); len(text) > 9 {
			return d, l.errorf(start, "the exponent is out of range")
		}
		exp, _ = strconv.ParseInt("0"+string(text), 10, 64)
		if neg {
			exp = -exp
		}
	}
	all := append(append([]byte(nil), whole...), frac...)
	lead := len(all) - len(bytes.TrimLeft(all, "0"))
	d.digits = bytes.TrimRight(all[lead:], "0")
	d.point = exp + int64(len(whole)-lead)
	return d, nil
}

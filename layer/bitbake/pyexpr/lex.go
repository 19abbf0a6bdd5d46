package pyexpr

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokName
	tokNumber
	tokString
	tokOp
)

type token struct {
	kind   tokenKind
	text   string // name, operator or number; for a string its prefix in lower case
	str    string // decoded content of a string
	opaque bool   // an f-string or a bytes literal: correct as far as lexed, not modelled
	off    int
}

// operators, longest first, so that the first match is the right one.
var operators = []string{
	"**=", "//=", ">>=", "<<=", "...",
	"**", "//", ">>", "<<", "<=", ">=", "==", "!=", "->", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", ":=",
	"+", "-", "*", "/", "%", "@", "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", ".", ";", "=", "&", "|", "^", "~",
}

// lex splits an expression into tokens. Python reports what is wrong with its
// tokens before what is wrong with their order, so the whole text is lexed
// before the parser looks at it.
func lex(src string) ([]token, error) {
	var out []token
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == ' ' || c == '\t' || c == '\f':
			i++
		case c == '\n' || c == '\r':
			// compile() sees one logical line; BitBake's pattern never lets a
			// newline into the code, only a caller of Parse can.
			return nil, &SyntaxError{Offset: i, Msg: "invalid syntax"}
		case c == '#':
			i = len(src)
		case c == '\'' || c == '"':
			t, n, err := lexString(src, i, "")
			if err != nil {
				return nil, err
			}
			out, i = append(out, t), n
		case c >= '0' && c <= '9' || c == '.' && i+1 < len(src) && isDigit(src[i+1]):
			n := lexNumber(src, i)
			out, i = append(out, token{kind: tokNumber, text: src[i:n], off: i}), n
		case isNameStart(src[i:]):
			n := i + nameLen(src[i:])
			word := src[i:n]
			if n < len(src) && (src[n] == '\'' || src[n] == '"') && isPrefix(word) {
				t, end, err := lexString(src, n, strings.ToLower(word))
				if err != nil {
					return nil, err
				}
				t.off = i
				out, i = append(out, t), end
				continue
			}
			out, i = append(out, token{kind: tokName, text: word, off: i}), n
		default:
			op := operatorAt(src[i:])
			if op == "" {
				return nil, &SyntaxError{Offset: i, Msg: "invalid syntax"}
			}
			out, i = append(out, token{kind: tokOp, text: op, off: i}), i+len(op)
		}
	}
	return append(out, token{kind: tokEnd, off: len(src)}), nil
}

func operatorAt(s string) string {
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r == '_' || unicode.IsLetter(r)
}

func nameLen(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(s)
}

func isPrefix(w string) bool {
	switch strings.ToLower(w) {
	case "r", "u", "b", "f", "br", "rb", "fr", "rf":
		return true
	}
	return false
}

// lexNumber returns the end of the number at i. Values are made by the parser.
func lexNumber(src string, i int) int {
	n := i
	for n < len(src) {
		c := src[n]
		switch {
		case isDigit(c), c == '.', c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			n++
		case (c == '+' || c == '-') && n > i && (src[n-1] == 'e' || src[n-1] == 'E') && !strings.HasPrefix(strings.ToLower(src[i:n]), "0x"):
			n++
		default:
			return n
		}
	}
	return n
}

// lexString reads a string literal whose opening quote is at i.
func lexString(src string, i int, prefix string) (token, int, error) {
	t := token{kind: tokString, text: prefix, off: i}
	quote := src[i : i+1]
	if strings.HasPrefix(src[i:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	raw := strings.Contains(prefix, "r")
	t.opaque = strings.ContainsAny(prefix, "fb")
	var b strings.Builder
	for p := i + len(quote); p < len(src); {
		switch {
		case strings.HasPrefix(src[p:], quote):
			t.str = b.String()
			return t, p + len(quote), nil
		case src[p] == '\n' && len(quote) == 1:
			return t, 0, &SyntaxError{Offset: i, Msg: "unterminated string literal", Unterminated: true}
		case src[p] == '\\' && p+1 < len(src):
			n, err := escape(&b, src, p, raw)
			if err != nil && !t.opaque {
				return t, 0, err
			}
			p = max(n, p+2)
		default:
			b.WriteByte(src[p])
			p++
		}
	}
	if len(quote) == 3 {
		return t, 0, &SyntaxError{Offset: i, Msg: "unterminated triple-quoted string literal"}
	}
	return t, 0, &SyntaxError{Offset: i, Msg: "unterminated string literal", Unterminated: true}
}

var simpleEscapes = map[byte]string{
	'\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v", '\n': "",
}

// escape decodes the backslash sequence at p and returns where it ends. An
// unknown one stands for itself, backslash and all.
func escape(b *strings.Builder, src string, p int, raw bool) (int, error) {
	c := src[p+1]
	if raw {
		b.WriteString(src[p : p+2])
		return p + 2, nil
	}
	if s, ok := simpleEscapes[c]; ok {
		b.WriteString(s)
		return p + 2, nil
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	switch {
	case c == 'N':
		return p + 2, &SyntaxError{Offset: p, Msg: "(unicode error) named characters are not modelled"}
	case digits > 0:
		end := p + 2 + digits
		if end > len(src) {
			return p + 2, &SyntaxError{Offset: p, Msg: "(unicode error) truncated escape"}
		}
		r, ok := parseDigits(src[p+2:end], 16)
		if !ok || r > unicode.MaxRune || utf8.RuneLen(rune(r)) < 0 {
			return p + 2, &SyntaxError{Offset: p, Msg: "(unicode error) truncated escape"}
		}
		b.WriteRune(rune(r))
		return end, nil
	case c >= '0' && c <= '7':
		end := p + 2
		for end < len(src) && end < p+4 && src[end] >= '0' && src[end] <= '7' {
			end++
		}
		r, _ := parseDigits(src[p+1:end], 8)
		b.WriteRune(rune(r))
		return end, nil
	}
	b.WriteString(src[p : p+2])
	return p + 2, nil
}

func parseDigits(s string, base int64) (int64, bool) {
	var n int64
	for i := range len(s) {
		d := strings.IndexByte("0123456789abcdef", s[i]|0x20)
		if isDigit(s[i]) {
			d = int(s[i] - '0')
		}
		if d < 0 || int64(d) >= base {
			return 0, false
		}
		n = n*base + int64(d)
	}
	return n, true
}

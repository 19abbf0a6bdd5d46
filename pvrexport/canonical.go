package pvrexport

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CanonicalOptions says how Canonical treats what JSON leaves open. The zero
// value refuses duplicate keys and keeps nulls.
type CanonicalOptions struct {
	// LastWins keeps the last of several members with the same key, as pvr
	// does when it reads a file. Otherwise they are a SyntaxError.
	LastWins bool
	// DropNulls leaves out object members that are null, at any depth: pvr's
	// commit is a JSON merge patch (RFC 7396), in which null means "remove".
	// Elements of arrays stay.
	DropNulls bool
	// MaxDepth limits nesting; 0 means 200.
	MaxDepth int
	// MaxDigits limits the digits of a number as it is written out; 0 means
	// 4096. JSON allows 1E999999999, which would fill a gigabyte.
	MaxDigits int
}

// Canonical returns the canonical form of one JSON value, as
// github.com/gibson042/canonicaljson-go writes it, which pvr uses for states
// and signatures: no blanks, members sorted by the bytes of their keys,
// strings with the fewest escapes, integers as plain digits, other numbers as
// d.dE<exponent>, all exact. Invalid UTF-8 is an error. Errors are of type
// *SyntaxError.
func Canonical(src []byte, opts CanonicalOptions) ([]byte, error) {
	c := newCanonicalizer(src, opts)
	if err := c.value(0); err != nil {
		return nil, err
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	return c.out, nil
}

// canonicalizer reads src once and appends the canonical form to out.
type canonicalizer struct {
	lexer
	opts CanonicalOptions
	out  []byte
}

func newCanonicalizer(src []byte, opts CanonicalOptions) *canonicalizer {
	if opts.MaxDepth == 0 {
		opts.MaxDepth = 200
	}
	if opts.MaxDigits == 0 {
		opts.MaxDigits = 4096
	}
	return &canonicalizer{lexer: lexer{src: src}, opts: opts}
}

// value reads one value at the given depth.
func (c *canonicalizer) value(depth int) error {
	c.space()
	if depth > c.opts.MaxDepth {
		return c.errorf(c.pos, "nested deeper than %d", c.opts.MaxDepth)
	}
	switch b := c.peek(); {
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.array(depth)
	case b == '"':
		s, err := c.str()
		if err != nil {
			return err
		}
		c.out = appendString(c.out, s)
		return nil
	case b == '-' || '0' <= b && b <= '9':
		return c.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(c.src[c.pos:], []byte(word)) {
			c.pos += len(word)
			c.out = append(c.out, word...)
			return nil
		}
	}
	return c.unexpected("a value")
}

func (c *canonicalizer) array(depth int) error {
	c.pos++
	c.out = append(c.out, '[')
	if c.space(); c.accept(']') {
		c.out = append(c.out, ']')
		return nil
	}
	for {
		if err := c.value(depth + 1); err != nil {
			return err
		}
		switch c.space(); {
		case c.accept(','):
			c.out = append(c.out, ',')
		case c.accept(']'):
			c.out = append(c.out, ']')
			return nil
		default:
			return c.unexpected("',' or ']'")
		}
	}
}

// member is where a member, `"key":value`, stands in out.
type member struct {
	key        string
	start, end int
}

// members reads an object and calls each for every member, with the offset of
// its key; each reads the value.
func (l *lexer) members(each func(key string, at int) error) error {
	l.pos++
	if l.space(); l.accept('}') {
		return nil
	}
	for {
		l.space()
		at := l.pos
		if l.peek() != '"' {
			return l.unexpected("a key")
		}
		key, err := l.str()
		if err != nil {
			return err
		}
		if l.space(); !l.accept(':') {
			return l.unexpected("':'")
		}
		if err := each(key, at); err != nil {
			return err
		}
		switch l.space(); {
		case l.accept(','):
		case l.accept('}'):
			return nil
		default:
			return l.unexpected("',' or '}'")
		}
	}
}

func (c *canonicalizer) object(depth int) error {
	base := len(c.out)
	var members []member
	at := map[string]int{}
	err := c.members(func(key string, offset int) error {
		old, twice := at[key]
		if twice && !c.opts.LastWins {
			return c.errorf(offset, "key %q appears twice", key)
		}
		m := member{key: key, start: len(c.out)}
		c.out = append(appendString(c.out, key), ':')
		value := len(c.out)
		if err := c.value(depth + 1); err != nil {
			return err
		}
		m.end = len(c.out)
		if c.opts.DropNulls && string(c.out[value:]) == "null" {
			m.end = m.start // an empty span is left out
		}
		if twice {
			members[old] = m
			return nil
		}
		at[key] = len(members)
		members = append(members, m)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	c.rewrite(base, members)
	return nil
}

// rewrite replaces out[base:], where the members stand in source order, by the
// object with its members in their order.
func (c *canonicalizer) rewrite(base int, members []member) {
	sorted := make([]byte, 0, len(c.out)-base+len(members)+2)
	sorted = append(sorted, '{')
	for _, m := range members {
		if m.start == m.end {
			continue
		}
		if len(sorted) > 1 {
			sorted = append(sorted, ',')
		}
		sorted = append(sorted, c.out[m.start:m.end]...)
	}
	c.out = append(append(c.out[:base], sorted...), '}')
}

func (c *canonicalizer) number() error {
	start := c.pos
	n, err := c.num()
	if err != nil {
		return err
	}
	out, ok := n.append(c.out, c.opts.MaxDigits)
	if !ok {
		return c.errorf(start, "the number has more than %d digits when written out", c.opts.MaxDigits)
	}
	c.out = out
	return nil
}

// decimal is ±0.DIGITS × 10^point, exactly, without leading or trailing zeros.
type decimal struct {
	negative bool
	digits   []byte
	point    int64
}

// append writes the canonical form; ok is false when it has more than limit
// digits.
func (d decimal) append(out []byte, limit int) (_ []byte, ok bool) {
	n := int64(len(d.digits))
	if n == 0 {
		return append(out, '0'), true // also for -0
	}
	if n > int64(limit) {
		return out, false
	}
	if d.negative {
		out = append(out, '-')
	}
	if d.point >= n { // an integer
		if d.point > int64(limit) {
			return out, false
		}
		out = append(out, d.digits...)
		return append(out, bytes.Repeat([]byte{'0'}, int(d.point-n))...), true
	}
	out = append(out, d.digits[0], '.')
	if n == 1 {
		out = append(out, '0')
	}
	out = append(out, d.digits[1:]...)
	return strconv.AppendInt(append(out, 'E'), d.point-1, 10), true
}

// appendString writes s with the escapes that JSON insists on and no others.
func appendString(out []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	out = append(out, '"')
	for i := range len(s) {
		switch b := s[i]; {
		case b == '"' || b == '\\':
			out = append(out, '\\', b)
		case b >= 0x20:
			out = append(out, b)
		case b == '\b':
			out = append(out, `\b`...)
		case b == '\t':
			out = append(out, `\t`...)
		case b == '\n':
			out = append(out, `\n`...)
		case b == '\f':
			out = append(out, `\f`...)
		case b == '\r':
			out = append(out, `\r`...)
		default:
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
	}
	return append(out, '"')
}

// CanonicalString returns s as a canonical JSON string. s must be valid UTF-8;
// what is not becomes U+FFFD.
func CanonicalString(s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return appendString(nil, s)
}

package rootfs

import "strings"

// parser reads one part of a glob. A construct that is not closed stands for
// its own characters, as in fnmatch(3).
type parser struct {
	s string
	i int
}

// sequence reads tokens up to one of the stop bytes, which it leaves.
func (p *parser) sequence(stop string) []token {
	tokens := []token{}
	for p.i < len(p.s) && strings.IndexByte(stop, p.s[p.i]) < 0 {
		tokens = append(tokens, p.token())
	}
	return tokens
}

func (p *parser) token() token {
	c := p.s[p.i]
	if strings.IndexByte("?*+@!", c) >= 0 && p.i+1 < len(p.s) && p.s[p.i+1] == '(' {
		if t, ok := p.extended(); ok {
			return t
		}
	}
	if c == '[' {
		if t, ok := p.bracket(); ok {
			return t
		}
	}
	p.i++
	switch {
	case c == '*':
		return token{op: '*'}
	case c == '?':
		t := token{op: 'c', set: new([32]byte), wild: true}
		for b := range t.set {
			t.set[b] = 0xff
		}
		return t
	case c == '\\' && p.i < len(p.s):
		c = p.s[p.i]
		p.i++
	}
	return literal(c)
}

// extended reads OP(alternative|alternative).
func (p *parser) extended() (token, bool) {
	start := p.i
	t := token{op: p.s[p.i]}
	p.i += 2
	for {
		t.alts = append(t.alts, p.sequence("|)"))
		if p.i == len(p.s) {
			p.i = start
			return t, false
		}
		p.i++
		if p.s[p.i-1] == ')' {
			return t, true
		}
	}
}

// bracket reads [abc], [a-z], [!a], [[:digit:]].
func (p *parser) bracket() (token, bool) {
	start := p.i
	t := token{op: 'c', set: new([32]byte), wild: true}
	p.i++
	negate := p.i < len(p.s) && (p.s[p.i] == '!' || p.s[p.i] == '^')
	if negate {
		p.i++
	}
	for first := true; ; first = false {
		if p.i >= len(p.s) {
			p.i = start
			return t, false
		}
		if p.s[p.i] == ']' && !first {
			p.i++
			break
		}
		if p.class(&t) {
			continue
		}
		lo := p.char()
		hi := lo
		if p.i+1 < len(p.s) && p.s[p.i] == '-' && p.s[p.i+1] != ']' {
			p.i++
			hi = p.char()
		}
		for c := int(lo); c <= int(hi); c++ {
			t.put(byte(c))
		}
	}
	if negate {
		for i := range t.set {
			t.set[i] = ^t.set[i]
		}
	}
	return t, true
}

func (p *parser) char() byte {
	if p.s[p.i] == '\\' && p.i+1 < len(p.s) {
		p.i++
	}
	p.i++
	return p.s[p.i-1]
}

// class reads [:name:] inside brackets, for ASCII.
func (p *parser) class(t *token) bool {
	rest, found := strings.CutPrefix(p.s[p.i:], "[:")
	name, _, closed := strings.Cut(rest, ":]")
	if !found || !closed {
		return false
	}
	in, known := classes[name]
	if !known {
		return false
	}
	for c := range byte(128) {
		if in(c) {
			t.put(c)
		}
	}
	p.i += len(name) + len("[::]")
	return true
}

func between(lo, hi byte) func(byte) bool { return func(c byte) bool { return lo <= c && c <= hi } }

func any2(a, b func(byte) bool) func(byte) bool { return func(c byte) bool { return a(c) || b(c) } }

// classes are the character classes of POSIX in the C locale.
var classes = map[string]func(byte) bool{
	"lower":  between('a', 'z'),
	"upper":  between('A', 'Z'),
	"digit":  between('0', '9'),
	"alpha":  any2(between('a', 'z'), between('A', 'Z')),
	"alnum":  any2(between('0', '9'), any2(between('a', 'z'), between('A', 'Z'))),
	"xdigit": any2(between('0', '9'), any2(between('a', 'f'), between('A', 'F'))),
	"blank":  any2(between(' ', ' '), between('\t', '\t')),
	"space":  any2(between(' ', ' '), between('\t', '\r')),
	"cntrl":  any2(between(0, 31), between(127, 127)),
	"graph":  between('!', '~'),
	"print":  between(' ', '~'),
	"punct":  any2(any2(between('!', '/'), between(':', '@')), any2(between('[', '`'), between('{', '~'))),
}

package rootfs

import (
	"errors"
	"strings"
)

// glob is a pattern for paths: one shell pattern for every part. It means what
// fnmatch(3) means with FNM_PATHNAME, FNM_PERIOD and FNM_EXTMATCH, which is
// what mksquashfs calls, byte by byte as in the C locale.
type glob struct {
	anywhere bool // "... a/b": the last parts of a path of any depth
	parts    [][]token
}

func parseGlob(s string) (glob, error) {
	rest, anywhere := strings.CutPrefix(s, "... ")
	g := glob{anywhere: anywhere}
	if strings.HasPrefix(rest, "/") {
		return g, errors.New("a pattern starts at the root of the tree and has no leading slash")
	}
	rest = strings.Trim(rest, " /")
	if rest == "" {
		return g, errors.New("empty pattern")
	}
	for _, part := range splitGlob(rest) {
		switch part {
		case ".", "..":
			return g, errors.New(`"." and ".." are not supported in patterns`)
		case "":
			continue
		}
		p := parser{s: part}
		g.parts = append(g.parts, p.sequence(""))
	}
	return g, nil
}

// splitGlob cuts at slashes outside of brackets of an extended glob.
func splitGlob(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
		case '/':
			if depth <= 0 {
				parts = append(parts, s[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, s[start:])
}

func (g glob) match(parts []string) bool {
	if g.anywhere && len(parts) > len(g.parts) {
		parts = parts[len(parts)-len(g.parts):]
	}
	if len(parts) != len(g.parts) {
		return false
	}
	for i, p := range g.parts {
		if !matchPart(p, parts[i]) {
			return false
		}
	}
	return true
}

// token is an element of a part: a set of bytes, a star, or an extended glob.
type token struct {
	op   byte      // 'c' one byte of set, '*' any run, or one of "?*+@!" with alternatives
	set  *[32]byte // bitmap of bytes
	wild bool      // a '?' or a bracket: never matches a leading dot
	alts [][]token // extended glob
}

func (t *token) has(c byte) bool { return t.set[c>>3]&(1<<(c&7)) != 0 }
func (t *token) put(c byte)      { t.set[c>>3] |= 1 << (c & 7) }

func literal(c byte) token {
	t := token{op: 'c', set: new([32]byte)}
	t.put(c)
	return t
}

// matchPart follows all ways through the pattern at once: at[i] says that the
// tokens so far can end before byte i. That keeps the cost polynomial whatever
// the pattern.
func matchPart(tokens []token, s string) bool {
	at := make([]bool, len(s)+1)
	at[0] = true
	return run(tokens, s, at)[len(s)]
}

func run(tokens []token, s string, at []bool) []bool {
	for i := range tokens {
		at = tokens[i].step(s, at)
	}
	return at
}

func (t *token) step(s string, at []bool) []bool {
	next := make([]bool, len(at))
	dot := strings.HasPrefix(s, ".")
	switch {
	case t.op == 'c':
		for i := range len(s) {
			next[i+1] = at[i] && t.has(s[i]) && !(t.wild && dot && i == 0)
		}
	case t.alts == nil: // star
		on := false
		for i := range next {
			on = on || at[i]
			next[i] = on
			if i == 0 && dot {
				on = false
			}
		}
	case t.op == '!':
		for i, reached := range at {
			if !reached {
				continue
			}
			from := make([]bool, len(at))
			from[i] = true
			for j, hit := range t.either(s, from) {
				if j >= i && !hit { // glibc lets !(x) match a leading dot
					next[j] = true
				}
			}
		}
	default:
		next = t.repeat(s, at)
	}
	return next
}

// either is one pass through any of the alternatives.
func (t *token) either(s string, at []bool) []bool {
	out := make([]bool, len(at))
	for _, alt := range t.alts {
		union(out, run(alt, s, at))
	}
	return out
}

func (t *token) repeat(s string, at []bool) []bool {
	out := t.either(s, at)
	for t.op == '*' || t.op == '+' {
		if !union(out, t.either(s, out)) {
			break
		}
	}
	if t.op == '?' || t.op == '*' {
		union(out, at)
	}
	return out
}

// union adds b to a and reports whether a grew.
func union(a, b []bool) bool {
	grew := false
	for i, v := range b {
		if v && !a[i] {
			a[i], grew = true, true
		}
	}
	return grew
}

package rest

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// refusal is an answer that we give in the provider's place.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return fmt.Sprintf("request refused with %d: %s", r.status, r.why) }

func bad(format string, args ...any) error { return &refusal{400, fmt.Sprintf(format, args...)} }

// framing is how long a request's body is.
type framing struct {
	chunked bool
	length  int64 // without chunked
	upgrade bool  // the rest of the connection may be another protocol
}

// identity is what we say about the consumer.
type identity struct{ client, role string }

// usable reports whether the names can stand in a header.
func (id identity) usable() error {
	for _, s := range []string{id.client, id.role} {
		if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 || s != strings.TrimSpace(s) {
			return fmt.Errorf("%q cannot be the value of a header", s)
		}
	}
	return nil
}

// headEnd returns the length of the head at the start of b, its empty line
// included, or 0 if it is not complete.
func headEnd(b []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0
		}
		from += i + 1
		rest := b[from:]
		switch {
		case len(rest) > 0 && rest[0] == '\n':
			return from + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return from + 2
		}
	}
}

// line takes the next line off b, without its end. A line may end with LF alone
// (RFC 9112 §2.2); a CR anywhere else is refused.
func line(b []byte) (l, rest []byte, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, nil, bad("a line has no end")
	}
	l, rest = b[:i], b[i+1:]
	l = bytes.TrimSuffix(l, []byte("\r"))
	if bytes.IndexByte(l, '\r') >= 0 {
		return nil, nil, bad("a line has a bare CR")
	}
	return l, rest, nil
}

// rewrite appends to dst the head that the provider gets for the consumer's
// head, and says what body follows. Only the first request of a connection may
// change the protocol: Upgrade is for one hop (RFC 9110 §7.8), so on later ones
// we leave it out.
func rewrite(dst, head []byte, id identity, first bool) ([]byte, framing, error) {
	l, rest, err := line(head)
	if err != nil {
		return nil, framing{}, err
	}
	old, err := checkRequestLine(l)
	if err != nil {
		return nil, framing{}, err
	}
	dst = append(append(dst, l...), "\r\n"...)
	p := fields{first: first, old: old}
	for {
		if l, rest, err = line(rest); err != nil {
			return nil, framing{}, err
		}
		if len(l) == 0 {
			break
		}
		if dst, err = p.add(dst, l); err != nil {
			return nil, framing{}, err
		}
	}
	f, err := p.framing()
	dst = append(dst, "X-PV-Client: "...)
	dst = append(dst, id.client...)
	dst = append(dst, "\r\nX-PV-Role: "...)
	dst = append(dst, id.role...)
	return append(dst, "\r\n\r\n"...), f, err
}

// checkRequestLine says whether the request is of HTTP/1.0.
func checkRequestLine(l []byte) (old bool, err error) {
	method, rest, ok := bytes.Cut(l, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || !isToken(method) || len(target) == 0 {
		return false, bad("the request line is not METHOD TARGET VERSION")
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f {
			return false, bad("the target has a byte that must be percent-encoded")
		}
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		old = true
	default:
		return false, &refusal{505, "HTTP/1.0 and HTTP/1.1 are served"}
	}
	if string(method) == "CONNECT" {
		return false, &refusal{501, "there is nothing to tunnel to"}
	}
	return old, nil
}

// fields collects what the header lines of one request say together.
type fields struct {
	first, old      bool
	lengths, coding int
	length          int64
	chunked         bool
	upgrade, asked  bool // an Upgrade line; "upgrade" in Connection
}

func (p *fields) add(dst, l []byte) ([]byte, error) {
	name, value, err := splitField(l)
	if err != nil {
		return nil, err
	}
	switch {
	case claimsIdentity(name):
		return dst, nil
	case is(name, "content-length"):
		if p.lengths++; p.lengths > 1 {
			return nil, bad("two lines of Content-Length")
		}
		if p.length, err = parseLength(value); err != nil {
			return nil, err
		}
	case is(name, "transfer-encoding"):
		if p.coding++; p.coding > 1 {
			return nil, bad("two lines of Transfer-Encoding")
		}
		switch {
		case is(value, "identity"): // says nothing; some clients send it with a length
			p.coding--
			return dst, nil
		case p.old:
			return nil, bad("Transfer-Encoding in HTTP/1.0")
		case !is(value, "chunked"):
			return nil, &refusal{501, "the only Transfer-Encoding served is chunked"}
		}
		p.chunked = true
	case is(name, "upgrade"):
		return p.addUpgrade(dst, value), nil
	case is(name, "http2-settings"): // belongs to an Upgrade that we leave out
		return dst, nil
	case is(name, "connection"):
		return p.addConnection(dst, value), nil
	}
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...), nil
}

// addUpgrade leaves out protocols that bring further requests, which nobody
// would look at: HTTP/2 (RFC 7540 §3.2) and TLS (RFC 2817).
func (p *fields) addUpgrade(dst, value []byte) []byte {
	if !p.first || p.old {
		return dst
	}
	n := len(dst)
	dst = append(dst, "Upgrade: "...)
	empty := true
	for protocol := range bytes.SplitSeq(value, []byte(",")) {
		protocol = bytes.Trim(protocol, " \t")
		name, _, _ := bytes.Cut(protocol, []byte("/"))
		if !isToken(name) || is(name, "h2c") || is(name, "h2") || is(name, "http") || is(name, "tls") {
			continue
		}
		if !empty {
			dst = append(dst, ", "...)
		}
		dst, empty = append(dst, protocol...), false
	}
	if empty {
		return dst[:n]
	}
	p.upgrade = true
	return append(dst, "\r\n"...)
}

// addConnection leaves out the names of fields that are ours to set: naming
// them asks the next hop to drop them.
func (p *fields) addConnection(dst, value []byte) []byte {
	n := len(dst)
	dst = append(dst, "Connection: "...)
	empty := true
	for option := range bytes.SplitSeq(value, []byte(",")) {
		option = bytes.Trim(option, " \t")
		switch {
		case len(option) == 0 || claimsIdentity(option):
			continue
		case is(option, "upgrade"):
			if !p.first || p.old {
				continue
			}
			p.asked = true
		}
		if !empty {
			dst = append(dst, ", "...)
		}
		dst, empty = append(dst, option...), false
	}
	if empty {
		return dst[:n]
	}
	return append(dst, "\r\n"...)
}

func (p *fields) framing() (framing, error) {
	if p.chunked && p.lengths > 0 {
		return framing{}, bad("Content-Length and Transfer-Encoding together")
	}
	return framing{chunked: p.chunked, length: p.length, upgrade: p.upgrade && p.asked}, nil
}

// splitField checks a header or trailer line.
func splitField(l []byte) (name, value []byte, err error) {
	if l[0] == ' ' || l[0] == '\t' {
		return nil, nil, bad("a header line is folded")
	}
	name, value, ok := bytes.Cut(l, []byte(":"))
	if !ok || !isToken(name) {
		return nil, nil, bad("a header line is not NAME: VALUE")
	}
	value = bytes.Trim(value, " \t")
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, bad("the value of %s has a control character", name)
		}
	}
	return name, value, nil
}

// claimsIdentity knows the fields that only we may set: all of X-PV-, also with
// the underscores that CGI-like servers make of hyphens.
func claimsIdentity(name []byte) bool {
	const prefix = "x-pv-"
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '_' {
			c = '-'
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}

func is(b []byte, lower string) bool {
	return len(b) == len(lower) && strings.EqualFold(string(b), lower)
}

// parseLength takes digits only: no sign, no list, no space.
func parseLength(v []byte) (int64, error) {
	if len(v) == 0 {
		return 0, bad("Content-Length is empty")
	}
	var n int64
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, bad("Content-Length %q is not a number", v)
		}
		if n > (math.MaxInt64-9)/10 {
			return 0, bad("Content-Length is too large")
		}
		n = 10*n + int64(c-'0')
	}
	return n, nil
}

// isToken: RFC 9110 §5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokenBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
			c < 0x80 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()

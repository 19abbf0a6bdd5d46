package lxcconf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
)

// maxSize and maxLine bound what is read. A file of pvr's template has some 20
// short lines; the environment may make it longer.
const (
	maxSize = 1 << 20
	maxLine = 64 << 10
	maxErrs = 20
)

// blanks are what lxc takes off the ends of keys and values.
const blanks = " \t"

// Parse reads a file. All errors that it finds are in the result, each an
// *Error.
func Parse(r io.Reader) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, &Error{Key: "file", Reason: fmt.Sprintf("it is longer than %d bytes", maxSize)}
	}
	p := &parser{c: &Config{
		Stop:    syscall.SIGKILL,
		Autodev: true, AutodevMax: 500000,
		Init: Init{Args: []string{"/sbin/init"}, Dir: "/"},
	}}
	for text := range strings.Lines(string(data)) {
		p.line++
		p.read(strings.TrimRight(text, "\r\n"))
		if len(p.errs) > maxErrs {
			p.errs = append(p.errs, errors.New("and more"))
			break
		}
	}
	p.finish()
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return p.c, nil
}

type parser struct {
	c    *Config
	line int
	key  string
	errs []error
}

func (p *parser) bad(format string, args ...any) {
	p.errs = append(p.errs, &Error{p.line, p.key, fmt.Sprintf(format, args...)})
}

func (p *parser) warn(format string, args ...any) {
	p.c.Warnings = append(p.c.Warnings, Warning{p.line, p.key, fmt.Sprintf(format, args...)})
}

// read takes one line as confile.c's parse_line does: blanks around key and
// value go, then one pair of equal quotes around the value.
func (p *parser) read(text string) {
	text = strings.TrimLeft(text, blanks)
	if text == "" || text[0] == '#' {
		return
	}
	p.key = shorten(text)
	switch {
	case len(text) > maxLine:
		p.bad("the line is longer than %d bytes", maxLine)
		return
	case strings.IndexByte(text, 0) >= 0:
		p.bad("the line holds a NUL byte")
		return
	case !strings.HasPrefix(text, "lxc."):
		p.warn("is no key of lxc's, which start with \"lxc.\": ignored")
		return
	}
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		p.bad("want \"key = value\"")
		return
	}
	p.key = strings.TrimRight(key, blanks)
	value = strings.Trim(value, blanks)
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[0] == value[n-1] {
		value = value[1 : n-1]
	}
	p.set(value)
}

// set finds the key: exactly, or by the longest prefix that ends in a dot.
func (p *parser) set(value string) {
	if f, ok := exact[p.key]; ok {
		f(p, value)
		return
	}
	for _, prefix := range prefixes {
		if rest, ok := strings.CutPrefix(p.key, prefix.name); ok && rest != "" {
			prefix.set(p, rest, value)
			return
		}
	}
	p.warn("is not known here: ignored")
}

func (p *parser) finish() {
	p.line = 0
	c := p.c
	if len(c.keep) > 0 && len(c.clone) > 0 {
		p.key = "lxc.namespace.clone"
		p.bad("it cannot stand beside lxc.namespace.keep: use one of them")
	}
	if slices.Contains(c.keep, string(Mnt)) {
		p.key = "lxc.namespace.keep"
		p.bad("mnt cannot be kept: a container's mounts would be the host's")
	}
	if slices.Contains(c.clone, "time") {
		p.key = "lxc.namespace.clone"
		p.warn("a time namespace is not supported: the host's clocks are used")
	}
	if slices.Contains(c.clone, string(User)) {
		p.key = "lxc.namespace.clone"
		p.bad("user needs lxc.idmap, which is not supported in the file; the rootless mode makes its own user namespace")
	}
	slices.SortFunc(c.Net, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	for _, n := range c.Net {
		p.line, p.key = n.Line, fmt.Sprintf("lxc.net.%d", n.Index)
		if n.Type == "" {
			p.bad("it has no type: want lxc.net.%d.type = veth, phys, empty or none", n.Index)
		}
	}
}

func trimSlash(s string) string { return strings.TrimLeft(s, "/") }

// shorten keeps an unknown line from filling the message.
func shorten(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

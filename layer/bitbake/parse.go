package bitbake

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Parse reads one file. A name that ends in ".conf" is read as BitBake's
// ConfHandler does, any other as its BBHandler does; both differ in how lines
// are joined and in which statements exist. The findings are File.Err as an
// error, other broken lines, and File.Warnings; the File is never nil.
func Parse(name string, src []byte) (*File, []diag.Diagnostic) {
	f := &File{Name: name, Src: string(src)}
	p := &fileParser{f: f, lines: splitLines(f.Src)}
	for _, l := range p.lines {
		f.lines = append(f.lines, l.start)
	}
	p.checkEncoding()
	if strings.HasSuffix(name, ".conf") {
		p.conf()
	} else {
		p.class = strings.TrimSuffix(path.Base(name), ".bbclass")
		if p.class == path.Base(name) {
			p.class = ""
		}
		p.metadata()
	}
	ds := append([]diag.Diagnostic{}, p.errs...)
	return f, append(ds, f.Warnings...)
}

type fileParser struct {
	f     *File
	lines []physical
	errs  []diag.Diagnostic
	class string // of a .bbclass, for EXPORT_FUNCTIONS
}

// fail records a problem that stops BitBake; parsing goes on behind it.
func (p *fileParser) fail(kind string, line int, msg string) {
	e := &Error{Type: kind, Msg: msg, Pos: diag.Position{File: p.f.Name, Line: line, Col: 1}}
	if p.f.Err == nil {
		p.f.Err = e
	}
	p.errs = append(p.errs, e.Diagnostic())
}

func (p *fileParser) warn(line int, msg string) {
	p.f.Warnings = append(p.f.Warnings, diag.Diagnostic{
		Pos: diag.Position{File: p.f.Name, Line: line, Col: 1}, Severity: diag.Warning, Rule: RuleWarn, Message: msg,
	})
}

// checkEncoding: Python refuses bytes that are not UTF-8, surrogates included.
func (p *fileParser) checkEncoding() {
	if utf8.ValidString(p.f.Src) {
		return
	}
	for i := 0; i < len(p.f.Src); {
		r, n := utf8.DecodeRuneInString(p.f.Src[i:])
		if r == utf8.RuneError && n == 1 {
			pos := p.f.Position(i)
			p.fail("UnicodeDecodeError", pos.Line, "the file is not UTF-8")
			p.errs[len(p.errs)-1].Pos.Col, p.f.Err.Pos.Col = pos.Col, pos.Col
			return
		}
		i += n
	}
}

// conf reads a configuration file (ConfHandler.handle): every line that ends
// in a backslash takes the next one, whatever that is.
func (p *fileParser) conf() {
	for i := 0; i < len(p.lines); {
		text := p.lines[i].text
		if text == "" {
			i++
			continue
		}
		l, next := p.joinConf(i)
		i = next
		switch {
		case l == nil:
		case l.text[0] == '#':
			p.comment(l)
		default:
			p.statement(l, true)
		}
	}
}

// joinConf joins the line at i with its continuations and returns the index
// of the line behind. It is nil after an error.
func (p *fileParser) joinConf(i int) (*logical, int) {
	first := p.lines[i]
	l := &logical{text: first.text, first: i + 1, last: i + 1, segs: []segment{{0, first.start}}, end: first.start + len(first.text)}
	if !strings.HasSuffix(l.text, `\`) {
		return l, i + 1
	}
	buf := []byte(l.text)
	for buf[len(buf)-1] == '\\' {
		i++
		next := physical{start: len(p.f.Src)}
		if i < len(p.lines) {
			next = p.lines[i]
		}
		l.last = i + 1
		if buf[0] == '#' && (next.text == "" || next.text[0] != '#') {
			p.fail("BBHandledException", l.first, "a comment that ends in a backslash continues on a line that is no comment: end the comment, or start the next line with #")
			return nil, i + 1
		}
		buf = buf[:len(buf)-1]
		l.segs = append(l.segs, segment{len(buf), next.start})
		buf = append(buf, next.text...)
		if i < len(p.lines) {
			l.end = next.start + len(next.text)
		}
		if len(buf) == 0 {
			p.fail("IndexError", l.last, "a line of nothing but a backslash continues into an empty line")
			return nil, i + 1
		}
	}
	l.text = string(buf)
	return l, i + 1
}

// add appends a statement with its place.
func (p *fileParser) add(l *logical, s Stmt) {
	*s.node() = Node{File: p.f, Line: l.first, LastLine: l.last, Span: l.whole()}
	p.f.Stmts = append(p.f.Stmts, s)
}

func (p *fileParser) comment(l *logical) {
	p.add(l, &Comment{Lines: splitTexts(p.f.Src[l.whole().Start:l.whole().End])})
}

func splitTexts(s string) []string {
	var out []string
	for _, l := range splitLines(s) {
		out = append(out, l.text)
	}
	return out
}

// statement reads what both kinds of file know (ConfHandler.feeder).
func (p *fileParser) statement(l *logical, conf bool) {
	if a := parseAssign(l); a != nil {
		p.add(l, a)
		return
	}
	s := l.text
	if rest, at, ok := cutWord(s, "include"); ok {
		p.add(l, &Include{Files: rest, ArgSpan: l.span(at, len(s))})
		return
	}
	if rest, at, ok := cutWord(s, "require"); ok {
		p.add(l, &Include{Required: true, Files: rest, ArgSpan: l.span(at, len(s))})
		return
	}
	if rest, at, ok := cutWord(s, "export"); ok && strings.IndexFunc(rest, notPlainRune) < 0 {
		p.add(l, &Export{Name: rest, NameSpan: l.span(at, len(s))})
		return
	}
	if rest, at, ok := cutWord(s, "unset"); ok {
		name, flag := rest, ""
		if strings.HasSuffix(rest, "]") {
			// The flag needs two letters here: the pattern says "+" where an
			// assignment says "*".
			if open := strings.IndexByte(rest, '['); open > 0 && isFlag(rest[open+1:len(rest)-1], 2) {
				name, flag = rest[:open], rest[open+1:len(rest)-1]
			}
		}
		if name != "" && strings.IndexFunc(name, notPlainRune) < 0 {
			p.add(l, &Unset{Name: name, Flag: flag, NameSpan: l.span(at, at+len(name))})
			return
		}
	}
	if rest, _, ok := cutWord(s, "addpylib"); ok && conf {
		// `(.+)\s+(.+)`: the last run of blanks that has something behind it.
		if i := strings.LastIndexFunc(rest, pyexpr.IsSpace); i > 0 {
			_, n := utf8.DecodeRuneInString(rest[i:])
			if dir := rest[:i]; dir != "" {
				p.add(l, &AddPyLib{Dir: strings.TrimRightFunc(dir, pyexpr.IsSpace), Namespace: rest[i+n:]})
				return
			}
		}
	}
	p.fail("ParseError", l.last, "this line is no BitBake statement: "+clip(s))
}

// clip shortens a line for a message.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for !utf8.ValidString(s) && s != "" {
		s = s[:len(s)-1]
	}
	return s + "..."
}

package bitbake

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// metadata reads a recipe, class or .inc (BBHandler.feeder).
func (p *fileParser) metadata() {
	for i := 0; i < len(p.lines); {
		l, next, ok := p.joinMetadata(i)
		if !ok || l.text == "" || l.text[0] == '#' {
			if ok && l.text != "" {
				p.comment(l)
			}
			i = next
			continue
		}
		if fn := functionHead(l.text); fn != nil {
			i = p.function(l, fn, next)
			continue
		}
		if name, ok := defHead(l.text); ok {
			i = p.def(l, name, next)
			continue
		}
		if !p.keyword(l) {
			p.statement(l, false)
		}
		i = next
	}
}

// joinMetadata joins continuations. Unlike in a .conf, a comment inside is an
// error, as is the end of the file.
func (p *fileParser) joinMetadata(i int) (l *logical, next int, ok bool) {
	first := p.lines[i]
	l = &logical{text: first.text, first: i + 1, last: i + 1, segs: []segment{{0, first.start}}, end: first.start + len(first.text)}
	if !strings.HasSuffix(l.text, `\`) {
		return l, i + 1, true
	}
	buf := []byte(l.text[:len(l.text)-1])
	firstByte := byte(0)
	if len(buf) > 0 {
		firstByte = buf[0]
	}
	for {
		i++
		if i == len(p.lines) {
			p.fail("ParseError", i, "the file ends inside a continued line: "+clip(string(buf)))
			return nil, i, false
		}
		line := p.lines[i]
		l.last = i + 1
		l.end = line.start + len(line.text)
		comment := strings.HasPrefix(line.text, "#")
		switch {
		case firstByte == 0:
			p.fail("IndexError", i+1, "a line of nothing but a backslash cannot be continued")
			return nil, i, false
		case comment && firstByte != '#':
			p.fail("BBHandledException", i+1, "a comment stands in the middle of a continued line; BitBake refuses this outside .conf files")
			return nil, i + 1, false
		case !comment && firstByte == '#':
			p.fail("BBHandledException", l.first, "a comment that ends in a backslash continues on a line that is no comment: end the comment, or start the next line with #")
			return nil, i, false
		}
		l.segs = append(l.segs, segment{len(buf), line.start})
		if !strings.HasSuffix(line.text, `\`) {
			buf = append(buf, line.text...)
			l.text = string(buf)
			return l, i + 1, true
		}
		buf = append(buf, line.text[:len(line.text)-1]...)
	}
}

// functionHead matches BBHandler.__func_start_regexp__: any number of
// "python" and "fakeroot", a name or none, "() {" at the end of the line.
func functionHead(s string) *Function {
	if !strings.HasSuffix(s, "{") {
		return nil
	}
	fn := &Function{}
	at := 0
	for {
		rest := s[at:]
		word := ""
		for _, w := range []string{"python", "fakeroot"} {
			if tail, ok := strings.CutPrefix(rest, w); ok {
				if _, n := cutSpace(tail); n > 0 || w == "python" && strings.HasPrefix(tail, "(") {
					word = w
				}
			}
		}
		if word == "" {
			break
		}
		fn.Python = fn.Python || word == "python"
		fn.Fakeroot = fn.Fakeroot || word == "fakeroot"
		_, n := cutSpace(rest[len(word):])
		at += len(word) + n
	}
	rest := s[at:]
	n := strings.IndexFunc(rest, func(r rune) bool { return !isWordRune(r) && !strings.ContainsRune(".-+{}$:", r) })
	if n < 0 {
		return nil
	}
	fn.Name = rest[:n]
	fn.NameSpan = Span{at, at + n}
	for _, part := range []string{"(", ")", "{"} {
		rest, _ = cutSpace(rest[n:])
		if !strings.HasPrefix(rest, part) {
			return nil
		}
		n = len(part)
	}
	if len(rest) != 1 {
		return nil
	}
	return fn
}

// isWordRune is \w of Python's patterns.
func isWordRune(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
}

// defHead matches `def\s+(\w+).*:`.
func defHead(s string) (string, bool) {
	rest, _, ok := cutWord(s, "def")
	if !ok {
		return "", false
	}
	n := strings.IndexFunc(rest, func(r rune) bool { return !isWordRune(r) })
	if n <= 0 || !strings.Contains(rest[n:], ":") {
		return "", false
	}
	return rest[:n], true
}

// function reads the body up to a line that is just "}".
func (p *fileParser) function(l *logical, fn *Function, i int) int {
	fn.NameSpan = l.span(fn.NameSpan.Start, fn.NameSpan.End)
	start := i
	for ; i < len(p.lines); i++ {
		line := p.lines[i]
		if line.text == "}" {
			fn.Body = append(fn.Body, "")
			l.last, l.end = i+1, line.start+1
			p.add(l, fn)
			return i + 1
		}
		if fn.Python || fn.Name == "" {
			p.checkTabs(i)
		}
		fn.Body = append(fn.Body, line.text)
	}
	name := fn.Name
	if name == "" {
		name = "an anonymous Python function"
	}
	p.fail("ParseError", start, name+` is never closed: no line is just "}"`)
	return i
}

func (p *fileParser) checkTabs(i int) {
	if strings.HasPrefix(strings.TrimLeft(p.lines[i].text, " "), "\t") {
		p.warn(i+1, "Python wants 4 blanks of indentation, here are tabs")
	}
}

// def reads an indented body; blank lines and comments belong to it.
func (p *fileParser) def(l *logical, name string, i int) int {
	d := &Def{Name: name, Body: []string{l.text}}
	for ; i < len(p.lines); i++ {
		t := p.lines[i].text
		if t != "" && t[0] != '#' {
			if _, n := cutSpace(t); n == 0 {
				break
			}
		}
		p.checkTabs(i)
		d.Body = append(d.Body, t)
	}
	end := i
	for end > l.last && p.lines[end-1].text == "" {
		end--
	}
	if end > l.last {
		l.end = p.lines[end-1].start + len(p.lines[end-1].text)
	}
	// BitBake gives a def the number of the line that ends it: the next
	// statement's, or the one behind the file's last.
	l.last = i + 1
	p.add(l, d)
	return i
}

// keyword reads the statements that only recipes and classes know.
func (p *fileParser) keyword(l *logical) bool {
	s := l.text
	if rest, _, ok := cutWord(s, "EXPORT_FUNCTIONS"); ok {
		p.add(l, &ExportFunctions{Names: rest, Class: p.class})
		return true
	}
	if rest, _, ok := cutWord(s, "addtask"); ok {
		return p.addTask(l, rest)
	}
	if rest, _, ok := cutWord(s, "deltask"); ok {
		p.add(l, &DelTask{Tasks: rest})
		return true
	}
	if rest, _, ok := cutWord(s, "addhandler"); ok {
		p.add(l, &AddHandler{Names: rest})
		return true
	}
	if rest, at, ok := cutWord(s, "inherit"); ok {
		p.add(l, &Inherit{Classes: rest, ArgSpan: l.span(at, len(s))})
		return true
	}
	if rest, at, ok := cutWord(s, "inherit_defer"); ok {
		p.add(l, &Inherit{Deferred: true, Classes: rest, ArgSpan: l.span(at, len(s))})
		return true
	}
	return false
}

// addTask matches `addtask NAME (before WORDS | after WORDS)*`. Anything
// else behind the name is ignored, as BitBake does with a warning.
func (p *fileParser) addTask(l *logical, rest string) bool {
	n := strings.IndexFunc(rest, func(r rune) bool { return !isWordRune(r) })
	if n < 0 {
		n = len(rest)
	}
	if n == 0 {
		return false
	}
	t := &AddTask{Name: rest[:n], Args: rest}
	tail, _ := cutSpace(rest[n:])
	ignored := tail
	for {
		if words, ok := strings.CutPrefix(tail, "before"); ok {
			t.HasBefore = true
			t.Before, tail = untilWord(words, "after")
		} else if words, ok := strings.CutPrefix(tail, "after"); ok {
			t.HasAfter = true
			t.After, tail = untilWord(words, "before")
		} else {
			break
		}
	}
	if ignored != "" && !t.HasBefore && !t.HasAfter {
		p.warn(l.last, fmt.Sprintf("addtask ignores %q: only before and after may follow the task", ignored))
	}
	fields := pyexpr.Split(l.text)
	for _, word := range []string{"before", "after"} {
		count := 0
		for _, f := range fields {
			if f == word {
				count++
			}
		}
		if count > 1 {
			p.warn(l.last, fmt.Sprintf("addtask takes one %q, here are %d", word, count))
		}
	}
	for _, f := range fields {
		for _, k := range []string{":append_", ":prepend_", ":remove_"} {
			if strings.Contains(f, k) {
				p.fail("ParseError", l.last, fmt.Sprintf("the task name %q holds %q, which BitBake takes for an operation", f, k))
				return true
			}
		}
	}
	p.add(l, t)
	return true
}

// untilWord splits at the last occurrence of word, the greedy `.*(?=word)`.
func untilWord(s, word string) (words, tail string) {
	s, _ = cutSpace(s)
	if i := strings.LastIndex(s, word); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

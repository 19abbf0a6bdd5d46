package bitbake

import "strings"

// pyLine is a logical line of Python: brackets closed, comment cut.
type pyLine struct {
	indent int
	text   string
}

// parseDef reads a def; nil when it is not simple.
func parseDef(f *Def) *pyDef {
	lines, ok := pyLines(f.Body)
	if !ok || len(lines) < 2 {
		return nil
	}
	d := &pyDef{}
	head := lines[0].text
	open := strings.IndexByte(head, '(')
	if open < 0 || !strings.HasSuffix(head, "):") || !d.parameters(head[open+1:len(head)-2]) {
		return nil
	}
	body, rest, ok := pyBlock(lines[1:], lines[1].indent)
	if !ok || len(rest) > 0 || lines[1].indent == 0 {
		return nil
	}
	d.body = body
	return d
}

// parameters reads "a, b=1"; stars and annotations are not simple.
func (d *pyDef) parameters(s string) bool {
	if strings.TrimSpace(s) == "" {
		return true
	}
	if strings.ContainsAny(s, "*:/()[]{}'\"") {
		// Defaults with brackets or texts hold commas of their own.
		if strings.ContainsAny(s, "*:/()[]{}") || strings.Count(s, ",") != strings.Count(removeTexts(s), ",") {
			return false
		}
	}
	for p := range strings.SplitSeq(s, ",") {
		name, def, has := strings.Cut(p, "=")
		name = strings.TrimSpace(name)
		if !isPyName(name) || !has && len(d.defaults) > 0 {
			return false
		}
		d.params = append(d.params, name)
		if has {
			d.defaults = append(d.defaults, strings.TrimSpace(def))
		}
	}
	return true
}

func isPyName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !isWordRune(r) }) < 0 && (s[0] < '0' || s[0] > '9')
}

// removeTexts takes the string literals out of a line.
func removeTexts(s string) string {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote != 0 && c == '\\':
			i++
		case c == quote:
			quote = 0
		case quote == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// pyLines joins lines while a bracket is open, cuts comments, and skips blank
// lines and a docstring. Other multi-line texts and backslashes are not
// simple.
func pyLines(body []string) (out []pyLine, ok bool) {
	for i := 0; i < len(body); i++ {
		trimmed := strings.TrimLeft(body[i], " ")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		line := pyLine{len(body[i]) - len(trimmed), ""}
		for _, q := range []string{`"""`, "'''"} {
			if len(out) != 1 || !strings.HasPrefix(trimmed, q) {
				continue
			}
			for rest := trimmed[3:]; !strings.Contains(rest, q); rest = body[i] {
				if i++; i == len(body) {
					return nil, false
				}
			}
			trimmed = ""
		}
		if trimmed == "" {
			continue
		}
		depth := 0
		for {
			code, open, good := pyCode(trimmed)
			if !good {
				return nil, false
			}
			line.text += code
			if depth += open; depth <= 0 {
				break
			}
			if i++; i == len(body) {
				return nil, false
			}
			trimmed = " " + strings.TrimLeft(body[i], " ")
		}
		out = append(out, line)
	}
	return out, true
}

// pyCode cuts the comment off a line and counts the brackets that stay open.
func pyCode(s string) (code string, open int, ok bool) {
	if strings.Contains(s, `"""`) || strings.Contains(s, "'''") || strings.HasSuffix(s, "\\") || strings.Contains(s, "\t") {
		return "", 0, false
	}
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#':
			return strings.TrimRight(s[:i], " "), open, true
		case c == ';':
			return "", 0, false
		case strings.IndexByte("([{", c) >= 0:
			open++
		case strings.IndexByte(")]}", c) >= 0:
			open--
		}
	}
	return strings.TrimRight(s, " "), open, quote == 0
}

// pyBlock reads the statements of one indentation.
func pyBlock(lines []pyLine, indent int) (out []pyStmt, rest []pyLine, ok bool) {
	for len(lines) > 0 && lines[0].indent == indent {
		text := lines[0].text
		switch {
		case text == "pass" || text == "import os" || text == "import bb":
			lines = lines[1:]
		case text == "return" || strings.HasPrefix(text, "return ") || strings.HasPrefix(text, "return("):
			out = append(out, pyStmt{kind: pyReturn, expr: strings.TrimSpace(strings.TrimPrefix(text, "return"))})
			lines = lines[1:]
		case strings.HasPrefix(text, "if ") || strings.HasPrefix(text, "if("):
			s := pyStmt{kind: pyIf}
			if s.branches, lines, ok = pyBranches(lines, indent); !ok {
				return nil, nil, false
			}
			out = append(out, s)
		default:
			name, expr, found := strings.Cut(text, "=")
			name = strings.TrimSpace(name)
			if !found || !isPyName(name) || strings.HasPrefix(expr, "=") {
				return nil, nil, false
			}
			out = append(out, pyStmt{kind: pyAssign, name: name, expr: strings.TrimSpace(expr)})
			lines = lines[1:]
		}
	}
	return out, lines, len(lines) == 0 || lines[0].indent < indent
}

// pyBranches reads if, elif and else with their blocks.
func pyBranches(lines []pyLine, indent int) (out []pyBranch, rest []pyLine, ok bool) {
	for len(lines) > 0 && lines[0].indent == indent {
		text := lines[0].text
		var b pyBranch
		switch word := strings.TrimRight(text, ":"); {
		case len(out) == 0 && strings.HasPrefix(text, "if"):
			b.expr = strings.TrimSpace(strings.TrimSuffix(text[2:], ":"))
		case len(out) > 0 && out[len(out)-1].expr != "" && (strings.HasPrefix(text, "elif ") || strings.HasPrefix(text, "elif(")):
			b.expr = strings.TrimSpace(strings.TrimSuffix(text[4:], ":"))
		case len(out) > 0 && out[len(out)-1].expr != "" && strings.TrimSpace(word) == "else":
		default:
			return out, lines, len(out) > 0
		}
		// What follows the colon on the same line is not simple.
		if !strings.HasSuffix(text, ":") || len(lines) < 2 || lines[1].indent <= indent {
			return nil, nil, false
		}
		if b.body, lines, ok = pyBlock(lines[1:], lines[1].indent); !ok {
			return nil, nil, false
		}
		out = append(out, b)
	}
	return out, lines, true
}

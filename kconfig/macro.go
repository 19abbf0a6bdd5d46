package kconfig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Limits of the preprocessor: a macro that expands to macros must end.
const (
	maxMacroDepth = 64
	maxMacroSize  = 1 << 20
)

// variable is a preprocessor variable. A recursive one (=) is expanded at each
// use, the others (:=) when they are set.
type variable struct {
	value     string
	recursive bool
}

// assign handles `NAME = value`, `NAME := value`, `NAME += value` and a macro
// that stands alone on a line. Anything else is a syntax error.
func (p *parser) assign(l line) error {
	s := strings.TrimSpace(l.text)
	name, i, err := p.name(l, s, 0)
	if err != nil {
		return err
	}
	rest := strings.TrimLeft(s[i:], " \t")
	if rest == "" && strings.HasPrefix(s, "$(") {
		if name != "" {
			return l.errorf("syntax error")
		}
		return nil
	}
	var op string
	for _, o := range [...]string{":=", "+=", "="} {
		if strings.HasPrefix(rest, o) {
			op = o
			break
		}
	}
	if op == "" || name == "" {
		return l.errorf("syntax error")
	}
	value := strings.TrimLeft(rest[len(op):], " \t")
	old, exists := p.vars[name]
	switch {
	case op == "=" || op == "+=" && !exists:
		p.vars[name] = variable{value, true}
	case op == ":=":
		if value, err = p.expand(l, value, 0); err != nil {
			return err
		}
		p.vars[name] = variable{value, false}
	default:
		if !old.recursive {
			if value, err = p.expand(l, value, 0); err != nil {
				return err
			}
		}
		p.vars[name] = variable{old.value + " " + value, old.recursive}
	}
	return nil
}

// expand replaces every $(…) in s.
func (p *parser) expand(l line, s string, depth int) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(s, "$(")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(s[:i])
		text, end, err := p.macro(l, s, i, depth)
		if err != nil {
			return "", err
		}
		if b.WriteString(text); b.Len() > maxMacroSize {
			return "", l.errorf("macro expands to more than %d bytes", maxMacroSize)
		}
		s = s[end:]
	}
}

// macro expands the $(…) at s[i] and returns where it ends.
func (p *parser) macro(l line, s string, i, depth int) (string, int, error) {
	if depth > maxMacroDepth {
		return "", 0, l.errorf("macro expansion is nested more than %d deep; does a variable expand to itself?", maxMacroDepth)
	}
	var args []string
	var cur strings.Builder
	nested := 0
	for i += len("$("); i < len(s); {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], "$("):
			text, end, err := p.macro(l, s, i, depth+1)
			if err != nil {
				return "", 0, err
			}
			cur.WriteString(text)
			i = end
			continue
		case c == '(':
			nested++
			cur.WriteByte(c)
		case c == ')' && nested > 0:
			nested--
			cur.WriteByte(c)
		case c == ')':
			args = append(args, cur.String())
			text, err := p.call(l, args, depth)
			return text, i + 1, err
		case c == ',' && nested == 0:
			args = append(args, cur.String())
			cur.Reset()
		default:
			cur.WriteByte(c)
		}
		i++
	}
	return "", 0, l.errorf("missing end parenthesis in macro expansion")
}

// call gives the value of $(name) or $(name,arg…): a variable of the file, a
// built-in function, or the environment.
func (p *parser) call(l line, args []string, depth int) (string, error) {
	name := args[0]
	if v, ok := p.vars[name]; ok {
		if !v.recursive {
			return v.value, nil
		}
		return p.expand(l, substitute(v.value, args), depth+1)
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch name {
	case "filename":
		return l.file, nil
	case "lineno":
		return fmt.Sprint(l.number), nil
	case "info":
		return "", nil
	case "warning-if":
		if arg(1) == "y" {
			p.warnf(l.pos(), "%s", arg(2))
		}
		return "", nil
	case "error-if":
		if arg(1) == "y" {
			return "", &SyntaxError{Pos: l.pos(), Msg: arg(2)}
		}
		return "", nil
	case "shell":
		// Reading a file must not run programs.
		return "", l.errorf("$(shell,…) is not supported: no program is run to read a Kconfig file")
	}
	if len(args) == 1 {
		value, _ := p.env(name)
		return value, nil
	}
	return "", nil
}

// substitute puts the arguments of a call in place of $(1), $(2), ….
func substitute(s string, args []string) string {
	for i, a := range args {
		s = strings.ReplaceAll(s, fmt.Sprintf("$(%d)", i), a)
	}
	return s
}

func (p *parser) warnf(pos diag.Position, format string, args ...any) {
	p.tree.warnf(pos, format, args...)
}

func sortedWarnings(ds []diag.Diagnostic) []diag.Diagnostic {
	ds = slices.Clone(ds)
	diag.Sort(ds)
	return ds
}

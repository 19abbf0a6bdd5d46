package bitbake

import (
	"fmt"
	"strings"
)

// Print writes the statements of a file, each on a line of its own with
// continuations joined: parsed again, they are the same statements.
func Print(stmts []Stmt) []byte {
	p := &printer{}
	for _, s := range stmts {
		p.stmt(s)
	}
	return []byte(p.b.String())
}

type printer struct{ b strings.Builder }

// line writes one logical line. A text that ends in a backslash is followed
// by an empty continuation, so that the backslash stays.
func (p *printer) line(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	p.b.WriteString(s)
	if strings.HasSuffix(s, `\`) {
		p.b.WriteString("\\\n")
	}
	p.b.WriteByte('\n')
}

func (p *printer) lines(ls []string) {
	for _, l := range ls {
		p.b.WriteString(l)
		p.b.WriteByte('\n')
	}
}

func (p *printer) stmt(s Stmt) {
	word := func(yes bool, a, b string) string {
		if yes {
			return a
		}
		return b
	}
	switch s := s.(type) {
	case *Comment:
		p.lines(s.Lines)
	case *Assign:
		flag := ""
		if s.Flag != "" {
			flag = "[" + s.Flag + "]"
		}
		p.line("%s%s%s %s %c%s%c", word(s.Export, "export ", ""), s.Name, flag, s.Op, s.Quote, s.Value, s.Quote)
	case *Include:
		p.line("%s %s", word(s.Required, "require", "include"), s.Files)
	case *Inherit:
		p.line("%s %s", word(s.Deferred, "inherit_defer", "inherit"), s.Classes)
	case *Export:
		p.line("export %s", s.Name)
	case *Unset:
		p.line("unset %s%s", s.Name, word(s.Flag != "", "["+s.Flag+"]", ""))
	case *AddTask:
		p.line("addtask %s", s.Args)
	case *DelTask:
		p.line("deltask %s", s.Tasks)
	case *AddHandler:
		p.line("addhandler %s", s.Names)
	case *ExportFunctions:
		p.line("EXPORT_FUNCTIONS %s", s.Names)
	case *AddPyLib:
		p.line("addpylib %s %s", s.Dir, s.Namespace)
	case *Function:
		p.line("%s%s%s() {", word(s.Python, "python ", ""), word(s.Fakeroot, "fakeroot ", ""), s.Name)
		p.lines(s.Body[:len(s.Body)-1])
		p.line("}")
	case *Def:
		p.line("%s", s.Body[0])
		p.lines(s.Body[1:])
	}
}

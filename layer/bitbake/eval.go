package bitbake

import (
	"fmt"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// evalAll runs the statements of a file in order.
func (d *Datastore) evalAll(f *File) error {
	if d.cancelled != nil {
		if err := d.cancelled(); err != nil {
			return err
		}
	}
	for _, s := range f.Stmts {
		if d.steps++; d.steps > maxStatements {
			return &Error{Type: "LimitError", Msg: "too many statements: files include each other again and again", Pos: s.Pos(), Err: &LimitError{"statements", maxStatements}}
		}
		if err := d.step(place(d.eval(s), s.Pos())); err != nil {
			return err
		}
	}
	return nil
}

// eval runs one statement: the eval methods of bb/parse/ast.py.
func (d *Datastore) eval(s Stmt) error {
	switch s := s.(type) {
	case *Comment:
		return nil
	case *Assign:
		return d.assign(s)
	case *Include:
		return d.includeStmt(s)
	case *Inherit:
		if s.Deferred {
			d.special.deferred = append(d.special.deferred, deferred{s.Classes, s})
			return nil
		}
		return d.inherit(text{s: s.Classes}, s.Pos(), "inherit")
	case *Export:
		// BitBake records this without the place in the file.
		ev := Event{Op: "exported", Operand: "1", Pos: s.Pos(), Stmt: s, Internal: true}
		return d.setFlag(s.Name, "export", flagValue{text: text{s: "1"}, number: true}, ev)
	case *Unset:
		ev := Event{Op: "del", Pos: s.Pos(), Stmt: s}
		if s.Flag != "" {
			ev.Op = "delFlag"
			d.removeFlag(s.Name, s.Flag, ev)
			return nil
		}
		d.remove(s.Name, ev)
		return nil
	case *Function:
		return d.function(s)
	case *Def:
		return d.def(s)
	case *AddTask:
		return d.addTask(s)
	case *DelTask:
		return d.delTask(s)
	case *AddHandler:
		for _, h := range pyexpr.Split(s.Names) {
			d.special.handlers = append(d.special.handlers, h)
			if err := d.setFlag(h, "handler", flagValue{text: text{s: "1"}, number: true}, d.internal(s)); err != nil {
				return err
			}
		}
		return nil
	case *ExportFunctions:
		return d.exportFunctions(s)
	case *AddPyLib:
		return d.addPyLib(s)
	}
	return fmt.Errorf("evaluate %T: no such statement", s)
}

func (d *Datastore) internal(s Stmt) Event { return Event{Pos: s.Pos(), Stmt: s, Internal: true} }

// assign is DataNode.eval.
func (d *Datastore) assign(s *Assign) error {
	ev := Event{Op: "set", Name: s.Name, Operand: s.Value, Pos: s.Pos(), Stmt: s}
	if s.Export {
		ev := ev
		ev.Op = "exported"
		ev.Operand = "1"
		if err := d.setFlag(s.Name, "export", flagValue{text: text{s: "1"}, number: true}, ev); err != nil {
			return err
		}
	}
	val, op, err := d.assigned(s)
	if err != nil {
		return place(err, s.Pos())
	}
	ev.Op = op
	if len(val.s) > maxText {
		return &Error{Type: "LimitError", Msg: s.Name + " is too large", Pos: s.Pos(), Err: &LimitError{"size of a value", maxText}}
	}
	if s.Op >= OpAppend && (strings.Contains(s.Name, ":append") || strings.Contains(s.Name, ":remove") || strings.Contains(s.Name, ":prepend")) {
		d.report(diag.Warning, RuleWarn, s.Pos(), "%s %s combines two operators: write one of them", s.Name, s.Op)
	}
	switch {
	case s.Flag != "":
		err = d.setFlag(s.Name, s.Flag, flagValue{text: val}, ev)
	case s.Op == OpWeak:
		err = d.setFlag(s.Name, "_defaultval", flagValue{text: val}, ev)
	default:
		err = d.set(s.Name, val, parsing, ev)
	}
	return place(err, s.Pos())
}

// assigned works out the new value and BitBake's name of the operation.
func (d *Datastore) assigned(s *Assign) (val text, op string, err error) {
	val = text{s: s.Value}
	if s.Op == OpSet || s.Op == OpWeak {
		return val, "set", nil
	}
	if s.Op == OpNow {
		val, err = d.view().expand(val, s.Name+"[:=]", nil)
		return val, "immediate", err
	}
	now, ok := d.operand(s) // += and its like take an absent value for ""
	switch s.Op {
	case OpDefault:
		if ok {
			val = now
		}
		return val, "set?", nil
	case OpAppend:
		return text{now.s + " " + s.Value, now.unk}, "append", nil
	case OpPrepend:
		return text{s.Value + " " + now.s, now.unk}, "prepend", nil
	case OpPostdot:
		return text{now.s + s.Value, now.unk}, "postdot", nil
	default:
		return text{s.Value + now.s, now.unk}, "predot", nil
	}
}

// operand is DataNode.getFunc: what += and ?= see.
func (d *Datastore) operand(s *Assign) (text, bool) {
	if s.Flag != "" {
		f, ok := d.flag(s.Name, s.Flag)
		return f.text, ok
	}
	return d.raw(s.Name)
}

// place gives an error the position of the statement that it happened in,
// if it has none.
func place(err error, pos diag.Position) error {
	if e, ok := err.(*Error); ok && e.Pos.File == "" { //nolint:errorlint // only an unwrapped one is without a place
		c := *e
		c.Pos = pos
		return &c
	}
	return err
}

// function is MethodNode.eval.
func (d *Datastore) function(s *Function) error {
	name := s.Name
	if name == "" || name == "__anonymous" {
		name = fmt.Sprintf("__anon_%d_%s", s.LastLine, anonName.Replace(s.File.Name))
		d.special.anonymous = append(d.special.anonymous, s)
		body := append([]string{"def " + name + "(d):"}, s.Body...)
		return d.defineFunction(s, name, strings.Join(body, "\n"), true)
	}
	return d.defineFunction(s, name, strings.Join(s.Body, "\n"), s.Python)
}

// anonName makes a Python name of a path (MethodNode.tr_tbl).
var anonName = strings.NewReplacer("/", "_", ".", "_", "+", "_", "-", "_", "@", "_", "%", "_", "&", "_", "~", "_")

func (d *Datastore) defineFunction(s *Function, name, body string, python bool) error {
	ev := d.internal(s)
	if t, ok, _, err := d.content(name, false, false); err != nil {
		return place(err, s.Pos())
	} else if ok && t.s != "" {
		d.removeFlag(name, "python", ev)
		d.removeFlag(name, "fakeroot", ev)
	}
	one := flagValue{text: text{s: "1"}}
	var err error
	set := func(flag string, v flagValue) {
		if err == nil {
			err = d.setFlag(name, flag, v, ev)
		}
	}
	if python {
		set("python", one)
	}
	if s.Fakeroot {
		set("fakeroot", one)
	}
	set("func", flagValue{text: text{s: "1"}, number: true})
	if err == nil {
		err = d.set(name, text{s: body}, parsing, ev)
	}
	set("filename", flagValue{text: text{s: s.File.Name}})
	set("lineno", flagValue{text: text{s: fmt.Sprint(s.LastLine - len(s.Body))}})
	return place(err, s.Pos())
}

// def is PythonMethodNode.eval.
func (d *Datastore) def(s *Def) error {
	d.special.funcs[s.Name] = s
	ev := d.internal(s)
	one := flagValue{text: text{s: "1"}, number: true}
	for _, flag := range []string{"func", "python"} {
		if err := d.setFlag(s.Name, flag, one, ev); err != nil {
			return place(err, s.Pos())
		}
	}
	if err := d.set(s.Name, text{s: strings.Join(s.Body, "\n")}, parsing, ev); err != nil {
		return place(err, s.Pos())
	}
	if err := d.setFlag(s.Name, "filename", flagValue{text: text{s: s.File.Name}}, ev); err != nil {
		return place(err, s.Pos())
	}
	return place(d.setFlag(s.Name, "lineno", flagValue{text: text{s: fmt.Sprint(s.LastLine - len(s.Body) - 1)}}, ev), s.Pos())
}

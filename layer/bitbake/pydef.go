package bitbake

import (
	"errors"
	"fmt"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// pyDef is a Python function that is simple enough to be followed: assignments
// to names, if, elif and else, return. Loops, exceptions, calls for their
// effect and everything else make the whole function unknown.
type pyDef struct {
	params   []string
	defaults []string // expressions of the last parameters
	body     []pyStmt
}

// pyStmt is a statement: "return x", "name = x", or an if with its branches.
type pyStmt struct {
	kind     pyStmtKind
	name     string
	expr     string
	branches []pyBranch
}

type pyStmtKind uint8

const (
	pyReturn pyStmtKind = iota
	pyAssign
	pyIf
)

// pyBranch is one branch; the expression is "" for else.
type pyBranch struct {
	expr string
	body []pyStmt
}

// Bounds of what one expression may call.
const (
	maxDefDepth = 50
	maxDefCalls = 2000
)

// callDef evaluates a call of a def.
func (p *pyEnv) callDef(f *Def, args []pyexpr.Value, kw map[string]pyexpr.Value) (pyexpr.Value, error) {
	no := &pyexpr.Unsupported{Reason: fmt.Sprintf("%s() of %s is not modelled", f.Name, f.Pos())}
	def := p.d.loader.def(f)
	if *p.calls++; def == nil || p.nested >= maxDefDepth || *p.calls > maxDefCalls {
		return pyexpr.Value{}, no
	}
	in := &pyEnv{d: p.d, name: p.name, inDef: true, nested: p.nested + 1, calls: p.calls}
	locals := map[string]pyexpr.Value{}
	wrong := func(format string, args ...any) (pyexpr.Value, error) {
		return pyexpr.Value{}, &pyexpr.Exception{Type: "TypeError", Msg: f.Name + "() " + fmt.Sprintf(format, args...)}
	}
	if len(args) > len(def.params) {
		return wrong("takes %d arguments, not %d", len(def.params), len(args))
	}
	for i, name := range def.params {
		v, named := kw[name]
		delete(kw, name)
		switch at := i - (len(def.params) - len(def.defaults)); {
		case i < len(args) && !named:
			locals[name] = args[i]
		case i >= len(args) && named:
			locals[name] = v
		case i >= len(args) && at >= 0:
			var err error
			if locals[name], err = in.value(def.defaults[at], map[string]pyexpr.Value{}); err != nil {
				return pyexpr.Value{}, no
			}
		case named:
			return wrong("got two values for %s", name)
		default:
			return wrong("misses the argument %s", name)
		}
	}
	if len(kw) > 0 {
		return wrong("got an argument that it does not know")
	}
	v, _, err := in.run(def.body, locals)
	if ex, is := errors.AsType[*pyexpr.Exception](err); is && ex.Type == "NameError" {
		return pyexpr.Value{}, no // its globals are more than is modelled
	}
	if _, is := errors.AsType[*pyexpr.SyntaxError](err); is {
		return pyexpr.Value{}, no
	}
	return v, err
}

func (p *pyEnv) value(expr string, locals map[string]pyexpr.Value) (pyexpr.Value, error) {
	e, err := p.d.loader.expression(expr)
	if err != nil {
		return pyexpr.Value{}, err
	}
	return e.EvalWith(p, locals)
}

// run executes statements; returned is true after a return.
func (p *pyEnv) run(body []pyStmt, locals map[string]pyexpr.Value) (v pyexpr.Value, returned bool, err error) {
	for _, s := range body {
		switch s.kind {
		case pyReturn:
			if s.expr == "" {
				return pyexpr.None(), true, nil
			}
			v, err = p.value(s.expr, locals)
			return v, true, err
		case pyAssign:
			if locals[s.name], err = p.value(s.expr, locals); err != nil {
				return v, false, err
			}
		case pyIf:
			for _, b := range s.branches {
				if b.expr != "" {
					c, err := p.value(b.expr, locals)
					if err != nil {
						return v, false, err
					}
					if !c.True() {
						continue
					}
				}
				if v, returned, err = p.run(b.body, locals); returned || err != nil {
					return v, returned, err
				}
				break
			}
		}
	}
	return pyexpr.None(), false, nil
}

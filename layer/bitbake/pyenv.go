package bitbake

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// pyEnv is what inline Python sees: the datastore as d, the modules that
// BitBake puts into its context, functions from "def", and variables by name
// (data_smart.DataContext).
type pyEnv struct {
	d      *Datastore
	name   string // the variable being expanded
	inDef  bool   // inside a def, which sees no variables
	nested int    // calls of defs
}

// Lookup finds a name: d, a module, a function, then a variable.
func (p *pyEnv) Lookup(id string) (pyexpr.Value, bool, error) {
	if id == "d" && !p.inDef {
		return pyexpr.Obj("d"), true, nil
	}
	if p.d.special.modules[id] {
		return pyexpr.Obj(id), true, nil
	}
	if p.d.special.funcs[id] != nil {
		return pyexpr.Obj("def:" + id), true, nil
	}
	if p.inDef || id == "oe" {
		return pyexpr.Value{}, false, nil
	}
	return p.getVar(id)
}

func (p *pyEnv) getVar(name string) (pyexpr.Value, bool, error) {
	t, ok, err := p.d.getMaybe(name)
	if err != nil || !ok && t.unk == nil {
		return pyexpr.None(), false, err
	}
	return p.known(name, t)
}

// known turns a text into a Python value; an unknown one ends the evaluation.
func (p *pyEnv) known(name string, t text) (pyexpr.Value, bool, error) {
	if t.unk != nil {
		return pyexpr.Value{}, false, &pyexpr.Unsupported{Reason: name + " is not known: " + t.unk.why}
	}
	return pyexpr.Str(t.s), true, nil
}

// Attr reaches into a module.
func (p *pyEnv) Attr(path, attr string) (pyexpr.Value, error) {
	return pyexpr.Obj(path + "." + attr), nil
}

// Call runs one of the functions in pyFunctions, or a def that is a single
// return.
func (p *pyEnv) Call(path string, args []pyexpr.Value, kw map[string]pyexpr.Value) (pyexpr.Value, error) {
	if id, ok := strings.CutPrefix(path, "def:"); ok {
		return p.callDef(p.d.special.funcs[id], args, kw)
	}
	fn, ok := pyFunctions[path]
	if !ok {
		return pyexpr.Value{}, &pyexpr.Unsupported{Reason: path + "() is not modelled"}
	}
	c := &pyCall{env: p, path: path, args: args}
	for i, param := range fn.params {
		v, named := kw[param]
		if !named {
			continue
		}
		if i < len(args) {
			return pyexpr.Value{}, c.raise("TypeError", "%s() got multiple values for argument '%s'", path, param)
		}
		for len(c.args) < i {
			// A gap before a named argument is filled with the marker of "not
			// given"; only optional parameters can be skipped.
			c.args = append(c.args, pyexpr.Obj(notGiven))
		}
		c.args = append(c.args, v)
		delete(kw, param)
	}
	if len(kw) > 0 {
		return pyexpr.Value{}, &pyexpr.Unsupported{Reason: "these arguments of " + path + "() are not modelled"}
	}
	if len(c.args) < fn.least || len(c.args) > len(fn.params) && !fn.more {
		return pyexpr.Value{}, c.raise("TypeError", "%s() takes %d to %d arguments (%d given)", path, fn.least, len(fn.params), len(c.args))
	}
	for i := range fn.least {
		if c.args[i].Kind() == pyexpr.Object && isNotGiven(c.args[i]) {
			return pyexpr.Value{}, c.raise("TypeError", "%s() missing the argument '%s'", path, fn.params[i])
		}
	}
	return fn.call(c)
}

const notGiven = "not given"

func isNotGiven(v pyexpr.Value) bool { return v.Kind() == pyexpr.Object && v.Path() == notGiven }

// maxDefCalls bounds how deep modelled defs call each other.
const maxDefCalls = 50

// callDef evaluates a function whose body is one "return EXPRESSION"; any
// other body is not modelled.
func (p *pyEnv) callDef(f *Def, args []pyexpr.Value, kw map[string]pyexpr.Value) (pyexpr.Value, error) {
	no := &pyexpr.Unsupported{Reason: fmt.Sprintf("%s() of %s is not modelled", f.Name, f.Pos())}
	params, body, ok := simpleDef(f)
	if !ok || len(kw) > 0 || len(args) != len(params) || p.nested >= maxDefCalls {
		return pyexpr.Value{}, no
	}
	e, err := p.d.loader.expression(body)
	if err != nil {
		return pyexpr.Value{}, no
	}
	locals := map[string]pyexpr.Value{}
	for i, name := range params {
		locals[name] = args[i]
	}
	v, err := e.EvalWith(&pyEnv{d: p.d, name: p.name, inDef: true, nested: p.nested + 1}, locals)
	if ex, is := errors.AsType[*pyexpr.Exception](err); is && ex.Type == "NameError" {
		return pyexpr.Value{}, no // its globals are more than is modelled
	}
	return v, err
}

// simpleDef takes "def f(a, b):" and "return EXPR" apart.
func simpleDef(f *Def) (params []string, body string, ok bool) {
	head := f.Body[0]
	open, end := strings.IndexByte(head, '('), strings.LastIndex(head, "):")
	if open < 0 || end < open || strings.TrimSpace(head[end+2:]) != "" {
		return nil, "", false
	}
	if inner := strings.TrimSpace(head[open+1 : end]); inner != "" {
		for _, p := range strings.Split(inner, ",") {
			p = strings.TrimSpace(p)
			if p == "" || strings.ContainsAny(p, "=*:/ ") {
				return nil, "", false
			}
			params = append(params, p)
		}
	}
	for _, line := range f.Body[1:] {
		t := strings.TrimSpace(line)
		if t == "" || t[0] == '#' {
			continue
		}
		rest, found := strings.CutPrefix(t, "return ")
		if body != "" || !found {
			return nil, "", false
		}
		body = rest
	}
	return params, body, body != ""
}

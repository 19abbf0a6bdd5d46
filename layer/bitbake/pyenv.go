package bitbake

import (
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
	nested int    // how deep in calls of defs
	calls  *int   // how many there were, for the whole expression
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

// Call runs one of the functions in pyFunctions, or a def that is simple
// enough (pydef.go).
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

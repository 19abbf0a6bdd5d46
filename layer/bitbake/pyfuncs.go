package bitbake

import (
	"fmt"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// pyCall is one call of a function from outside the expression.
type pyCall struct {
	env  *pyEnv
	path string
	args []pyexpr.Value
}

type pyFunction struct {
	params []string
	least  int  // arguments that must be there
	more   bool // takes *args behind params
	call   func(c *pyCall) (pyexpr.Value, error)
}

// pyFunctions are the functions outside the language that are modelled:
// bitbake's lib/bb/utils.py, lib/bb/data_smart.py, lib/bb/parse/__init__.py,
// oe-core's meta/lib/oe/utils.py and types.py, and the part of os.path that
// does not look at the disk.
var pyFunctions = map[string]pyFunction{
	"d.getVar":                     {params("var expand"), 1, false, pyGetVar},
	"d.getVarFlag":                 {params("var flag expand"), 2, false, pyGetVarFlag},
	"d.expand":                     {params("s"), 1, false, pyExpand},
	"bb.utils.contains":            {params("variable checkvalues truevalue falsevalue d"), 5, false, pyContains(false)},
	"bb.utils.contains_any":        {params("variable checkvalues truevalue falsevalue d"), 5, false, pyContains(true)},
	"bb.utils.filter":              {params("variable checkvalues d"), 3, false, pyFilter},
	"bb.utils.to_boolean":          {params("string default"), 1, false, pyToBoolean},
	"bb.data.inherits_class":       {params("klass d"), 2, false, pyInheritsClass},
	"bb.parse.vars_from_file":      {params("mypkg d"), 2, false, pyVarsFromFile},
	"oe.utils.conditional":         {params("variable checkvalue truevalue falsevalue d"), 5, false, pyConditional},
	"oe.utils.vartrue":             {params("var iftrue iffalse d"), 4, false, pyVarTrue},
	"oe.utils.ifelse":              {params("condition iftrue iffalse"), 1, false, pyIfElse},
	"oe.utils.any_distro_features": {params("d features truevalue falsevalue"), 2, false, pyDistroFeatures(true)},
	"oe.utils.all_distro_features": {params("d features truevalue falsevalue"), 2, false, pyDistroFeatures(false)},
	"oe.utils.set_intersect":       {params("variable1 variable2 d"), 3, false, pySetIntersect},
	"oe.utils.prune_suffix":        {params("var suffixes d"), 3, false, pyPruneSuffix},
	"oe.utils.inherits":            {params("d"), 1, true, pyInherits},
	"oe.types.boolean": {params("value"), 1, false, func(c *pyCall) (pyexpr.Value, error) {
		b, err := c.boolean(c.args[0])
		return pyexpr.Bool(b), err
	}},
	"os.uname":           {nil, 0, false, pyUname},
	"oe.utils.cpu_count": {params("at_least at_most"), 0, false, pyCPUCount},
	"os.path.basename":   onPath(func(s string) pyexpr.Value { return pyexpr.Str(s[strings.LastIndexByte(s, '/')+1:]) }),
	"os.path.dirname":    onPath(func(s string) pyexpr.Value { return pyexpr.Str(pyDirname(s)) }),
	"os.path.normpath":   onPath(func(s string) pyexpr.Value { return pyexpr.Str(pyNormpath(s)) }),
	"os.path.isabs":      onPath(func(s string) pyexpr.Value { return pyexpr.Bool(strings.HasPrefix(s, "/")) }),
	"os.path.splitext": onPath(func(s string) pyexpr.Value {
		ext := extension(s)
		if strings.HasSuffix(s, "/") {
			ext = ""
		}
		return pyexpr.Seq(pyexpr.Tuple, []pyexpr.Value{pyexpr.Str(strings.TrimSuffix(s, ext)), pyexpr.Str(ext)})
	}),
	"os.path.join": {params("a"), 1, true, pyPathJoin},
}

func params(s string) []string { return strings.Fields(s) }

func (c *pyCall) raise(kind, format string, args ...any) error {
	return &pyexpr.Exception{Type: kind, Msg: fmt.Sprintf(format, args...)}
}

func (c *pyCall) unsupported(why string) error {
	return &pyexpr.Unsupported{Reason: c.path + "(): " + why}
}

// text is the str argument at i.
func (c *pyCall) text(i int) (string, error) {
	if s, ok := c.args[i].Text(); ok {
		return s, nil
	}
	if c.args[i].Kind() >= pyexpr.Iterator {
		return "", c.unsupported("this argument is not modelled")
	}
	return "", c.raise("TypeError", "%s() needs a str", c.path)
}

// given returns the optional argument at i.
func (c *pyCall) given(i int) (pyexpr.Value, bool) {
	if i >= len(c.args) || isNotGiven(c.args[i]) {
		return pyexpr.Value{}, false
	}
	return c.args[i], true
}

// store checks that an argument is the datastore.
func (c *pyCall) store(i int) error {
	if c.args[i].Kind() == pyexpr.Object && c.args[i].Path() == "d" {
		return nil
	}
	return c.unsupported("it is called with another datastore")
}

// variable returns the value of the variable named by argument i.
func (c *pyCall) variable(i int) (pyexpr.Value, error) {
	name, err := c.text(i)
	if err != nil {
		return pyexpr.Value{}, err
	}
	v, _, err := c.env.getVar(name)
	return v, err
}

// wordSet is a str split into words, or the strings of a list, tuple or set.
func (c *pyCall) wordSet(v pyexpr.Value) ([]string, error) {
	if s, ok := v.Text(); ok {
		return pyexpr.Split(s), nil
	}
	switch v.Kind() {
	case pyexpr.List, pyexpr.Tuple, pyexpr.Set, pyexpr.Iterator:
	default:
		return nil, c.unsupported("the words are neither a str nor a list")
	}
	var out []string
	for _, x := range v.Items() {
		s, ok := x.Text()
		if !ok {
			return nil, c.unsupported("a list of other things than str")
		}
		out = append(out, s)
	}
	return out, nil
}

func pyGetVar(c *pyCall) (pyexpr.Value, error) {
	name, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	if expand, ok := c.given(1); ok && !expand.True() {
		t, found, _, err := c.env.d.content(name, false, false)
		if err != nil || !found && t.unk == nil {
			return pyexpr.None(), err
		}
		v, _, err := c.env.known(name, t)
		return v, err
	}
	v, _, err := c.env.getVar(name)
	return v, err
}

func pyGetVarFlag(c *pyCall) (pyexpr.Value, error) {
	name, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	flag, err := c.text(1)
	if err != nil {
		return pyexpr.Value{}, err
	}
	f, ok := c.env.d.flag(name, flag)
	switch {
	case !ok:
		return pyexpr.None(), nil
	case f.list != nil:
		return pyexpr.Strings(f.list...), nil
	case f.number:
		return pyexpr.Int(1), nil
	case flag == "_content":
		return pyexpr.Value{}, c.unsupported("the flag _content is not modelled")
	}
	t := f.text
	if expand, given := c.given(2); !given || expand.True() {
		if t, err = c.env.d.expand(t, name+"["+flag+"]", nil); err != nil {
			return pyexpr.Value{}, err
		}
	}
	v, _, err := c.env.known(name, t)
	return v, err
}

func pyExpand(c *pyCall) (pyexpr.Value, error) {
	s, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	t, err := c.env.d.expand(text{s: s}, "", nil)
	if err != nil {
		return pyexpr.Value{}, err
	}
	v, _, err := c.env.known("the text", t)
	return v, err
}

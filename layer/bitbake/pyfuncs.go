package bitbake

import (
	"fmt"
	"path"
	"slices"
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

// containsWords is bb.utils.contains and contains_any.
func containsWords(c *pyCall, variable string, check, yes, no pyexpr.Value, any bool) (pyexpr.Value, error) {
	v, _, err := c.env.getVar(variable)
	if err != nil || !v.True() {
		return no, err
	}
	s, _ := v.Text()
	have := pyexpr.Split(s)
	want, err := c.wordSet(check)
	if err != nil {
		return pyexpr.Value{}, err
	}
	hits := 0
	for _, w := range want {
		if slices.Contains(have, w) {
			hits++
		}
	}
	if any && hits > 0 || !any && hits == len(want) {
		return yes, nil
	}
	return no, nil
}

func pyContains(any bool) func(c *pyCall) (pyexpr.Value, error) {
	return func(c *pyCall) (pyexpr.Value, error) {
		if err := c.store(4); err != nil {
			return pyexpr.Value{}, err
		}
		name, err := c.text(0)
		if err != nil {
			return pyexpr.Value{}, err
		}
		return containsWords(c, name, c.args[1], c.args[2], c.args[3], any)
	}
}

func pyDistroFeatures(any bool) func(c *pyCall) (pyexpr.Value, error) {
	return func(c *pyCall) (pyexpr.Value, error) {
		if err := c.store(0); err != nil {
			return pyexpr.Value{}, err
		}
		yes, no := pyexpr.Str("1"), pyexpr.Str("")
		if v, ok := c.given(2); ok {
			yes = v
		}
		if v, ok := c.given(3); ok {
			no = v
		}
		return containsWords(c, "DISTRO_FEATURES", c.args[1], yes, no, any)
	}
}

func pyFilter(c *pyCall) (pyexpr.Value, error) {
	if err := c.store(2); err != nil {
		return pyexpr.Value{}, err
	}
	v, err := c.variable(0)
	if err != nil || !v.True() {
		return pyexpr.Str(""), err
	}
	s, _ := v.Text()
	have := pyexpr.Split(s)
	want, err := c.wordSet(c.args[1])
	if err != nil {
		return pyexpr.Value{}, err
	}
	var out []string
	for _, w := range want {
		if slices.Contains(have, w) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return pyexpr.Str(strings.Join(out, " ")), nil
}

func pyToBoolean(c *pyCall) (pyexpr.Value, error) {
	v := c.args[0]
	if !v.True() {
		def, _ := c.given(1)
		return def, nil
	}
	if n, ok := v.Int64(); ok {
		return pyexpr.Bool(n != 0), nil
	}
	s, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	switch strings.ToLower(s) {
	case "y", "yes", "1", "true":
		return pyexpr.Bool(true), nil
	case "n", "no", "0", "false":
		return pyexpr.Bool(false), nil
	}
	return pyexpr.Value{}, c.raise("ValueError", "Invalid value for to_boolean: %s", s)
}

// boolean is oe.types.boolean.
func (c *pyCall) boolean(v pyexpr.Value) (bool, error) {
	if v.IsNone() {
		return false, nil
	}
	s, ok := v.Text()
	if !ok {
		if v.Kind() == pyexpr.KindBool {
			return v.True(), nil
		}
		return false, c.raise("TypeError", "boolean accepts a string, not '%s'", "other")
	}
	switch strings.ToLower(s) {
	case "yes", "y", "true", "t", "1":
		return true, nil
	case "no", "n", "false", "f", "0":
		return false, nil
	}
	return false, c.raise("ValueError", "Invalid boolean value '%s'", s)
}

func pyConditional(c *pyCall) (pyexpr.Value, error) {
	if err := c.store(4); err != nil {
		return pyexpr.Value{}, err
	}
	v, err := c.variable(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	same, err := pyexpr.Equal(v, c.args[1])
	if err != nil {
		return pyexpr.Value{}, err
	}
	if same {
		return c.args[2], nil
	}
	return c.args[3], nil
}

func pyVarTrue(c *pyCall) (pyexpr.Value, error) {
	if err := c.store(3); err != nil {
		return pyexpr.Value{}, err
	}
	v, err := c.variable(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	yes, err := c.boolean(v)
	if err != nil {
		return pyexpr.Value{}, err
	}
	if yes {
		return c.args[1], nil
	}
	return c.args[2], nil
}

func pyIfElse(c *pyCall) (pyexpr.Value, error) {
	yes, no := pyexpr.Bool(true), pyexpr.Bool(false)
	if v, ok := c.given(1); ok {
		yes = v
	}
	if v, ok := c.given(2); ok {
		no = v
	}
	if c.args[0].True() {
		return yes, nil
	}
	return no, nil
}

// pySetIntersect: the order of a set is not defined, so more than one common
// word is no known text.
func pySetIntersect(c *pyCall) (pyexpr.Value, error) {
	if err := c.store(2); err != nil {
		return pyexpr.Value{}, err
	}
	var words [2][]string
	for i := range words {
		v, err := c.variable(i)
		if err != nil {
			return pyexpr.Value{}, err
		}
		s, ok := v.Text()
		if !ok {
			return pyexpr.Value{}, c.raise("AttributeError", "'NoneType' object has no attribute 'split'")
		}
		words[i] = pyexpr.Split(s)
	}
	var out []string
	for _, w := range words[0] {
		if slices.Contains(words[1], w) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	if len(out) > 1 {
		return pyexpr.Value{}, c.unsupported("the order of its words is not defined")
	}
	return pyexpr.Str(strings.Join(out, " ")), nil
}

func pyPruneSuffix(c *pyCall) (pyexpr.Value, error) {
	s, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	if err := c.store(2); err != nil {
		return pyexpr.Value{}, err
	}
	if k := c.args[1].Kind(); k != pyexpr.List && k != pyexpr.Tuple {
		return pyexpr.Value{}, c.unsupported("the suffixes are no list")
	}
	suffixes, err := c.wordSet(c.args[1])
	if err != nil {
		return pyexpr.Value{}, err
	}
	for _, x := range suffixes {
		if x != "" {
			s = strings.TrimSuffix(s, x)
		}
	}
	prefix, _, err := c.env.getVar("MLPREFIX")
	if err != nil {
		return pyexpr.Value{}, err
	}
	p, _ := prefix.Text()
	return pyexpr.Str(strings.TrimPrefix(s, p)), nil
}

func pyInheritsClass(c *pyCall) (pyexpr.Value, error) {
	name, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	if err := c.store(1); err != nil {
		return pyexpr.Value{}, err
	}
	return pyexpr.Bool(c.env.d.Inherited(name)), nil
}

func pyInherits(c *pyCall) (pyexpr.Value, error) {
	if err := c.store(0); err != nil {
		return pyexpr.Value{}, err
	}
	for i := range c.args[1:] {
		name, err := c.text(i + 1)
		if err != nil {
			return pyexpr.Value{}, err
		}
		if c.env.d.Inherited(name) {
			return pyexpr.Bool(true), nil
		}
	}
	return pyexpr.Bool(false), nil
}

// pyVarsFromFile splits NAME_VERSION_REVISION.bb.
func pyVarsFromFile(c *pyCall) (pyexpr.Value, error) {
	none := pyexpr.Seq(pyexpr.Tuple, make([]pyexpr.Value, 3))
	if !c.args[0].True() {
		return none, nil
	}
	file, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	ext := extension(file)
	if ext != ".bb" && ext != ".bbappend" {
		return none, nil
	}
	parts := strings.Split(strings.TrimSuffix(path.Base(file), ext), "_")
	if len(parts) > 3 {
		return pyexpr.Value{}, &Error{Type: "ParseError", Msg: file + ": a recipe's name holds two underscores at most"}
	}
	out := make([]pyexpr.Value, 3)
	for i, p := range parts {
		out[i] = pyexpr.Str(p)
	}
	return pyexpr.Seq(pyexpr.List, out), nil
}

// pyUname gives what Options.Host says; the other fields are no value that
// could become a text.
func pyUname(c *pyCall) (pyexpr.Value, error) {
	items := make([]pyexpr.Value, 5)
	for i := range items {
		items[i] = pyexpr.Obj(fmt.Sprintf("os.uname()[%d]", i))
	}
	if s := c.env.d.host.System; s != "" {
		items[0] = pyexpr.Str(s)
	}
	if s := c.env.d.host.Machine; s != "" {
		items[4] = pyexpr.Str(s)
	}
	return pyexpr.Seq(pyexpr.Tuple, items), nil
}

func pyCPUCount(c *pyCall) (pyexpr.Value, error) {
	n := int64(c.env.d.host.CPUs)
	if n == 0 {
		return pyexpr.Value{}, c.unsupported("the number of processors is not given")
	}
	least, most := int64(1), int64(64)
	for i, p := range []*int64{&least, &most} {
		if v, ok := c.given(i); ok {
			k, isInt := v.Int64()
			if !isInt {
				return pyexpr.Value{}, c.unsupported("a bound is no int")
			}
			*p = k
		}
	}
	return pyexpr.Int(max(min(n, most), least)), nil
}

// onPath makes a function of os.path that only looks at the text.
func onPath(f func(s string) pyexpr.Value) pyFunction {
	return pyFunction{params("p"), 1, false, func(c *pyCall) (pyexpr.Value, error) {
		s, err := c.text(0)
		if err != nil {
			return pyexpr.Value{}, err
		}
		return f(s), nil
	}}
}

func pyDirname(s string) string {
	i := strings.LastIndexByte(s, '/') + 1
	head := s[:i]
	if strings.Trim(head, "/") != "" {
		head = strings.TrimRight(head, "/")
	}
	return head
}

func pyNormpath(s string) string {
	if s == "" {
		return "."
	}
	clean := path.Clean(s)
	if strings.HasPrefix(s, "//") && !strings.HasPrefix(s, "///") {
		clean = "/" + clean // POSIX keeps two leading slashes
	}
	return clean
}

func pyPathJoin(c *pyCall) (pyexpr.Value, error) {
	out, err := c.text(0)
	if err != nil {
		return pyexpr.Value{}, err
	}
	for i := range c.args[1:] {
		s, err := c.text(i + 1)
		if err != nil {
			return pyexpr.Value{}, err
		}
		switch {
		case strings.HasPrefix(s, "/"):
			out = s
		case out == "" || strings.HasSuffix(out, "/"):
			out += s
		default:
			out += "/" + s
		}
	}
	return pyexpr.Str(out), nil
}

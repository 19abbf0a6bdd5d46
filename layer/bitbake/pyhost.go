package bitbake

import (
	"fmt"
	"path"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// This file models the functions that look at file names and at the build
// machine.

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

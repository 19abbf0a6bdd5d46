package bitbake

import (
	"slices"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// This file models the functions of bb.utils and oe.utils that look at words
// and truth values.

// containsWords is bb.utils.contains and contains_any.
func containsWords(c *pyCall, variable string, check, yes, no pyexpr.Value, one bool) (pyexpr.Value, error) {
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
	if one && hits > 0 || !one && hits == len(want) {
		return yes, nil
	}
	return no, nil
}

func pyContains(one bool) func(c *pyCall) (pyexpr.Value, error) {
	return func(c *pyCall) (pyexpr.Value, error) {
		if err := c.store(4); err != nil {
			return pyexpr.Value{}, err
		}
		name, err := c.text(0)
		if err != nil {
			return pyexpr.Value{}, err
		}
		return containsWords(c, name, c.args[1], c.args[2], c.args[3], one)
	}
}

func pyDistroFeatures(one bool) func(c *pyCall) (pyexpr.Value, error) {
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
		return containsWords(c, "DISTRO_FEATURES", c.args[1], yes, no, one)
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

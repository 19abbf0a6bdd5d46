package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pvkit/pvkit/internal/diag"
)

// node is a JSON value and where it stands: the state's key and the path
// inside its value, for messages.
type node struct {
	p    *parser
	file string
	path string
	raw  json.RawMessage
}

// kind names the type of a value.
func (n node) kind() string {
	switch {
	case len(n.raw) == 0:
		return "missing"
	case n.raw[0] == '{':
		return "an object"
	case n.raw[0] == '[':
		return "an array"
	case n.raw[0] == '"':
		return "a string"
	case n.raw[0] == 't' || n.raw[0] == 'f':
		return "a boolean"
	case n.raw[0] == 'n':
		return "null"
	}
	return "a number"
}

// show is the value in a message: short ones as they are.
func (n node) show() string {
	if len(n.raw) > 0 && len(n.raw) <= 60 && n.raw[0] != '{' && n.raw[0] != '[' {
		return string(n.raw)
	}
	return n.kind()
}

// null reports whether a value is as good as absent.
func (n node) null() bool { return len(n.raw) == 0 || bytes.Equal(n.raw, []byte("null")) }

func (n node) report(s diag.Severity, rule, hint, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if n.path != "" {
		text = n.path + ": " + text
	}
	n.p.add(diag.Diagnostic{
		Pos: diag.Position{File: n.file}, Severity: s, Rule: rule, Message: text, Hint: hint,
	})
}

// errorf reports something that makes the state unusable.
func (n node) errorf(rule, hint, format string, args ...any) {
	n.report(diag.Error, rule, hint, format, args...)
}

// warnf reports something that is ignored or replaced.
func (n node) warnf(rule, hint, format string, args ...any) {
	n.report(diag.Warning, rule, hint, format, args...)
}

// child is a value inside another one.
func (n node) child(path string, raw json.RawMessage) node {
	if n.path != "" && !strings.HasPrefix(path, "[") {
		path = "." + path
	}
	return node{n.p, n.file, n.path + path, raw}
}

// object returns the members of an object.
func (n node) object() (object, bool) {
	if len(n.raw) == 0 || n.raw[0] != '{' {
		return object{}, false
	}
	o := object{node: n}
	return o, json.Unmarshal(n.raw, &o.members) == nil
}

// array returns the elements of an array.
func (n node) array() ([]node, bool) {
	if len(n.raw) == 0 || n.raw[0] != '[' {
		return nil, false
	}
	var raws []json.RawMessage
	if json.Unmarshal(n.raw, &raws) != nil {
		return nil, false
	}
	elems := make([]node, len(raws))
	for i, raw := range raws {
		elems[i] = n.child(fmt.Sprintf("[%d]", i), raw)
	}
	return elems, true
}

// str returns a string.
func (n node) str() (s string, ok bool) {
	if len(n.raw) == 0 || n.raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(n.raw, &s) == nil
}

// strs returns an array of strings; other elements are errors.
func (n node) strs(rule string) []string {
	if n.null() {
		return nil
	}
	elems, ok := n.array()
	if !ok {
		n.errorf(rule, "write an array of strings", "is %s", n.show())
		return nil
	}
	var out []string
	for _, e := range elems {
		if s, ok := e.str(); ok {
			out = append(out, s)
		} else {
			e.errorf(rule, "write a string", "is %s", e.show())
		}
	}
	return out
}

// number returns a number, also one written as a string, which the device
// reads the same way.
func (n node) number() (float64, bool) {
	text := string(n.raw)
	if s, ok := n.str(); ok {
		text = s
	} else if n.null() || n.kind() != "a number" {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// object is a JSON object and where it stands.
type object struct {
	node
	members map[string]json.RawMessage
}

// get returns a member; it is null if there is none.
func (o object) get(key string) node { return o.child(key, o.members[key]) }

func (o object) keys() []string { return slices.Sorted(maps.Keys(o.members)) }

// text returns a string member, "" if there is none.
func (o object) text(key string) string {
	n := o.get(key)
	if n.null() {
		return ""
	}
	s, ok := n.str()
	if !ok {
		n.errorf("type", "write a string", "is %s", n.show())
	}
	return s
}

// maxNumber keeps seconds and counts inside what the device's int holds.
const maxNumber = math.MaxInt32

// count returns a whole number from 0 on. The device reads nonsense as 0.
func (o object) count(key string) int {
	n := o.get(key)
	if n.null() {
		return 0
	}
	f, ok := n.number()
	if !ok || f < 0 || f > maxNumber || f != math.Trunc(f) {
		n.warnf("number", fmt.Sprintf("write a whole number from 0 to %d", maxNumber), "is %s; 0 is used", n.show())
		return 0
	}
	return int(f)
}

// seconds returns a duration.
func (o object) seconds(key string) time.Duration {
	return time.Duration(o.count(key)) * time.Second
}

// unknown warns about members that nothing reads.
func (o object) unknown(rule string, known ...string) {
	for _, key := range o.keys() {
		if slices.Contains(known, key) {
			continue
		}
		hint := ""
		if near := diag.Nearest(key, known); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		o.get(key).warnf(rule, hint, "the runtime ignores this key")
	}
}

package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pvkit/pvkit/internal/diag"
)

// The rules that findings of this package carry.
const (
	ruleUnknown    = "manifest-unknown-argument"
	ruleType       = "manifest-type"
	ruleValue      = "manifest-value"
	ruleConflict   = "manifest-conflict"
	ruleDeprecated = "manifest-deprecated"
	ruleDropped    = "manifest-dropped"
)

// checker gathers findings.
type checker struct {
	where func(path string) diag.Position
	found []diag.Diagnostic
}

func (c *checker) report(rule string, sev diag.Severity, at, message, hint string) {
	d := diag.Diagnostic{Severity: sev, Rule: rule, Message: message, Hint: hint}
	if c.where != nil {
		d.Pos = c.where(at)
	}
	c.found = append(c.found, d)
}

func (c *checker) bad(at, format string, args ...any) {
	c.report(ruleValue, diag.Error, at, fmt.Sprintf(format, args...), "")
}

func (c *checker) warn(at, format string, args ...any) {
	c.report(ruleValue, diag.Warning, at, fmt.Sprintf(format, args...), "")
}

func (c *checker) conflict(at, format string, args ...any) {
	c.report(ruleConflict, diag.Error, at, fmt.Sprintf(format, args...), "")
}

// nearest is a hint at the known word that was probably meant, if any.
func nearest(word string, known []string) string {
	if near := diag.Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// describe says what a value is, for messages.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprintf("the boolean %t", v)
	case json.Number:
		return "the number " + shorten(v.String())
	case string:
		return fmt.Sprintf("the string %q", shorten(v))
	case []any:
		return "a list"
	}
	return "an object"
}

func shorten(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// boolean reads what people write for true and false. The template of pvr
// takes every text that is not empty as true, "no" and "0" included.
func boolean(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case json.Number:
		return v == "1", v == "0" || v == "1"
	case string:
		switch strings.ToLower(v) {
		case "true", "yes", "on", "1":
			return true, true
		case "false", "no", "off", "0":
			return false, true
		}
	}
	return false, false
}

var digits = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})$`)

// number reads a whole number that is not negative, given as number or text.
func number(v any) (string, bool) {
	s, ok := v.(string)
	if n, isNumber := v.(json.Number); isNumber {
		s, ok = n.String(), true
	}
	return s, ok && digits.MatchString(s)
}

// control reports whether s holds a control character other than a tab. A
// newline in a value would start a line of its own in lxc.container.conf.
func control(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }) || !utf8.ValidString(s)
}

// word checks a text that goes into run.json or services.json. The device does
// not undo JSON's escapes (pantavisor utils/json.c), so what needs one would
// reach it changed.
func (c *checker) word(at, what, s string) bool {
	if control(s) || strings.ContainsAny(s, "\t\"\\") {
		c.bad(at, "%s %q holds a quote, a backslash or a control character", what, shorten(s))
		return false
	}
	return true
}

// notKey refuses a value spelled like a key that the device looks up in the
// same object: its search takes the first string that is equal, key or value
// (pv_json_get_value in pantavisor utils/json.c).
func (c *checker) notKey(at, what, s string, keys ...string) {
	if slices.Contains(keys, s) {
		c.bad(at, "%s %q is spelled like a key that the device looks for beside it, and would be taken for it", what, s)
	}
}

// mountPath checks a path for a line of lxc.mount.entry and returns it without
// a leading slash: lxc only mounts below the container's root what is relative
// (lxc conf.c, mount_file_entries).
func (c *checker) mountPath(at, what, p string) string {
	switch {
	case control(p) || strings.ContainsAny(p, " \t\"'\\"):
		c.bad(at, "%s %q holds a blank, a quote, a backslash or a control character, which a mount entry cannot hold", what, shorten(p))
	case slices.Contains(strings.Split(p, "/"), ".."):
		c.bad(at, "%s %q climbs out with \"..\"", what, shorten(p))
	case strings.Trim(path.Clean("/"+p), "/") == "":
		c.bad(at, "%s %q is the root itself", what, shorten(p))
	}
	return strings.TrimLeft(p, "/")
}

// nameRule is what a container or volume may be called: the name becomes part
// of paths, of colon-separated overlay lists and of mount options, and the
// container's host name, which Linux limits to 64 bytes.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$`)

const nameWords = "want letters, digits, \".\", \"_\", \"+\" or \"-\", starting with a letter or digit, at most 64 of them"

func (c *checker) name(at, what, s string) bool {
	if !nameRule.MatchString(s) {
		c.bad(at, "%s %q cannot be used in paths: %s", what, shorten(s), nameWords)
		return false
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

package bitbake_test

import (
	"strings"
	"testing"
)

// TestDefs: simple Python functions of a class are followed, others are
// unknown, and none runs away.
func TestDefs(t *testing.T) {
	class := `def one(d):
    return d.getVar("A") or "none"

def branches(d, x, y="why"):
    """ A docstring,
    in two lines."""
    import os
    v = d.getVar(x) or ""   # a comment with "quotes
    if not v:
        return "empty " + y
    elif "b" in v.split() and \
            True:
        return "b"
    elif ("c" in v.split() and
            True):
        # nothing to see
        return "c"
    else:
        w = v.upper()
        if w == "Z":
            pass
        else:
            w = w + "!"
    return w

def nothing(d):
    if d.getVar("NOPE"):
        return "x"

def loop(d):
    for x in d.getVar("A").split():
        return x

def sets(d):
    d.setVar("A", "b")
    return "x"

def forever(d):
    return forever(d) + forever(d)

def raises(d):
    return d.getVar("NOPE").split()

def lost(d):
    return somewhere

def plain(d, x, y="why"):
    v = d.getVar(x) or ""
    if not v:
        return "empty " + y
    elif ("c" in v.split() and
            True):
        return "c"
    w = v.upper()
    if w == "Z":
        pass
    else:
        w = w + "!"
    return w
`
	conf := map[string]string{
		"m.conf":            "INHERIT = \"f\"\nA = \"q\"\nC = \"x c\"\nZ = \"z\"\n",
		"classes/f.bbclass": class,
	}
	d := load(t, "", conf)
	for expr, want := range map[string]string{
		"one(d)":                 "q",
		"plain(d, 'E')":          "empty why",
		"plain(d, 'E', 'x')":     "empty x",
		"plain(d, 'E', y='z')":   "empty z",
		"plain(d, x='C')":        "c",
		"plain(d, 'Z')":          "Z",
		"plain(d, 'A')":          "Q!",
		"nothing(d)":             "None",
		"branches(d, 'A')":       "?", // a backslash joins its lines
		"loop(d)":                "?",
		"sets(d)":                "?",
		"forever(d)":             "?",
		"lost(d)":                "?",
		"one()":                  "!",
		"one(d, d)":              "!",
		"one(d, d=d)":            "!",
		"one(e=d)":               "!",
		"raises(d)":              "!",
		"one(d) + ' ' + one(d)":  "q q",
		"[one(d) for x in 'ab']": "['q', 'q']",
	} {
		v, err := d.Expand("${@" + expr + "}")
		got := v.Text
		switch {
		case err != nil:
			got = "!"
		case !v.Known:
			got = "?"
		}
		if got != want {
			t.Errorf("%s: %q (%s, %v), want %q", expr, got, strings.TrimSpace(v.Why), err, want)
		}
	}
}

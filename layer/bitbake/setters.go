package bitbake

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// pySetters is what a piece of Python code may do to the datastore, found by
// reading its text.
type pySetters struct {
	sets  []setter
	calls []passed
	// open says that a setter takes its name from a variable; firsts are then
	// the names that calls of functions inside hand over first.
	open   bool
	firsts []string
}

// setter is a call of d.setVar and its like; the name is "" when it is no
// plain literal.
type setter struct{ method, name string }

// passed is a call that hands d on, with the literals beside it that could be
// variable names.
type passed struct {
	text, fn string
	names    []string
}

var (
	setterCall   = regexp.MustCompile(`\b(?:d|e\.data)\.(setVar|appendVar|prependVar|delVar|renameVar)\(\s*(?:(?:'([^'\\]*)'|"([^"\\]*)")\s*[,)])?`)
	passesD      = regexp.MustCompile(`(?m)(?:^|[^.\w])([A-Za-z_]\w*)\((?:[^()]*,\s*)?(?:d|e\.data)\s*(?:,[^()]*)?\)`)
	firstLiteral = regexp.MustCompile(`(?m)(?:^|[^.\w])[A-Za-z_]\w*\(\s*["']([A-Z][A-Za-z0-9_:.${}-]*)["']\s*,`)
	variableName = regexp.MustCompile(`["']([A-Z][A-Za-z0-9_:.-]*)["']`)
)

func findSetters(body string) *pySetters {
	p := &pySetters{}
	for _, m := range setterCall.FindAllStringSubmatch(body, -1) {
		name := m[2] + m[3]
		if base, _, _, ok := splitKeyword(name); ok {
			name = base
		}
		p.sets = append(p.sets, setter{m[1], name})
		p.open = p.open || name == ""
	}
	if p.open {
		for _, m := range firstLiteral.FindAllStringSubmatch(body, -1) {
			p.firsts = append(p.firsts, m[1])
		}
	}
	for _, m := range passesD.FindAllStringSubmatch(body, -1) {
		c := passed{text: m[0], fn: m[1]}
		for _, lit := range variableName.FindAllStringSubmatch(m[0], -1) {
			c.names = append(c.names, lit[1])
		}
		p.calls = append(p.calls, c)
	}
	return p
}

// markSetters makes the variables unknown that Python code may set, by itself
// or through a def that it hands the datastore to. What library functions set
// is not seen.
func (d *Datastore) markSetters(body string, pos diag.Position, what string) {
	mark := func(name string) {
		if t, err := d.expand(text{s: name}, "", nil); err == nil && t.unk == nil {
			name = t.s
		}
		d.own(name).mark = &unknown{fmt.Sprintf("%s may be set by %s at %s", name, what, pos)}
	}
	seen := map[string]bool{}
	var scan func(body string, names []string)
	scan = func(body string, names []string) {
		found := d.loader.setters(body)
		for _, s := range found.sets {
			if s.name != "" {
				mark(s.name)
			}
		}
		if found.open {
			for _, n := range slices.Concat(names, found.firsts) {
				mark(n)
			}
			if len(names)+len(found.firsts) == 0 {
				d.blind(pos, "%s sets variables whose names are not known", what)
			}
		}
		for _, c := range found.calls {
			if seen[c.text] {
				continue
			}
			seen[c.text] = true
			if fn := d.special.funcs[c.fn]; fn != nil {
				scan(strings.Join(fn.Body, "\n"), c.names)
				continue
			}
			for _, n := range c.names { // a def inside the def
				mark(n)
			}
		}
	}
	scan(body, nil)
	d.forget()
}

package bitbake

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// pySetters is what a piece of Python code may do to the datastore, found by
// reading its text.
type pySetters struct {
	sets  []setter
	calls []passed
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
	mark := &unknown{fmt.Sprintf("%s at %s may set it", what, pos)}
	seen := map[string]bool{}
	var scan func(body string, names []string)
	scan = func(body string, names []string) {
		found := d.loader.setters(body)
		for _, s := range found.sets {
			switch {
			case s.name != "":
				d.own(s.name).mark = mark
			case len(names) == 0:
				d.blind(pos, "%s calls d.%s with a name that is not known", what, s.method)
			}
			if s.name == "" { // a parameter: any name that the callers pass
				for _, n := range names {
					d.own(n).mark = mark
				}
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
				d.own(n).mark = mark
			}
		}
	}
	scan(body, nil)
	d.forget()
}

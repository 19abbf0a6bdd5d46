package cgroup

import (
	"errors"
	"os"
	"slices"

	"github.com/pvkit/pvkit/internal/devcgroup"
)

// prepare makes the program for rules on devices in the unified hierarchy. Rules
// for v1 come here where there is no v1 controller; where the file has rules of
// both kinds, those for v2 are meant.
//
// As with LXC, all is forbidden that a v2 rule does not allow, unless the rules
// begin with allowing "a"; in v1 all is allowed until "a" is denied.
func (g *Group) prepare(rules []Setting) error {
	v2 := slices.ContainsFunc(rules, func(s Setting) bool { return s.Version == 2 })
	if v2 {
		rules = slices.DeleteFunc(rules, func(s Setting) bool { return s.Version == 1 })
	}
	p := devcgroup.New(!v2)
	for _, s := range rules {
		switch s.Key {
		case "devices.allow", "devices.deny":
			if err := p.Set(s.Key == "devices.allow", s.Value); err != nil {
				return err
			}
		default:
			g.warn(s, "there is no such rule")
		}
	}
	if p.All() || len(rules) == 0 {
		return nil
	}
	program, err := p.Load()
	if errors.Is(err, devcgroup.ErrUnavailable) {
		for _, s := range rules {
			g.warn(s, err.Error())
		}
		return nil
	}
	g.program = program
	return err
}

// attach puts the program into effect, for the group and those that the
// container makes below.
func (g *Group) attach() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.program == nil {
		return nil
	}
	u := g.tree.unified
	dir, err := os.Open(u.path(g.rel(u)))
	if err != nil {
		return err
	}
	defer dir.Close()
	return errors.Join(g.program.Attach(dir), g.program.Close()) // it stays with the group
}

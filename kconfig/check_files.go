package kconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// include is a file that a KAS_INCLUDE_* symbol can lead to.
type include struct {
	symbol *Symbol
	file   string
	def    Default
}

// includes lists the files that are written down as defaults.
func (t *Tree) includes() []include {
	var out []include
	for _, s := range t.defined {
		if !strings.HasPrefix(s.Name, IncludePrefix) || s.Type != String {
			continue
		}
		for _, d := range s.Defaults {
			if v, ok := d.Value.(*Symbol); ok && !v.Defined() && v.Name != "" {
				out = append(out, include{s, v.Name, d})
			}
		}
	}
	return out
}

// files compares the KAS_INCLUDE_* symbols with the files of the project.
// kas looks for them from the project's directory (kas/includehandler.py).
func (c *checker) files() error {
	machines, err := fs.Glob(c.project.FS, machineDir+"/*.y*ml")
	if err != nil {
		return fmt.Errorf("list %s: %w", machineDir, err)
	}
	known := map[string]bool{}
	reach := map[*Symbol]bool{} // what a machine's file depends on
	for _, in := range c.tree.includes() {
		name := path.Clean(in.file)
		known[name] = true
		if strings.HasPrefix(name, machineDir+"/") {
			symbolsOf(in.def.own, func(e Expr) bool {
				if s, ok := e.(*Symbol); ok {
					reach[s] = true
				}
				return true
			})
		}
		if err := c.file(in, name, machines); err != nil {
			return err
		}
	}
	if len(known) == 0 {
		return nil // the menu does not choose files
	}
	for _, m := range machines {
		if !known[m] {
			c.add(RuleMachine, diag.Warning, diag.Position{File: m}, "no KAS_INCLUDE_* symbol leads to this machine: the menu does not offer it")
		}
	}
	for _, ch := range c.tree.Choices {
		c.machines(ch, reach)
	}
	return nil
}

// file checks that an included file is there.
func (c *checker) file(in include, name string, machines []string) error {
	if !fs.ValidPath(name) {
		c.add(RuleMissingFile, diag.Error, in.def.Pos, "%s leads to %s, which is outside of the project", in.symbol.Name, in.file)
		return nil
	}
	info, err := fs.Stat(c.project.FS, name)
	switch {
	case err == nil && info.Mode().IsRegular():
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look for %s: %w", name, err)
	}
	d := c.add(RuleMissingFile, diag.Error, in.def.Pos, "%s leads to %s, and there is no such file", in.symbol.Name, in.file)
	candidates := machines
	if path.Dir(name) != machineDir {
		candidates, _ = fs.Glob(c.project.FS, path.Dir(name)+"/*")
	}
	if near := diag.Nearest(name, candidates); near != "" {
		d.Hint = fmt.Sprintf("did you mean %s?", near)
	}
	return nil
}

// machines finds members of the choice of a machine that lead to no machine.
func (c *checker) machines(ch *Choice, reach map[*Symbol]bool) {
	n := 0
	for _, s := range ch.Members {
		if reach[s] {
			n++
		}
	}
	if 2*n < len(ch.Members) || n == 0 {
		return // not the choice of a machine
	}
	for _, s := range ch.Members {
		if !reach[s] {
			c.add(RuleMachine, diag.Warning, s.Pos(), "%s leads to no file in %s: the machine would be left to the default of kas", s.Name, machineDir)
		}
	}
}

package bitbake

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// verbRecipe marks the way to a recipe: FILE stays on it.
const verbRecipe = "recipe"

// maxIncludes bounds the nesting of files. BitBake's own bound is Python's
// stack, which ends such a recursion at about 165 files.
const maxIncludes = 150

// Include reads a file at an absolute path and evaluates it, as a
// configuration file (.conf) or as metadata. base allows what BitBake allows
// only in layer.conf, bblayers.conf and bitbake.conf.
func (d *Datastore) Include(name string, base bool) error {
	return d.handle(name, Via{Verb: "parse", File: name}, base)
}

// handle is bb.parse.handle.
func (d *Datastore) handle(name string, via Via, base bool) error {
	ext := extension(name)
	conf := strings.HasSuffix(name, ".conf")
	if !conf && ext != ".bb" && ext != ".bbclass" && ext != ".inc" {
		return &Error{Type: "ParseError", Msg: fmt.Sprintf("%s is no BitBake file: its name must end in .conf, .inc, .bb or .bbclass", name), Pos: via.Pos}
	}
	return d.handleAs(name, via, base, conf)
}

// notFound is an error that include forgives.
type notFound struct{ name string }

func (e *notFound) Error() string { return e.name + " does not exist" }
func (e *notFound) Unwrap() error { return fs.ErrNotExist }

// handleAs is the handle function of ConfHandler or BBHandler.
func (d *Datastore) handleAs(name string, via Via, base, conf bool) error {
	if d.where != nil && len(d.where.path) >= maxIncludes {
		return &Error{Type: "RecursionError", Msg: "files include each other without end", Pos: via.Pos, Err: &LimitError{"nesting of files", maxIncludes}}
	}
	class := extension(name) == ".bbclass"
	if class && !slices.Contains(d.special.inherited, name) {
		d.special.inherited = append(d.special.inherited, name)
	}
	oldFile, hadFile := d.raw("FILE")
	abs := name
	if !strings.HasPrefix(name, "/") {
		bbpath, _, err := d.getMaybe("BBPATH")
		if err != nil {
			return err
		}
		if abs = d.loader.which(bbpath.s, name); abs == "" {
			return &notFound{name}
		}
	}
	if d.loader.kind(abs) != regular {
		return &notFound{abs}
	}
	d.special.read[abs] = true
	f, err := d.loader.Parse(abs)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &notFound{abs}
		}
		return fmt.Errorf("read %s: %w", abs, err)
	}
	*d.diags = append(*d.diags, f.Warnings...)
	if err := d.step(fileError(f, base)); err != nil {
		return err
	}
	via.File = abs
	d.enter(via)
	defer d.leave()
	setFile := func(t text) error {
		return d.set("FILE", t, plain, Event{Operand: t.s, Pos: diag.Position{File: abs}, Internal: true})
	}
	if conf || !class && abs != oldFile.s {
		if err := setFile(text{s: abs}); err != nil {
			return err
		}
	}
	if err := d.evalAll(f); err != nil {
		return err
	}
	if via.Verb != verbRecipe && hadFile && oldFile.s != "" && (conf || !class && abs != oldFile.s) {
		return setFile(oldFile)
	}
	return nil
}

// fileError is what keeps a file from being evaluated at all.
func fileError(f *File, base bool) error {
	first := f.Err
	if !base {
		for _, s := range f.Stmts {
			if s, ok := s.(*AddPyLib); ok && (first == nil || s.Line < first.Pos.Line) {
				return &Error{Type: "ParseError", Msg: "addpylib is allowed only in layer.conf, bblayers.conf and bitbake.conf", Pos: s.Pos()}
			}
		}
	}
	if first == nil {
		return nil
	}
	return first
}

// includeStmt is ConfHandler.include: the names are expanded twice, once by
// the statement and once by the function.
func (d *Datastore) includeStmt(s *Include) error {
	t := text{s: s.Files}
	for range 2 {
		var err error
		if t, err = d.expand(t, "", nil); err != nil {
			return place(err, s.Pos())
		}
	}
	verb := "include"
	if s.Required {
		verb = "require"
	}
	for _, name := range pyexpr.Split(t.s) {
		if t.unk != nil && holdsHidden(name) {
			d.unknownFile(s.Pos(), verb, []string{name}, path.Dir(s.File.Name), t.unk)
			continue
		}
		if err := d.includeOne(s, verb, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *Datastore) includeOne(s *Include, verb, name string) error {
	parent := s.File.Name
	if name == parent {
		return nil
	}
	if !strings.HasPrefix(name, "/") {
		bbpath, ok, err := d.getMaybe("BBPATH")
		if err != nil {
			return place(err, s.Pos())
		}
		if !ok {
			bbpath.s = "None" // Python's text of no value
		}
		if abs := d.loader.which(path.Dir(parent)+":"+bbpath.s, name); abs != "" {
			name = abs
		}
	}
	if d.special.read[name] {
		d.report(diag.Warning, RuleWarn, s.Pos(), "%s is included a second time", name)
	}
	err := d.handle(name, Via{Pos: s.Pos(), Verb: verb}, false)
	if missing, ok := err.(*notFound); ok { //nolint:errorlint // only of this very file, not of one that it includes
		if !s.Required {
			return nil
		}
		e := &Error{Type: "ParseError", Msg: fmt.Sprintf("the required file %s does not exist", name), Pos: s.Pos(), Err: missing}
		return d.missing(e)
	}
	return err
}

// inherit is BBHandler.inherit.
func (d *Datastore) inherit(classes text, pos diag.Position, verb string) error {
	t, err := d.expand(classes, "", nil)
	if err != nil {
		return place(err, pos)
	}
	kind := "classes-global"
	if d.special.recipe {
		kind = "classes-recipe"
	}
	for _, class := range pyexpr.Split(t.s) {
		if t.unk != nil && holdsHidden(class) {
			d.unknownFile(pos, verb, []string{kind + "/" + class + ".bbclass", "classes/" + class + ".bbclass"}, "", t.unk)
			continue
		}
		file := ""
		for _, dir := range []string{kind, "classes"} {
			file = class
			if !strings.HasPrefix(file, "/") && !strings.HasSuffix(file, ".bbclass") {
				file = dir + "/" + file + ".bbclass"
			}
			if !strings.HasPrefix(file, "/") {
				bbpath, _, err := d.getMaybe("BBPATH")
				if err != nil {
					return place(err, pos)
				}
				if abs := d.loader.which(bbpath.s, file); abs != "" {
					file = abs
				}
			}
			if strings.HasPrefix(file, "/") && d.loader.kind(file) != absent {
				break
			}
		}
		if !strings.HasPrefix(file, "/") || d.loader.kind(file) == absent {
			if err := d.missing(&Error{Type: "ParseError", Msg: fmt.Sprintf("the class %s does not exist", class), Pos: pos, Err: &notFound{file}}); err != nil {
				return err
			}
			continue
		}
		if slices.Contains(d.special.inherited, file) {
			continue
		}
		d.special.inherited = append(d.special.inherited, file)
		if err := d.handle(file, Via{Pos: pos, Verb: verb}, false); err != nil {
			if missing, ok := err.(*notFound); ok { //nolint:errorlint // as above
				return &Error{Type: "ParseError", Msg: fmt.Sprintf("the class %s cannot be read", class), Pos: pos, Err: missing}
			}
			return err
		}
	}
	return nil
}

// Inherited reports whether a class of that name was inherited.
func (d *Datastore) Inherited(class string) bool {
	for _, f := range d.special.inherited {
		if strings.TrimSuffix(path.Base(f), ".bbclass") == class {
			return true
		}
	}
	return false
}

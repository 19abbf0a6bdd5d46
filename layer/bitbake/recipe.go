package bitbake

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// RecipeOptions say how LoadRecipe evaluates a recipe.
type RecipeOptions struct {
	// Index finds the .bbappend files and the layer; nil collects it anew.
	Index *Index
	// Variant is a word of BBCLASSEXTEND ("native", "multilib:lib32"), "" for
	// the recipe itself.
	Variant string
}

// LoadRecipe evaluates a recipe over a global configuration (which must have
// been loaded without Finish): the recipe, its appends by layer priority,
// deferred inherits, key expansion. conf is not changed and may serve any
// number of recipes, at the same time if each call gets an Index and nobody
// asks conf itself meanwhile. Findings and errors are those of LoadConfig.
func LoadRecipe(ctx context.Context, conf *Datastore, file string, o RecipeOptions) (*Datastore, []diag.Diagnostic, error) {
	if o.Index == nil {
		o.Index = conf.Index()
	}
	d := conf.Copy()
	d.cancelled = ctx.Err
	d.special.read = map[string]bool{}
	err := d.loadRecipe(file, o)
	d.cancelled = nil
	if err != nil {
		return d, d.Diagnostics(), fmt.Errorf("load the recipe %s: %w", file, err)
	}
	return d, d.Diagnostics(), nil
}

func (d *Datastore) loadRecipe(file string, o RecipeOptions) error {
	if layer := o.Index.Layer(file); layer != "" {
		if err := d.Set("FILE_LAYERNAME", layer); err != nil {
			return err
		}
	}
	if err := d.step(d.parseRecipe(file, o.Index.Appends(file))); err != nil {
		return err
	}
	if o.Variant != "" {
		if err := d.step(d.extend(o.Variant)); err != nil {
			return err
		}
	}
	if err := d.step(d.finishRecipe()); err != nil {
		return err
	}
	return d.step(d.Finalize())
}

// extend turns the recipe into one of its BBCLASSEXTEND variants
// (ast.multi_finalize).
func (d *Datastore) extend(variant string) error {
	class, arg, hasArg := strings.Cut(variant, ":")
	if hasArg {
		if err := d.Set("BBEXTENDCURR", class); err != nil {
			return err
		}
		if err := d.Set("BBEXTENDVARIANT", arg); err != nil {
			return err
		}
	} else {
		pn, err := d.get("PN")
		if err != nil {
			return err
		}
		if err := d.set("PN", text{pn.s + "-" + variant, pn.unk}, plain, Event{Operand: pn.s + "-" + variant, Internal: true}); err != nil {
			return err
		}
	}
	s := &Inherit{Deferred: true, Classes: class}
	s.File = &File{Name: d.fileName()}
	d.special.deferred = append(d.special.deferred, deferred{class, s})
	return nil
}

func (d *Datastore) fileName() string {
	t, _ := d.raw("FILE")
	return t.s
}

// Variants lists the words of BBCLASSEXTEND.
func (d *Datastore) Variants() []string {
	v, _, err := d.Get("BBCLASSEXTEND")
	if err != nil {
		return nil
	}
	return pyexpr.Split(v.Text)
}

// Recipe evaluates a recipe on a copy of d, with the given appends. The copy
// is returned with an error too, as far as it came. LoadRecipe finds the
// appends and the layer by itself.
func (d *Datastore) Recipe(file string, appends ...string) (*Datastore, error) {
	r := d.Copy()
	if err := r.parseRecipe(file, appends); err != nil {
		return r, err
	}
	if err := r.finishRecipe(); err != nil {
		return r, err
	}
	return r, r.Finalize()
}

func (d *Datastore) parseRecipe(file string, appends []string) error {
	d.special.recipe = true
	if err := d.handle(file, Via{Verb: verbRecipe}, false); err != nil {
		return d.recipeError(file, err)
	}
	for _, a := range appends {
		if err := d.handleAs(a, Via{Verb: "bbappend"}, false, false); err != nil {
			return d.recipeError(a, err)
		}
	}
	return nil
}

func (d *Datastore) recipeError(file string, err error) error {
	if nf, ok := err.(*notFound); ok { //nolint:errorlint // of this file only
		return &Error{Type: "FileNotFoundError", Msg: file + " does not exist", Pos: diag.Position{File: file}, Err: nf}
	}
	return err
}

// RecipeName takes NAME_VERSION_REVISION.bb apart, as bb.parse.vars_from_file
// does; absent parts are "".
func RecipeName(file string) (name, version, revision string) {
	base := path.Base(file)
	parts := strings.SplitN(strings.TrimSuffix(base, extension(base)), "_", 3)
	parts = append(parts, "", "")
	return parts[0], parts[1], parts[2]
}

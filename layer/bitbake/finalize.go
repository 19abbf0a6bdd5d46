package bitbake

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Set sets a variable as Python's d.setVar does: operations on it and active
// overrides of it go.
func (d *Datastore) Set(name, value string) error {
	return d.set(name, text{s: value}, plain, Event{Operand: value, Internal: true})
}

// InheritClasses inherits classes by name, as a line "inherit" would; verb
// names the reason in the history ("INHERIT" for the global ones).
func (d *Datastore) InheritClasses(classes, verb string) error {
	return d.inherit(text{s: classes}, diag.Position{}, verb)
}

// finishRecipe is what BitBake does before key expansion, in a recipe only.
func (d *Datastore) finishRecipe() error {
	if v := d.find("_FAILPARSINGERRORHANDLED"); v != nil && v.content != nil {
		return &Error{Type: "BBHandledException", Msg: "a renamed variable is set"}
	}
	for len(d.special.deferred) > 0 {
		next := d.special.deferred[0]
		d.special.deferred = slices.Clone(d.special.deferred[1:])
		if err := d.inherit(text{s: next.classes}, next.stmt.Pos(), "inherit_defer"); err != nil {
			return err
		}
	}
	d.markHandlers(recipeEvents)
	return nil
}

// Finalize expands the names of variables and looks at anonymous Python, as
// BitBake does at the end of a recipe and for ` + "`bitbake -e`" + `. Anonymous Python
// is not run: the variables that it may set become unknown.
func (d *Datastore) Finalize() error {
	if err := d.expandKeys(); err != nil {
		return err
	}
	for _, f := range d.special.anonymous {
		if err := d.runKnown(f); err != nil {
			return err
		}
		d.markSetters(strings.Join(f.Body, "\n"), f.Pos(), "the anonymous Python function")
	}
	return nil
}

// backfill is the one statement of anonymous Python that is modelled:
// base.bbclass completes DISTRO_FEATURES and MACHINE_FEATURES with it, for
// every recipe and for `bitbake -e`.
var backfill = regexp.MustCompile(`^    oe\.utils\.features_backfill\((?:"(\w+)"|'(\w+)'), d\)$`)

func (d *Datastore) runKnown(f *Function) error {
	for _, line := range f.Body {
		m := backfill.FindStringSubmatch(line)
		if m == nil || !d.special.modules["oe"] {
			continue
		}
		if err := d.featuresBackfill(m[1]+m[2], Event{Pos: f.Pos(), Stmt: f, Internal: true}); err != nil {
			return place(err, f.Pos())
		}
	}
	return nil
}

// featuresBackfill is oe.utils.features_backfill: features of X_BACKFILL that
// X lacks and X_BACKFILL_CONSIDERED does not name are appended.
func (d *Datastore) featuresBackfill(name string, ev Event) error {
	var words [3][]string
	for i, suffix := range []string{"", "_BACKFILL", "_BACKFILL_CONSIDERED"} {
		t, err := d.get(name + suffix)
		if err != nil {
			return err
		}
		if t.unk != nil {
			d.own(name).mark = t.unk
			d.forget()
			return nil
		}
		words[i] = pyexpr.Split(t.s)
	}
	var add []string
	for _, w := range words[1] {
		if !slices.Contains(words[0], w) && !slices.Contains(words[2], w) {
			add = append(add, w)
		}
	}
	if len(add) == 0 {
		return nil
	}
	ev.Operand = " " + strings.Join(add, " ")
	return d.set(name+":append", text{s: ev.Operand}, parsing, ev)
}

// Events whose handlers can change variables (bb/event.py).
var (
	configEvents = []string{"bb.event.ConfigParsed"}
	recipeEvents = []string{"bb.event.RecipePreFinalise", "bb.event.RecipePostKeyExpansion", "bb.event.RecipeTaskPreProcess", "bb.event.RecipeParsed"}
)

// markHandlers makes the variables unknown that the handlers of these events
// may set. A handler without eventmask gets all events.
func (d *Datastore) markHandlers(events []string) {
	for _, h := range d.special.handlers {
		f, _ := d.flag(h, "eventmask")
		mask, err := d.expand(f.text, "", nil)
		wanted := pyexpr.Split(mask.s)
		if err == nil && len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(events, w) }) {
			continue
		}
		if v := d.find(h); v != nil && v.content != nil {
			d.markSetters(v.content.s, d.lastPos(h), "the event handler "+h)
		}
	}
}

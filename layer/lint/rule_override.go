package lint

import (
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func overrideAppend() *Rule {
	r := &Rule{
		ID: "override-append", Severity: diag.Warning, Fixable: true,
		Summary: "VAR:override += makes a new value that replaces VAR's instead of adding to it",
		Why: "`VAR:override += \"x\"` adds to the variable `VAR:override`, which has no value of its own. Once the " +
			"override is active, its value \" x\" is the whole value, and what VAR holds is gone. So it is with " +
			"`VAR:override:append = \" x\"`, where the two words stand in the wrong order. The rule is " +
			"silent when `VAR:override` is set first, and when VAR has nothing to lose.",
		Fix:   "Write `VAR:append:override = \" x\"`.",
		needs: func(_ *index, a *bitbake.Assign) bool { return addsToOverride(a) },
	}
	r.config = replacedBases
	r.recipe = replacedBases
	return r
}

// perPackage are variables that are asked for by package: FILES:${PN}. The
// word behind the colon is no override of a list that holds for the recipe.
var perPackage = []string{
	"ALLOW_EMPTY", "ALTERNATIVE", "CONFFILES", "DEBIAN_NOAUTONAME", "DESCRIPTION", "FILES", "GROUPADD_PARAM", "INITSCRIPT_PARAMS", "INSANE_SKIP",
	"PKG", "RCONFLICTS", "RDEPENDS", "RPROVIDES", "RRECOMMENDS", "RREPLACES", "RSUGGESTS", "SECTION", "SUMMARY", "SYSTEMD_SERVICE", "USERADD_PARAM",
	"pkg_postinst", "pkg_postrm", "pkg_preinst", "pkg_prerm", "LICENSE", "SYSTEMD_PACKAGES", "PACKAGE_ARCH", "INITSCRIPT_NAME", "GROUPMEMS_PARAM",
}

func addsToOverride(a *bitbake.Assign) bool {
	base, words := splitName(a.Name)
	if a.Flag != "" || len(words) == 0 || strings.Contains(a.Name, "${") || slices.Contains(perPackage, base) {
		return false
	}
	switch k := keyword(words); k {
	case "":
		return additive(a.Op)
	case "append", "prepend":
		return words[0] != k && words[len(words)-1] == k
	}
	return false
}

func replacedBases(p *Pass) {
	for _, name := range p.D.Names() {
		base, words := splitName(name)
		if len(words) == 0 || base == completed || p.otherRecipe(words) {
			continue
		}
		events := contents(p.D.History(name))
		if len(events) == 0 {
			events = lazy(p.D.History(name))
		} else if !events[0].Additive() {
			continue
		}
		if len(events) == 0 {
			continue
		}
		a, ok := events[0].Stmt.(*bitbake.Assign)
		if !ok || !addsToOverride(a) {
			continue
		}
		lost, pos := baseWords(p.D, base)
		own, _, err := p.D.Get(name)
		if err != nil || !own.Known {
			continue
		}
		mine := strings.Fields(own.Text)
		if lost = slices.DeleteFunc(lost, func(w string) bool { return slices.Contains(mine, w) }); len(lost) == 0 {
			continue
		}
		d := found(a.File, bitbake.Span{Start: a.NameSpan.Start, End: a.OpSpan.End},
			"%s replaces the value of %s when %s is active: %s is lost", spoken(a), base, strings.Join(words, ":"), quoteWords(lost))
		d.Related = []diag.Related{{Pos: pos, Message: "the value that is lost"}}
		if len(events) == 1 {
			d.Fix = overrideFix(a, base)
		}
		p.report(d)
	}
}

// otherRecipe reports whether override words name another recipe than the one
// that is looked at: what its variables hold does not matter then.
func (p *Pass) otherRecipe(words []string) bool {
	if p.Recipe == nil {
		return false
	}
	pn, _, err := p.D.Get("PN")
	return slices.ContainsFunc(words, func(w string) bool {
		name, ok := strings.CutPrefix(w, "pn-")
		return ok && (err != nil || !pn.Known || name != pn.Text)
	})
}

// spoken is a statement's name with its operator, where that matters.
func spoken(a *bitbake.Assign) string {
	if additive(a.Op) {
		return a.Name + " " + a.Op.String()
	}
	return a.Name
}

// lazy are the :append and :prepend events on a name.
func lazy(events []bitbake.Event) []bitbake.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e bitbake.Event) bool {
		return e.Keyword != ":append" && e.Keyword != ":prepend" || e.Overrides != "" || e.Stmt == nil
	})
}

// contents are the events that make the value of a name.
func contents(events []bitbake.Event) []bitbake.Event {
	var out []bitbake.Event
	for _, e := range events {
		switch {
		case e.Op == "del":
			out = nil
		case e.Keyword == "" && (e.Flag == "" || e.Weak()) && e.Stmt != nil:
			out = append(out, e)
		}
	}
	return out
}

// baseWords is what the variable holds without overrides, and where that was
// set last.
func baseWords(d *bitbake.Datastore, base string) ([]string, diag.Position) {
	events := contents(d.History(base))
	if len(events) == 0 {
		return nil, diag.Position{}
	}
	var words []string
	for _, e := range events {
		v, err := d.Expand(e.Operand)
		if err != nil || !v.Known || strings.Contains(v.Text, "${") {
			return nil, diag.Position{}
		}
		if !e.Additive() && e.Op != "set?" && !e.Weak() || len(words) == 0 {
			words = nil
		}
		if !e.Weak() || len(words) == 0 {
			words = append(words, strings.Fields(v.Text)...)
		}
	}
	return words, events[len(events)-1].Pos
}

// overrideFix moves the keyword in front of the override words.
func overrideFix(a *bitbake.Assign, base string) *diag.Fix {
	key := lazyName(a)
	at := a.NameSpan.Start + len(base)
	if _, words := splitName(a.Name); keyword(words) != "" {
		key = ":" + keyword(words)
		return &diag.Fix{Message: "use " + base + key, Edits: []diag.Edit{
			edit(a.File, bitbake.Span{Start: at, End: at}, key),
			edit(a.File, bitbake.Span{Start: a.NameSpan.End - len(key), End: a.NameSpan.End}, ""),
		}}
	}
	edits := []diag.Edit{edit(a.File, bitbake.Span{Start: at, End: at}, key), edit(a.File, a.OpSpan, "=")}
	return &diag.Fix{Message: "use " + base + key, Edits: append(edits, blank(a, key)...)}
}

func deadOverride() *Rule {
	return &Rule{
		ID: "dead-override", Severity: diag.Warning,
		Summary: "an override that can never be active",
		Why: "BitBake reads an override as such only without capitals, and `pn-NAME` is active only while recipe " +
			"NAME is evaluated. A statement behind any other word is ignored in silence.",
		Fix:  "Write the override in small letters, or take the statement to the recipe that it is for.",
		file: deadOverrides,
	}
}

func deadOverrides(p *Pass, f *bitbake.File) {
	pn := ""
	if ext := path.Ext(f.Name); ext == ".bb" || ext == ".bbappend" {
		pn, _, _ = strings.Cut(strings.TrimSuffix(path.Base(f.Name), ext), "_")
	}
	for _, s := range f.Stmts {
		switch s := s.(type) {
		case *bitbake.Unset:
			if s.Name == "PN" {
				return
			}
		case *bitbake.Assign:
			if s.Name == "PN" {
				return // the recipe has another name than its file
			}
		}
	}
	for a := range assigns(f) {
		base, words := splitName(a.Name)
		if strings.Contains(a.Name, "${") || slices.Contains(perPackage, base) || strings.ToUpper(base) != base {
			continue
		}
		for _, w := range words {
			name, forRecipe := strings.CutPrefix(w, "pn-")
			switch {
			case w == "":
				p.report(found(f, a.NameSpan, "%s holds an empty override", a.Name))
			case strings.ToLower(w) != w && a.Flag == "" && (words[0] == w || keyword(words) != ""):
				p.report(found(f, a.NameSpan, "%s: %q is no override for BitBake, because it holds capitals", a.Name, w))
			case forRecipe && pn != "" && !strings.Contains(pn, "%") && name != pn && !variantOf(name, pn):
				p.report(found(f, a.NameSpan, "%s is for recipe %s and never active in %s", a.Name, name, pn))
			}
		}
	}
}

// variantOf reports whether a is what BBCLASSEXTEND or a multilib makes of
// recipe pn.
func variantOf(a, pn string) bool {
	return strings.HasPrefix(a, pn+"-") || strings.HasPrefix(a, "nativesdk-") || strings.HasPrefix(a, "lib32-") || strings.HasPrefix(a, "lib64-")
}

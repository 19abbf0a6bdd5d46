package lint

import (
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func missingBlank() *Rule {
	r := &Rule{
		ID: "missing-blank", Severity: diag.Error, Fixable: true,
		Summary: ":append or :prepend on a list without the blank that separates words",
		Why: "`:append` and `:prepend` add no blank, so the new word and its neighbour become one. The rule knows " +
			"the variables that are lists of words, and looks at the evaluated value: a blank at the end of what " +
			"is there, or nothing there at all, makes the statement harmless.",
		Fix:   "Put a blank in front of an appended value, behind a prepended one.",
		needs: func(_ *index, a *bitbake.Assign) bool { return glueing(a) != "" },
	}
	r.config = gluedWords
	r.recipe = gluedWords
	return r
}

// lists are variables that hold words separated by blanks.
var lists = []string{
	"BBFILES", "BBFILES_DYNAMIC", "BBFILE_COLLECTIONS", "BBLAYERS", "BBMULTICONFIG", "CFLAGS", "CORE_IMAGE_EXTRA_INSTALL", "CPPFLAGS",
	"CXXFLAGS", "DEPENDS", "EXTRA_IMAGEDEPENDS", "EXTRA_IMAGE_FEATURES", "EXTRA_OECMAKE", "EXTRA_OECONF", "EXTRA_OEMAKE", "EXTRA_OEMESON",
	"FILES", "HOSTTOOLS", "IMAGE_CLASSES", "IMAGE_FSTYPES", "IMAGE_INSTALL", "INHERIT", "INSANE_SKIP", "KERNEL_MODULE_AUTOLOAD", "LDFLAGS",
	"LICENSE_FLAGS_ACCEPTED", "MACHINE_ESSENTIAL_EXTRA_RDEPENDS", "MACHINE_ESSENTIAL_EXTRA_RRECOMMENDS", "MACHINE_EXTRA_RDEPENDS",
	"MACHINE_EXTRA_RRECOMMENDS", "PACKAGECONFIG", "PACKAGES", "PACKAGE_CLASSES", "PACKAGE_INSTALL", "PROVIDES", "RCONFLICTS", "RDEPENDS",
	"RPROVIDES", "RRECOMMENDS", "RREPLACES", "RSUGGESTS", "SRC_URI", "SYSTEMD_SERVICE", "TARGET_CFLAGS", "TARGET_LDFLAGS", "TOOLCHAIN_TARGET_TASK",
}

func isList(base string) bool {
	return slices.Contains(lists, base) || strings.HasSuffix(base, "_FEATURES")
}

// glueing returns :append or :prepend for a statement that adds a word without
// a blank to a list.
func glueing(a *bitbake.Assign) string {
	base, words := splitName(a.Name)
	k := keyword(words)
	if a.Flag != "" || a.Op != bitbake.OpSet && a.Op != bitbake.OpNow || !isList(base) || strings.TrimSpace(a.Value) == "" {
		return ""
	}
	switch {
	case k == "append" && !strings.ContainsRune(" \t\n$", rune(a.Value[0])):
		return ":append"
	case k == "prepend" && !strings.ContainsRune(" \t\n}", rune(a.Value[len(a.Value)-1])):
		return ":prepend"
	}
	return ""
}

func gluedWords(p *Pass) {
	for _, name := range p.D.Names() {
		base, words := splitName(name)
		if !isList(base) || keyword(words) != "" {
			continue
		}
		for _, e := range p.D.History(name) {
			if a, ok := e.Stmt.(*bitbake.Assign); ok && e.Keyword != "" {
				if key := glueing(a); key != "" && glued(p.D, name, a, key) {
					reportGlued(p, name, a, key)
				}
			}
		}
	}
}

// glued reports whether the statement's outer word is missing from the value
// because it has become part of another one.
func glued(d *bitbake.Datastore, name string, a *bitbake.Assign, key string) bool {
	v, ok, err := d.Get(name)
	added, err2 := d.Expand(a.Value)
	words := strings.Fields(added.Text)
	if err != nil || err2 != nil || !ok || !v.Known || !added.Known || len(words) == 0 {
		return false
	}
	word := words[0]
	if key == ":prepend" {
		word = words[len(words)-1]
	}
	for w := range strings.FieldsSeq(v.Text) {
		switch {
		case w == word:
			return false
		case key == ":append" && strings.HasSuffix(w, word), key == ":prepend" && strings.HasPrefix(w, word):
			return true
		}
	}
	return false
}

func reportGlued(p *Pass, name string, a *bitbake.Assign, key string) {
	v, _, _ := p.D.Get(name)
	side, at := "in front of", a.ValueSpan.Start
	if key == ":prepend" {
		side, at = "behind", a.ValueSpan.End
	}
	d := found(a.File, a.ValueSpan, "there is no blank %s the words that %s adds: they grow together with their neighbour", side, a.Name)
	d.Hint = p.where() + ": " + name + " is " + quoteWords(strings.Fields(v.Text))
	d.Fix = &diag.Fix{Message: "add the blank", Edits: []diag.Edit{edit(a.File, bitbake.Span{Start: at, End: at}, " ")}}
	p.report(d)
}

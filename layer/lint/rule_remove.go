package lint

import (
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func removeNothing() *Rule {
	r := &Rule{
		ID: "remove-nothing", Severity: diag.Warning,
		Summary: ":remove of a word that nothing ever puts there",
		Why: "`:remove` takes whole words out and is silent about words that are not there, so a misspelt one stays " +
			"unnoticed. The rule speaks only about variables that the layers at hand own (they give the default " +
			"value) and about words that no statement on the variable holds.",
		Fix: "Correct the word, or remove the statement.",
	}
	r.project = func(p *Pass) {
		for name, v := range p.index.featureVars() {
			if !v.owned {
				continue
			}
			for _, rm := range v.removed {
				if v.set[rm.word] != nil || v.open || p.settings.knows(name, rm.word) {
					continue
				}
				d := found(rm.file, rm.span, "%s removes %q, and nothing ever sets it", rm.stmt.Name, rm.word)
				if near := diag.Nearest(rm.word, sortedKeys(v.set)); near != "" {
					d.Hint = "did you mean " + near + "?"
				}
				p.report(d)
			}
		}
	}
	return r
}

func removedAnyway() *Rule {
	r := &Rule{
		ID: "append-removed", Severity: diag.Warning,
		Summary: ":append of a word that :remove takes out again",
		Why: "`:remove` comes after every `:append`, in whatever order and in whatever file they stand. A word that " +
			"is appended and removed is not there. That a configuration takes out what a layer appends is what " +
			"`:remove` is for; the rule speaks when both stand in one file, and when a configuration appends in " +
			"vain what a layer removes.",
		Fix:   "Drop one of the two.",
		needs: func(_ *index, a *bitbake.Assign) bool { return strings.Contains(a.Name, ":remove") },
	}
	r.config = appendedInVain
	r.recipe = appendedInVain
	return r
}

func appendedInVain(p *Pass) {
	for _, name := range p.D.Names() {
		if !slices.ContainsFunc(p.D.History(name), func(e bitbake.Event) bool { return e.Keyword == ":remove" }) {
			continue
		}
		for _, st := range p.D.Explain(name).Steps {
			if st.Effect != bitbake.Removed || st.By == nil || st.By.Stmt == nil || st.Keyword == ":remove" {
				continue
			}
			a, ok := st.Stmt.(*bitbake.Assign)
			if !ok || strings.Contains(a.Value, "${") {
				continue
			}
			by := st.By.Pos
			inFile := by.File == st.Pos.File
			above := isLocal(st.Pos.File) && !isLocal(by.File)
			if !inFile && !above {
				continue
			}
			d := found(a.File, bitbake.Span{Start: a.NameSpan.Start, End: a.OpSpan.End},
				"%s adds %s in vain: :remove takes it out again", a.Name, quoteWords(strings.Fields(a.Value)))
			d.Hint = "in " + p.where()
			d.Related = []diag.Related{{Pos: by, Message: "removed here"}}
			p.report(d)
		}
	}
}

// isLocal tells the files that a person writes for a build.
func isLocal(file string) bool { return path.Base(file) == "local.conf" }

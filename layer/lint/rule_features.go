package lint

import (
	"fmt"

	"github.com/pvkit/pvkit/internal/diag"
)

func unusedFeature() *Rule {
	return &Rule{
		ID: "unused-feature", Severity: diag.Warning,
		Summary: "a feature that is set and never tested, or tested and never set",
		Why: "A word in X_FEATURES does something only where a recipe or class tests it. The rule speaks about " +
			"variables whose default is in the layers at hand, and not at all when a file reads the whole variable " +
			"in a way that cannot be followed. A word that is tested and never set is a note: it may be there for " +
			"users to switch on; name such words under `features` in .pvkit.yaml.",
		Fix:     "Correct the word, remove it, or add the test.",
		project: unusedFeatures,
	}
}

func unusedFeatures(p *Pass) {
	for name, v := range p.index.featureVars() {
		if !v.owned {
			continue
		}
		for w, uses := range v.set {
			if v.tested[w] != nil || v.opaque != "" || p.settings.knows(name, w) || nearOne(w, v.tested) != "" {
				continue
			}
			d := found(uses[0].file, uses[0].span, "%s: %s is set here and nothing tests it", name, w)
			p.report(d)
		}
		for w, uses := range v.tested {
			if v.set[w] != nil || v.open || p.settings.knows(name, w) || nearOne(w, v.set) != "" {
				continue
			}
			d := found(uses[0].file, uses[0].span, "%s: %s is tested here and nothing sets it", name, w)
			p.report(d)
			p.out[len(p.out)-1].Severity = diag.Note
		}
	}
}

// nearOne finds the likely name that a word misses.
func nearOne(w string, known map[string][]featureUse) string {
	for _, k := range sortedKeys(known) {
		if k != w && len(w) > 3 && diag.Distance(w, k, 1) <= 1 {
			return k
		}
	}
	return ""
}

func unknownFeature() *Rule {
	return &Rule{
		ID: "unknown-feature", Severity: diag.Error,
		Summary: "a feature name that misses a known one by a letter",
		Why: "Any word can be put into X_FEATURES, and any word can be tested. One that nothing knows on the other " +
			"side, a letter away from one that it does, is a slip.",
		Fix:     "Write the name that was meant, or list the word under `features` in .pvkit.yaml.",
		project: unknownFeatures,
	}
}

func unknownFeatures(p *Pass) {
	for name, v := range p.index.featureVars() {
		if !v.owned {
			continue
		}
		check := func(uses map[string][]featureUse, other map[string][]featureUse, what string) {
			for w, list := range uses {
				if other[w] != nil || p.settings.knows(name, w) {
					continue
				}
				meant := nearOne(w, other)
				// Of two that nobody knows on the other side, the one that is
				// set is the slip.
				if meant == "" || what == "set" && v.tested[meant] == nil {
					continue
				}
				for _, u := range list {
					d := found(u.file, u.span, "%s: no feature %s is %s anywhere", name, w, what)
					d.Hint = fmt.Sprintf("did you mean %s?", meant)
					d.Related = []diag.Related{{Pos: other[meant][0].pos(), Message: meant + " is " + what + " here"}}
					p.report(d)
				}
			}
		}
		check(v.set, v.tested, "tested")
		check(v.tested, v.set, "set")
	}
}

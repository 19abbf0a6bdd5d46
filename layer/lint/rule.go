package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// Rule is one kind of mistake. What it can look at are the functions that it
// has; none of them prints or keeps state.
type Rule struct {
	ID       string
	Severity diag.Severity
	// Summary is a line, Why the reasons, Fix how to mend it.
	Summary, Why, Fix string
	// Fixable rules attach edits to their findings.
	Fixable bool

	file    func(p *Pass, f *bitbake.File)
	config  func(p *Pass)
	recipe  func(p *Pass)
	project func(p *Pass)
	// needs reports whether a statement makes a recipe worth evaluating.
	needs func(x *index, a *bitbake.Assign) bool
}

// Rules of the runner itself.
const (
	RuleYAML        = "yaml-error"
	RuleKconfig     = "kconfig-error"
	RuleSuppression = "suppression"
)

// Rules lists every rule, by name.
func Rules() []*Rule {
	all := []*Rule{
		weakDefault(), lateDefault(), missingBlank(), doubleOperator(), overrideAppend(),
		removeNothing(), removedAnyway(), oldSyntax(), deadOverride(), misspelt(),
		unusedFeature(), unknownFeature(), neverMatches(), missingFile(), duplicateKey(), lostID(),
		bitbakeError(), yamlErrorRule(), kconfigErrorRule(), suppression(),
	}
	slices.SortFunc(all, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Pass is one look of one rule at one thing.
type Pass struct {
	*Project
	Rule *Rule
	// Config and D are set for configurations and recipes, Recipe for recipes.
	Config *Config
	D      *bitbake.Datastore
	Recipe *recipe

	index *index
	out   []diag.Diagnostic
}

// recipe is a recipe with its appends.
type recipe struct {
	file    string
	appends []string
}

// report adds a finding; Rule and Severity are filled in later.
func (p *Pass) report(d diag.Diagnostic) {
	d.Rule = p.Rule.ID
	d.Severity = p.Rule.Severity
	p.out = append(p.out, d)
}

// where names the configuration or recipe that is looked at.
func (p *Pass) where() string {
	if p.Recipe != nil {
		return p.Name(p.Recipe.file)
	}
	return p.Config.Name
}

// at gives the place of a part of a statement.
func at(f *bitbake.File, s bitbake.Span) (pos, end diag.Position) {
	return f.Position(s.Start), f.Position(s.End)
}

// found starts a finding at a part of a statement.
func found(f *bitbake.File, s bitbake.Span, format string, args ...any) diag.Diagnostic {
	pos, end := at(f, s)
	return diag.Diagnostic{Pos: pos, End: end, Message: fmt.Sprintf(format, args...)}
}

// assigns walks the assignments of a file.
func assigns(f *bitbake.File) func(func(*bitbake.Assign) bool) {
	return func(yield func(*bitbake.Assign) bool) {
		for _, s := range f.Stmts {
			if a, ok := s.(*bitbake.Assign); ok && !yield(a) {
				return
			}
		}
	}
}

// splitName cuts a name at its first colon: the variable and the rest.
func splitName(name string) (base string, words []string) {
	base, rest, ok := strings.Cut(name, ":")
	if !ok {
		return base, nil
	}
	return base, strings.Split(rest, ":")
}

// keyword returns append, prepend or remove when the name holds one.
func keyword(words []string) string {
	for _, w := range words {
		if w == "append" || w == "prepend" || w == "remove" {
			return w
		}
	}
	return ""
}

// additive operators see neither weak defaults nor overrides.
func additive(op bitbake.Op) bool {
	switch op {
	case bitbake.OpAppend, bitbake.OpPrepend, bitbake.OpPostdot, bitbake.OpPredot:
		return true
	}
	return false
}

func edit(f *bitbake.File, s bitbake.Span, text string) diag.Edit {
	return diag.Edit{File: f.Name, Start: s.Start, End: s.End, Text: text}
}

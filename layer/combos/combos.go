// Package combos evaluates every configuration that a Kconfig menu can reach:
// each combination of its choices (machine, build type, codename, target) goes
// through kas and BitBake's own evaluation, and contradictions between them
// become findings. Start at Run.
package combos

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kas/menu"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// MaxCombos bounds how many combinations are looked at.
const MaxCombos = 100_000

// Options say what is evaluated.
type Options struct {
	Tree *kconfig.Tree
	// Kas has the file system (rooted at "/"), the project's directory and
	// the dialect.
	Kas kas.Options
	// Loader reads the layers' files; it keeps them parsed.
	Loader *bitbake.Loader
	// Host is what metadata may ask of the build machine.
	Host bitbake.Host
	// Workers is how many combinations are evaluated at a time; 1 when 0.
	Workers int
}

// Combo is a combination of choices with what it leads to.
type Combo struct {
	// Choices are the selected members, in the order of the choices.
	Choices  []string `json:"choices"`
	Includes []string `json:"includes"`
	// Files are all files in the order of merging.
	Files   []string `json:"files"`
	Machine string   `json:"machine"`
	Distro  string   `json:"distro"`
	Targets []string `json:"targets"`
	// Features and Multiconfig are the values of PANTAVISOR_FEATURES and
	// BBMULTICONFIG after all configuration files.
	Features    Value `json:"features"`
	Multiconfig Value `json:"multiconfig"`
	// Absent are layers that are not on this machine. What they would add is
	// not in the values.
	Absent []string `json:"absent,omitempty"`
	// Refused says why kas refuses the combination, "" when it does not.
	Refused string `json:"refused,omitempty"`
}

// Value is the value of a variable, as far as it can be known.
type Value struct {
	Words []string `json:"words"`
	Known bool     `json:"known"`
	Why   string   `json:"why,omitempty"` // why it is not known
}

// Report is what Run found.
type Report struct {
	Combos   []Combo
	Findings []diag.Diagnostic
	// Absent are the layers that are absent from any combination.
	Absent []string
}

// runner is the state that the workers share.
type runner struct {
	o   Options
	kas *kas.Resolver

	mu    sync.Mutex // guards what follows
	evals map[string]*evaluation
	found map[findingKey]*counted
}

type findingKey struct {
	pos           diag.Position
	rule, message string
}

// counted is a finding and how many combinations have it.
type counted struct {
	d diag.Diagnostic
	n int
}

// reached is a combination before it is evaluated.
type reached struct {
	conf    *kconfig.Config
	choices []string
}

// Run evaluates all combinations. The error is not nil only when the work
// could not be done.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &runner{o: o, kas: kas.New(o.Kas), evals: map[string]*evaluation{}, found: map[findingKey]*counted{}}
	all, err := reach(o.Tree)
	if err != nil {
		return nil, err
	}
	rep := &Report{Combos: make([]Combo, len(all))}
	if err := r.each(ctx, len(all), func(i int) error {
		return r.combo(ctx, i, all[i], &rep.Combos[i])
	}); err != nil {
		return nil, err
	}
	if err := r.toggles(ctx, all); err != nil {
		return nil, err
	}
	for _, c := range r.found {
		if c.n > 0 && c.n < len(all) {
			c.d.Message += fmt.Sprintf(" (in %d of %d combinations)", c.n, len(all))
		}
		rep.Findings = append(rep.Findings, c.d)
	}
	diag.Sort(rep.Findings)
	for _, c := range rep.Combos {
		rep.Absent = append(rep.Absent, c.Absent...)
	}
	slices.Sort(rep.Absent)
	rep.Absent = slices.Compact(rep.Absent)
	return rep, nil
}

// each runs f for 0 to n-1 on the workers.
func (r *runner) each(ctx context.Context, n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, max(r.o.Workers, 1))
	next := make(chan int)
	for w := range errs {
		wg.Go(func() {
			for i := range next {
				if errs[w] == nil {
					errs[w] = f(i)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// reach lists the combinations: every member of every choice that can be
// selected, the choices taken in their order. Other symbols keep their
// defaults.
func reach(t *kconfig.Tree) ([]reached, error) {
	var out []reached
	var walk func(c *kconfig.Config, i int, picked []string) error
	walk = func(c *kconfig.Config, i int, picked []string) error {
		if i == len(t.Choices) {
			if len(out) == MaxCombos {
				return fmt.Errorf("the choices have more than %d combinations", MaxCombos)
			}
			for _, name := range picked {
				if c.Tri(t.Lookup(name)) != kconfig.Y {
					return nil // a later choice has taken it back
				}
			}
			out = append(out, reached{c, picked})
			return nil
		}
		ch := t.Choices[i]
		selectable := false
		if c.ChoiceMode(ch) == kconfig.Y {
			for _, m := range ch.Members {
				if c.Visibility(m) != kconfig.Y || m.Type != kconfig.Bool {
					continue
				}
				selectable = true
				d := c.Clone()
				if err := d.Set(m.Name, "y"); err != nil {
					return err
				}
				if err := walk(d, i+1, append(picked[:len(picked):len(picked)], m.Name)); err != nil {
					return err
				}
			}
		}
		if selectable {
			return nil
		}
		return walk(c, i+1, picked)
	}
	return out, walk(t.New(), 0, nil)
}

// combo evaluates one combination.
func (r *runner) combo(ctx context.Context, i int, at reached, out *Combo) error {
	out.Choices = at.choices
	sel, err := menu.Select(at.conf, r.o.Kas.Dialect)
	if err != nil {
		out.Refused = err.Error()
		return nil //nolint:nilerr // the refusal is the answer
	}
	out.Includes = sel.Includes
	c, found, err := r.resolve(ctx, fmt.Sprintf("combination-%d.yaml", i), sel)
	if err != nil {
		return err
	}
	for _, d := range found {
		r.find(d)
		if refused(d) && out.Refused == "" {
			out.Refused = d.Pos.String() + ": " + d.Message
		}
	}
	if c == nil {
		return nil
	}
	for _, use := range c.Files[:len(c.Files)-1] {
		out.Files = append(out.Files, use.Name)
	}
	out.Machine, out.Distro, out.Targets = c.Machine(), c.Distro(), c.Targets()
	if out.Refused != "" {
		return nil
	}
	e, absent, err := r.evaluate(ctx, c)
	if err != nil {
		return err
	}
	out.Absent = absent
	out.Features, out.Multiconfig = e.features, e.multiconfig
	r.contradictions(c, out, e)
	return nil
}

// refuses are the rules by which kas itself ends.
var refuses = map[string]bool{
	kas.RuleSyntax: true, kas.RuleSchema: true, kas.RuleVersion: true, kas.RuleInclude: true, kas.RuleRepo: true,
}

func refused(d diag.Diagnostic) bool { return d.Severity == diag.Error && refuses[d.Rule] }

// judged are the rules whose findings are about combinations. The others are
// the same for every chain, and `pvkit kas check` has them.
var judged = map[string]bool{kas.RuleOrder: true, kas.RuleNull: true, kas.RuleDuplicate: true, kas.RulePatch: true, kas.RuleInert: true}

// resolve resolves what the menu would write.
func (r *runner) resolve(ctx context.Context, name string, sel *menu.Selection) (*kas.Config, []diag.Diagnostic, error) {
	root := "/" + strings.TrimPrefix(path.Clean("/"+r.o.Kas.Dir), "/")
	file := path.Join(root, ".config", name)
	if err := r.kas.Put(file, sel.Config(root)); err != nil {
		return nil, kas.Findings(err), nil
	}
	c, found, err := r.kas.Check(ctx, file)
	found = slices.DeleteFunc(found, func(d diag.Diagnostic) bool { return d.Severity == diag.Note || !refuses[d.Rule] && !judged[d.Rule] })
	if slices.ContainsFunc(found, refused) {
		// What kas refuses is not merged whole: the rest would only follow.
		found = slices.DeleteFunc(found, func(d diag.Diagnostic) bool { return !refused(d) })
	}
	for i := range found {
		if found[i].Pos.Line == 0 {
			found[i].Pos = r.symbolPos(found[i].Message)
		}
	}
	return c, found, err
}

// symbolPos is the place for a finding in what the menu wrote, which has no
// lines: that of the symbol whose name begins the message.
func (r *runner) symbolPos(message string) diag.Position {
	name, _, _ := strings.Cut(message, " ")
	if sym := r.o.Tree.Lookup(name); sym != nil && sym.Defined() {
		return sym.Pos()
	}
	return r.o.Tree.Root.Pos
}

// find notes a finding; the same one of many combinations once.
func (r *runner) find(d diag.Diagnostic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := findingKey{d.Pos, d.Rule, d.Message}
	if r.found[key] == nil {
		r.found[key] = &counted{d: d}
	}
	r.found[key].n++
}

package lint

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// Result is what Run found.
type Result struct {
	Findings []diag.Diagnostic
	// Unseen says what the evaluation could not look into, such as oe-core
	// when it is not there.
	Unseen []diag.Diagnostic
	// Files, Configs and Recipes count what was looked at.
	Files, Configs, Recipes int
}

// each calls f for 0..n-1 from as many goroutines as there are processors.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// Run asks every rule that is on. Findings are sorted by place, each once.
func Run(ctx context.Context, p *Project) (*Result, error) {
	r := &runner{ctx: ctx, p: p, index: newIndex(p)}
	for _, rule := range Rules() {
		if sev, on := p.settings.severityOf(rule); on {
			rule.Severity = sev
			r.rules = append(r.rules, rule)
		}
	}
	res := &Result{}
	r.add(r.wanted(p.findings))
	r.files()
	if err := r.configs(res); err != nil {
		return nil, err
	}
	if err := r.recipes(res); err != nil {
		return nil, err
	}
	for _, rule := range r.rules {
		if rule.project != nil {
			r.ask(rule, &Pass{}, rule.project)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	res.Files = len(p.files) + len(p.kas)
	res.Findings = r.finish()
	return res, nil
}

type runner struct {
	ctx   context.Context
	p     *Project
	index *index
	rules []*Rule

	mu  sync.Mutex // guards out
	out []diag.Diagnostic
}

func (r *runner) add(ds []diag.Diagnostic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out = append(r.out, ds...)
}

// wanted gives the findings of reading the project their severity, and drops
// those of rules that are off.
func (r *runner) wanted(ds []diag.Diagnostic) []diag.Diagnostic {
	var out []diag.Diagnostic
	for _, d := range ds {
		if i := slices.IndexFunc(r.rules, func(rule *Rule) bool { return rule.ID == d.Rule }); i >= 0 {
			d.Severity = r.rules[i].Severity
			out = append(out, d)
		}
	}
	return out
}

// ask calls one function of a rule.
func (r *runner) ask(rule *Rule, p *Pass, f func(*Pass)) {
	p.Project, p.Rule, p.index, p.out = r.p, rule, r.index, nil
	f(p)
	r.add(p.out)
}

// files asks the rules that need no evaluation.
func (r *runner) files() {
	names := append(slices.Clone(r.p.files), r.p.buildFiles()...)
	for _, c := range r.p.Configs {
		if !c.real && r.p.embedded[c.topDir+"/conf/local.conf"] != nil {
			names = append(names, c.topDir+"/conf/local.conf")
		}
	}
	each(len(names), func(i int) {
		f := r.index.file(names[i])
		if f == nil || r.ctx.Err() != nil || foreign(f) {
			return
		}
		for _, rule := range r.rules {
			if rule.file != nil {
				r.ask(rule, &Pass{}, func(p *Pass) { rule.file(p, f) })
			}
		}
	})
}

// foreign tells files of other languages that BitBake cannot read: an .inc
// of a recipe's sources, a .conf of another program beside layer.conf.
func foreign(f *bitbake.File) bool {
	if f.Err == nil {
		return false
	}
	base := path.Base(f.Name)
	return path.Ext(base) == ".inc" || path.Ext(base) == ".conf" && path.Base(path.Dir(f.Name)) == "conf" &&
		base != "layer.conf" && base != "local.conf" && base != "bblayers.conf" && base != "bitbake.conf"
}

// configs evaluates the configurations one by one and forgets them again.
func (r *runner) configs(res *Result) error {
	var mu sync.Mutex // guards failed and unseen
	var failed error
	seen := map[string]diag.Diagnostic{}
	each(len(r.p.Configs), func(i int) {
		c := r.p.Configs[i]
		if r.ctx.Err() != nil {
			return
		}
		d, ds, err := r.p.Load(r.ctx, c)
		mu.Lock()
		for _, dg := range ds {
			if dg.Rule == bitbake.RuleMissing {
				seen[dg.Message] = diag.Diagnostic{Severity: diag.Note, Rule: dg.Rule, Message: dg.Message}
			}
		}
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", c.Name, err)
		}
		mu.Unlock()
		if err != nil {
			return
		}
		for _, rule := range r.rules {
			if rule.config != nil {
				r.ask(rule, &Pass{Config: c, D: d}, rule.config)
			}
		}
	})
	for _, dg := range seen {
		res.Unseen = append(res.Unseen, dg)
	}
	slices.SortFunc(res.Unseen, func(a, b diag.Diagnostic) int { return cmp.Compare(a.Message, b.Message) })
	res.Configs = len(r.p.Configs)
	return failed
}

// maxPerFile bounds how many recipes are evaluated on account of one file that
// several of them share.
const maxPerFile = 2

// recipes evaluates those recipes in which some statement may be wrong.
func (r *runner) recipes(res *Result) error {
	chosen := r.choose()
	res.Recipes = len(chosen)
	if len(chosen) == 0 {
		return nil
	}
	base := r.p.recipeConfig()
	workers := min(len(chosen), runtime.GOMAXPROCS(0))
	errs := make([]error, workers)
	each(workers, func(w int) {
		// Recipes are copies of a configuration, which is not to be shared.
		d, _, err := r.p.Load(r.ctx, base)
		if err != nil {
			errs[w] = err
			return
		}
		for i := w; i < len(chosen) && r.ctx.Err() == nil; i += workers {
			rec, err := d.Recipe(chosen[i].file, orderAppends(d, chosen[i].appends)...)
			if err != nil {
				continue // what BitBake would say about it is another rule's
			}
			for _, rule := range r.rules {
				if rule.recipe != nil {
					r.ask(rule, &Pass{Config: base, D: rec, Recipe: chosen[i]}, rule.recipe)
				}
			}
		}
	})
	return cmp.Or(errs...)
}

// recipeConfig is the configuration in which recipes are evaluated: the first
// one that is complete.
func (p *Project) recipeConfig() *Config {
	best := p.Configs[len(p.Configs)-1]
	for _, c := range p.Configs {
		if c.Kind == "build" || c.Kind == "kas" && c.Machine != "" && c.Distro != "" {
			return c
		}
	}
	return best
}

func (r *runner) choose() []*recipe {
	if len(r.p.Configs) == 0 {
		return nil
	}
	interesting := map[string]bool{}
	for _, name := range r.p.files {
		f := r.index.file(name)
		if f == nil || path.Ext(name) == ".conf" {
			continue
		}
		for a := range assigns(f) {
			if slices.ContainsFunc(r.rules, func(rule *Rule) bool { return rule.needs != nil && rule.needs(r.index, a) }) {
				interesting[name] = true
				break
			}
		}
	}
	used := map[string]int{}
	var chosen []*recipe
	for _, rec := range r.index.recipes {
		take := false
		for _, part := range r.index.parts(rec) {
			if !interesting[part] {
				continue
			}
			limit := maxPerFile
			if part == rec.file {
				limit = 1
			}
			if used[part] < limit {
				used[part]++
				take = true
			}
		}
		if take {
			chosen = append(chosen, rec)
		}
	}
	return chosen
}

// finish maps findings to the files that people edit, leaves out what is not
// wanted, and sorts.
func (r *runner) finish() []diag.Diagnostic {
	var out []diag.Diagnostic
	for _, d := range r.out {
		if d = r.p.inFile(r.p.toHost(d)); r.p.mine(d.Pos.File) && !r.p.settings.ignores(d.Rule, r.p.Name(d.Pos.File)) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, worstFirst)
	diag.Sort(out)
	out = slices.CompactFunc(out, func(a, b diag.Diagnostic) bool {
		return a.Pos == b.Pos && a.Rule == b.Rule
	})
	out = r.suppress(out)
	diag.Sort(out)
	return out
}

// inFile keeps a place inside of its file: BitBake counts a line behind the
// last one when that ends in a backslash.
func (p *Project) inFile(d diag.Diagnostic) diag.Diagnostic {
	s, err := p.source(d.Pos.File)
	if err != nil || d.Pos.Line <= len(s.lines) {
		return d
	}
	d.Pos, d.End = s.position(len(s.text)), diag.Position{}
	return d
}

// worstFirst orders what is found at one place in several configurations, so
// that the same one is kept whichever was evaluated first.
func worstFirst(a, b diag.Diagnostic) int {
	return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Hint, b.Hint),
		slices.CompareFunc(a.Related, b.Related, func(x, y diag.Related) int {
			return cmp.Or(cmp.Compare(x.Pos.String(), y.Pos.String()), cmp.Compare(x.Message, y.Message))
		}))
}

// toHost maps everything in a finding that points into an embedded text.
func (p *Project) toHost(d diag.Diagnostic) diag.Diagnostic {
	e := p.embedded[d.Pos.File]
	d.Pos = p.host(d.Pos)
	if d.End.Line > 0 {
		d.End = p.host(d.End)
	}
	related := slices.Clone(d.Related)
	for i := range related {
		related[i].Pos = p.host(related[i].Pos)
	}
	d.Related = related
	if d.Fix == nil || e == nil {
		return d
	}
	fix := &diag.Fix{Message: d.Fix.Message}
	for _, ed := range d.Fix.Edits {
		mapped, ok := e.edit(ed)
		if !ok {
			d.Fix = nil
			return d
		}
		fix.Edits = append(fix.Edits, mapped)
	}
	d.Fix = fix
	return d
}

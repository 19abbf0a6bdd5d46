package combos

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kas/menu"
	"github.com/pvkit/pvkit/kconfig"
)

// The rules of this package.
const (
	RuleMulticonfig = "combo-multiconfig" // BBMULTICONFIG names what no layer defines
	RuleMachine     = "combo-machine"     // a machine file that sets another machine
	RuleRelease     = "combo-release"     // branches of two releases
	RuleToggle      = "combo-toggle"      // a toggle that changes nothing
	RuleTwice       = "combo-twice"       // a toggle that adds a feature twice
)

// contradictions checks one combination.
func (r *runner) contradictions(c *kas.Config, combo *Combo, e *evaluation) {
	r.machine(c)
	r.release(c)
	if !e.multiconfig.Known || len(combo.Absent) > 0 {
		return
	}
	for _, mc := range e.multiconfig.Words {
		if !slices.ContainsFunc(e.layers, func(l string) bool {
			_, err := fs.Stat(r.o.Kas.FS, strings.TrimPrefix(l, "/")+"/conf/multiconfig/"+mc+".conf")
			return err == nil
		}) {
			r.find(diag.Diagnostic{Pos: assigned(c, "BBMULTICONFIG", r.o.Tree.Root.Pos), Severity: diag.Error, Rule: RuleMulticonfig,
				Message: fmt.Sprintf("BBMULTICONFIG names %s, and no layer has conf/multiconfig/%s.conf", mc, mc)})
		}
	}
}

// assigned finds the line of local_conf_header that names a variable.
func assigned(c *kas.Config, name string, otherwise diag.Position) diag.Position {
	pos := otherwise
	for _, v := range c.Root.Get("local_conf_header").All() {
		for i, line := range strings.Split(v.Text, "\n") {
			if strings.HasPrefix(line, name) && v.Pos.Line > 0 {
				pos = v.LinePos(i)
			}
		}
	}
	return pos
}

// machine checks that kas/machines/NAME.yaml does not set the machine that
// belongs to the file beside it. A vendor in front of the name is common
// ("ti-beaglebone"); a name that has nothing to do with it is worth a warning.
func (r *runner) machine(c *kas.Config) {
	v := c.Root.Get("machine")
	if v == nil {
		return
	}
	plain := strings.NewReplacer("-", "", "_", "").Replace
	for _, use := range c.Files {
		dir, ext := path.Dir(use.Name), path.Ext(use.Name)
		stem := strings.TrimSuffix(path.Base(use.Name), ext)
		if path.Base(dir) != "machines" || stem == v.Text {
			continue
		}
		d := diag.Diagnostic{Pos: v.Pos, Severity: diag.Warning, Rule: RuleMachine,
			Message: fmt.Sprintf("%s is chosen, and the machine is %s", use.Name, v.Text)}
		sibling := path.Join(strings.TrimPrefix(r.o.Kas.Dir, "/"), dir, v.Text+ext)
		if _, err := fs.Stat(r.o.Kas.FS, sibling); err == nil {
			d.Severity = diag.Error
			d.Message += fmt.Sprintf(", which has a file of its own, %s", path.Join(dir, v.Text+ext))
		} else if strings.HasSuffix(plain(stem), plain(v.Text)) {
			continue
		}
		r.find(d)
	}
}

// releases are the names of Yocto releases that branches carry.
var releases = []string{
	"dunfell", "gatesgarth", "hardknott", "honister", "kirkstone", "langdale", "mickledore",
	"nanbield", "scarthgap", "styhead", "walnascar", "whinlatter", "wrynose",
}

// release checks that the branches of all repositories are of one release.
func (r *runner) release(c *kas.Config) {
	repos, err := c.Repos()
	if err != nil {
		return // kas' own rules have it
	}
	ids := map[string][]string{} // by release
	first := map[string]*kas.Repo{}
	for _, repo := range repos {
		i := slices.IndexFunc(releases, func(n string) bool { return strings.Contains(repo.Branch, n) })
		if i < 0 || !repo.Managed() {
			continue
		}
		name := releases[i]
		ids[name] = append(ids[name], repo.ID)
		if first[name] == nil {
			first[name] = repo
		}
	}
	if len(ids) < 2 {
		return
	}
	names := slices.SortedFunc(maps.Keys(ids), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(ids[a]), len(ids[b])), cmp.Compare(a, b))
	})
	var parts []string
	d := diag.Diagnostic{Pos: first[names[0]].Pos, Severity: diag.Error, Rule: RuleRelease}
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s (%s)", name, strings.Join(ids[name], ", ")))
		d.Related = append(d.Related, diag.Related{Pos: first[name].Pos, Message: name})
	}
	d.Message = "branches of different releases are mixed: " + strings.Join(parts, ", ")
	r.find(d)
}

// toggles flips every switch that is no member of a choice, in combinations
// that together use every member of every choice, and looks for switches that
// change nothing anywhere.
func (r *runner) toggles(ctx context.Context, all []reached) error {
	sample := cover(all)
	var switches []*kconfig.Symbol
	for _, s := range r.o.Tree.Symbols {
		if s.Defined() && s.Type == kconfig.Bool && s.Choice == nil && slices.ContainsFunc(s.Nodes, func(n *kconfig.Node) bool { return n.HasPrompt }) {
			switches = append(switches, s)
		}
	}
	return r.each(ctx, len(switches), func(i int) error { return r.toggle(ctx, i, switches[i], sample) })
}

// cover picks combinations so that every member occurs.
func cover(all []reached) []reached {
	var out []reached
	seen := map[string]bool{}
	for _, at := range all {
		fresh := false
		for _, name := range at.choices {
			fresh = fresh || !seen[name]
			seen[name] = true
		}
		if fresh {
			out = append(out, at)
		}
	}
	return out
}

func (r *runner) toggle(ctx context.Context, i int, s *kconfig.Symbol, sample []reached) error {
	looked, differs, known, complete := 0, false, true, true
	for k, at := range sample {
		if at.conf.Visibility(s) != kconfig.Y {
			continue
		}
		var sides [2]*side
		for n, value := range []string{"n", "y"} {
			c := at.conf.Clone()
			if err := c.Set(s.Name, value); err != nil {
				return err
			}
			var err error
			if sides[n], err = r.side(ctx, fmt.Sprintf("toggle-%d-%d-%s.yaml", i, k, value), c); err != nil {
				return err
			}
		}
		if sides[0] == nil || sides[1] == nil {
			continue // kas refuses the combination
		}
		looked++
		known = known && sides[0].known && sides[1].known
		complete = complete && sides[0].complete && sides[1].complete
		differs = differs || sides[0].differs(sides[1])
		r.twice(s, sides[0], sides[1])
		if differs && k > 4 {
			break // the rest would only repeat it
		}
	}
	if looked > 0 && !differs && known {
		r.mu.Lock()
		defer r.mu.Unlock()
		d := diag.Diagnostic{Pos: s.Pos(), Severity: diag.Error, Rule: RuleToggle,
			Message: fmt.Sprintf("%s changes nothing: includes, targets, settings and features are the same for n and y", s.Name)}
		if !complete {
			d.Message += ", as far as the layers on this machine say"
		}
		r.found[findingKey{d.Pos, d.Rule, d.Message}] = &counted{d: d}
	}
	return nil
}

// side is what one position of a switch leads to.
type side struct {
	kas      []string // includes, targets, build system
	lines    []string // of local.conf
	features Value
	others   map[string]string
	known    bool
	complete bool // every layer is on this machine
}

func (r *runner) side(ctx context.Context, name string, conf *kconfig.Config) (*side, error) {
	sel, err := menu.Select(conf, r.o.Kas.Dialect)
	if err != nil {
		return nil, nil //nolint:nilerr // a side that kas refuses is reported where it is a combination
	}
	c, found, err := r.resolve(ctx, name, sel)
	if err != nil || c == nil || slices.ContainsFunc(found, refused) {
		return nil, err
	}
	e, absent, err := r.evaluate(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &side{features: e.features, others: e.others, known: e.features.Known, complete: len(absent) == 0}
	s.kas = append(append(append(s.kas, sel.Includes...), sel.Targets...), sel.BuildSystem)
	for _, line := range append(slices.Clone(sel.Vars), sel.Locals...) {
		// A variable KAS_LOCAL_* is read by nobody. What changes features is
		// judged by the features.
		if !strings.HasPrefix(line, kconfig.LocalPrefix) && !strings.HasPrefix(line, "PANTAVISOR_FEATURES") {
			s.lines = append(s.lines, line)
		}
	}
	return s, nil
}

func (s *side) differs(o *side) bool {
	set := func(w []string) []string { return slices.Compact(slices.Sorted(slices.Values(w))) }
	return !slices.Equal(s.kas, o.kas) || !slices.Equal(s.lines, o.lines) ||
		!slices.Equal(set(s.features.Words), set(o.features.Words)) || !maps.Equal(s.others, o.others)
}

// twice finds features that one side has more than once, and the other not.
func (r *runner) twice(s *kconfig.Symbol, n, y *side) {
	count := func(words []string, w string) (c int) {
		for _, x := range words {
			if x == w {
				c++
			}
		}
		return c
	}
	for _, w := range slices.Compact(slices.Sorted(slices.Values(y.features.Words))) {
		if c := count(y.features.Words, w); c > 1 && c > count(n.features.Words, w) {
			d := diag.Diagnostic{Pos: s.Pos(), Severity: diag.Warning, Rule: RuleTwice,
				Message: fmt.Sprintf("%s adds %s to PANTAVISOR_FEATURES, which has it already", s.Name, w)}
			r.mu.Lock()
			r.found[findingKey{d.Pos, d.Rule, d.Message}] = &counted{d: d}
			r.mu.Unlock()
		}
	}
}

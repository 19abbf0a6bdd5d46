package lint

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// Matrix says which feature words each configuration has, where they come
// from and what they switch on.
type Matrix struct {
	Variable string          `json:"variable"`
	Configs  []FeatureConfig `json:"configurations"`
	Features []Feature       `json:"features"`
	// Opaque is a place that reads the whole variable in a way that cannot be
	// followed: then no word can be said to be untested.
	Opaque string `json:"opaque,omitempty"`
	// Shared means that the variable belongs to oe-core: layers that are not
	// at hand set and test its words, too.
	Shared bool `json:"shared,omitempty"`
}

// FeatureConfig is a configuration with its words.
type FeatureConfig struct {
	Name    string `json:"name"`
	Machine string `json:"machine,omitempty"`
	Distro  string `json:"distro,omitempty"`
	Known   bool   `json:"known"`
	Why     string `json:"why,omitempty"`
	Words   []Word `json:"words"`
}

// Word is a feature in one configuration.
type Word struct {
	Name string `json:"name"`
	// Set means that the final value holds it.
	Set bool `json:"set"`
	// Times counts the statements that put it there: more than one is more
	// than needed.
	Times int `json:"times"`
	// Removed means that a :remove names it, whether or not it was there.
	Removed bool     `json:"removed,omitempty"`
	From    []Origin `json:"from"`
}

// Origin is a statement that puts a word in or takes it out.
type Origin struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Operation string `json:"operation"`
	Effect    string `json:"effect"`
}

// Feature is a word over all configurations.
type Feature struct {
	Name string `json:"name"`
	// SetIn and RemovedIn count configurations.
	SetIn     int `json:"setIn"`
	RemovedIn int `json:"removedIn"`
	// TestedBy are the places in recipes and classes that ask for it.
	TestedBy []Test `json:"testedBy"`
	// Problems are words on what looks wrong.
	Problems []string `json:"problems,omitempty"`
	// Nearest is the word that was probably meant.
	Nearest string `json:"nearest,omitempty"`
}

// Test is a place that asks for a word.
type Test struct {
	File string `json:"file"`
	Line int    `json:"line"`
	// In is the variable or function that it stands in, Gives the value that
	// it puts there when the word is set.
	In    string `json:"in,omitempty"`
	Gives string `json:"gives,omitempty"`
}

// Features evaluates a variable in the release configurations, those kas files
// that name machine and distro. Without any, and with all, every machine is
// taken with every distro; with all, every other configuration comes as well.
func Features(ctx context.Context, p *Project, variable string, all bool) (*Matrix, error) {
	x := newIndex(p)
	m := &Matrix{Variable: variable, Configs: []FeatureConfig{}}
	configs := p.featureConfigs(all)
	out := make([]FeatureConfig, len(configs))
	errs := make([]error, len(configs))
	each(len(configs), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			out[i], errs[i] = p.featureConfig(ctx, configs[i], variable)
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	m.Configs = append(m.Configs, out...)
	v := x.featureVars()[variable]
	if v == nil {
		v = &featureVar{name: variable}
	}
	m.Opaque, m.Shared = v.opaque, slices.Contains(coreFeatures, variable)
	m.collect(p, v)
	return m, nil
}

// featureConfigs chooses what the matrix is about.
func (p *Project) featureConfigs(all bool) []*Config {
	var out []*Config
	var machines, distros []*Config
	for _, c := range p.Configs {
		switch c.Kind {
		case "build":
			out = append(out, c)
		case "kas":
			if all || c.Machine != "" && c.Distro != "" {
				out = append(out, c)
			}
		case "machine":
			machines = append(machines, c)
		case "distro":
			distros = append(distros, c)
		case "multiconfig":
			if all {
				out = append(out, c)
			}
		}
	}
	if len(out) > 0 && !all {
		return out
	}
	for _, d := range distros {
		if len(machines) == 0 {
			out = append(out, d)
		}
		for _, m := range machines {
			c := d.With(m.Machine, d.Distro)
			c.Name = m.Machine + " × " + d.Distro
			out = append(out, c)
		}
	}
	if len(distros) == 0 {
		out = append(out, machines...)
	}
	if len(out) == 0 {
		out = append(out, p.Configs...)
	}
	return out
}

func (p *Project) featureConfig(ctx context.Context, c *Config, variable string) (FeatureConfig, error) {
	d, _, err := p.Load(ctx, c)
	if err != nil {
		return FeatureConfig{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	out := FeatureConfig{Name: c.Name, Machine: c.Machine, Distro: c.Distro, Words: []Word{}}
	for _, v := range []struct {
		field *string
		name  string
	}{{&out.Machine, "MACHINE"}, {&out.Distro, "DISTRO"}} {
		if val, ok, err := d.Get(v.name); *v.field == "" && ok && err == nil && val.Known && !strings.Contains(val.Text, "${") {
			*v.field = val.Text
		}
	}
	story := d.Explain(variable)
	out.Known, out.Why = story.Value.Known || !story.Set, story.Value.Why
	if story.Err != nil {
		out.Known, out.Why = false, story.Err.Error()
	}
	words := map[string]*Word{}
	word := func(name string) *Word {
		if words[name] == nil {
			words[name] = &Word{Name: name, From: []Origin{}}
		}
		return words[name]
	}
	for w := range strings.FieldsSeq(story.Value.Text) {
		if !strings.Contains(w, "${") {
			word(w).Set = true
		}
	}
	for _, st := range story.Steps {
		if st.Effect == bitbake.Aside || st.Effect == bitbake.Inactive || st.Internal && st.Stmt == nil {
			continue
		}
		p.account(d, st, word)
	}
	for _, name := range sortedKeys(words) {
		w := words[name]
		for i, o := range w.From {
			// Of several words in a statement, this one was taken out.
			if w.Removed && !w.Set && o.Effect == bitbake.Applied.String() && !strings.HasPrefix(o.Operation, ":remove") {
				w.From[i].Effect = bitbake.Removed.String()
			}
		}
		out.Words = append(out.Words, *w)
	}
	return out, nil
}

// account adds what a statement does to the words in it.
func (p *Project) account(d *bitbake.Datastore, st bitbake.Step, word func(string) *Word) {
	v, err := d.Expand(st.Operand)
	if err != nil || !v.Known {
		return
	}
	pos := p.host(st.Pos)
	o := Origin{File: p.Name(pos.File), Line: pos.Line, Operation: operation(st.Event), Effect: st.Effect.String()}
	for _, name := range sortedWords(slices.Compact(sortedWords(strings.Fields(v.Text)))) {
		w := word(name)
		w.From = append(w.From, o)
		switch {
		case st.Keyword == ":remove":
			w.Removed = true
		case st.Effect == bitbake.Applied || st.Effect == bitbake.Removed:
			w.Times++
		}
	}
}

// operation is what stands between the name and the value.
func operation(e bitbake.Event) string {
	if e.Weak() {
		return "??="
	}
	if e.Keyword != "" {
		return e.Label()
	}
	if a, ok := e.Stmt.(*bitbake.Assign); ok {
		return a.Op.String()
	}
	return e.Op
}

// collect gathers the words of all configurations and what the files say.
func (m *Matrix) collect(p *Project, v *featureVar) {
	byName := map[string]*Feature{}
	feature := func(name string) *Feature {
		if byName[name] == nil {
			byName[name] = &Feature{Name: name, TestedBy: []Test{}}
		}
		return byName[name]
	}
	doubled, readded := map[string]bool{}, map[string]bool{}
	for _, c := range m.Configs {
		for _, w := range c.Words {
			f := feature(w.Name)
			if w.Set {
				f.SetIn++
			}
			if w.Removed {
				f.RemovedIn++
			}
			doubled[w.Name] = doubled[w.Name] || w.Times > 1
			readded[w.Name] = readded[w.Name] || addedInVain(w)
		}
	}
	for name, uses := range v.tested {
		f := feature(name)
		for _, u := range uses {
			pos := p.host(u.pos())
			f.TestedBy = append(f.TestedBy, Test{p.Name(pos.File), pos.Line, u.in, u.gives})
		}
		slices.SortFunc(f.TestedBy, compareTests)
		f.TestedBy = slices.Compact(f.TestedBy)
	}
	for name := range v.set {
		feature(name)
	}
	for _, name := range sortedKeys(byName) {
		f := byName[name]
		m.judge(p, v, f, doubled[name], readded[name])
		m.Features = append(m.Features, *f)
	}
}

func compareTests(a, b Test) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	return cmp.Or(a.Line-b.Line, strings.Compare(a.In, b.In), strings.Compare(a.Gives, b.Gives))
}

// addedInVain reports whether a statement other than the default puts in what
// a :remove takes out again, in whatever order they stand.
func addedInVain(w Word) bool {
	return slices.ContainsFunc(w.From, func(o Origin) bool {
		return o.Operation != "??=" && o.Operation != "?=" && o.Effect == bitbake.Removed.String()
	})
}

// judge says what looks wrong about a word.
func (m *Matrix) judge(p *Project, v *featureVar, f *Feature, doubled, readded bool) {
	problem := func(format string, args ...any) { f.Problems = append(f.Problems, fmt.Sprintf(format, args...)) }
	known := p.settings.knows(m.Variable, f.Name)
	switch set, tested := f.SetIn > 0 || v.set[f.Name] != nil, len(f.TestedBy) > 0; {
	case known, m.Shared:
	case set && !tested && v.opaque == "":
		f.Nearest = nearOne(f.Name, v.tested)
		problem("set and never tested")
	case tested && !set && f.RemovedIn == 0:
		if near := nearOne(f.Name, v.set); near != "" && v.tested[near] != nil {
			f.Nearest = near
		}
		problem("tested and never set")
	case !tested && !set && f.RemovedIn > 0:
		f.Nearest = diag.Nearest(f.Name, sortedKeys(v.set))
		problem("removed and never set")
	}
	if f.Nearest != "" {
		problem("did you mean %s?", f.Nearest)
	}
	if doubled {
		problem("set by more than one statement")
	}
	if readded {
		problem("added in vain: :remove takes it out again")
	}
}

// MatrixDiff is how two matrices differ: the words that configurations gained
// and lost.
type MatrixDiff struct {
	Variable string       `json:"variable"`
	Configs  []ConfigDiff `json:"configurations"`
}

// ConfigDiff is the difference of one configuration.
type ConfigDiff struct {
	Name    string   `json:"name"`
	Change  string   `json:"change"` // added, removed, changed
	Gained  []string `json:"gained"`
	Lost    []string `json:"lost"`
	Unknown string   `json:"unknown,omitempty"`
}

// Compare lists the configurations in which m differs from the older base.
func (m *Matrix) Compare(base *Matrix) *MatrixDiff {
	out := &MatrixDiff{Variable: m.Variable, Configs: []ConfigDiff{}}
	old := map[string]FeatureConfig{}
	for _, c := range base.Configs {
		old[c.Name] = c
	}
	for _, c := range m.Configs {
		before, was := old[c.Name]
		delete(old, c.Name)
		d := ConfigDiff{Name: c.Name, Change: "changed", Gained: without(c, before), Lost: without(before, c)}
		if !was {
			d.Change = "added"
		}
		if was && !before.Known {
			d.Unknown = before.Why
		}
		if !c.Known {
			d.Unknown = c.Why
		}
		if !was || len(d.Gained)+len(d.Lost) > 0 {
			out.Configs = append(out.Configs, d)
		}
	}
	for _, name := range sortedKeys(old) {
		out.Configs = append(out.Configs, ConfigDiff{Name: name, Change: "removed", Gained: []string{}, Lost: without(old[name], FeatureConfig{})})
	}
	return out
}

// without lists the words set in a and not in b.
func without(a, b FeatureConfig) []string {
	out := []string{}
	for _, w := range a.Words {
		if w.Set && !slices.ContainsFunc(b.Words, func(o Word) bool { return o.Name == w.Name && o.Set }) {
			out = append(out, w.Name)
		}
	}
	return out
}

// ShortConfigName is the part of a configuration's name that tells it apart
// in a table.
func ShortConfigName(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".yaml"), ".yml")
}

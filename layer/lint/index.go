package lint

import (
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake"
)

// index holds facts about all files together.
type index struct {
	p     *Project
	files map[string]*bitbake.File // of the project and of conf and classes below
	// defaults are the variables that some file sets with ??= or ?=.
	defaults map[string]bool
	// byBase finds files by the last part of their name.
	byBase  map[string][]string
	recipes []*recipe
	onces
}

// newIndex parses what the project looks at and what is below it, recipes
// below left out: they are read when a bbappend needs them.
func newIndex(p *Project) *index {
	x := &index{p: p, files: map[string]*bitbake.File{}, defaults: map[string]bool{}, byBase: map[string][]string{}}
	names := slices.Clone(p.files)
	for _, name := range p.below {
		x.byBase[path.Base(name)] = append(x.byBase[path.Base(name)], name)
		if ext := path.Ext(name); ext == ".bbclass" || ext == ".conf" || ext == ".inc" && strings.Contains(name, "/conf/") {
			names = append(names, name)
		}
	}
	for _, name := range p.files {
		x.byBase[path.Base(name)] = append(x.byBase[path.Base(name)], name)
	}
	files := make([]*bitbake.File, len(names))
	each(len(names), func(i int) {
		if f, err := p.Loader.Parse(names[i]); err == nil {
			files[i] = f
		}
	})
	for _, f := range files {
		if f != nil {
			x.files[f.Name] = f
			x.addDefaults(f)
		}
	}
	for _, c := range p.Configs {
		if f, err := p.Loader.Parse(c.topDir + "/conf/local.conf"); err == nil {
			x.files[f.Name] = f
			x.addDefaults(f)
		}
	}
	x.findRecipes()
	return x
}

func (x *index) addDefaults(f *bitbake.File) {
	for a := range assigns(f) {
		if a.Flag == "" && (a.Op == bitbake.OpWeak || a.Op == bitbake.OpDefault) && strings.TrimSpace(a.Value) != "" {
			x.defaults[a.Name] = true
		}
	}
}

// findRecipes pairs recipes with their appends as BitBake does: by file name,
// "%" standing for any end of it.
func (x *index) findRecipes() {
	var appends []string
	for _, name := range slices.Concat(x.p.below, x.p.files) {
		if path.Ext(name) == ".bbappend" {
			appends = append(appends, name)
		}
	}
	mine := map[string]bool{}
	for _, name := range x.p.files {
		mine[name] = true
	}
	for _, name := range slices.Concat(x.p.below, x.p.files) {
		if path.Ext(name) != ".bb" {
			continue
		}
		r := &recipe{file: name}
		touched := mine[name]
		stem := strings.TrimSuffix(path.Base(name), ".bb")
		for _, a := range appends {
			if appendsTo(a, stem) {
				r.appends = append(r.appends, a)
				touched = touched || mine[a]
			}
		}
		if touched {
			x.recipes = append(x.recipes, r)
		}
	}
}

// file returns a parsed file, nil when it cannot be read.
func (x *index) file(name string) *bitbake.File {
	if f := x.files[name]; f != nil {
		return f
	}
	f, err := x.p.Loader.Parse(name)
	if err != nil {
		return nil
	}
	return f
}

// parts lists what a recipe is made of, as far as names are plain text: its
// appends, the files that they include and inherit, and what those do.
func (x *index) parts(r *recipe) []string {
	seen := map[string]bool{}
	var out []string
	pn, _, _ := strings.Cut(strings.TrimSuffix(path.Base(r.file), ".bb"), "_")
	plain := strings.NewReplacer("${PN}", pn, "${BPN}", pn)
	var add func(name string)
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		out = append(out, name)
		f := x.file(name)
		if f == nil {
			return
		}
		for _, s := range f.Stmts {
			switch s := s.(type) {
			case *bitbake.Include:
				for w := range strings.FieldsSeq(plain.Replace(s.Files)) {
					for _, n := range x.byBase[path.Base(w)] {
						if strings.HasSuffix(n, "/"+w) {
							add(n)
						}
					}
				}
			case *bitbake.Inherit:
				for w := range strings.FieldsSeq(s.Classes) {
					for _, n := range x.byBase[w+".bbclass"] {
						add(n)
					}
				}
			}
		}
	}
	add(r.file)
	for _, a := range r.appends {
		add(a)
	}
	return out
}

package bitbake

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Index lists the recipes and appends of a configuration, as BBFILES, BBMASK
// and the layers' priorities give them (bb/cooker.py, CookerCollectFiles).
type Index struct {
	// Recipes are the .bb files, those of higher priority last.
	Recipes []string
	// AppendFiles are the .bbappend files in the order of their application.
	AppendFiles []string
	// Diags say what could not be made out.
	Diags  []diag.Diagnostic
	layers []collection
}

// collection is one of BBFILE_COLLECTIONS.
type collection struct {
	name, pattern string
	re            *regexp.Regexp
	priority      int
}

// Layer returns the collection that a file belongs to, "" for none.
func (x *Index) Layer(file string) string {
	if c := x.match(file); c != nil {
		return c.name
	}
	return ""
}

func (x *Index) match(file string) *collection {
	for i, c := range x.layers {
		if loc := c.re.FindStringIndex(file); loc != nil && loc[0] == 0 {
			return &x.layers[i]
		}
	}
	return nil
}

// Appends lists the appends of a recipe. A "%" in an append's name stands for
// any rest.
func (x *Index) Appends(recipe string) []string {
	base := path.Base(recipe)
	var out []string
	for _, a := range x.AppendFiles {
		name := strings.Replace(path.Base(a), ".bbappend", ".bb", 1)
		i := strings.IndexByte(name, '%')
		if name == base || i >= 0 && strings.HasPrefix(name, base[:min(i, len(base))]) {
			out = append(out, a)
		}
	}
	return out
}

// Index collects the recipes of a configuration.
func (d *Datastore) Index() *Index {
	x := &Index{}
	x.collections(d)
	files, err := d.get("BBFILES")
	if err != nil || files.unk != nil {
		x.note(d.lastPos("BBFILES"), "BBFILES is not known")
	}
	patterns := pyexpr.Split(files.s)
	slices.SortStableFunc(patterns, func(a, b string) int { return x.priority(a) - x.priority(b) })
	mask := x.mask(d)
	seen := map[string]bool{}
	for _, p := range patterns {
		for _, f := range d.loader.glob(p) {
			if seen[f] || mask != nil && mask.MatchString(f) {
				continue
			}
			seen[f] = true
			switch extension(f) {
			case ".bb":
				x.Recipes = append(x.Recipes, f)
			case ".bbappend":
				x.AppendFiles = append(x.AppendFiles, f)
			}
		}
	}
	return x
}

func (x *Index) note(pos diag.Position, format string, args ...any) {
	x.Diags = append(x.Diags, diag.Diagnostic{Pos: pos, Severity: diag.Note, Rule: RuleUnknown, Message: fmt.Sprintf(format, args...)})
}

func (x *Index) priority(file string) int {
	if c := x.match(file); c != nil {
		return c.priority
	}
	return 0
}

// mask is BBMASK: one alternative a word, those that do not compile left out.
func (x *Index) mask(d *Datastore) *regexp.Regexp {
	t, err := d.get("BBMASK")
	if err != nil || t.s == "" {
		return nil
	}
	var alternatives []string
	for _, w := range pyexpr.Split(t.s) {
		w = strings.TrimPrefix(w, "|")
		if _, err := regexp.Compile(w); err != nil {
			x.note(d.lastPos("BBMASK"), "BBMASK holds the pattern %s, which is not understood: %v", w, err)
			continue
		}
		alternatives = append(alternatives, w)
	}
	if len(alternatives) == 0 {
		return nil
	}
	re, err := regexp.Compile(strings.Join(alternatives, "|"))
	if err != nil {
		return nil
	}
	return re
}

// collections reads pattern and priority of each layer. A layer without a
// priority gets one more than the highest of those that it depends on.
func (x *Index) collections(d *Datastore) {
	names, _ := d.Words("BBFILE_COLLECTIONS")
	prio := map[string]int{}
	lowest := 0
	for _, c := range names {
		v, _ := d.get("BBFILE_PRIORITY_" + c)
		if n, err := strconv.Atoi(strings.TrimSpace(v.s)); err == nil {
			prio[c] = n
			if lowest == 0 || n < lowest {
				lowest = n
			}
		}
	}
	var calc func(c string, depth int) int
	calc = func(c string, depth int) int {
		if n := prio[c]; n != 0 || depth > len(names) {
			return n
		}
		high := lowest
		deps, _ := d.Words("LAYERDEPENDS_" + c)
		for _, dep := range deps {
			if slices.Contains(names, dep) {
				high = max(high, calc(dep, depth+1))
			}
		}
		prio[c] = high + 1
		return high + 1
	}
	for _, c := range names {
		v, ok, err := d.getMaybe("BBFILE_PATTERN_" + c)
		if err != nil || !ok || v.s == "" {
			continue
		}
		re, err := regexp.Compile(v.s)
		if err != nil {
			x.note(d.lastPos("BBFILE_PATTERN_"+c), "the pattern of the layer %s is not understood: %v", c, err)
			continue
		}
		x.layers = append(x.layers, collection{c, v.s, re, calc(c, 0)})
	}
	// The longest pattern first, so that a layer inside a layer wins.
	slices.SortStableFunc(x.layers, func(a, b collection) int { return strings.Compare(b.pattern, a.pattern) })
}

// glob lists the files that a pattern of BBFILES names, sorted: Python's
// glob, where "*" does not match a leading dot. A directory stands for all
// recipes below it.
func (l *Loader) glob(pattern string) []string {
	l.mu.Lock()
	out, ok := l.globs[pattern]
	l.mu.Unlock()
	if ok {
		return out
	}
	if l.kind(pattern) == directory {
		_ = fs.WalkDir(l.fsys, local(pattern), func(p string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && (extension(p) == ".bb" || extension(p) == ".bbappend") {
				out = append(out, "/"+p)
			}
			return nil // an unreadable folder holds no recipes
		})
	} else {
		matches, err := fs.Glob(l.fsys, strings.ReplaceAll(local(pattern), "[!", "[^"))
		if err != nil {
			matches = nil // a malformed pattern matches nothing, as in Python
		}
		for _, m := range matches {
			if !hiddenMatch(local(pattern), m) {
				out = append(out, "/"+m)
			}
		}
	}
	slices.Sort(out)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.globs[pattern] = out
	return out
}

// hiddenMatch reports whether a wildcard stood for a name with a leading dot.
func hiddenMatch(pattern, name string) bool {
	if !strings.Contains(name, "/.") && !strings.HasPrefix(name, ".") {
		return false
	}
	ps, ns := strings.Split(pattern, "/"), strings.Split(name, "/")
	for i, n := range ns {
		if i < len(ps) && strings.HasPrefix(n, ".") && !strings.HasPrefix(ps[i], ".") {
			return true
		}
	}
	return false
}

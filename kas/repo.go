package kas

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Repo is a repository of a configuration, with defaults and overrides
// applied (repos.py, Repo.factory).
type Repo struct {
	ID   string // the key
	Name string // the key, unless the file renames it
	// URL is "" for the repository of the configuration itself and others
	// that kas does not manage.
	URL                          string
	Commit, Tag, Branch, Refspec string
	Dir                          string // in Options.FS
	Layers                       []Layer
	Patches                      []Patch
	Pos                          diag.Position
	Warnings                     []diag.Diagnostic

	commitPos diag.Position
}

// Managed reports whether kas checks the repository out.
func (r *Repo) Managed() bool { return r.URL != "" }

// Layer is a BitBake layer in a repository.
type Layer struct {
	Name, Repo string
	Priority   int
	Dir        string // in Options.FS
	Pos        diag.Position
}

// Patch is a patch that kas applies to a repository.
type Patch struct {
	ID, Repo, Path string
	Pos            diag.Position
}

// RepoError is a repository that kas refuses.
type RepoError struct {
	Pos diag.Position
	Msg string
}

func (e *RepoError) Error() string { return fmt.Sprintf("%s: %s", e.Pos, e.Msg) }

// Repos returns the repositories in the order of the configuration. The error
// is a *RepoError.
func (c *Config) Repos() ([]*Repo, error) {
	var out []*Repo
	for _, e := range c.Root.Get("repos").Entries() {
		r, err := c.repo(e.Key.Text)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}|[0-9a-f]{64}$`)

// repo makes the repository of an id.
func (c *Config) repo(id string) (*Repo, error) {
	var e *Entry
	for _, x := range c.Root.Get("repos").Entries() {
		if x.Key.Text == id {
			e = x
		}
	}
	v := e.Value
	if v.Kind == Null {
		v = &Value{Kind: Map, Pos: e.Key.Pos}
	}
	r := &Repo{ID: id, Name: id, Pos: e.Key.Pos}
	if n := v.Get("name"); n != nil {
		r.Name = n.Text
	}
	defaults := c.Root.Get("defaults", "repos")
	pick := func(key string) string {
		// A null in the file takes the default away.
		if v.Has(key) {
			return v.Get(key).Str()
		}
		return defaults.Get(key).Str()
	}
	r.URL, r.Commit = v.Get("url").Str(), v.Get("commit").Str()
	r.Tag, r.Branch, r.Refspec = pick("tag"), pick("branch"), pick("refspec")
	if cv := v.Get("commit"); cv != nil {
		r.commitPos = cv.Pos
	}
	if err := c.patches(r, v, defaults); err != nil {
		return nil, err
	}
	if err := c.references(r, v, defaults); err != nil {
		return nil, err
	}
	r.Dir = c.repoDir(r, v.Get("path").Str())
	c.layers(r, v)
	return r, nil
}

// references applies overrides and checks what the repository is pinned to.
func (c *Config) references(r *Repo, v, defaults *Value) error {
	set := func(key string) bool {
		if v.Has(key) {
			return v.Get(key).Kind == String
		}
		return key != "commit" && defaults.Has(key)
	}
	if r.URL != "" && !set("commit") && !set("tag") && !set("branch") && !set("refspec") {
		return &RepoError{r.Pos, fmt.Sprintf("the repository %s has a url and no commit, tag or branch", r.Name)}
	}
	over := c.Root.Get("overrides", "repos", r.ID)
	if set("refspec") {
		if set("commit") || set("tag") || set("branch") {
			return &RepoError{r.Pos, fmt.Sprintf("the repository %s mixes refspec with commit, tag or branch", r.Name)}
		}
		r.warn(r.Pos, RuleRefspec, "the repository %s uses refspec, which is deprecated: write commit, tag or branch", r.Name)
		if o := over.Get("commit"); o != nil {
			r.Refspec, r.commitPos = o.Str(), o.Pos
		}
	} else {
		for key, field := range map[string]*string{"commit": &r.Commit, "branch": &r.Branch, "url": &r.URL} {
			if o := over.Get(key); o != nil && (key == "commit" || c.r.o.Dialect == Stock) {
				*field = o.Str()
				if key == "commit" {
					r.commitPos = o.Pos
				}
			}
		}
	}
	switch {
	case r.URL == "" || r.Commit != "":
	case r.Tag != "":
		r.warn(r.Pos, RuleFloat, "the repository %s has a tag and no commit: tags can be moved", r.Name)
	case r.Branch != "" && c.r.o.Dialect == Stock:
		r.warn(r.Pos, RuleFloat, "the repository %s follows the branch %s: add a commit, or a lock file", r.Name, r.Branch)
	}
	if r.Commit != "" && !fullHash.MatchString(r.Commit) && c.r.o.Dialect == Stock {
		r.warn(r.commitPos, RuleShort, "the commit %s of %s is not a full hash", r.Commit, r.Name)
	}
	return nil
}

func (r *Repo) warn(pos diag.Position, rule, format string, args ...any) {
	r.Warnings = append(r.Warnings, diag.Diagnostic{Pos: pos, Severity: diag.Warning, Rule: rule, Message: fmt.Sprintf(format, args...)})
}

// repoDir is where a repository lies. One without url and path is the one
// that the includes start from.
func (c *Config) repoDir(r *Repo, dir string) string {
	if given, ok := c.r.o.Repos[r.ID]; ok {
		return inFS(c.r.o.Dir, given)
	}
	switch {
	case dir != "":
		return inFS(c.r.o.WorkDir, dir)
	case r.URL != "":
		return path.Join(c.r.o.WorkDir, r.Name)
	}
	if root, ok := findRoot(c.r.o.FS, c.top); ok {
		return root
	}
	return c.top
}

func (c *Config) patches(r *Repo, v, defaults *Value) error {
	for _, e := range v.Get("patches").Entries() {
		if e.Value.Kind != Map || len(e.Value.entries) == 0 {
			continue
		}
		p := Patch{ID: e.Key.Text, Repo: e.Value.Get("repo").Str(), Path: e.Value.Get("path").Str(), Pos: e.Key.Pos}
		if !e.Value.Has("repo") {
			p.Repo = defaults.Get("patches", "repo").Str()
		}
		if p.Repo == "" {
			return &RepoError{p.Pos, fmt.Sprintf("the patch %s names no repository, and there is no default", p.ID)}
		}
		r.Patches = append(r.Patches, p)
	}
	slices.SortFunc(r.Patches, func(a, b Patch) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// layers lists the layers of a repository: without the key its root, with an
// empty mapping none.
func (c *Config) layers(r *Repo, v *Value) {
	if !v.Has("layers") {
		r.Layers = []Layer{{Repo: r.Name, Dir: r.Dir, Pos: r.Pos}}
		return
	}
	for _, e := range v.Get("layers").Entries() {
		l := Layer{Name: e.Key.Text, Repo: r.Name, Dir: layerDir(r.Dir, e.Key.Text), Pos: e.Key.Pos}
		switch {
		case c.r.o.Dialect.off(e.Value):
			if e.Value.Text != "disabled" {
				r.warn(e.Value.Pos, RuleLegacy, "the layer %s of %s is left out with %s: write disabled", l.Name, r.Name, show(e.Value))
			}
			continue
		case e.Value.Kind == Map:
			if p := e.Value.Get("prio"); p != nil {
				l.Priority, _ = strconv.Atoi(p.Text)
			}
		}
		r.Layers = append(r.Layers, l)
	}
}

// off reports whether a layer's value leaves it out.
func (d Dialect) off(v *Value) bool {
	switch v.Kind {
	case String:
		if d == Pantacor {
			v = NewString(strings.ToLower(v.Text))
		}
		return v.Text == "disabled" || slices.Contains(legacyOff, v.Text)
	case Bool, Int, Float:
		return v.identity() == "n0"
	}
	return false
}

package kas

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/pvkit/pvkit/internal/diag"
)

// Rules of Check, beside those of resolving.
const (
	RuleDuplicate = "kas-duplicate-key" // YAML drops one of two equal keys
	RuleNull      = "kas-null"          // a null over a mapping
	RuleHeader    = "kas-header-id"     // a block of local.conf replaced by another file
	RuleOrder     = "kas-id-order"      // a setting loses by the order of ids
	RuleLayer     = "kas-layer"         // a layer that is not there
	RulePatch     = "kas-patch"         // a patch that is not there
	RuleOverride  = "kas-override"      // an override of a repository that is not there
	RuleInert     = "kas-inert"         // a key without effect
	RuleNewer     = "kas-newer-key"     // a key newer than header.version
)

// Check resolves a chain and returns all that kas refuses and much of what it
// accepts and nobody can have meant. The Config is nil when nothing could be
// merged. The error is not nil only when the work could not be done.
func (r *Resolver) Check(ctx context.Context, chain string) (*Config, []diag.Diagnostic, error) {
	c, found, err := r.lenient(ctx, chain)
	if err != nil {
		if own := Findings(err); own != nil {
			return nil, own, nil
		}
		return nil, nil, err
	}
	if c.Root != nil {
		k := checker{c: c, found: found}
		k.files()
		if len(found) == 0 {
			// With a file left out, these would only follow from that.
			k.whole()
		}
		found = k.found
	}
	diag.Sort(found)
	found = slices.CompactFunc(found, func(a, b diag.Diagnostic) bool {
		return a.Pos == b.Pos && a.Rule == b.Rule && a.Message == b.Message
	})
	if c.Root == nil {
		c = nil
	}
	return c, found, nil
}

// lenient resolves a chain as far as its files can be used.
func (r *Resolver) lenient(ctx context.Context, chain string) (*Config, []diag.Diagnostic, error) {
	w, err := r.start(chain)
	if err != nil {
		return nil, nil, err
	}
	w.lenient = true
	var before []string
	for {
		w.found = nil
		if err := w.all(ctx); err != nil {
			return nil, nil, err
		}
		c := w.config()
		if len(w.missing) == 0 || c.Root == nil {
			return c, w.found, nil
		}
		var stuck error
		if slices.Equal(w.missing, before) {
			stuck = w.unknownRepos()
		} else {
			before = w.missing
			stuck = w.findRepos(c)
		}
		if stuck != nil {
			return c, append(w.found, Findings(stuck)...), nil
		}
	}
}

// checker looks at a merged configuration.
type checker struct {
	c     *Config
	found []diag.Diagnostic
}

func (k *checker) add(sev diag.Severity, rule string, pos diag.Position, hint, format string, args ...any) *diag.Diagnostic {
	k.found = append(k.found, diag.Diagnostic{Pos: pos, Severity: sev, Rule: rule, Hint: hint, Message: fmt.Sprintf(format, args...)})
	return &k.found[len(k.found)-1]
}

// files checks each file by itself.
func (k *checker) files() {
	k.found = append(k.found, k.c.Warnings...)
	done := map[string]bool{}
	for _, use := range k.c.Files {
		if !done[use.path] {
			done[use.path] = true
			k.file(use)
		}
	}
}

// whole checks what the files make together.
func (k *checker) whole() {
	k.merged()
	k.blocks()
	k.overrides()
	if _, err := k.c.LocalConf(); err != nil {
		k.found = append(k.found, Findings(err)...)
	}
	repos, err := k.c.Repos()
	if err != nil {
		k.found = append(k.found, Findings(err)...)
		return
	}
	for _, r := range repos {
		k.repo(r, repos)
	}
}

// file checks one file by itself.
func (k *checker) file(use Use) {
	k.duplicates(use.config, "")
	k.inert(use)
	k.newer(use)
}

func (k *checker) duplicates(v *Value, in string) {
	if v.Kind == List {
		for _, item := range v.Items {
			k.duplicates(item, in)
		}
	}
	for _, e := range v.Entries() {
		name := pathText([]string{keyText(e.Key)})
		if in != "" {
			name = in + "." + name
		}
		if len(e.Dropped) > 0 {
			d := k.add(diag.Error, RuleDuplicate, e.at.Pos, "", "%s is set twice in one mapping: the first one is dropped", name)
			for _, old := range e.Dropped {
				d.Related = append(d.Related, diag.Related{Pos: old.Key.Pos, Message: "dropped"})
			}
		}
		k.duplicates(e.Value, name)
	}
}

// inert finds keys that do nothing.
func (k *checker) inert(use Use) {
	at := func(key string) diag.Position { return use.config.Entry(key).Key.Pos }
	if use.config.Has("proxy_config") {
		k.add(diag.Warning, RuleInert, at("proxy_config"), "set http_proxy and its like in the environment", "proxy_config has no effect")
	}
	if use.config.Has("menu_configuration") && path.Base(use.path) != ".config.yaml" {
		k.add(diag.Note, RuleInert, at("menu_configuration"), "", "menu_configuration is read in .config.yaml only")
	}
	for name, v := range use.config.Get("local_conf_header").All() {
		if k.c.Dialect() == Stock {
			k.localLines(name, v)
		}
	}
}

// localLines finds what the menu of kas writes for KAS_LOCAL_* symbols, whose
// meaning only the fork knows: a variable that nobody reads.
func (k *checker) localLines(id string, v *Value) {
	for _, a := range assignments(v) {
		if len(a.name) > len("KAS_LOCAL_") && a.name[:len("KAS_LOCAL_")] == "KAS_LOCAL_" {
			k.add(diag.Error, RuleInert, a.pos, "resolve in the dialect pantacor, or write the setting itself",
				"%s in %s is a variable without effect: only the pantacor dialect writes the text of KAS_LOCAL_* into local.conf", a.name, id)
		}
	}
}

// merged checks what overwrote what.
func (k *checker) merged() {
	for o := range k.c.Origins() {
		var last *Value
		for _, v := range o.Over {
			if v.Kind == Map && len(v.entries) > 0 {
				last = v
			}
		}
		if o.Value.Kind == Null && last != nil {
			d := k.add(diag.Error, RuleNull, o.Value.Pos, "leave the key out to keep the mapping", "the empty %s deletes a mapping that another file set", o.Path)
			d.Related = []diag.Related{{Pos: last.Pos, Message: "deleted"}}
		}
		if len(o.Keys) != 2 || o.Keys[0] != "local_conf_header" && o.Keys[0] != "bblayers_conf_header" {
			continue
		}
		var related []diag.Related
		for _, v := range o.Over {
			if v.Text != o.Value.Text && v.Text != "" {
				related = append(related, diag.Related{Pos: v.Pos, Message: "replaced"})
			}
		}
		if related != nil {
			d := k.add(diag.Warning, RuleHeader, o.Value.Pos, "give the block an id of its own, unless it is meant to replace the other",
				"the block %s of %s replaces the one of another file", o.Keys[1], o.Keys[0])
			d.Related = related
		}
	}
}

func (k *checker) overrides() {
	for _, e := range k.c.Root.Get("overrides", "repos").Entries() {
		if k.c.Root.Get("repos").findEntry(e.Key) == nil {
			k.add(diag.Warning, RuleOverride, e.Key.Pos, "", "overrides name the repository %s, which no file defines", keyText(e.Key))
		}
	}
}

// repo checks what a repository names. What is not checked out is not judged.
func (k *checker) repo(r *Repo, all []*Repo) {
	k.found = append(k.found, r.Warnings...)
	fsys := k.c.r.o.FS
	if exists(fsys, r.Dir) {
		for _, l := range r.Layers {
			if !exists(fsys, path.Join(l.Dir, "conf/layer.conf")) {
				k.add(diag.Error, RuleLayer, l.Pos, "", "the layer %s is not there: %s has no conf/layer.conf", layerLabel(l), k.c.r.display(l.Dir))
			}
		}
	} else if !r.Managed() {
		k.add(diag.Error, RuleLayer, r.Pos, "", "the repository %s has no url, and %s does not exist", r.Name, k.c.r.display(r.Dir))
	}
	for _, p := range r.Patches {
		i := slices.IndexFunc(all, func(o *Repo) bool { return o.ID == p.Repo })
		if i < 0 {
			k.add(diag.Error, RulePatch, p.Pos, "", "the patch %s is in the repository %s, which no file defines", p.ID, p.Repo)
			continue
		}
		file := layerDir(all[i].Dir, p.Path)
		if _, err := fs.Stat(fsys, file); errors.Is(err, fs.ErrNotExist) && exists(fsys, all[i].Dir) {
			k.add(diag.Error, RulePatch, p.Pos, "", "the patch %s does not exist: %s", p.ID, k.c.r.display(file))
		}
	}
}

func layerLabel(l Layer) string {
	if l.Name == "" {
		return l.Repo
	}
	return l.Repo + "/" + l.Name
}

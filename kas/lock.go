package kas

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/internal/diag"
)

// ErrOffline means that a commit is not pinned anywhere and must not be asked
// for.
var ErrOffline = errors.New("no commit is pinned")

// OfflineError lists the repositories without a commit.
type OfflineError struct{ Repos []*Repo }

func (e *OfflineError) Error() string {
	names := make([]string, len(e.Repos))
	for i, r := range e.Repos {
		names[i] = fmt.Sprintf("%s (%s)", r.Name, r.reference())
	}
	return "no commit is pinned for " + strings.Join(names, ", ")
}

// Is makes the error an ErrOffline.
func (e *OfflineError) Is(target error) bool { return target == ErrOffline }

// reference is what a repository follows.
func (r *Repo) reference() string {
	switch {
	case r.Tag != "":
		return "tag " + r.Tag
	case r.Branch != "":
		return "branch " + r.Branch
	}
	return "refspec " + r.Refspec
}

// commits asks for the commits of repositories, several at a time. A nil
// remote is an OfflineError.
func commits(ctx context.Context, remote Remote, repos []*Repo) (map[string]string, error) {
	if remote == nil && len(repos) > 0 {
		return nil, &OfflineError{repos}
	}
	out := make([]string, len(repos))
	errs := make([]error, len(repos))
	limit := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i, r := range repos {
		limit <- struct{}{}
		wg.Go(func() {
			out[i], errs[i] = remote.Commit(ctx, r)
			<-limit
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m := make(map[string]string, len(repos))
	for i, r := range repos {
		m[r.ID] = out[i]
	}
	return m, nil
}

// Pin gives the commit of every managed repository: the one that it is fixed
// to, else the one in keep (an earlier pinned configuration, or nil) if url,
// branch and tag are still the same, else the one that remote answers. kept
// says how many came from keep.
func (c *Config) Pin(ctx context.Context, remote Remote, keep *Config) (pins map[string]string, kept int, err error) {
	repos, err := c.Repos()
	if err != nil {
		return nil, 0, err
	}
	pins = map[string]string{}
	old := map[string]*Repo{}
	if keep != nil {
		before, err := keep.Repos()
		if err != nil {
			return nil, 0, fmt.Errorf("the earlier pins: %w", err)
		}
		for _, r := range before {
			old[r.ID] = r
		}
	}
	var open []*Repo
	for _, r := range repos {
		was := old[r.ID]
		switch {
		case !r.Managed():
		case r.Commit != "":
			pins[r.ID] = r.Commit
		case was != nil && was.Commit != "" && was.URL == r.URL && was.Branch == r.Branch && was.Tag == r.Tag && r.Refspec == "":
			pins[r.ID] = was.Commit
			kept++
		default:
			open = append(open, r)
		}
	}
	found, err := commits(ctx, remote, open)
	if err != nil {
		return nil, 0, err
	}
	for id, commit := range found {
		pins[id] = commit
	}
	return pins, kept, nil
}

// LockChange is a pin that Lock sets.
type LockChange struct {
	Repo string `json:"repo"`
	File string `json:"file"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new"`
}

// LockFile is a lock file as it should be.
type LockFile struct {
	Name    string // relative to Options.Dir
	Path    string // in Options.FS
	Content string
}

// LockResult is what `kas lock` would do.
type LockResult struct {
	Files   []LockFile // those that change
	Changes []LockChange
	// External are repositories that a lock file of another repository pins
	// to something else: it is not ours to change.
	External []diag.Diagnostic
}

// locker follows the order of plugins/lock.py: every lock file in the order
// of the includes updates what it pins; what none pins goes to the lock file
// beside the first file of the chain.
type locker struct {
	c     *Config
	pins  map[string]string
	todo  []*Repo
	ext   map[string]bool
	trees map[string]*Value // by path
	out   *LockResult
}

// Lock resolves a chain and pins every repository that follows a branch or a
// tag. Repositories that a lock file has pinned stay as they are, unless the
// Resolver leaves lock files out (NoLocks): then they are updated. Nothing is
// written.
func (r *Resolver) Lock(ctx context.Context, chain string, remote Remote) (*LockResult, error) {
	c, err := r.Resolve(ctx, chain)
	if err != nil {
		return nil, err
	}
	repos, err := c.Repos()
	if err != nil {
		return nil, err
	}
	l := locker{c: c, ext: map[string]bool{}, trees: map[string]*Value{}, out: &LockResult{}}
	for _, repo := range repos {
		if repo.Managed() && repo.Commit == "" {
			l.todo = append(l.todo, repo)
		}
	}
	if l.pins, err = commits(ctx, remote, l.todo); err != nil {
		return nil, err
	}
	for _, use := range c.Files {
		if use.Lock && l.trees[use.path] == nil {
			l.trees[use.path] = use.config
			l.update(use)
		}
	}
	l.add()
	return l.out, l.render()
}

// update sets the pins that a lock file has already.
func (l *locker) update(use Use) {
	tree := use.config
	pins := tree.Get("overrides", "repos")
	for _, e := range pins.Entries() {
		id := keyText(e.Key)
		i := l.find(id)
		if i < 0 {
			continue
		}
		was, now := e.Value.Get("commit").Str(), l.pins[id]
		switch {
		case was == now:
		case use.External:
			l.ext[id] = true
			l.out.External = append(l.out.External, diag.Diagnostic{Pos: e.Key.Pos, Severity: diag.Warning, Rule: RuleOverride,
				Message: fmt.Sprintf("%s is pinned by the lock file of another repository, which is left alone", id)})
			continue
		default:
			pins = pins.with(id, e.Value.with("commit", NewString(now)))
			l.out.Changes = append(l.out.Changes, LockChange{id, use.Name, was, now})
		}
		l.todo = append(l.todo[:i:i], l.todo[i+1:]...)
	}
	if pins != tree.Get("overrides", "repos") {
		l.set(use.path, tree, pins)
	}
}

func (l *locker) find(id string) int {
	for i, r := range l.todo {
		if r.ID == id {
			return i
		}
	}
	return -1
}

// set puts pins into a lock file and notes that it changes.
func (l *locker) set(path string, tree, pins *Value) {
	if n, err := version(tree, l.c.Dialect()); err == nil && n < 14 {
		tree = tree.with("header", tree.Get("header").with("version", NewInt(14)))
	}
	over := tree.Get("overrides")
	if over == nil {
		over = &Value{Kind: Map}
	}
	l.trees[path] = tree.with("overrides", over.with("repos", pins))
	for i := range l.out.Files {
		if l.out.Files[i].Path == path {
			return
		}
	}
	l.out.Files = append(l.out.Files, LockFile{Name: l.c.r.display(path), Path: path})
}

// add pins what no lock file has.
func (l *locker) add() {
	path := lockName(l.c.chain[0])
	tree := l.trees[path]
	if tree == nil {
		tree = NewMap(NewString("header"), NewMap(NewString("version"), NewInt(14)))
	}
	pins := tree.Get("overrides", "repos")
	if pins == nil {
		pins = &Value{Kind: Map}
	}
	added := false
	for _, r := range l.todo {
		if l.ext[r.ID] {
			continue
		}
		pins = pins.with(r.ID, NewMap(NewString("commit"), NewString(l.pins[r.ID])))
		l.out.Changes = append(l.out.Changes, LockChange{Repo: r.ID, File: l.c.r.display(path), New: l.pins[r.ID]})
		added = true
	}
	if added {
		l.set(path, tree, pins)
	}
}

func (l *locker) render() error {
	for i := range l.out.Files {
		f := &l.out.Files[i]
		o := DumpOptions{}
		if extension(f.Path) == ".json" {
			o.Format = JSON
		}
		var err error
		if f.Content, err = l.c.Dialect().render(l.trees[f.Path], o); err != nil {
			return err
		}
	}
	return nil
}

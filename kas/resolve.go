package kas

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/internal/diag"
)

// Limits of a chain.
const (
	// maxDepth is about where kas ends in Python's recursion limit.
	maxDepth = 900
	// maxFiles bounds how often files are read for one chain: kas reads a
	// file again each time it is included.
	maxFiles = 20000
)

// Options say where configurations are and who reads them.
type Options struct {
	Dialect Dialect
	// FS holds every file. An absolute path is a name in it without the
	// slash in front, so os.DirFS("/") is the machine.
	FS fs.FS
	// Dir is the directory that relative names of a chain and a relative
	// _source_dir start from, and that names in messages are relative to;
	// "." when empty.
	Dir string
	// WorkDir is KAS_WORK_DIR, in which repositories are checked out;
	// Dir when empty.
	WorkDir string
	// BuildDir is KAS_BUILD_DIR; "build" in WorkDir when empty.
	BuildDir string
	// Repos says where repositories lie, by id, that are not where the
	// configuration puts them.
	Repos map[string]string
	// NoLocks leaves out what lock files say, as --update does.
	NoLocks bool
	// Env looks up an environment variable; nil is an empty environment.
	Env func(name string) (value string, set bool)
}

// Resolver resolves chains of files. It keeps the files that it has read, so
// many chains cost little more than one; files must not change meanwhile. It
// is safe for concurrent use.
type Resolver struct {
	o      Options
	schema *schema

	mu    sync.Mutex // guards what follows
	files map[string]loaded
	links map[string]string
}

type loaded struct {
	value *Value
	err   error
}

// New returns a Resolver.
func New(o Options) *Resolver {
	o.Dir = path.Clean("./" + strings.TrimPrefix(o.Dir, "/"))
	if o.WorkDir == "" {
		o.WorkDir = o.Dir
	} else {
		o.WorkDir = inFS(o.Dir, o.WorkDir)
	}
	if o.BuildDir == "" {
		o.BuildDir = path.Join(o.WorkDir, "build")
	} else {
		o.BuildDir = inFS(o.Dir, o.BuildDir)
	}
	if o.Env == nil {
		o.Env = func(string) (string, bool) { return "", false }
	}
	return &Resolver{o: o, schema: schemaOf(o.Dialect), files: map[string]loaded{}, links: map[string]string{}}
}

// Put gives a file a content that need not exist on disk, such as what a menu
// would write. It must fit the schema; a chain can name it afterwards.
func (r *Resolver) Put(name string, v *Value) error {
	full := inFS(r.o.Dir, name)
	if found := validate(r.schema, v); len(found) > 0 {
		return &FileError{r.display(full), found}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[full] = loaded{value: v}
	return nil
}

// IncludeError is an include that cannot be followed, or a chain whose files
// do not belong together.
type IncludeError struct {
	Pos diag.Position
	Msg string
}

func (e *IncludeError) Error() string {
	if e.Pos.File == "" {
		return e.Msg
	}
	return fmt.Sprintf("%s: %s", e.Pos, e.Msg)
}

// ErrCycle is in the chain of an include that comes back to its own file.
var ErrCycle = errors.New("include cycle")

// cycleError is an IncludeError that is also ErrCycle.
type cycleError struct{ IncludeError }

func (e *cycleError) Is(target error) bool { return target == ErrCycle }
func (e *cycleError) As(target any) bool {
	t, ok := target.(**IncludeError)
	if ok {
		*t = &e.IncludeError
	}
	return ok
}

// Use is a file that takes part in a configuration, in the order of merging.
type Use struct {
	Name     string        `json:"file"`               // relative to Options.Dir
	From     diag.Position `json:"included_from"`      // the include; zero for files of the chain
	Lock     bool          `json:"lock,omitempty"`     // a lock file
	External bool          `json:"external,omitempty"` // of another repository

	path   string // in Options.FS
	config *Value
}

// Resolve reads a chain ("a.yaml:b.yaml") with all includes and lock files and
// merges it. The error is a *FileError, *SyntaxError or *IncludeError where a
// file is at fault; all findings are in Findings(err).
func (r *Resolver) Resolve(ctx context.Context, chain string) (*Config, error) {
	w, err := r.start(chain)
	if err != nil {
		return nil, err
	}
	var before []string
	for {
		if err := w.all(ctx); err != nil {
			return nil, err
		}
		c := w.config()
		if len(w.missing) == 0 {
			return c, nil
		}
		if slices.Equal(w.missing, before) {
			return nil, w.unknownRepos()
		}
		before = w.missing
		if err := w.findRepos(c); err != nil {
			return nil, err
		}
	}
}

// walk is the state of one resolution.
type walk struct {
	r       *Resolver
	chain   []string // names in the FS
	top     string   // root of the includes of the chain's files
	repos   map[string]string
	uses    []Use
	missing []string // ids of repositories that includes name
	where   map[string]diag.Position
	warn    []diag.Diagnostic
	active  []frame

	lenient bool // collect what is wrong with files in found, and go on
	found   []diag.Diagnostic
}

// frame is a file whose includes are being followed.
type frame struct{ name, root string }

func (r *Resolver) start(chain string) (*walk, error) {
	w := &walk{r: r, repos: map[string]string{}, where: map[string]diag.Position{}}
	var roots []string
	for name := range strings.SplitSeq(chain, ":") {
		if name == "" {
			return nil, &IncludeError{Msg: fmt.Sprintf("the chain %q has an empty name", chain)}
		}
		full := inFS(r.o.Dir, name)
		w.chain = append(w.chain, full)
		root, ok := findRoot(r.o.FS, path.Dir(full))
		if !ok {
			root = "" // outside of version control
		}
		roots = append(roots, root)
		if root != roots[0] {
			return nil, &IncludeError{Pos: diag.Position{File: r.display(full)},
				Msg: fmt.Sprintf("is not in the repository of %s: all files of a chain must be in one repository, or all outside of version control", r.display(w.chain[0]))}
		}
	}
	if w.top = roots[0]; w.top == "" {
		w.top = path.Dir(w.chain[0])
	}
	return w, nil
}

// display is a file's name in messages.
func (r *Resolver) display(name string) string {
	if within(r.o.Dir, name) {
		return relative(r.o.Dir, name)
	}
	return "/" + name
}

// all walks the whole chain once.
func (w *walk) all(ctx context.Context) error {
	w.uses, w.missing, w.warn = nil, nil, nil
	for i, name := range w.chain {
		if err := w.file(ctx, name, Use{}, w.top, i == 0); err != nil {
			return err
		}
	}
	return nil
}

// file reads one file with all that belongs to it. A lenient walk goes on
// without a file that cannot be used.
func (w *walk) file(ctx context.Context, name string, use Use, root string, main bool) error {
	err := w.follow(ctx, name, use, root, main)
	if found := Findings(err); w.lenient && found != nil && len(w.uses) <= maxFiles {
		w.found = append(w.found, found...)
		return nil
	}
	return err
}

// follow loads one file, its lock file first, then its includes from top to
// bottom, then itself (includehandler.py, _internal_include_handler).
func (w *walk) follow(ctx context.Context, name string, use Use, root string, main bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.enter(name, root, use.From); err != nil {
		return err
	}
	defer func() { w.active = w.active[:len(w.active)-1] }()

	v, err := w.r.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &IncludeError{Pos: use.From, Msg: fmt.Sprintf("%s does not exist", w.r.display(name))}
	} else if err != nil {
		return err
	}
	use.Name, use.path, use.config = w.r.display(name), name, v
	if err := w.lockFile(ctx, name, use, root); err != nil {
		return err
	}
	if root, err = w.sourceDir(v, root, main); err != nil {
		return err
	}
	for _, inc := range includes(v) {
		err := w.include(ctx, inc, name, use, root)
		if found := Findings(err); w.lenient && found != nil && len(w.uses) <= maxFiles {
			w.found = append(w.found, found...)
			continue
		}
		if err != nil {
			return err
		}
	}
	w.uses = append(w.uses, use)
	if len(w.uses) > maxFiles {
		return &IncludeError{Pos: use.From, Msg: fmt.Sprintf("more than %d files are read: kas reads a file each time it is included", maxFiles)}
	}
	return nil
}

// enter refuses cycles, which end kas in a recursion error.
func (w *walk) enter(name, root string, from diag.Position) error {
	f := frame{name, root}
	if i := slices.Index(w.active, f); i >= 0 {
		var names []string
		for _, g := range append(w.active[i:len(w.active):len(w.active)], f) {
			names = append(names, w.r.display(g.name))
		}
		return &cycleError{IncludeError{Pos: from, Msg: "include cycle: " + strings.Join(names, " → ")}}
	}
	if len(w.active) >= maxDepth {
		return &IncludeError{Pos: from, Msg: fmt.Sprintf("includes are nested deeper than %d files", maxDepth)}
	}
	w.active = append(w.active, f)
	return nil
}

// lockFile takes up the lock file beside a file. It is merged before the
// file's includes, so that the lock of an include beats it.
func (w *walk) lockFile(ctx context.Context, name string, use Use, root string) error {
	lock := lockName(name)
	if w.r.o.NoLocks && w.r.o.Dialect == Pantacor || !exists(w.r.o.FS, lock) {
		return nil
	}
	pos := diag.Position{File: use.Name}
	return w.file(ctx, lock, Use{From: pos, Lock: true, External: use.External}, root, false)
}

// lockName is the name of the lock file of a file.
func lockName(name string) string {
	ext := extension(name)
	return strings.TrimSuffix(name, ext) + ".lock" + ext
}

func exists(fsys fs.FS, name string) bool {
	if !fs.ValidPath(name) {
		return false
	}
	_, err := fs.Stat(fsys, name)
	return err == nil
}

// sourceDir lets _source_dir move the root of the includes: in kas 5.3 and
// later only the first file of the chain may have it.
func (w *walk) sourceDir(v *Value, root string, main bool) (string, error) {
	s := v.Get("_source_dir")
	if s == nil {
		return root, nil
	}
	if !main && w.r.o.Dialect == Stock {
		return "", &IncludeError{Pos: s.Pos, Msg: "_source_dir is allowed in the first file of a chain only"}
	}
	if s.Text == "" {
		return root, nil
	}
	w.top = inFS(w.r.o.Dir, s.Text)
	return w.top, nil
}

func includes(v *Value) []*Value {
	if list := v.Get("header", "includes"); list != nil {
		return list.Items
	}
	return nil
}

func (w *walk) include(ctx context.Context, inc *Value, name string, use Use, root string) error {
	next := Use{From: inc.Pos, External: use.External}
	if inc.Kind == String {
		full, err := w.below(root, inc.Text, inc.Pos)
		if err != nil {
			return err
		}
		if !exists(w.r.o.FS, full) {
			// In kas 5 an include that leaves the directory of its file is
			// refused here, even though it would not be used.
			beside, err := w.below(path.Dir(name), inc.Text, inc.Pos)
			if err != nil {
				return err
			}
			if exists(w.r.o.FS, beside) {
				full = beside
				w.warn = append(w.warn, diag.Diagnostic{Pos: inc.Pos, Severity: diag.Warning, Rule: RuleAside,
					Message: fmt.Sprintf("%q is found beside the file, not below the root of the repository", inc.Text),
					Hint:    fmt.Sprintf("write %q", relative(root, beside))})
			}
		}
		return w.file(ctx, full, next, root, false)
	}
	id := inc.Get("repo").Str()
	dir, ok := w.repos[id]
	if !ok {
		if !slices.Contains(w.missing, id) {
			w.missing = append(w.missing, id)
			w.where[id] = inc.Pos
		}
		return nil
	}
	next.External = dir != w.top
	full := inFS(dir, inc.Get("file").Str())
	if w.r.o.Dialect == Stock {
		var err error
		if full, err = w.below(dir, inc.Get("file").Str(), inc.Pos); err != nil {
			return err
		}
	}
	return w.file(ctx, full, next, dir, false)
}

// below is the name of an include relative to a root. Since kas 5.3 it must
// stay inside, symbolic links followed.
func (w *walk) below(root, inc string, pos diag.Position) (string, error) {
	full := inFS(root, inc)
	if w.r.o.Dialect == Pantacor {
		return full, nil
	}
	target, err := w.r.realName(full)
	if err != nil {
		return "", &IncludeError{Pos: pos, Msg: fmt.Sprintf("include %q: %v", inc, err)}
	}
	realRoot, err := w.r.realName(root)
	if err != nil {
		return "", &IncludeError{Pos: pos, Msg: fmt.Sprintf("repository %q: %v", root, err)}
	}
	if !within(realRoot, target) {
		return "", &IncludeError{Pos: pos, Msg: fmt.Sprintf("include %q resolves to /%s, outside of the repository /%s", inc, target, realRoot)}
	}
	return target, nil
}

func (r *Resolver) realName(name string) (string, error) {
	r.mu.Lock()
	target, ok := r.links[name]
	r.mu.Unlock()
	if ok {
		return target, nil
	}
	target, err := resolveLinks(r.o.FS, name)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links[name] = target
	return target, nil
}

// load reads a file once.
func (r *Resolver) load(name string) (*Value, error) {
	r.mu.Lock()
	l, ok := r.files[name]
	r.mu.Unlock()
	if ok {
		return l.value, l.err
	}
	l.value, l.err = loadFile(r.o.FS, name, r.display(name), r.o.Dialect, r.schema)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = l
	return l.value, l.err
}

// findRepos looks for the repositories that includes name, as far as the
// configuration knows them by now.
func (w *walk) findRepos(c *Config) error {
	for _, id := range w.missing {
		if !c.Root.Get("repos").Has(id) {
			continue // an include that comes later may bring it
		}
		repo, err := c.repo(id)
		if err != nil {
			return err
		}
		if !exists(w.r.o.FS, repo.Dir) {
			return &IncludeError{Pos: w.where[id], Msg: fmt.Sprintf("the repository %s is not checked out at %s: run `kas checkout`", id, w.r.display(repo.Dir))}
		}
		w.repos[id] = repo.Dir
	}
	return nil
}

func (w *walk) unknownRepos() error {
	return &IncludeError{Pos: w.where[w.missing[0]],
		Msg: "includes name repositories that no file defines: " + strings.Join(w.missing, ", ")}
}

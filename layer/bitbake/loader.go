package bitbake

import (
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Loader reads and keeps files. The file system is rooted at "/": os.DirFS("/")
// for the real one. What was read once is kept, parsed, for the Loader's life,
// so that many configurations share the work; make a new Loader when files may
// have changed. Safe for concurrent use.
type Loader struct {
	fsys fs.FS

	mu    sync.Mutex // guards the maps
	files map[string]*File
	kinds map[string]fileKind
	exprs map[string]compiled
	globs map[string][]string
	code  map[string]*pySetters
	defs  map[*Def]*pyDef
}

type compiled struct {
	e   *pyexpr.Expr
	err error
}

type fileKind uint8

const (
	absent fileKind = iota + 1
	regular
	directory
)

// MaxFileSize bounds a metadata file.
const MaxFileSize = 128 << 20

// NewLoader returns a Loader over a file system rooted at "/".
func NewLoader(fsys fs.FS) *Loader {
	return &Loader{
		fsys: fsys, files: map[string]*File{}, kinds: map[string]fileKind{},
		exprs: map[string]compiled{}, globs: map[string][]string{}, code: map[string]*pySetters{}, defs: map[*Def]*pyDef{},
	}
}

// Overlay puts a file in place of what the file system has under that name:
// the text of an editor, of standard input, of a git revision.
func (l *Loader) Overlay(name string, src []byte) *File {
	f, _ := Parse(name, src)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[name] = f
	l.kinds[name] = regular
	return f
}

// local turns an absolute path into the form that fs.FS wants.
func local(name string) string {
	if name = strings.TrimPrefix(path.Clean(name), "/"); name == "" {
		return "."
	}
	return name
}

// kind says what is at an absolute path.
func (l *Loader) kind(name string) fileKind {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.kinds[name]
	if ok {
		return k
	}
	k = absent
	if p := local(name); fs.ValidPath(p) {
		if info, err := fs.Stat(l.fsys, p); err == nil {
			k = regular
			if info.IsDir() {
				k = directory
			}
		}
	}
	l.kinds[name] = k
	return k
}

// Parse returns a file, parsed; it is read and parsed at most once.
func (l *Loader) Parse(name string) (*File, error) {
	l.mu.Lock()
	f := l.files[name]
	l.mu.Unlock()
	if f != nil {
		return f, nil
	}
	p := local(name)
	info, err := fs.Stat(l.fsys, p)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxFileSize {
		return nil, &LimitError{"size of " + name, MaxFileSize}
	}
	src, err := fs.ReadFile(l.fsys, p)
	if err != nil {
		return nil, err
	}
	f, _ = Parse(name, src)
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.files[name]; old != nil {
		return old, nil
	}
	l.files[name] = f
	return f, nil
}

// maxExpressions bounds the cache of parsed expressions: their text can hold
// expanded values, so their number has no bound of its own.
const maxExpressions = 20000

func (l *Loader) expression(code string) (*pyexpr.Expr, error) {
	l.mu.Lock()
	c, ok := l.exprs[code]
	l.mu.Unlock()
	if ok {
		return c.e, c.err
	}
	c.e, c.err = pyexpr.Parse(strings.TrimFunc(code, pyexpr.IsSpace))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.exprs) >= maxExpressions {
		clear(l.exprs)
	}
	l.exprs[code] = c
	return c.e, c.err
}

func (l *Loader) def(f *Def) *pyDef {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.defs[f]
	if !ok {
		p = parseDef(f)
		l.defs[f] = p
	}
	return p
}

func (l *Loader) setters(body string) *pySetters {
	l.mu.Lock()
	p := l.code[body]
	l.mu.Unlock()
	if p == nil {
		p = findSetters(body)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.code[body] = p
	}
	return p
}

// which finds item along a search path (bb.utils.which): the first entry that
// exists, "" if none does.
func (l *Loader) which(searchPath, item string) string {
	for dir := range strings.SplitSeq(searchPath, ":") {
		if !strings.HasPrefix(dir, "/") && !strings.HasPrefix(item, "/") {
			continue // relative to a current directory, which there is none of
		}
		if name := joinPath(dir, item); l.kind(name) != absent {
			return name
		}
	}
	return ""
}

// joinPath is os.path.join; nothing is cleaned, because names show up in
// values.
func joinPath(dir, item string) string {
	if strings.HasPrefix(item, "/") {
		return item
	}
	if strings.HasSuffix(dir, "/") {
		return dir + item
	}
	return dir + "/" + item
}

// extension is os.path.splitext(name)[1].
func extension(name string) string {
	base := path.Base(name)
	i := strings.LastIndexByte(base, '.')
	if i <= 0 || strings.Trim(base[:i], ".") == "" {
		return ""
	}
	return base[i:]
}

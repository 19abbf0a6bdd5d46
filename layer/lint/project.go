package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// Project is what Run looks at: files, the layers that they belong to, and
// the configurations that they describe. It does not change after Open.
type Project struct {
	// Root is the directory that was opened.
	Root string
	// Layers are the layers to look at, Below those that only take part in
	// the evaluation, in BBLAYERS order: Below comes first.
	Layers, Below []string
	// Configs are the configurations to evaluate.
	Configs   []*Config
	fragments []*Config // kas files that set too little to be configurations
	// Loader reads the metadata.
	Loader *bitbake.Loader

	fsys     fs.FS
	settings *Settings
	files    []string // metadata of the layers, sorted
	below    []string // metadata of the layers below, sorted
	kas      []*kasFile
	kconfigs []menu
	embedded map[string]*embedded
	findings []diag.Diagnostic // of reading the project itself
	paths    []string

	mu      sync.Mutex // guards sources
	sources map[string]*source
}

// menu is a Kconfig with the directory that its positions are relative to.
type menu struct {
	dir  string
	tree *kconfig.Tree
}

// OpenOptions say what to open.
type OpenOptions struct {
	// Root is the project's directory: a layer, or a directory with layers.
	Root string
	// Paths limits the findings to these files and directories.
	Paths []string
	// Below are layers that are used and not looked at, oe-core first.
	Below []string
	// BuildDir is a build directory whose conf/bblayers.conf and
	// conf/local.conf are used.
	BuildDir string
	// Settings are those of .pvkit.yaml; nil means the defaults.
	Settings *Settings
	// Overlay holds text in place of files: that of standard input.
	Overlay map[string][]byte
}

// ErrNoProject means that a directory holds nothing to look at.
var ErrNoProject = errors.New("no layer (conf/layer.conf), no kas file and no Kconfig")

// MaxFiles bounds the number of files of a project.
const MaxFiles = 200_000

// Open reads a project from a file system rooted at "/".
func Open(ctx context.Context, fsys fs.FS, o OpenOptions) (*Project, error) {
	p := &Project{
		Root: path.Clean(o.Root), Loader: bitbake.NewLoader(fsys), fsys: fsys, settings: o.Settings,
		sources: map[string]*source{}, embedded: map[string]*embedded{}, paths: o.Paths,
	}
	if p.settings == nil {
		p.settings = &Settings{}
	}
	for name, text := range o.Overlay {
		p.sources[name] = newSource(name, string(text))
		p.Loader.Overlay(name, text)
	}
	w := &walker{ctx: ctx, p: p}
	if err := w.dir(p.Root, 0, true); err != nil {
		return nil, fmt.Errorf("read project %s: %w", o.Root, err)
	}
	for name := range o.Overlay {
		if !slices.Contains(w.files, name) {
			w.file(name)
		}
	}
	p.Layers = w.layers
	if err := p.sort(w); err != nil {
		return nil, fmt.Errorf("read project %s: %w", o.Root, err)
	}
	if err := p.stack(ctx, w, o); err != nil {
		return nil, fmt.Errorf("read project %s: %w", o.Root, err)
	}
	if len(p.Layers) == 0 && len(p.kas) == 0 && len(p.kconfigs) == 0 && len(p.files) == 0 && len(p.findings) == 0 {
		return nil, fmt.Errorf("%s: %w", o.Root, ErrNoProject)
	}
	p.configure(o)
	return p, nil
}

// walker lists a directory's files. A repository inside another one and a
// build directory are not part of the project; their layers may serve below.
type walker struct {
	ctx    context.Context
	p      *Project
	files  []string
	layers []string
	nested []string // layers of repositories inside
	count  int
}

func (w *walker) dir(dir string, depth int, mine bool) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(w.p.fsys, cmp.Or(strings.TrimPrefix(dir, "/"), "."))
	if err != nil {
		return err
	}
	if w.count += len(entries); w.count > MaxFiles {
		return &bitbake.LimitError{What: "number of files", Max: MaxFiles}
	}
	if mine && dir != w.p.Root && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ".git" }) {
		mine, depth = false, 0
	}
	if dir != w.p.Root && w.is(dir+"/conf/bblayers.conf") {
		return nil
	}
	if w.is(dir + "/conf/layer.conf") {
		if mine {
			w.layers = append(w.layers, dir)
		} else {
			w.nested = append(w.nested, dir)
		}
	}
	if !mine && depth > 1 {
		return nil
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case e.IsDir() && (e.Name() == ".git" || w.p.settings.excluded(w.p.Root, name)):
		case e.IsDir():
			if err := w.dir(name, depth+1, mine); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		case mine && !w.p.settings.excluded(w.p.Root, name):
			w.file(name)
		}
	}
	return nil
}

func (w *walker) file(name string) {
	base := path.Base(name)
	switch path.Ext(name) {
	case ".bb", ".bbappend", ".inc", ".bbclass", ".conf", ".yml", ".yaml", ".json":
		w.files = append(w.files, name)
	default:
		if base == "Kconfig" {
			w.files = append(w.files, name)
		}
	}
}

func (w *walker) is(name string) bool {
	info, err := fs.Stat(w.p.fsys, strings.TrimPrefix(name, "/"))
	return err == nil && info.Mode().IsRegular()
}

// stack orders the layers: oe-core, the others below, those to look at. Of a
// repository inside of this one, only the layers count that a kas file names,
// when one names any.
func (p *Project) stack(ctx context.Context, w *walker, o OpenOptions) error {
	nested := slices.DeleteFunc(w.nested, func(l string) bool { return p.kasLeavesOut(l) })
	build, err := p.buildLayers(ctx, o.BuildDir)
	if err != nil {
		return err
	}
	for _, l := range slices.Concat(o.Below, build, nested) {
		if l = path.Clean(l); !slices.Contains(p.Layers, l) && !slices.Contains(p.Below, l) && w.is(l+"/conf/layer.conf") {
			p.Below = append(p.Below, l)
		}
	}
	core := func(l string) int {
		if w.is(l + "/conf/bitbake.conf") {
			return 0
		}
		return 1
	}
	byCore := func(a, b string) int { return core(a) - core(b) }
	slices.SortStableFunc(p.Below, byCore)
	slices.SortStableFunc(p.Layers, byCore)
	for _, l := range p.Below {
		if err := p.listBelow(ctx, l); err != nil {
			return err
		}
	}
	slices.Sort(p.below)
	return nil
}

// buildLayers are the layers that a build directory names.
func (p *Project) buildLayers(ctx context.Context, dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	d, _, err := p.Load(ctx, &Config{topDir: path.Clean(dir)})
	if err != nil {
		return nil, err
	}
	words, _ := d.Words("BBLAYERS")
	return words, nil
}

// kasLeavesOut reports whether kas files use the repository that a layer is
// in, and none of them the layer.
func (p *Project) kasLeavesOut(layer string) bool {
	inRepo := false
	for _, k := range p.kas {
		for _, r := range k.repos {
			dir := path.Join(p.Root, cmp.Or(r.path, r.id))
			if layer != dir && !strings.HasPrefix(layer, dir+"/") {
				continue
			}
			inRepo = inRepo || len(r.layers) > 0
			if slices.Contains(r.layers, strings.TrimPrefix(layer, dir+"/")) {
				return false
			}
		}
	}
	return inRepo
}

// listBelow lists the metadata of a layer below.
func (p *Project) listBelow(ctx context.Context, layer string) error {
	w := &walker{ctx: ctx, p: &Project{Root: layer, fsys: p.fsys, settings: &Settings{}}}
	if err := w.dir(layer, 0, true); err != nil {
		return err
	}
	for _, name := range w.files {
		switch ext := path.Ext(name); ext {
		case ".bb", ".bbappend", ".bbclass", ".inc":
			p.below = append(p.below, name)
		case ".conf":
			if strings.HasPrefix(name, layer+"/conf/") {
				p.below = append(p.below, name)
			}
		}
	}
	return nil
}

// sort tells the files apart.
func (p *Project) sort(w *walker) error {
	slices.Sort(w.files)
	for _, name := range w.files {
		switch path.Ext(name) {
		case ".yml", ".yaml", ".json":
			s, err := p.source(name)
			if err != nil {
				return err
			}
			if k := parseKas(s); k != nil {
				p.kas = append(p.kas, k)
				p.findings = append(p.findings, k.findings...)
			}
		case ".conf":
			if p.confOf(name) {
				p.files = append(p.files, name)
			}
		case "":
			if err := p.addKconfig(name); err != nil {
				return err
			}
		default:
			if p.inLayer(name) {
				p.files = append(p.files, name)
			}
		}
	}
	return nil
}

// inLayer reports whether metadata belongs to a layer. Without any layer all
// of it counts, and what was asked for by name always does.
func (p *Project) inLayer(name string) bool {
	return len(p.Layers) == 0 || p.sources[name] != nil || slices.Contains(p.paths, name) ||
		slices.ContainsFunc(p.Layers, func(l string) bool { return strings.HasPrefix(name, l+"/") })
}

// confOf reports whether a .conf file is BitBake's: it lies below conf/ of a
// layer. Others are files of recipes.
func (p *Project) confOf(name string) bool {
	return slices.ContainsFunc(p.Layers, func(l string) bool { return strings.HasPrefix(name, l+"/conf/") }) ||
		strings.HasPrefix(name, p.Root+"/conf/") || p.sources[name] != nil
}

func (p *Project) addKconfig(name string) error {
	sub, err := fs.Sub(p.fsys, strings.TrimPrefix(path.Dir(name), "/"))
	if err != nil {
		return err
	}
	src, err := p.source(name)
	if err != nil {
		return err
	}
	if !strings.Contains(src.text, "KAS_") {
		return nil // no kas menu: it may need an environment that is not there
	}
	tree, err := kconfig.Load(sub, path.Base(name), kconfig.Options{})
	if syntax, ok := errors.AsType[*kconfig.SyntaxError](err); ok {
		pos := syntax.Pos
		pos.File = path.Join(path.Dir(name), pos.File)
		p.findings = append(p.findings, diag.Diagnostic{Pos: pos, Severity: diag.Error, Rule: RuleKconfig, Message: syntax.Msg})
		return nil
	}
	if err != nil {
		p.findings = append(p.findings, diag.Diagnostic{Pos: diag.Position{File: name}, Severity: diag.Error, Rule: RuleKconfig, Message: err.Error()})
		return nil //nolint:nilerr // it is a finding now
	}
	for _, s := range tree.Symbols {
		if strings.HasPrefix(s.Name, "KAS_") {
			p.kconfigs = append(p.kconfigs, menu{path.Dir(name), tree})
			break
		}
	}
	return nil
}

// source returns a file's text.
func (p *Project) source(name string) (*source, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sources[name]; s != nil {
		return s, nil
	}
	info, err := fs.Stat(p.fsys, strings.TrimPrefix(name, "/"))
	if err != nil {
		return nil, err
	}
	if info.Size() > bitbake.MaxFileSize {
		return nil, &bitbake.LimitError{What: "size of " + name, Max: bitbake.MaxFileSize}
	}
	text, err := fs.ReadFile(p.fsys, strings.TrimPrefix(name, "/"))
	if err != nil {
		return nil, err
	}
	s := newSource(name, string(text))
	p.sources[name] = s
	return s, nil
}

// Line returns a line of a file of the project, for reports.
func (p *Project) Line(file string, n int) string {
	s, err := p.source(file)
	if err != nil {
		return ""
	}
	return s.line(n)
}

// Text is the text of a file of the project, for reports; "" when it cannot be
// read.
func (p *Project) Text(file string) string {
	s, err := p.source(file)
	if err != nil {
		return ""
	}
	return s.text
}

// Name is a path as a report shows it: relative to the root where it can be.
func (p *Project) Name(file string) string {
	if rel, ok := strings.CutPrefix(file, strings.TrimSuffix(p.Root, "/")+"/"); ok {
		return rel
	}
	return file
}

// buildFiles are the files of the build directory that people edit.
func (p *Project) buildFiles() []string {
	var out []string
	for _, c := range p.Configs {
		if c.real {
			out = append(out, c.topDir+"/conf/bblayers.conf", c.topDir+"/conf/local.conf")
		}
	}
	return out
}

// mine reports whether findings in a file are wanted.
func (p *Project) mine(file string) bool {
	if len(p.paths) == 0 {
		return file == p.Root || strings.HasPrefix(file, strings.TrimSuffix(p.Root, "/")+"/") || slices.Contains(p.buildFiles(), file)
	}
	return slices.ContainsFunc(p.paths, func(want string) bool {
		return file == want || strings.HasPrefix(file, strings.TrimSuffix(want, "/")+"/")
	})
}

// host turns a position in an embedded text into one in its file.
func (p *Project) host(pos diag.Position) diag.Position {
	if e := p.embedded[pos.File]; e != nil {
		return e.position(pos)
	}
	return pos
}

// place shows a position with a short file name.
func (p *Project) place(pos diag.Position) string {
	pos = p.host(pos)
	pos.File = p.Name(pos.File)
	return pos.String()
}

// Host maps a place in an embedded text, such as a kas file's
// local_conf_header, to the file that holds it.
func (p *Project) Host(pos diag.Position) diag.Position { return p.host(pos) }

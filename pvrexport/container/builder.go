package container

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/manifest"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// Suffix is how the files of bundles end.
const Suffix = ".pvrexport.tgz"

// Options are what a Builder is given from outside; the zero value works for
// definitions without go layers.
type Options struct {
	// Epoch is the time of everything that has no time of its own: single
	// entries, dir layers, the image and the bundle. The zero time is
	// 1970-01-01.
	Epoch time.Time
	// Clamp makes later times in archives, and those that a dir layer keeps,
	// the Epoch: what SOURCE_DATE_EPOCH asks for.
	Clamp   bool
	TempDir string    // where a folder for work in progress is made; "" is os.TempDir
	Workers int       // blocks compressed at the same time, for each build; 0 is one a CPU
	Go      GoTool    // for go layers; each program is built once in the life of a Builder
	Image   Image     // laid over what a definition says
	Stdin   io.Reader // what a tar layer "-" reads
	Engine  Engine    // nil is package squashfs
	// Sign, if set, may add signatures to a finished state; part is the
	// container's name.
	Sign func(s *pvrexport.State, part string) error
}

// Engine writes a tree as an image, as squashfs.Write does.
type Engine func(ctx context.Context, w *os.File, t *rootfs.Tree, opts squashfs.Options) (squashfs.Stats, error)

// Builder builds containers. Its methods may be called by several goroutines;
// builds share the Go programs they have in common.
type Builder struct {
	opts Options
	temp string

	mu       sync.Mutex // guards programs
	programs map[program]*programResult
}

// NewBuilder makes a Builder. Close removes what it left in Options.TempDir.
func NewBuilder(opts Options) (*Builder, error) {
	if opts.Workers < 1 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	if opts.Engine == nil {
		opts.Engine = func(ctx context.Context, w *os.File, t *rootfs.Tree, o squashfs.Options) (squashfs.Stats, error) {
			return squashfs.Write(ctx, w, t, o)
		}
	}
	dir, err := os.MkdirTemp(opts.TempDir, ".pvkit-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("make a folder for work in progress: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	return &Builder{opts: opts, temp: dir, programs: map[program]*programResult{}}, nil
}

// Close removes the Builder's temporary files.
func (b *Builder) Close() error { return os.RemoveAll(b.temp) }

// Stage is a step of a build.
type Stage string

// The stages, in order.
const (
	Reading     Stage = "reading layers"
	Compressing Stage = "compressing"
	Packing     Stage = "packing"
)

// Progress is told how far a build is; done and total are bytes, and total is
// 0 for stages that cannot tell. It is called from the build's goroutine.
type Progress func(s Stage, done, total int64)

// Result is a finished build.
type Result struct {
	Name        string            `json:"name"`
	Arch        Arch              `json:"arch,omitempty"`
	File        string            `json:"file,omitempty"`
	Size        int64             `json:"size"`
	Digest      string            `json:"digest"` // sha256 of the bundle, in hex
	ImageSize   int64             `json:"imageSize"`
	ImageDigest string            `json:"imageDigest"`
	Files       int               `json:"files"`       // regular files in the image
	ContentSize int64             `json:"contentSize"` // bytes in them
	Notes       []diag.Diagnostic `json:"notes,omitempty"`
}

// BuildError is a build that failed, and whose.
type BuildError struct {
	Name string
	Arch Arch
	Err  error
}

func (e *BuildError) Error() string {
	if e.Arch == "" {
		return fmt.Sprintf("build %s: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("build %s for %s: %v", e.Name, e.Arch, e.Err)
}

// Unwrap returns the cause.
func (e *BuildError) Unwrap() error { return e.Err }

// FindingsError is a definition that cannot be built, and why.
type FindingsError []diag.Diagnostic

func (e FindingsError) Error() string {
	first := ""
	for _, d := range e {
		if d.Severity == diag.Error {
			first = d.String()
			break
		}
	}
	return fmt.Sprintf("the definition has %d problems, the first: %s", len(e), first)
}

// FileName is the name of a bundle: "name-arch.pvrexport.tgz", or
// "name.pvrexport.tgz" when there is no architecture.
func FileName(name string, arch Arch) string {
	if arch == "" {
		return name + Suffix
	}
	return name + "-" + string(arch) + Suffix
}

// BuildFile builds a container for an architecture and puts the bundle into
// file, whole or not at all.
func (b *Builder) BuildFile(ctx context.Context, def *Definition, arch Arch, file string, progress Progress) (*Result, error) {
	f, err := atomicfile.Create(file, 0o644)
	if err != nil {
		return nil, &BuildError{def.Name, arch, err}
	}
	defer f.Abort()
	res, err := b.Build(ctx, def, arch, f.File, progress)
	if err != nil {
		return nil, err
	}
	if err := f.Commit(); err != nil {
		return nil, &BuildError{def.Name, arch, err}
	}
	res.File = file
	return res, nil
}

// Build builds a container for an architecture and writes the bundle to w. An
// error has the type *BuildError.
func (b *Builder) Build(ctx context.Context, def *Definition, arch Arch, w io.Writer, progress Progress) (*Result, error) {
	if progress == nil {
		progress = func(Stage, int64, int64) {}
	}
	res, err := b.build(ctx, def, arch, w, progress)
	if err != nil {
		return nil, &BuildError{def.Name, arch, err}
	}
	return res, nil
}

func (b *Builder) build(ctx context.Context, def *Definition, arch Arch, w io.Writer, progress Progress) (_ *Result, err error) {
	image, err := os.CreateTemp(b.temp, "image-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, image.Close(), os.Remove(image.Name())) }()

	res := &Result{Name: def.Name, Arch: arch}
	if err := b.image(ctx, def, res, image, progress); err != nil {
		return nil, err
	}
	progress(Packing, 0, 0)
	set := newObjects()
	set.addFile(res.ImageDigest, image.Name(), res.ImageSize)
	state, err := b.state(ctx, def, res, set)
	if err != nil {
		return nil, err
	}
	if b.opts.Sign != nil {
		if err := b.opts.Sign(state, def.Name); err != nil {
			return nil, err
		}
	}
	out := &meter{w: w, hash: sha256.New()}
	if err := pvrexport.Write(ctx, out, state, set, pvrexport.WriteOptions{ModTime: b.opts.Epoch}); err != nil {
		return nil, err
	}
	res.Size, res.Digest = out.n, hex.EncodeToString(out.hash.Sum(nil))
	return res, nil
}

// image makes the tree and writes it to f.
func (b *Builder) image(ctx context.Context, def *Definition, res *Result, f *os.File, progress Progress) (err error) {
	settings := def.Squashfs.Over(b.opts.Image)
	opts, err := settings.options()
	if err != nil {
		return err
	}
	opts.Workers, opts.ModTime = b.opts.Workers, b.opts.Epoch
	opts.Progress = func(done, total int64) { progress(Compressing, done, total) }

	progress(Reading, 0, 0)
	skipped := skipLog{}
	a := &assembly{b: b, def: def, arch: res.Arch, tree: rootfs.New(), skipped: skipped.add}
	defer func() { err = errors.Join(err, a.close()) }()
	a.tree.Root().ModTime = a.epoch()
	if err := a.layers(ctx, def.Rootfs); err != nil {
		return err
	}
	if err := a.finish(settings); err != nil {
		return err
	}
	if a.tree.Root().Len() == 0 {
		return errors.New("the root filesystem is empty")
	}
	res.Notes = append(res.Notes, skipped.notes(def)...)
	stats, err := b.opts.Engine(ctx, f, a.tree, opts)
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	res.Files, res.ContentSize = stats.Files, stats.ContentSize
	res.ImageSize, res.ImageDigest, err = digest(f)
	return err
}

func digest(f *os.File) (size int64, sum string, err error) {
	h := sha256.New()
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		size, err = io.Copy(h, f)
	}
	if err != nil {
		return 0, "", fmt.Errorf("read the image again: %w", err)
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

// state puts a container's files together, the way pvr lays them out.
func (b *Builder) state(ctx context.Context, def *Definition, res *Result, set *objects) (*pvrexport.State, error) {
	m, notes, err := manifest.Render(def.Source("sha256:" + res.ImageDigest))
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, FindingsError(notes)
	}
	res.Notes = append(res.Notes, notes...)
	s := pvrexport.NewState()
	dir := def.Name + "/"
	for name, data := range m.Files() {
		if err := set.put(s, dir+name, data, pvrexport.Inlined(name)); err != nil {
			return nil, err
		}
	}
	id, err := pvrexport.ObjectValue(res.ImageDigest)
	if err != nil {
		return nil, err
	}
	if err := s.Set(dir+"root.squashfs", id); err != nil {
		return nil, err
	}
	if err := set.put(s, dir+"root.squashfs.rootfs-digest", []byte("sha256:"+res.ImageDigest), false); err != nil {
		return nil, err
	}
	return s, b.overlay(ctx, def, res.Arch, s, set)
}

// meter counts and hashes what passes.
type meter struct {
	w    io.Writer
	hash hash.Hash
	n    int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	m.hash.Write(p[:n])
	return n, err
}

// skipLog gathers what a layer holds and an image cannot.
type skipLog map[string][]string

func (l skipLog) add(name, what string) { l[what] = append(l[what], name) }

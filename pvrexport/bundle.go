package pvrexport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bundle gives access to the objects of a bundle in any order. Its objects lie
// uncompressed in a temporary file that has no name, so memory is bounded and
// nothing is left behind. It is an ObjectSource and may be used by several
// goroutines.
type Bundle struct {
	State *State
	Info  Info

	spool *spool
}

// Info is what a bundle looks like from outside.
type Info struct {
	Compression Compression
	Size        int64 // of the archive after decompression
	Objects     int   // different ones
	ObjectSize  int64 // bytes of all of them together
}

// OpenBundle reads the bundle of that name, with every check that Import
// makes. tempDir is where the temporary file goes; "" means the system's
// directory. The caller closes the Bundle.
func OpenBundle(ctx context.Context, name, tempDir string, lim Limits) (_ *Bundle, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := ReadBundle(ctx, f, tempDir, lim)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// ReadBundle is OpenBundle for a stream.
func ReadBundle(ctx context.Context, r io.Reader, tempDir string, lim Limits) (*Bundle, error) {
	sp, err := newSpool(tempDir)
	if err != nil {
		return nil, err
	}
	imp := &importer{ctx: ctx, sink: sp, lim: lim.withDefaults(), observer: strict{}}
	if err := imp.run(r); err != nil {
		return nil, errors.Join(fmt.Errorf("read bundle: %w", err), sp.file.Close())
	}
	return &Bundle{State: imp.state, Info: imp.info(sp), spool: sp}, nil
}

func (m *importer) info(sp *spool) Info {
	info := Info{Objects: len(sp.objects)}
	if m.archive != nil {
		info.Compression, info.Size = m.archive.compression, m.archive.offset
	}
	for _, o := range sp.objects {
		info.ObjectSize += o.Size()
	}
	return info
}

// Close gives the disk space back.
func (b *Bundle) Close() error { return b.spool.file.Close() }

// Object returns the content of an object; it is valid until Close. The error
// matches ErrMissingObject if the bundle has no such object.
func (b *Bundle) Object(id string) (*io.SectionReader, error) {
	o, ok := b.spool.objects[id]
	if !ok {
		return nil, openError(id, ErrMissingObject)
	}
	return io.NewSectionReader(o, 0, o.Size()), nil
}

// OpenObject makes the bundle an ObjectSource.
func (b *Bundle) OpenObject(id string) (io.ReadCloser, int64, error) {
	o, err := b.Object(id)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(o), o.Size(), nil
}

// spool is a sink that keeps objects one behind the other in a file without a
// name.
type spool struct {
	file    *os.File
	end     int64
	objects map[string]*io.SectionReader
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "pvrexport-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &spool{file: f, objects: map[string]*io.SectionReader{}}, nil
}

// CreateObject starts an object behind the others. Import writes one at a
// time.
func (s *spool) CreateObject(id string, _ int64) (ObjectWriter, error) {
	return &spoolWriter{s: s, id: id, start: s.end, end: s.end}, nil
}

type spoolWriter struct {
	s          *spool
	id         string
	start, end int64
}

func (w *spoolWriter) Write(p []byte) (int, error) {
	n, err := w.s.file.WriteAt(p, w.end)
	w.end += int64(n)
	return n, err
}

func (w *spoolWriter) Commit() error {
	w.s.end = w.end
	w.s.objects[w.id] = io.NewSectionReader(w.s.file, w.start, w.end-w.start)
	return nil
}

func (w *spoolWriter) Abort() {} // the next object overwrites it

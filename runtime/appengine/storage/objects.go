package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Objects is a directory with a file for each object, named by the SHA-256 of
// its content. It is a pvrexport.ObjectSource and ObjectSink.
type Objects struct {
	dir      string
	temp     string
	reserved int // percent of the disk
}

// staleAfter is how old a temporary file must be before it is taken for one
// that a dead process left.
const staleAfter = 24 * time.Hour

// OpenObjects makes a store of a directory that belongs to no Store of this
// process: the objects directory of a repository, or of a storage whose engine
// is another process.
func OpenObjects(dir string) (*Objects, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	o := &Objects{dir: dir, temp: filepath.Join(dir, tempDir)}
	if err := makeDirs(o.temp); err != nil {
		return nil, fmt.Errorf("open objects: %w", err)
	}
	entries, err := os.ReadDir(o.temp)
	if err != nil {
		return nil, fmt.Errorf("open objects: %w", err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && time.Since(st.ModTime()) > staleAfter {
			if err := os.RemoveAll(filepath.Join(o.temp, e.Name())); err != nil {
				return nil, fmt.Errorf("open objects: %w", err)
			}
		}
	}
	return o, nil
}

// Dir is the directory of the objects.
func (o *Objects) Dir() string { return o.dir }

func (o *Objects) path(id string) string { return filepath.Join(o.dir, id) }

func checkID(id string) error {
	if !pvrexport.IsObjectID(id) {
		return fmt.Errorf("object %q: %w", id, pvrexport.ErrObjectID)
	}
	return nil
}

// Put stores an object. size is what the client announced, or -1. If the
// object is there and right, the content is read and dropped; one that is
// there and damaged is replaced. Errors match ErrBadChecksum, ErrNoSpace or
// pvrexport.ErrObjectID; then nothing changed.
func (o *Objects) Put(ctx context.Context, id string, content io.Reader, size int64) error {
	if err := checkID(id); err != nil {
		return err
	}
	content = contextReader{ctx, content}
	if o.Check(ctx, id) == nil {
		_, err := io.Copy(io.Discard, content)
		return err
	}
	w, err := o.create(id, size)
	if err != nil {
		return err
	}
	defer w.Abort()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), content); err != nil {
		return fmt.Errorf("store object %s: %w", id, full(err))
	}
	if err := compare(id, h); err != nil {
		return err
	}
	return w.Commit()
}

func compare(id string, h hash.Hash) error {
	if got := hex.EncodeToString(h.Sum(nil)); got != id {
		return fmt.Errorf("%w: %w", ErrBadChecksum, &pvrexport.DigestError{ID: id, Got: got})
	}
	return nil
}

// CreateObject makes the store a pvrexport.ObjectSink. Whoever writes has
// checked the digest before the commit, as pvrexport.Import does.
func (o *Objects) CreateObject(id string, size int64) (pvrexport.ObjectWriter, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return o.create(id, size)
}

// create starts an object that appears, whole and synced, at its commit.
func (o *Objects) create(id string, size int64) (*objectWriter, error) {
	if size > 0 {
		sp, err := diskSpace(o.dir, o.reserved)
		if err != nil {
			return nil, err
		}
		if size > sp.RealFree {
			return nil, fmt.Errorf("object %s: %w: %d bytes are needed, %d are free", id, ErrNoSpace, size, sp.RealFree)
		}
	}
	f, err := atomicfile.CreateIn(o.temp, o.path(id), 0o644)
	if err != nil {
		return nil, full(err)
	}
	return &objectWriter{f}, nil
}

type objectWriter struct{ f *atomicfile.File }

func (w *objectWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, full(err)
}

func (w *objectWriter) Commit() error { return full(w.f.Commit()) }

func (w *objectWriter) Abort() { w.f.Abort() }

// OpenObject returns the content of an object; the error matches ErrNotExist
// and pvrexport.ErrMissingObject if there is none. The digest is checked on
// the way: instead of io.EOF, the last read of a damaged object gives an error
// that matches ErrBadChecksum.
func (o *Objects) OpenObject(id string) (content io.ReadCloser, size int64, err error) {
	if err := checkID(id); err != nil {
		return nil, 0, err
	}
	return openChecked(o.path(id), id)
}

func openChecked(name, id string) (io.ReadCloser, int64, error) {
	// An object is a regular file; opening a fifo must not wait for a writer.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("object %s: %w: %w", id, ErrNotExist, pvrexport.ErrMissingObject)
	}
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("object %s: not a regular file", id)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return &checkedReader{f: f, id: id, h: sha256.New()}, st.Size(), nil
}

// checkedReader ends with an error if what it read is not the object.
type checkedReader struct {
	f  *os.File
	id string
	h  hash.Hash
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.h.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if bad := compare(r.id, r.h); bad != nil {
			return n, bad
		}
	}
	return n, err
}

func (r *checkedReader) Close() error { return r.f.Close() }

// Check reads an object and compares its digest.
func (o *Objects) Check(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	return checkFile(ctx, o.path(id), id)
}

func checkFile(ctx context.Context, name, id string) error {
	r, _, err := openChecked(name, id)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, contextReader{ctx, r})
	return errors.Join(err, r.Close())
}

// contextReader ends reading with the context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// List returns all objects, by name, as GET /objects does. Files with other
// names are none.
func (o *Objects) List() ([]pvctrl.Object, error) {
	list := []pvctrl.Object{}
	err := o.each(func(id string, st fs.FileInfo) error {
		list = append(list, pvctrl.Object{SHA256: id, Size: strconv.FormatInt(st.Size(), 10)})
		return nil
	})
	return list, err
}

func (o *Objects) each(f func(id string, st fs.FileInfo) error) error {
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return fmt.Errorf("list objects: %w", err)
	}
	for _, e := range entries {
		if !pvrexport.IsObjectID(e.Name()) {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return fmt.Errorf("list objects: %w", err)
		}
		if st.Mode().IsRegular() {
			if err := f(e.Name(), st); err != nil {
				return err
			}
		}
	}
	return nil
}

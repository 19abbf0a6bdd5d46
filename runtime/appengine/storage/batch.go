package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pvkit/pvkit/pvrexport"
)

// Batch takes in many objects at once: all of them reach the store in Commit,
// or none. It waits for the disk once instead of after each object. One
// goroutine uses a Batch.
type Batch struct {
	to    *Objects
	dir   string
	ids   map[string]bool
	added []string // that Commit put into the store
	syncs *syncs
}

// NewBatch starts a batch. The caller calls Abort in the end; after Commit it
// does nothing.
func (o *Objects) NewBatch() (*Batch, error) {
	dir, err := os.MkdirTemp(o.temp, "batch-*")
	if err != nil {
		return nil, full(err)
	}
	return &Batch{to: o, dir: dir, ids: map[string]bool{}, syncs: newSyncs()}, nil
}

// CreateObject makes the batch a pvrexport.ObjectSink.
func (b *Batch) CreateObject(id string, size int64) (pvrexport.ObjectWriter, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if b.ids[id] {
		return pvrexport.Discard.CreateObject(id, size)
	}
	if size > 0 {
		sp, err := diskSpace(b.dir, b.to.reserved)
		if err != nil {
			return nil, err
		}
		if size > sp.RealFree {
			return nil, fmt.Errorf("object %s: %w: %d bytes are needed, %d are free", id, ErrNoSpace, size, sp.RealFree)
		}
	}
	f, err := os.OpenFile(filepath.Join(b.dir, id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, full(err)
	}
	return &batchWriter{f: f, id: id, b: b}, nil
}

type batchWriter struct {
	f    *os.File
	id   string
	b    *Batch
	done bool
}

func (w *batchWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, full(err)
}

func (w *batchWriter) Commit() error {
	w.done = true
	if err := w.f.Chmod(0o644); err != nil { // whatever the umask
		return errors.Join(err, w.f.Close())
	}
	w.b.ids[w.id] = true
	w.b.syncs.start(func() error { return full(errors.Join(w.f.Sync(), w.f.Close())) })
	return nil
}

func (w *batchWriter) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.f.Close()
	_ = os.Remove(w.f.Name())
}

// Has reports whether the batch, or the store, holds the object, whole.
func (b *Batch) Has(ctx context.Context, id string) bool {
	return b.ids[id] || b.to.Check(ctx, id) == nil
}

// Commit brings all objects to the disk and into the store. An object that
// the store has already stays, so that its links stay links to it, unless it
// is damaged.
func (b *Batch) Commit(ctx context.Context) error {
	if err := b.syncs.wait(); err != nil {
		return err
	}
	for id := range b.ids {
		if b.to.Check(ctx, id) == nil {
			continue
		}
		if err := os.Rename(filepath.Join(b.dir, id), b.to.path(id)); err != nil {
			return full(err)
		}
		b.added = append(b.added, id)
	}
	return errors.Join(syncPath(b.to.dir), os.RemoveAll(b.dir))
}

// Abort drops what has not been committed.
func (b *Batch) Abort() {
	_ = b.syncs.wait()
	_ = os.RemoveAll(b.dir)
}

// undo takes back what Commit did, for work that failed after it. A link to
// one of the objects keeps its content.
func (b *Batch) undo() error {
	var err error
	for _, id := range b.added {
		err = errors.Join(err, os.Remove(b.to.path(id)))
	}
	b.added = nil
	return errors.Join(err, syncPath(b.to.dir))
}

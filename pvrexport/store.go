package pvrexport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/pvkit/pvkit/internal/atomicfile"
)

// ObjectSink takes in objects. An object is in the sink only after Commit,
// which is called when its digest has been found right; until then, and after
// Abort, nobody sees anything of it. The same object may come twice.
type ObjectSink interface {
	CreateObject(id string, size int64) (ObjectWriter, error)
}

// ObjectWriter is an object on its way into a sink. Exactly one of Commit and
// Abort takes effect; Abort after Commit does nothing.
type ObjectWriter interface {
	io.Writer
	Commit() error
	Abort()
}

// openError words the failure to open an object of a source.
func openError(id string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrMissingObject) {
		return fmt.Errorf("object %s: %w", id, ErrMissingObject)
	}
	return fmt.Errorf("object %s: %w", id, err)
}

// Dir is a directory with one file per object, named by its id, as in a pvr
// repository or on a device. It is both source and sink.
type Dir string

// CreateObject starts a file that appears whole or not at all, with mode 0644.
// The directory is made if it is missing.
func (d Dir) CreateObject(id string, _ int64) (ObjectWriter, error) {
	if !IsObjectID(id) {
		return nil, fmt.Errorf("object %q: %w", id, ErrObjectID)
	}
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return nil, err
	}
	return atomicfile.Create(filepath.Join(string(d), id), 0o644)
}

// OpenObject opens the file of an object.
func (d Dir) OpenObject(id string) (io.ReadCloser, int64, error) {
	if !IsObjectID(id) {
		return nil, 0, fmt.Errorf("object %q: %w", id, ErrObjectID)
	}
	f, err := os.Open(filepath.Join(string(d), id))
	if err != nil {
		return nil, 0, openError(id, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("object %s: %w", id, ErrEntryType)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

// Memory keeps objects in memory. The zero value is ready; it is both source
// and sink and may be used by several goroutines.
type Memory struct {
	mu      sync.Mutex // guards objects
	objects map[string][]byte
}

// Put adds an object without checking that its id is right; see
// ObjectID.
func (m *Memory) Put(id string, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects == nil {
		m.objects = map[string][]byte{}
	}
	m.objects[id] = content
}

// Len is the number of objects.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.objects)
}

// OpenObject returns a reader of the object.
func (m *Memory) OpenObject(id string) (io.ReadCloser, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[id]
	if !ok {
		return nil, 0, openError(id, ErrMissingObject)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

// CreateObject starts a new object.
func (m *Memory) CreateObject(id string, _ int64) (ObjectWriter, error) {
	return &memoryWriter{to: m, id: id}, nil
}

type memoryWriter struct {
	bytes.Buffer
	to *Memory
	id string
}

func (w *memoryWriter) Commit() error {
	w.to.Put(w.id, w.Bytes())
	return nil
}

func (w *memoryWriter) Abort() {}

// Discard is a sink that keeps nothing, for checking alone.
var Discard ObjectSink = discard{}

type discard struct{}

func (discard) CreateObject(string, int64) (ObjectWriter, error) { return discard{}, nil }
func (discard) Write(p []byte) (int, error)                      { return len(p), nil }
func (discard) Commit() error                                    { return nil }
func (discard) Abort()                                           {}

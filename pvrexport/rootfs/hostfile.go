package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ErrChanged is a file that is not any more what it was when its tree was made.
var ErrChanged = errors.New("changed while it was being read")

// hostFile is the content of a file below an os.Root. It remembers which inode
// it saw, so that neither a symlink nor another file can take its place.
type hostFile struct {
	root *os.Root
	dir  string // for messages
	name string
	size int64
	id   inode
}

func (h *hostFile) Size() int64 { return h.size }

func (h *hostFile) Open() (io.ReadCloser, error) {
	// Without O_NONBLOCK a fifo that took the file's place would block the open.
	f, err := h.root.OpenFile(h.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", h.path(), cause(err))
	}
	st, err := statAt(f, "")
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %w", h.path(), err)
	case inodeOf(st) != h.id || int64(st.Size) != h.size:
		err = fmt.Errorf("%s: %w", h.path(), ErrChanged)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &hostReader{f: f, file: h, left: h.size}, nil
}

// cause drops the path below the root that os puts before an error: the message
// has the whole one.
func cause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

func (h *hostFile) path() string { return filepath.Join(h.dir, h.name) }

// hostReader delivers exactly the size that was promised or fails.
type hostReader struct {
	f    *os.File
	file *hostFile
	left int64
}

func (r *hostReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		var one [1]byte
		if n, _ := r.f.Read(one[:]); n > 0 {
			return 0, fmt.Errorf("%s: %w: it has grown", r.file.path(), ErrChanged)
		}
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.f.Read(p)
	r.left -= int64(n)
	switch {
	case err == io.EOF && r.left > 0:
		return n, fmt.Errorf("%s: %w: it has shrunk by %d bytes", r.file.path(), ErrChanged, r.left)
	case err == io.EOF:
		return n, nil
	case err != nil:
		return n, fmt.Errorf("read %s: %w", r.file.path(), cause(err))
	}
	return n, nil
}

func (r *hostReader) Close() error { return r.f.Close() }

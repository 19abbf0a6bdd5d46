package rootfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// spool holds file contents of a stream that cannot be read twice, all of them
// in one file that has no name any more. Blocks of zeros are not written, so
// an archive of sparse files, or a bomb made of zeros, takes no space.
type spool struct {
	f   *os.File
	w   *bufio.Writer
	at  int64
	buf []byte
}

// spoolBlock is the unit in which holes are found.
const spoolBlock = 64 << 10

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "pvkit-rootfs-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary file for contents: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink temporary file: %w", err), f.Close())
	}
	return &spool{f: f, w: bufio.NewWriterSize(f, 1<<20), buf: make([]byte, spoolBlock)}, nil
}

// extent says that n bytes of a file, from off on, lie at at in the spool.
type extent struct{ off, at, n int64 }

// spooled is the content of one file; what no extent covers is zero.
type spooled struct {
	f       *os.File
	size    int64
	extents []extent
}

// put copies size bytes of r. Errors of the spool itself are *spoolError.
func (s *spool) put(r io.Reader, size int64, check func() error) (Content, error) {
	c := &spooled{f: s.f, size: size}
	for off := int64(0); off < size; {
		if err := check(); err != nil {
			return nil, err
		}
		block := s.buf[:min(size-off, spoolBlock)]
		if _, err := io.ReadFull(r, block); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if !allZero(block) {
			if _, err := s.w.Write(block); err != nil {
				return nil, fmt.Errorf("write contents to the temporary file: %w", err)
			}
			c.grow(off, s.at, int64(len(block)))
			s.at += int64(len(block))
		}
		off += int64(len(block))
	}
	return c, nil
}

func (c *spooled) grow(off, at, n int64) {
	if last := len(c.extents) - 1; last >= 0 {
		if e := &c.extents[last]; e.off+e.n == off && e.at+e.n == at {
			e.n += n
			return
		}
	}
	c.extents = append(c.extents, extent{off, at, n})
}

func (s *spool) flush() error {
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("write contents to the temporary file: %w", err)
	}
	s.w, s.buf = nil, nil
	return nil
}

func (s *spool) Close() error { return s.f.Close() }

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

func (c *spooled) Size() int64 { return c.size }

func (c *spooled) Open() (io.ReadCloser, error) {
	if len(c.extents) == 1 && c.extents[0].n == c.size {
		return io.NopCloser(io.NewSectionReader(c.f, c.extents[0].at, c.size)), nil
	}
	return io.NopCloser(&holeReader{c: c, rest: c.extents}), nil
}

// holeReader puts extents and holes together.
type holeReader struct {
	c    *spooled
	rest []extent
	pos  int64
}

func (r *holeReader) Read(p []byte) (int, error) {
	if r.pos == r.c.size {
		return 0, io.EOF
	}
	hole := r.c.size - r.pos
	if len(r.rest) > 0 {
		hole = r.rest[0].off - r.pos
	}
	if hole > 0 {
		p = p[:min(int64(len(p)), hole)]
		clear(p)
		r.pos += int64(len(p))
		return len(p), nil
	}
	e := r.rest[0]
	done := r.pos - e.off
	p = p[:min(int64(len(p)), e.n-done)]
	n, err := r.c.f.ReadAt(p, e.at+done)
	r.pos += int64(n)
	if done+int64(n) == e.n {
		r.rest = r.rest[1:]
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

package pvrexport

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a bundle is packed.
type Compression int

// The compressions. Devices read Gzip and None; Zstd is for stores and caches.
const (
	Gzip Compression = iota
	Zstd
	None
)

func (c Compression) String() string { return [...]string{"gzip", "zstd", "none"}[c] }

// WriteOptions shapes a bundle. The zero value is gzip at level 1 and times of
// 1970.
type WriteOptions struct {
	ModTime     time.Time // of every entry; the zero time means 1970-01-01
	Compression Compression
	// Level of gzip, 1 to 9; 0 means 1: an image is compressed already, and
	// more effort buys less than a thousandth of the size.
	Level int
}

// maxObjectSize is what fits into the eleven octal digits of a USTAR size; the
// device reads no other form (pvtx_tar.c, pv_pvtx_tar_next).
const maxObjectSize = 1<<33 - 1

// stateEntry and objectsDir are the names inside a bundle.
const (
	stateEntry = "json"
	objectsDir = "objects/"
)

// ObjectSource hands out the content of objects. The size is known before
// reading; an object that is not there is an error that matches
// fs.ErrNotExist or ErrMissingObject.
type ObjectSource interface {
	OpenObject(id string) (content io.ReadCloser, size int64, err error)
}

// Write writes the bundle of a state: the state first, then every object that
// it names, once, in the order of the ids, as src hands them out. Digests are
// checked on the way. The bytes depend on nothing but the state and the
// options. Headers are USTAR without extensions, directories or owners: the
// device's reader knows no more (pvtx_tar.c).
func Write(ctx context.Context, w io.Writer, s *State, src ObjectSource, opts WriteOptions) error {
	if first := s.keys()[0]; first != SpecKey {
		return fmt.Errorf("write bundle: %w", &KeyError{Key: first, Reason: `sorts before "#spec", which devices skip by its position`})
	}
	packer, err := newPacker(w, opts)
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	bw := &bundleWriter{ctx: ctx, tw: tar.NewWriter(packer), modTime: opts.ModTime, buf: make([]byte, 1<<20)}
	if opts.ModTime.IsZero() {
		bw.modTime = time.Unix(0, 0)
	}
	err = bw.write(s, src)
	if err == nil {
		err = bw.tw.Close()
	}
	if err = errors.Join(err, packer.Close()); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

func newPacker(w io.Writer, opts WriteOptions) (io.WriteCloser, error) {
	switch opts.Compression {
	case Gzip:
		if opts.Level < 0 || opts.Level > gzip.BestCompression {
			return nil, fmt.Errorf("gzip level %d is not within 1 to 9", opts.Level)
		}
		zw, err := gzip.NewWriterLevel(w, max(opts.Level, gzip.BestSpeed))
		if err != nil {
			return nil, err
		}
		zw.ModTime = time.Unix(0, 0) // written as 0; the zero Time is not
		return zw, nil
	case Zstd:
		// With one worker the bytes do not depend on the machine.
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	case None:
		return flushCloser{bufio.NewWriterSize(w, 1<<16)}, nil
	}
	return nil, fmt.Errorf("unknown compression %d", opts.Compression)
}

// flushCloser makes Close mean Flush.
type flushCloser struct{ *bufio.Writer }

func (f flushCloser) Close() error { return f.Flush() }

type bundleWriter struct {
	ctx     context.Context
	tw      *tar.Writer
	modTime time.Time
	buf     []byte
}

func (w *bundleWriter) write(s *State, src ObjectSource) error {
	state := s.Encode()
	if len(state) > MaxStateSize {
		return fmt.Errorf("the state has %d bytes, more than %d: %w", len(state), MaxStateSize, ErrLimit)
	}
	if err := w.header(stateEntry, int64(len(state))); err != nil {
		return err
	}
	if _, err := w.tw.Write(state); err != nil {
		return err
	}
	for _, id := range s.Objects() {
		if err := w.object(id, src); err != nil {
			return err
		}
	}
	return nil
}

func (w *bundleWriter) header(name string, size int64) error {
	return w.tw.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644,
		ModTime: w.modTime.Truncate(time.Second), Format: tar.FormatUSTAR,
	})
}

func (w *bundleWriter) object(id string, src ObjectSource) (err error) {
	r, size, err := src.OpenObject(id)
	if err != nil {
		return openError(id, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if size > maxObjectSize {
		return fmt.Errorf("object %s has %d bytes; devices read less than 8 GiB: %w", id, size, ErrLimit)
	}
	if err := w.header(objectsDir+id, size); err != nil {
		return fmt.Errorf("object %s: %w", id, err)
	}
	h := sha256.New()
	in := &contextReader{w.ctx, r}
	got, err := io.CopyBuffer(io.MultiWriter(w.tw, h), io.LimitReader(in, size), w.buf)
	if err == nil { // one more byte shows whether the size was right
		var more int64
		more, err = io.Copy(io.Discard, io.LimitReader(in, 1))
		got += more
	}
	switch {
	case err != nil:
		return fmt.Errorf("object %s: %w", id, err)
	case got != size:
		return &SizeError{ID: id, Want: size, Got: got}
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != id {
		return &DigestError{ID: id, Got: sum}
	}
	return nil
}

// contextReader ends a long copy when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

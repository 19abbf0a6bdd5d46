package pvrexport

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// archive reads the tar archive inside a bundle, whatever it is compressed
// with, and remembers the raw header blocks and where they stood.
type archive struct {
	source      *sourceReader
	compression Compression
	close       func()
	tr          *tar.Reader
	offset      int64 // bytes of the archive read so far
	limit       int64 // how many may be read
	stream      io.Reader
	recording   bool
	recorded    []byte // what was read while recording
	entry       *entry
}

// entry is a header of the archive.
type entry struct {
	*tar.Header
	offset int64  // where its first header block stands
	raw    []byte // all its header blocks; more than one block are extensions
}

const blockSize = 512

// sourceReader keeps the first error of the reader below, so that a disk that
// cannot be read is not taken for a damaged archive.
type sourceReader struct {
	contextReader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.contextReader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// openArchive finds out how r is compressed. The zstd decoder may use 128 MiB
// for its window, no matter what the stream asks for.
func openArchive(ctx context.Context, r io.Reader, limit int64) (*archive, error) {
	a := &archive{source: &sourceReader{contextReader: contextReader{ctx, r}}, limit: limit, close: func() {}}
	buffered := bufio.NewReaderSize(a.source, 1<<16)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		a.compression = Gzip
		zr, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, a.damaged(err)
		}
		a.stream = zr
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		a.compression = Zstd
		zr, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, a.damaged(err)
		}
		a.stream, a.close = zr, zr.Close
	default:
		a.compression = None
		a.stream = buffered
	}
	a.tr = tar.NewReader(readerFunc(a.read))
	return a, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// read is what the tar reader reads from.
func (a *archive) read(p []byte) (int, error) {
	if a.offset >= a.limit {
		return 0, fmt.Errorf("the archive is larger than %d bytes: %w", a.limit, ErrLimit)
	}
	p = p[:min(int64(len(p)), a.limit-a.offset)]
	n, err := a.stream.Read(p)
	a.offset += int64(n)
	if a.recording {
		a.recorded = append(a.recorded, p[:n]...)
	}
	return n, err
}

// next goes to the next entry; io.EOF is the end of the archive.
func (a *archive) next() (*entry, error) {
	padding := 0
	if a.entry != nil {
		if _, err := io.Copy(io.Discard, a.tr); err != nil {
			return nil, a.damaged(err)
		}
		padding = int(-a.offset & (blockSize - 1))
	}
	at := a.offset + int64(padding)
	a.recording, a.recorded = true, nil
	h, err := a.tr.Next()
	a.recording = false
	a.entry = nil
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		if at == 0 && (errors.Is(err, tar.ErrHeader) || a.compression == None && a.offset < blockSize) {
			err = ErrFormat
		}
		return nil, a.damaged(err)
	}
	a.entry = &entry{Header: h, offset: at, raw: a.recorded[min(padding, len(a.recorded)):]}
	return a.entry, nil
}

// finish reads what follows the end of the archive: zeros are padding.
// complete tells whether the two zero blocks that close an archive were there.
func (a *archive) finish() (complete bool, err error) {
	complete = len(a.recorded) >= 2*blockSize
	buf := make([]byte, 1<<15)
	for {
		at := a.offset
		n, err := a.read(buf)
		if i := bytes.IndexFunc(buf[:n], func(r rune) bool { return r != 0 }); i >= 0 {
			return complete, &EntryError{Offset: at + int64(i), Err: ErrTrailing}
		}
		switch {
		case errors.Is(err, io.EOF):
			return complete, nil
		case errors.Is(err, gzip.ErrHeader) || errors.Is(err, zstd.ErrMagicMismatch):
			return complete, &EntryError{Offset: a.offset, Err: ErrTrailing}
		case err != nil:
			return complete, a.damaged(err)
		}
	}
}

// damaged wraps an error of the archive itself with its place. An error of
// the reader below stays what it is.
func (a *archive) damaged(err error) error {
	if a.source.err != nil {
		return a.source.err
	}
	e := &EntryError{Offset: a.offset, Err: err}
	if a.entry != nil {
		e.Entry = a.entry.Name
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		e.Err = ErrTruncated
	case errors.Is(err, ErrFormat) || errors.Is(err, ErrLimit):
	default:
		e.Err = fmt.Errorf("the archive is damaged: %w", err)
	}
	return e
}

package rootfs

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// tarStream is the unpacked archive. It knows where it stands and how many
// zero bytes it delivered last, and stops at the limits.
type tarStream struct {
	ctx    context.Context
	r      io.Reader
	lim    Limits
	pos    int64
	zeros  int64 // run of zero bytes that ends at pos
	packed *counter
}

// counter counts the packed bytes.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// ratioFrom is where the ratio starts to matter: small archives of zeros are
// harmless.
const ratioFrom = 64 << 20

func (s *tarStream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.pos += int64(n)
	s.zeros = trailingZeros(p[:n], s.zeros)
	if lim := within("bytes of the unpacked archive", s.pos, s.lim.MaxBytes); lim != nil {
		return n, lim
	}
	if s.packed != nil && s.pos > ratioFrom {
		if lim := within("unpacked bytes for each packed one", s.pos/max(s.packed.n, 1), s.lim.MaxRatio); lim != nil {
			return n, lim
		}
	}
	return n, err
}

func trailingZeros(b []byte, before int64) int64 {
	for i := len(b); i > 0; i-- {
		if b[i-1] != 0 {
			return int64(len(b) - i)
		}
	}
	return before + int64(len(b))
}

// seekStream is a tarStream over a plain file: archive/tar then jumps over
// contents.
type seekStream struct {
	*tarStream
	file *io.SectionReader
}

func (s *seekStream) Seek(offset int64, whence int) (int64, error) {
	pos, err := s.file.Seek(offset, whence)
	if err == nil && pos != s.pos {
		s.pos, s.zeros = pos, 0
	}
	return pos, err
}

// source is an opened input.
type source struct {
	stream  *tarStream
	reader  io.Reader         // for archive/tar: the stream, with Seek when it can
	file    *io.SectionReader // a plain archive whose contents can be read in place; or nil
	packed  *bufio.Reader     // the input below the decoder
	packing string
	release func()
}

func openSource(ctx context.Context, r io.Reader, lim Limits) (*source, error) {
	file := seekable(r)
	if file != nil {
		r = io.NewSectionReader(file, 0, file.Size())
	}
	packed := &counter{r: r}
	buf := bufio.NewReaderSize(packed, 128<<10)
	packing, z, release, err := unpack(buf)
	if err != nil {
		return nil, err
	}
	s := &source{stream: &tarStream{ctx: ctx, r: z, lim: lim}, packed: buf, packing: packing, release: release}
	s.reader = s.stream
	switch {
	case packing != "":
		s.stream.packed = packed
	case file != nil:
		s.file, s.stream.r = file, file
		s.reader = &seekStream{s.stream, file}
	}
	return s, nil
}

// finish reads what follows the archive's end, so that the packing's own sums
// are checked. Zeros after the packed stream are padding: bsdtar fills its last
// record with them.
func (s *source) finish() error {
	if s.packing == "" {
		return nil
	}
	_, err := io.Copy(io.Discard, s.stream)
	if err == nil || notAStream(err) && onlyZeros(s.packed) {
		return nil
	}
	return fmt.Errorf("%s stream after the archive's end: %w", s.packing, err)
}

// notAStream reports whether a decoder found no further stream where one could
// begin.
func notAStream(err error) bool {
	_, bz := errors.AsType[bzip2.StructuralError](err)
	return bz || errors.Is(err, gzip.ErrHeader) || errors.Is(err, zstd.ErrMagicMismatch)
}

func onlyZeros(r io.Reader) bool {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if !allZero(buf[:n]) {
			return false
		}
		if err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// seekable returns the rest of r when it can be read at any place later: a
// regular file or memory, not a pipe.
func seekable(r io.Reader) *io.SectionReader {
	at, ok := r.(interface {
		io.ReaderAt
		io.Seeker
	})
	if !ok {
		return nil
	}
	if f, isFile := r.(*os.File); isFile {
		if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
			return nil
		}
	}
	start, err := at.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	end, err := at.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	if _, err := at.Seek(start, io.SeekStart); err != nil {
		return nil
	}
	return io.NewSectionReader(at, start, end-start)
}

package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// codec uncompresses one block. dst is empty; its capacity is the most bytes
// that the block may hold, and more is an error. A codec may be used by several
// goroutines at once.
type codec interface {
	decompress(dst, src []byte) ([]byte, error)
}

// errTooLarge is a block that holds more than its place allows.
var errTooLarge = errors.New("the block holds more bytes than a block may")

func newCodec(c Compression, blockSize int) (codec, error) {
	switch c {
	case Gzip:
		return &gzipCodec{}, nil
	case XZ:
		return xzCodec{maxDict: max(blockSize, metadataSize)}, nil
	case LZMA:
		return lzmaCodec{maxDict: max(blockSize, metadataSize)}, nil
	case LZ4:
		return lz4Codec{}, nil
	case Zstd:
		return newZstdCodec(), nil
	case LZO:
		return unsupportedCodec{c}, nil
	}
	return nil, badf(20, "unknown %v", c)
}

// blockError says which block could not be uncompressed. Bad data is a
// FormatError; a codec that we do not have is errors.ErrUnsupported.
func blockError(pos int64, what string, err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%s at byte %d: %w", what, pos, err)
	}
	return badf(pos, "%s: %v", what, err)
}

type unsupportedCodec struct{ c Compression }

func (u unsupportedCodec) decompress(_, _ []byte) ([]byte, error) {
	return nil, fmt.Errorf("unsupported compression %v: %w", u.c, errors.ErrUnsupported)
}

// readAll reads r to its end into dst's spare capacity.
func readAll(r io.Reader, dst []byte) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			var one [1]byte
			switch n, err := io.ReadFull(r, one[:]); {
			case n == 1:
				return nil, errTooLarge
			case err == io.EOF:
				return dst, nil
			default:
				return nil, err
			}
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

type gzipCodec struct {
	readers sync.Pool // of zlib readers
}

func (g *gzipCodec) decompress(dst, src []byte) ([]byte, error) {
	in := bytes.NewReader(src)
	r, ok := g.readers.Get().(io.ReadCloser)
	var err error
	if ok {
		err = r.(zlib.Resetter).Reset(in, nil)
	} else {
		r, err = zlib.NewReader(in)
	}
	if err != nil {
		return nil, err
	}
	dst, err = readAll(r, dst)
	g.readers.Put(r)
	return dst, err
}

type lz4Codec struct{}

func (lz4Codec) decompress(dst, src []byte) ([]byte, error) {
	n, err := lz4.UncompressBlock(src, dst[:cap(dst)])
	if err != nil {
		return nil, err
	}
	return dst[:n], nil
}

type zstdCodec struct {
	decoder func() (*zstd.Decoder, error)
}

// maxZstdWindow lets images be read whose frames ask for a window larger than
// a block. The kernel cannot read them, and Verify says so. DecodeAll uses its
// output as the window, so a large one takes no memory here.
const maxZstdWindow = 128 << 20

func newZstdCodec() zstdCodec {
	return zstdCodec{sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxZstdWindow), zstd.WithDecodeAllCapLimit(true))
	})}
}

func (z zstdCodec) decompress(dst, src []byte) ([]byte, error) {
	d, err := z.decoder()
	if err != nil {
		return nil, err
	}
	return d.DecodeAll(src, dst)
}

// lzmaCodec reads the legacy .lzma streams of squashfs-tools, which no kernel
// reads.
type lzmaCodec struct{ maxDict int }

func (l lzmaCodec) decompress(dst, src []byte) ([]byte, error) {
	r, err := lzma.ReaderConfig{DictCap: l.maxDict}.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	return readAll(r, dst)
}

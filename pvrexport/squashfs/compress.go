package squashfs

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	fastlz4 "github.com/pierrec/lz4/v4"

	"github.com/pvkit/pvkit/pvrexport/squashfs/lz4"
	"github.com/pvkit/pvkit/pvrexport/squashfs/xz"
)

// encoder compresses one block at a time in the form the kernel's decoder of
// its codec takes. It is used by one goroutine and keeps its tables between
// blocks. What a block becomes depends on the block alone.
type encoder interface {
	// compress returns src compressed, in dst's memory where that is large
	// enough. It may return nil when the result would not be shorter.
	compress(dst, src []byte) ([]byte, error)
}

// newEncoder returns an encoder for normal options, nil for None.
func newEncoder(o Options) (encoder, error) {
	switch o.Compression {
	case Gzip:
		return newZlibEncoder(o.Level)
	case Zstd:
		return newZstdEncoder(o)
	case XZ:
		return newXZEncoder(o), nil
	case LZ4:
		if o.HC {
			return &lz4HCEncoder{lz4.NewEncoder(max(o.BlockSize, metadataSize))}, nil
		}
		return &lz4Encoder{}, nil
	}
	return nil, nil
}

// compressorOptions is the block of codec options behind the superblock. The
// kernel insists on one for lz4 only (squashfs/lz4_wrapper.c); for the others
// it assumes what their encoders here do, an xz dictionary of one block among
// it (squashfs/xz_wrapper.c).
func compressorOptions(o Options) []byte {
	if o.Compression != LZ4 {
		return nil
	}
	var hc uint32
	if o.HC {
		hc = 1
	}
	b := binary.LittleEndian.AppendUint32(nil, 1) // the legacy frame format's version
	return binary.LittleEndian.AppendUint32(b, hc)
}

type zlibEncoder struct {
	buf bytes.Buffer
	w   *zlib.Writer
}

func newZlibEncoder(level int) (*zlibEncoder, error) {
	if level == 0 {
		level = zlib.BestCompression
	}
	e := &zlibEncoder{}
	w, err := zlib.NewWriterLevel(&e.buf, level)
	if err != nil {
		return nil, fmt.Errorf("start the zlib encoder: %w", err)
	}
	e.w = w
	return e, nil
}

func (e *zlibEncoder) compress(dst, src []byte) ([]byte, error) {
	e.buf = *bytes.NewBuffer(dst[:0])
	e.w.Reset(&e.buf)
	if _, err := e.w.Write(src); err != nil {
		return nil, err
	}
	if err := e.w.Close(); err != nil {
		return nil, err
	}
	return e.buf.Bytes(), nil
}

// zstdEncoder makes frames that the kernel can decode with a window of one
// block: single segment, no checksum.
type zstdEncoder struct {
	w    *zstd.Encoder
	code *zstd.Encoder // for blocks of machine code; nil: w is for all

	notText [256]uint8 // 1 for control characters and for bytes above ASCII
}

func newZstdEncoder(o Options) (*zstdEncoder, error) {
	e := &zstdEncoder{}
	var err error
	if o.Level > 0 {
		e.w, err = newZstdWriter(zstd.EncoderLevelFromZstd(o.Level), o)
		return e, err
	}
	if e.w, err = newZstdWriter(zstd.SpeedBestCompression, o); err != nil {
		return nil, err
	}
	for c := range e.notText {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c > '~' {
			e.notText[c] = 1
		}
	}
	e.code, err = newZstdWriter(zstd.SpeedBetterCompression, o)
	return e, err
}

func newZstdWriter(level zstd.EncoderLevel, o Options) (*zstd.Encoder, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(o.BlockSize), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false),
		zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
	if err != nil {
		return nil, fmt.Errorf("start the zstd encoder: %w", err)
	}
	return w, nil
}

func (e *zstdEncoder) compress(dst, src []byte) ([]byte, error) {
	// Blocks of metadata are small and look like code; the effort is for them.
	if e.code != nil && len(src) > metadataSize && e.isCode(src) {
		return e.code.EncodeAll(src, dst[:0]), nil
	}
	return e.w.EncodeAll(src, dst[:0]), nil
}

// codePercent is how many of a block's bytes must be of a kind that text does
// not have for the block to count as machine code. Measured on a Debian root
// filesystem and on a tree of headers and scripts: the best level takes 2 % off
// such blocks, at six times the cost, and up to a tenth off others.
const codePercent = 69

// isCode tells machine code from text and from data that is worth the effort.
func (e *zstdEncoder) isCode(block []byte) bool {
	n := 0
	for _, c := range block {
		n += int(e.notText[c])
	}
	return n > len(block)/100*codePercent
}

type lz4Encoder struct{ c fastlz4.Compressor }

func (e *lz4Encoder) compress(dst, src []byte) ([]byte, error) {
	dst = dst[:cap(dst)]
	n, err := e.c.CompressBlock(src, dst)
	if err != nil || n == 0 { // 0: did not become shorter
		return nil, nil //nolint:nilerr // the only error is that dst is too short
	}
	return dst[:n], nil
}

type lz4HCEncoder struct{ e *lz4.Encoder }

func (e *lz4HCEncoder) compress(dst, src []byte) ([]byte, error) {
	if out, ok := e.e.Encode(dst[:0], src); ok {
		return out, nil
	}
	return nil, nil
}

type xzEncoder struct{ e *xz.Encoder }

// newXZEncoder announces the dictionary that the kernel prepares: one block,
// or one metadata block if that is larger.
func newXZEncoder(o Options) *xzEncoder {
	level := xz.Default
	if o.Level > 6 {
		level = xz.Smallest
	}
	return &xzEncoder{xz.NewEncoder(max(o.BlockSize, metadataSize), level)}
}

func (e *xzEncoder) compress(dst, src []byte) ([]byte, error) {
	return e.e.Encode(dst[:0], src)
}

package squashfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/crc64"

	"github.com/ulikunitz/xz/lzma"
)

// The parts of the .xz format (version 1.2.1, tukaani.org) that a squashfs
// block can have. The container is read here and not by a library because its
// header decides how much memory the decoder takes, and because Verify tells
// what the kernel's decoder would refuse.
const (
	xzHeaderSize   = 12
	xzFilterLZMA2  = 0x21
	xzCheckNone    = 0x00
	xzCheckCRC32   = 0x01
	xzCheckCRC64   = 0x04
	xzCheckSHA256  = 0x0a
	xzBlockReserve = 0x3c // reserved bits of the block flags
)

var (
	xzMagic     = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	xzEndMagic  = []byte{'Y', 'Z'}
	errXZShort  = errors.New("xz: the stream is cut short")
	errXZHeader = errors.New("xz: damaged header")
	xzFilters   = map[uint64]string{
		3: "delta", 4: "x86", 5: "powerpc", 6: "ia64", 7: "arm", 8: "armthumb", 9: "sparc", 10: "arm64", 11: "riscv",
	}
)

// xzCodec reads a block that is one .xz stream. maxDict is the largest
// dictionary it allocates: a block needs none larger than itself.
type xzCodec struct{ maxDict int }

// xzBlock is what the header of a block in an .xz stream says.
type xzBlock struct {
	filters []uint64
	dict    uint64
	size    int // of the header
}

// xzStreamCheck returns the kind of check that a stream's header announces.
func xzStreamCheck(src []byte) (byte, error) {
	if len(src) < xzHeaderSize {
		return 0, errXZShort
	}
	if !bytes.Equal(src[:6], xzMagic) || src[6] != 0 || src[7] > 0x0f ||
		crc32.ChecksumIEEE(src[6:8]) != binary.LittleEndian.Uint32(src[8:]) {
		return 0, errXZHeader
	}
	return src[7], nil
}

// xzBlockHeader reads the block header at the start of src.
func xzBlockHeader(src []byte) (xzBlock, error) {
	if len(src) == 0 {
		return xzBlock{}, errXZShort
	}
	b := xzBlock{size: (int(src[0]) + 1) * 4}
	if b.size > len(src) {
		return b, errXZShort
	}
	body := src[1 : b.size-4]
	if crc32.ChecksumIEEE(src[:b.size-4]) != binary.LittleEndian.Uint32(src[b.size-4:]) || len(body) < 1 {
		return b, errXZHeader
	}
	flags := body[0]
	if flags&xzBlockReserve != 0 {
		return b, errXZHeader
	}
	body = body[1:]
	for _, bit := range [...]byte{0x40, 0x80} { // the optional sizes
		if flags&bit != 0 {
			if _, n := binary.Uvarint(body); n > 0 {
				body = body[n:]
			} else {
				return b, errXZHeader
			}
		}
	}
	for range int(flags&3) + 1 {
		id, n := binary.Uvarint(body)
		if n <= 0 {
			return b, errXZHeader
		}
		size, k := binary.Uvarint(body[n:])
		if k <= 0 || size > uint64(len(body)-n-k) {
			return b, errXZHeader
		}
		props := body[n+k : n+k+int(size)]
		body = body[n+k+int(size):]
		b.filters = append(b.filters, id)
		if id == xzFilterLZMA2 {
			if len(props) != 1 || props[0] > 40 {
				return b, errXZHeader
			}
			b.dict = xzDictSize(props[0])
		}
	}
	return b, nil
}

// xzDictSize is the dictionary size that the LZMA2 filter's property says.
func xzDictSize(bits byte) uint64 {
	if bits == 40 {
		return 1<<32 - 1
	}
	return uint64(2|bits&1) << (bits/2 + 11)
}

// simple says that LZMA2 is the block's only filter; otherwise it is an error
// that names the filters.
func (b xzBlock) simple() error {
	if len(b.filters) == 1 && b.filters[0] == xzFilterLZMA2 {
		return nil
	}
	for _, id := range b.filters {
		if name, ok := xzFilters[id]; ok {
			return fmt.Errorf("xz: unsupported filter %s (-Xbcj): %w", name, errors.ErrUnsupported)
		}
	}
	return errXZHeader
}

func (x xzCodec) decompress(dst, src []byte) ([]byte, error) {
	check, err := xzStreamCheck(src)
	if err != nil {
		return nil, err
	}
	in := bytes.NewReader(src[xzHeaderSize:])
	for in.Len() > 0 && src[len(src)-in.Len()] != 0 { // a zero byte starts the index
		if dst, err = x.block(dst, src, in, check); err != nil {
			return nil, err
		}
	}
	index := src[len(src)-in.Len():]
	if len(index) < 8+xzHeaderSize || len(index)%4 != 0 {
		return nil, errXZShort
	}
	footer := index[len(index)-xzHeaderSize:]
	index = index[:len(index)-xzHeaderSize]
	if !bytes.Equal(footer[10:], xzEndMagic) || !bytes.Equal(footer[8:10], src[6:8]) ||
		crc32.ChecksumIEEE(footer[4:10]) != binary.LittleEndian.Uint32(footer) ||
		(uint64(binary.LittleEndian.Uint32(footer[4:]))+1)*4 != uint64(len(index)) ||
		crc32.ChecksumIEEE(index[:len(index)-4]) != binary.LittleEndian.Uint32(index[len(index)-4:]) {
		return nil, errors.New("xz: damaged index or footer")
	}
	return dst, nil
}

// block appends the data of the next block in the stream to dst.
func (x xzCodec) block(dst, src []byte, in *bytes.Reader, check byte) ([]byte, error) {
	h, err := xzBlockHeader(src[len(src)-in.Len():])
	if err != nil {
		return nil, err
	}
	if err := h.simple(); err != nil {
		return nil, err
	}
	in.Reset(src[len(src)-in.Len()+h.size:])
	dict := int(min(h.dict, uint64(x.maxDict)))
	lz, err := lzma.Reader2Config{DictCap: max(dict, lzma.MinDictCap)}.NewReader2(in)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	if dst, err = readAll(lz, dst); err != nil {
		return nil, err
	}
	return dst, xzTrailer(dst[start:], src, in, check)
}

// xzTrailer passes over the padding after a block's data and compares the
// check that follows.
func xzTrailer(data, src []byte, in *bytes.Reader, check byte) error {
	pos := len(src) - in.Len()
	pos += -pos & 3 // blocks are aligned to 4 bytes from the start of the stream
	var want []byte
	switch check {
	case xzCheckNone:
	case xzCheckCRC32:
		want = binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	case xzCheckCRC64:
		want = binary.LittleEndian.AppendUint64(nil, crc64.Checksum(data, crc64.MakeTable(crc64.ECMA)))
	case xzCheckSHA256:
		sum := sha256.Sum256(data)
		want = sum[:]
	default:
		return fmt.Errorf("xz: unsupported check %d: %w", check, errors.ErrUnsupported)
	}
	if pos+len(want) > len(src) {
		return errXZShort
	}
	if !bytes.Equal(src[pos:pos+len(want)], want) {
		return errors.New("xz: the data does not match its checksum")
	}
	in.Reset(src[pos+len(want):])
	return nil
}

// Package xz compresses independent blocks to .xz streams that the Linux
// kernel's squashfs can read. A squashfs image is thousands of blocks of
// 4 KiB to 1 MiB; general libraries in Go lose 10 to 13 % of size on those
// against liblzma. This encoder finds matches with hash chains over the whole
// block and chooses among them by price, as liblzma's normal mode does: it is
// within about one per cent of xz -6, at less processor time.
//
// Start at NewEncoder. The format is that of xz-file-format.txt (1.2.0) and,
// for what is inside a block, of lzma-specification.txt of the LZMA SDK and
// the kernel's lib/xz. There is no decoder here.
package xz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Level is how hard an Encoder tries.
type Level int

const (
	// Default is for images that are made while somebody waits.
	Default Level = iota
	// Smallest searches deeper, for images that are made once and sent often.
	Smallest
)

// effort is what a level means: how many candidates of a match are looked at,
// and from which length on a match is taken without a further thought. The
// pairs are the knees of measured curves.
var effort = [...]struct{ depth, nice int }{
	Default:  {16, 40},
	Smallest: {128, 128},
}

// ErrTooLarge is what Encode returns for more bytes than the dictionary holds.
var ErrTooLarge = errors.New("block is larger than the dictionary")

// Encoder makes .xz streams of one block each. It is not safe for concurrent
// use. Reuse it: its tables take eight times the dictionary and up to 5 MiB,
// and encoding allocates nothing but what dst lacks.
type Encoder struct {
	dictByte byte
	parser   parser
	model    model
	rc       rangeEncoder
}

// NewEncoder returns an encoder for blocks of up to dictSize bytes. The
// streams announce the dictionary size, rounded up to the next that the
// format can express (2^n or 3·2^n, at least 4 KiB). For squashfs it must not
// exceed the larger of the image's block size and the 8 KiB of a metadata
// block: the kernel prepares a dictionary of that size and refuses streams
// that ask for more.
func NewEncoder(dictSize int, level Level) *Encoder {
	eff := effort[min(max(level, Default), Smallest)]
	e := &Encoder{dictByte: dictByte(dictSize)}
	e.rc.out = make([]byte, maxChunk)
	e.parser.model = &e.model
	e.parser.finder = newFinder(dictSize, eff.depth, eff.nice)
	e.parser.nice = eff.nice
	e.parser.ops = make([]op, 0, maxNodes+maxMatch+2)
	return e
}

// dictByte is the format's code of the smallest dictionary size that it can
// express and that is not less than size.
func dictByte(size int) byte {
	b := byte(0)
	for b < maxDictByte && (2|uint64(b&1))<<(b/2+11) < uint64(size) {
		b++
	}
	return b
}

// maxDictByte is a dictionary of 4 GiB - 1, the largest.
const maxDictByte = 40

// Encode appends src as a complete .xz stream, with a CRC32 of the content,
// to dst. The stream may be a little longer than src; whoever keeps the
// shorter of the two compares. It fails only with ErrTooLarge.
func (e *Encoder) Encode(dst, src []byte) ([]byte, error) {
	if limit := len(e.parser.finder.link); len(src) > limit {
		return dst, fmt.Errorf("xz: encode %d bytes with a dictionary of %d: %w", len(src), limit, ErrTooLarge)
	}
	head := len(dst)
	dst = append(dst, 0xfd, '7', 'z', 'X', 'Z', 0, 0, checkCRC32)
	dst = appendCRC(dst, dst[head+6:])

	// The block header: its size in words less one, one filter and no sizes,
	// the filter with its one byte of properties, padding.
	block := len(dst)
	dst = append(dst, 2, 0, filterLZMA2, 1, e.dictByte, 0, 0, 0)
	dst = appendCRC(dst, dst[block:])
	dst = e.lzma2(dst, src)
	unpadded := len(dst) - block + 4
	dst = pad(dst, block)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(src))

	// The index: its mark, one record.
	index := len(dst)
	dst = append(dst, 0, 1)
	dst = binary.AppendUvarint(dst, uint64(unpadded))
	dst = binary.AppendUvarint(dst, uint64(len(src)))
	dst = pad(dst, index)
	dst = appendCRC(dst, dst[index:])

	// The footer: a CRC of what follows it, the index size in words less one.
	back := uint32(len(dst)-index)/4 - 1
	dst = append(dst, 0, 0, 0, 0)
	foot := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, back)
	dst = append(dst, 0, checkCRC32)
	binary.LittleEndian.PutUint32(dst[foot-4:], crc32.ChecksumIEEE(dst[foot:]))
	return append(dst, 'Y', 'Z'), nil
}

const (
	checkCRC32  = 1
	filterLZMA2 = 0x21
)

func appendCRC(dst, of []byte) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(of))
}

// pad fills dst with zeros to a multiple of four bytes from start.
func pad(dst []byte, start int) []byte {
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// Package squashfs writes and reads squashfs 4.0 images without root and
// without external programs. Write takes a rootfs.Tree and gives the same
// bytes for the same tree and options, whatever the number of workers; Open
// reads any image of the format, for inspection, verification and extraction.
//
// The format is the kernel's: fs/squashfs/squashfs_fs.h.
package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes and limits of the format (fs/squashfs/squashfs_fs.h).
const (
	magic            = 0x73717368 // "hsqs" in little endian
	superblockSize   = 96
	metadataSize     = 8192 // uncompressed bytes of a metadata block, at most
	metadataStored   = 1 << 15
	dataStored       = 1 << 24 // in a block's size word: not compressed
	noFragment       = 0xffffffff
	noXattr          = 0xffffffff
	noTable          = ^uint64(0)
	fragmentEntry    = 16
	dirHeaderMax     = 256 // entries after one directory header
	minBlockSize     = 4 << 10
	maxBlockSize     = 1 << 20
	padTo            = 4096 // the loop device reads whole pages
	maxIDs           = 65535
	nameMax          = 256
	dirCountNoDot    = 3 // a directory's size counts "." and ".." as 3 bytes
	xattrOutOfLine   = 0x100
	xattrPrefixUser  = 0
	xattrPrefixTrust = 1
	xattrPrefixSec   = 2
)

// Superblock flags.
const (
	flagUncompressedInodes = 1 << iota
	flagUncompressedData
	_ // check, unused since 2.0
	flagUncompressedFragments
	flagNoFragments
	flagAlwaysFragments
	flagDuplicates
	flagExportable
	flagUncompressedXattrs
	flagNoXattrs
	flagCompressorOptions
	flagUncompressedIDs
)

// Inode types.
const (
	inodeDir = iota + 1
	inodeFile
	inodeSymlink
	inodeBlockDevice
	inodeCharDevice
	inodeFifo
	inodeSocket
	inodeExtDir
	inodeExtFile
	inodeExtSymlink
	inodeExtBlockDevice
	inodeExtCharDevice
	inodeExtFifo
	inodeExtSocket
)

// Compression is a codec of the format, by its number in the superblock. Zero
// is no codec: in Options it asks for the default one. None is not a number of
// the format: such an image says gzip and stores every block as it is.
type Compression uint16

// The codecs. LZMA and LZO are recognised and not supported.
const (
	Gzip Compression = iota + 1
	LZMA
	LZO
	XZ
	LZ4
	Zstd
	None Compression = 0xffff
)

var compressionNames = [...]string{"default", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"}

func (c Compression) String() string {
	if c == None {
		return "none"
	}
	if int(c) < len(compressionNames) {
		return compressionNames[c]
	}
	return fmt.Sprintf("compression %d", uint16(c))
}

// ErrFormat is the root of every error that says an image is damaged or not a
// squashfs image at all.
var ErrFormat = errors.New("not a valid squashfs image")

// FormatError says what is wrong in an image and at which byte offset.
type FormatError struct {
	Offset int64
	What   string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%v: at byte %d: %s", ErrFormat, e.Offset, e.What)
}

// Unwrap makes every FormatError an ErrFormat.
func (e *FormatError) Unwrap() error { return ErrFormat }

// superblock is the image's first 96 bytes.
type superblock struct {
	Inodes      uint32
	ModTime     uint32 // seconds since 1970
	BlockSize   uint32
	Fragments   uint32
	Compression Compression
	BlockLog    uint16
	Flags       uint16
	IDs         uint16
	Root        inodeRef
	BytesUsed   uint64
	IDTable     uint64
	XattrTable  uint64
	InodeTable  uint64
	DirTable    uint64
	FragTable   uint64
	ExportTable uint64
}

// inodeRef is a place in a chain of metadata blocks: the byte offset of the
// block in its table, and the offset in the block's uncompressed data.
type inodeRef uint64

func newRef(block uint64, offset int) inodeRef { return inodeRef(block<<16 | uint64(offset)) }
func (r inodeRef) block() uint64               { return uint64(r) >> 16 }
func (r inodeRef) offset() int                 { return int(r & 0xffff) }

func (s *superblock) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, superblockSize)
	b = le.AppendUint32(b, magic)
	b = le.AppendUint32(b, s.Inodes)
	b = le.AppendUint32(b, s.ModTime)
	b = le.AppendUint32(b, s.BlockSize)
	b = le.AppendUint32(b, s.Fragments)
	b = le.AppendUint16(b, uint16(s.Compression))
	b = le.AppendUint16(b, s.BlockLog)
	b = le.AppendUint16(b, s.Flags)
	b = le.AppendUint16(b, s.IDs)
	b = le.AppendUint16(b, 4) // version 4.0
	b = le.AppendUint16(b, 0)
	for _, v := range [...]uint64{
		uint64(s.Root), s.BytesUsed, s.IDTable, s.XattrTable,
		s.InodeTable, s.DirTable, s.FragTable, s.ExportTable,
	} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func decodeSuperblock(b []byte) (superblock, error) {
	le := binary.LittleEndian
	if len(b) < superblockSize {
		return superblock{}, &FormatError{int64(len(b)), "the superblock is cut short"}
	}
	if got := le.Uint32(b); got != magic {
		return superblock{}, &FormatError{0, fmt.Sprintf("magic number %#08x, want %#08x", got, magic)}
	}
	if major, minor := le.Uint16(b[28:]), le.Uint16(b[30:]); major != 4 || minor != 0 {
		return superblock{}, &FormatError{28, fmt.Sprintf("version %d.%d, want 4.0", major, minor)}
	}
	s := superblock{
		Inodes:      le.Uint32(b[4:]),
		ModTime:     le.Uint32(b[8:]),
		BlockSize:   le.Uint32(b[12:]),
		Fragments:   le.Uint32(b[16:]),
		Compression: Compression(le.Uint16(b[20:])),
		BlockLog:    le.Uint16(b[22:]),
		Flags:       le.Uint16(b[24:]),
		IDs:         le.Uint16(b[26:]),
		Root:        inodeRef(le.Uint64(b[32:])),
		BytesUsed:   le.Uint64(b[40:]),
		IDTable:     le.Uint64(b[48:]),
		XattrTable:  le.Uint64(b[56:]),
		InodeTable:  le.Uint64(b[64:]),
		DirTable:    le.Uint64(b[72:]),
		FragTable:   le.Uint64(b[80:]),
		ExportTable: le.Uint64(b[88:]),
	}
	if s.BlockLog > 20 || s.BlockSize != 1<<s.BlockLog || s.BlockSize < minBlockSize {
		return superblock{}, &FormatError{12, fmt.Sprintf("block size %d with log %d", s.BlockSize, s.BlockLog)}
	}
	return s, nil
}

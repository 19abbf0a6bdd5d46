package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"sync"
	"time"
)

// Image is an open squashfs image. It holds the superblock, the tables'
// indexes and two small caches; everything else is read when it is asked for.
// All methods may be called by several goroutines at once.
type Image struct {
	r    io.ReaderAt
	size int64
	sb   superblock

	codec   codec
	options []byte // the compressor options block, nil when there is none

	fragIndex   []uint64 // where each metadata block of the table starts
	exportIndex []uint64
	idIndex     []uint64
	xattr       xattrIndex
	inodes      region
	dirs        region

	ids     func() ([]uint32, error)
	meta    metaCache
	frags   fragmentCache
	buffers sync.Pool // *[]byte of one block
}

// region is the part of the image that a chain of metadata blocks fills.
type region struct {
	name       string
	start, end int64
}

// maxUncompressed is the most bytes that the region can hold: a metadata block
// takes at least a header and one byte.
func (r region) maxUncompressed() uint64 { return uint64(r.end-r.start) / 3 * metadataSize }

// xattrIndex is the header and index of the extended attributes.
type xattrIndex struct {
	values region
	count  uint32
	index  []uint64
}

// Open reads the superblock and the tables' indexes of the image in the first
// size bytes of r. The image need not be trusted: every number in it is checked
// against its size before memory is taken for it. r must stay readable as long
// as the image, its nodes and its files are used.
//
// An image with a codec that is not supported opens, so that Info can tell
// about it; reading its contents fails with errors.ErrUnsupported.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	head := make([]byte, min(size, superblockSize))
	if err := readFullAt(r, head, 0); err != nil {
		return nil, fmt.Errorf("read squashfs superblock: %w", err)
	}
	sb, err := decodeSuperblock(head)
	if err != nil {
		return nil, err
	}
	im := &Image{r: r, size: size, sb: sb}
	if err := im.checkSuperblock(); err != nil {
		return nil, err
	}
	if im.codec, err = newCodec(sb.Compression, int(sb.BlockSize)); err != nil {
		return nil, err
	}
	im.meta.init(metaCacheBlocks)
	im.frags.init(fragmentCacheBlocks)
	im.ids = sync.OnceValues(im.readIDs)
	im.buffers.New = func() any { b := make([]byte, sb.BlockSize); return &b }
	if err := im.readIndexes(); err != nil {
		return nil, err
	}
	if sb.Flags&flagCompressorOptions != 0 {
		if im.options, err = im.readOptions(); err != nil {
			return nil, err
		}
	}
	return im, nil
}

// readFullAt is ReadAt without the io.EOF that may come with a full read, and
// with io.ErrUnexpectedEOF for a short one.
func readFullAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func badf(off int64, format string, a ...any) error {
	return &FormatError{off, fmt.Sprintf(format, a...)}
}

// superblock field offsets, for error messages.
const (
	offInodes = 4
	offFrags  = 16
	offIDs    = 26
	offRoot   = 32
	offUsed   = 40
	offIDTab  = 48
	offXattr  = 56
	offInoTab = 64
	offDirTab = 72
	offFragTb = 80
	offExport = 88
)

func (im *Image) checkSuperblock() error {
	sb := &im.sb
	if sb.BytesUsed > uint64(im.size) {
		return badf(offUsed, "the image uses %d bytes and the file has %d: it is cut short", sb.BytesUsed, im.size)
	}
	if sb.BytesUsed < superblockSize {
		return badf(offUsed, "the image uses %d bytes, fewer than its superblock", sb.BytesUsed)
	}
	for _, t := range [...]struct {
		off      int64
		name     string
		pos      uint64
		optional bool
	}{
		{offIDTab, "id table", sb.IDTable, false},
		{offXattr, "xattr table", sb.XattrTable, true},
		{offInoTab, "inode table", sb.InodeTable, false},
		{offDirTab, "directory table", sb.DirTable, false},
		{offFragTb, "fragment table", sb.FragTable, sb.Fragments == 0},
		{offExport, "export table", sb.ExportTable, true},
	} {
		if t.optional && t.pos == noTable {
			continue
		}
		if t.pos < superblockSize || t.pos > sb.BytesUsed {
			return badf(t.off, "the %s starts at %d, outside of the image's %d bytes", t.name, t.pos, sb.BytesUsed)
		}
	}
	if sb.InodeTable >= sb.DirTable {
		return badf(offInoTab, "the inode table (at %d) does not end before the directory table (at %d)", sb.InodeTable, sb.DirTable)
	}
	if sb.Inodes == 0 {
		return badf(offInodes, "the image has no inodes")
	}
	if sb.IDs == 0 {
		return badf(offIDs, "the image has no ids")
	}
	im.inodes = region{"inode table", int64(sb.InodeTable), int64(sb.DirTable)}
	// The smallest inode, a fifo's, takes 20 bytes.
	if most := im.inodes.maxUncompressed() / 20; uint64(sb.Inodes) > most {
		return badf(offInodes, "%d inodes cannot fit in an inode table of %d bytes", sb.Inodes, im.inodes.end-im.inodes.start)
	}
	return nil
}

// readIndexes reads the lists of metadata blocks of the fragment, export, id
// and xattr tables, and finds where the directory table ends: where the first
// table after it begins.
func (im *Image) readIndexes() error {
	sb := &im.sb
	var err error
	if im.idIndex, err = im.readIndex("id table", sb.IDTable, uint64(sb.IDs), 4); err != nil {
		return err
	}
	if sb.Fragments > 0 {
		if im.fragIndex, err = im.readIndex("fragment table", sb.FragTable, uint64(sb.Fragments), fragmentEntry); err != nil {
			return err
		}
	}
	if sb.ExportTable != noTable {
		if im.exportIndex, err = im.readIndex("export table", sb.ExportTable, uint64(sb.Inodes), 8); err != nil {
			return err
		}
	}
	if err := im.readXattrHeader(); err != nil {
		return err
	}
	end := sb.IDTable
	for _, index := range [][]uint64{im.idIndex, im.fragIndex, im.exportIndex} {
		if len(index) > 0 {
			end = min(end, index[0])
		}
	}
	if sb.XattrTable != noTable {
		end = min(end, uint64(im.xattr.values.start))
	}
	if end < sb.DirTable {
		return badf(offDirTab, "the directory table (at %d) is not followed by the other tables (the first is at %d)", sb.DirTable, end)
	}
	im.dirs = region{"directory table", int64(sb.DirTable), int64(end)}
	return nil
}

// readIndex reads the positions of the metadata blocks that hold count entries
// of the given width.
func (im *Image) readIndex(name string, pos, count uint64, width int) ([]uint64, error) {
	blocks := (count*uint64(width) + metadataSize - 1) / metadataSize
	if blocks*8 > im.sb.BytesUsed-pos {
		return nil, badf(int64(pos), "the %s needs %d bytes of index for %d entries, past the end of the image", name, blocks*8, count)
	}
	raw := make([]byte, blocks*8)
	if err := readFullAt(im.r, raw, int64(pos)); err != nil {
		return nil, fmt.Errorf("read the index of the %s at byte %d: %w", name, pos, err)
	}
	index := make([]uint64, blocks)
	for i := range index {
		index[i] = binary.LittleEndian.Uint64(raw[i*8:])
		if index[i] < superblockSize || index[i] >= pos {
			return nil, badf(int64(pos)+int64(i)*8, "block %d of the %s lies at %d, not before its index", i, name, index[i])
		}
	}
	return index, nil
}

func (im *Image) readXattrHeader() error {
	pos := im.sb.XattrTable
	if pos == noTable {
		return nil
	}
	const headerSize = 16
	if im.sb.BytesUsed-pos < headerSize {
		return badf(int64(pos), "the xattr table is cut short")
	}
	var b [headerSize]byte
	if err := readFullAt(im.r, b[:], int64(pos)); err != nil {
		return fmt.Errorf("read the xattr table at byte %d: %w", pos, err)
	}
	start, count := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint32(b[8:])
	if start < superblockSize || start > pos {
		return badf(int64(pos), "the xattr values start at %d, not before their table", start)
	}
	index, err := im.readIndex("xattr table", pos+headerSize, uint64(count), 16)
	if err != nil {
		return err
	}
	end := pos
	for _, p := range index {
		end = min(end, p)
	}
	if end < start {
		return badf(int64(pos)+headerSize, "the xattr ids (at %d) lie before the xattr values (at %d)", end, start)
	}
	im.xattr = xattrIndex{region{"xattr values", int64(start), int64(end)}, count, index}
	return nil
}

func (im *Image) readIDs() ([]uint32, error) {
	raw, err := im.readTable(im.idIndex, int(im.sb.IDs)*4, im.sb.IDTable)
	if err != nil {
		return nil, fmt.Errorf("read the id table: %w", err)
	}
	ids := make([]uint32, im.sb.IDs)
	for i := range ids {
		ids[i] = binary.LittleEndian.Uint32(raw[i*4:])
	}
	return ids, nil
}

// readTable reads a whole table of size bytes; only for small ones.
func (im *Image) readTable(index []uint64, size int, end uint64) ([]byte, error) {
	out := make([]byte, 0, size)
	for _, pos := range index {
		b, _, err := im.metaBlock(int64(pos), int64(end))
		if err != nil {
			return nil, err
		}
		if want := min(size-len(out), metadataSize); len(b) < want {
			return nil, badf(int64(pos), "a table block holds %d bytes, want %d", len(b), want)
		}
		out = append(out, b[:min(len(b), size-len(out))]...)
	}
	return out, nil
}

// tableEntry returns entry i of a table whose entries do not cross blocks.
func (im *Image) tableEntry(index []uint64, i uint64, width int, end int64) ([]byte, error) {
	per := uint64(metadataSize / width)
	if i/per >= uint64(len(index)) {
		return nil, badf(end, "entry %d is past the end of the table", i)
	}
	pos := int64(index[i/per])
	b, _, err := im.metaBlock(pos, end)
	if err != nil {
		return nil, err
	}
	off := int(i%per) * width
	if off+width > len(b) {
		return nil, badf(pos, "a table block holds %d bytes: entry %d is missing", len(b), i)
	}
	return b[off : off+width], nil
}

// modTime is a squashfs time: unsigned seconds, until 2106.
func modTime(sec int64) time.Time { return time.Unix(sec, 0).UTC() }

// pathError names the path at which err happened; nil stays nil.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// fitsInt says whether a 64-bit length can be an int64 offset.
func fitsInt(v uint64) bool { return v <= math.MaxInt64 }

package squashfs

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// listing is where a directory's entries are in the directory table.
type listing struct {
	ref   inodeRef
	size  uint64 // bytes
	index []dirIndex
}

// dirIndex points into a long listing: name is the first one behind the
// header at offset, and block the metadata block in which that header begins.
type dirIndex struct {
	offset, block uint32
	name          string
}

// treeWriter writes the inode table and the directory table. A directory's
// entries must follow the inodes they name, and its inode must follow its
// entries; so the order is subdirectories' contents, then all entries' inodes
// side by side, then the listing.
type treeWriter struct {
	ctx    context.Context
	inodes *metaWriter
	dirs   *metaWriter
	refs   []inodeRef // by inode number, from 1 on
	buf    []byte
}

func (t *treeWriter) tree(root *item) error {
	if err := t.directory(root); err != nil {
		return err
	}
	return t.inode(root)
}

func (t *treeWriter) directory(dir *item) error {
	if err := t.ctx.Err(); err != nil {
		return context.Cause(t.ctx)
	}
	for _, e := range dir.entries {
		if e.item.node.Kind != rootfs.Dir {
			continue
		}
		if err := t.directory(e.item); err != nil {
			return err
		}
	}
	for _, e := range dir.entries {
		if err := t.inode(e.item); err != nil {
			return err
		}
	}
	return t.list(dir)
}

// inode writes an inode unless a hard link to it was first.
func (t *treeWriter) inode(it *item) error {
	if it.written {
		return nil
	}
	it.ref, it.written = t.inodes.here(), true
	if it.ref.block() > math.MaxUint32 {
		return nodeError(it.path, "the inode table is longer than 4 GiB")
	}
	t.refs[it.number-1] = it.ref
	t.buf = appendInode(t.buf[:0], it)
	t.inodes.write(t.buf)
	return t.inodes.err
}

// list writes a directory's entries in runs. A run shares a header, and what
// the header says must hold for each of its entries: the metadata block of
// the inode, and an inode number within 16 bits of the header's. A run ends
// after 256 entries (SQUASHFS_DIR_COUNT), and in a long directory where it
// would leave the 8 KiB that an index entry is to cover.
func (t *treeWriter) list(dir *item) error {
	l := &dir.listing
	l.ref = t.dirs.here()
	if l.ref.block() > math.MaxUint32 {
		return nodeError(dir.path, "the directory table is longer than 4 GiB")
	}
	lastBlock := l.ref.block()
	for rest := dir.entries; len(rest) > 0; {
		run := rest[:runLength(rest)]
		rest = rest[len(run):]
		if here := t.dirs.here(); here.block() != lastBlock && l.size >= metadataSize && len(l.index) < math.MaxUint16 {
			lastBlock = here.block()
			l.index = append(l.index, dirIndex{uint32(l.size), uint32(lastBlock), run[0].name})
		}
		t.buf = appendRun(t.buf[:0], run)
		t.dirs.write(t.buf)
		l.size += uint64(len(t.buf))
	}
	if l.size > math.MaxUint32-dirCountNoDot {
		return nodeError(dir.path, "its list of names is longer than 4 GiB")
	}
	return t.dirs.err
}

const (
	dirHeaderSize = 12
	dirEntrySize  = 8 // without the name
)

// runLength is how many of the entries can share the header of the first.
func runLength(entries []entry) int {
	first := entries[0].item
	size := dirHeaderSize
	for i, e := range entries {
		size += dirEntrySize + len(e.name)
		delta := int64(e.item.number) - int64(first.number)
		if i == dirHeaderMax || e.item.ref.block() != first.ref.block() ||
			delta < math.MinInt16 || delta > math.MaxInt16 || size > metadataSize {
			return i
		}
	}
	return len(entries)
}

func appendRun(b []byte, run []entry) []byte {
	le := binary.LittleEndian
	first := run[0].item
	b = le.AppendUint32(b, uint32(len(run)-1))
	b = le.AppendUint32(b, uint32(first.ref.block()))
	b = le.AppendUint32(b, first.number)
	for _, e := range run {
		b = le.AppendUint16(b, uint16(e.item.ref.offset()))
		b = le.AppendUint16(b, uint16(e.item.number-first.number))
		b = le.AppendUint16(b, inodeType(e.item.node.Kind))
		b = le.AppendUint16(b, uint16(len(e.name)-1))
		b = append(b, e.name...)
	}
	return b
}

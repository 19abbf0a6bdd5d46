package squashfs

import (
	"encoding/binary"
	"io/fs"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// dirEntry is one name of a directory's listing.
type dirEntry struct {
	name   string
	ref    inodeRef
	number uint32
	typ    uint16 // basic
}

// dirReader reads a listing: groups of a header, which names a metadata block
// of the inode table and a base number, and up to 256 entries relative to it.
type dirReader struct {
	m      *metaReader
	left   uint64 // bytes of the listing still to come
	count  uint32 // entries of the group still to come
	block  uint32
	number uint32
	prev   string
	groups int // headers seen
}

// openDir starts at the first entry of directory n.
func (im *Image) openDir(n *inode) (*dirReader, error) {
	d := &dirReader{left: n.listing()}
	if d.left == 0 {
		return d, nil
	}
	var err error
	d.m, err = im.at(im.dirs, newRef(uint64(n.dirBlock), int(n.dirOffset)))
	return d, err
}

// next returns the next entry; ok is false at the end. Names come in strictly
// rising byte order, or it is an error: the kernel's lookup depends on it.
func (d *dirReader) next() (e dirEntry, ok bool, err error) {
	le := binary.LittleEndian
	if d.left == 0 {
		if d.count > 0 {
			return e, false, badf(d.m.block, "a directory ends within a group: %d entries are missing", d.count)
		}
		return e, false, nil
	}
	if d.count == 0 {
		h, err := d.take(12)
		if err != nil {
			return e, false, err
		}
		d.count, d.block, d.number = le.Uint32(h), le.Uint32(h[4:]), le.Uint32(h[8:])
		if d.count >= dirHeaderMax {
			return e, false, badf(d.m.block, "a directory header with %d entries; %d are allowed", uint64(d.count)+1, dirHeaderMax)
		}
		d.count++
		d.groups++
	}
	b, err := d.take(8)
	if err != nil {
		return e, false, err
	}
	offset, delta, typ, size := le.Uint16(b), int16(le.Uint16(b[2:])), le.Uint16(b[4:]), int(le.Uint16(b[6:]))+1
	if size > nameMax {
		return e, false, badf(d.m.block, "a name of %d bytes", size)
	}
	name, err := d.take(size)
	if err != nil {
		return e, false, err
	}
	d.count--
	e = dirEntry{string(name), newRef(uint64(d.block), int(offset)), d.number + uint32(int32(delta)), typ}
	if reason := badName(e.name); reason != "" {
		return e, false, badf(d.m.block, "name %q %s", e.name, reason)
	}
	if e.name <= d.prev {
		return e, false, badf(d.m.block, "name %q after %q: names must rise", e.name, d.prev)
	}
	d.prev = e.name
	return e, true, nil
}

func (d *dirReader) take(n int) ([]byte, error) {
	if uint64(n) > d.left {
		return nil, badf(d.m.block, "a directory ends within an entry")
	}
	d.left -= uint64(n)
	return d.m.bytes(n)
}

// badName says why a name cannot stand in a directory.
func badName(name string) string {
	switch {
	case name == "." || name == "..":
		return "is reserved"
	case strings.ContainsRune(name, '/'):
		return "holds a slash"
	case strings.IndexByte(name, 0) >= 0:
		return "holds a NUL byte"
	case len(name) > 255:
		return "is longer than 255 bytes"
	}
	return ""
}

// find looks for one name in directory n. A large directory has an index with
// the first name of some groups: only the part where the name must be is read.
func (im *Image) find(n *inode, name string) (*inode, error) {
	d, err := im.openDir(n)
	if err == nil && n.indexCount > 0 {
		err = im.seekIndex(n, d, name)
	}
	if err != nil {
		return nil, err
	}
	for {
		e, ok, err := d.next()
		if err != nil {
			return nil, err
		}
		if !ok || e.name > name {
			return nil, fs.ErrNotExist
		}
		if e.name == name {
			return im.entryInode(e)
		}
	}
}

// entryInode reads the inode of an entry and compares what both say.
func (im *Image) entryInode(e dirEntry) (*inode, error) {
	child, err := im.readInode(e.ref)
	if err != nil {
		return nil, err
	}
	if child.basic() != e.typ {
		return nil, badf(im.inodes.start, "the directory says type %d for %q, its inode %d", e.typ, e.name, child.basic())
	}
	return child, nil
}

// indexEntry is an entry of a large directory's index.
type indexEntry struct {
	offset uint32 // of a header, from the start of the listing
	block  uint32 // of the directory table
	name   string // first of the group
}

func readDirIndex(m *metaReader) (indexEntry, error) {
	b, err := m.bytes(12)
	if err != nil {
		return indexEntry{}, err
	}
	le := binary.LittleEndian
	x := indexEntry{offset: le.Uint32(b), block: le.Uint32(b[4:])}
	size := le.Uint32(b[8:])
	if size >= nameMax {
		return x, badf(m.block, "a directory index name of %d bytes", uint64(size)+1)
	}
	name, err := m.bytes(int(size) + 1)
	x.name = string(name)
	return x, err
}

// seekIndex moves d to the last indexed group that does not begin after name.
func (im *Image) seekIndex(n *inode, d *dirReader, name string) error {
	m, err := im.at(im.inodes, n.index)
	if err != nil {
		return err
	}
	var best indexEntry
	for range n.indexCount {
		x, err := readDirIndex(m)
		if err != nil {
			return err
		}
		if x.name > name {
			break
		}
		best = x
	}
	if best.name == "" {
		return nil
	}
	return im.seekDir(n, d, best)
}

func (im *Image) seekDir(n *inode, d *dirReader, x indexEntry) error {
	if uint64(x.offset) >= n.listing() {
		return badf(im.dirs.start, "a directory index points to byte %d of a directory of %d", x.offset, n.size)
	}
	ref := newRef(uint64(x.block), int((uint64(n.dirOffset)+uint64(x.offset))%metadataSize))
	var err error
	d.m, err = im.at(im.dirs, ref)
	d.left = n.listing() - uint64(x.offset)
	return err
}

// Entry is one name of an image and what it stands for.
type Entry struct {
	Path  string // as rootfs writes it: "usr/bin/sh", "." for the root
	Inode uint32 // the number in the image: equal numbers are hard links
	Links uint32
	// Node has the metadata and the content. A directory's node has no
	// entries here.
	*rootfs.Node

	ino *inode
}

// Lookup finds a path without following symlinks, by reading only the
// directories on the way, of large ones only the part where the name must be.
// A missing path is fs.ErrNotExist.
func (im *Image) Lookup(name string) (*Entry, error) {
	clean, err := rootfs.Clean(name)
	if err != nil {
		return nil, err
	}
	n, err := im.lookup(clean)
	if err != nil {
		return nil, pathError("lookup", clean, err)
	}
	return im.entry(clean, n)
}

func (im *Image) entry(path string, n *inode) (*Entry, error) {
	node, err := im.node(n)
	if err != nil {
		return nil, pathError("read", path, err)
	}
	return &Entry{path, n.number, n.nlink, node, n}, nil
}

func (im *Image) root() (*inode, error) {
	n, err := im.readInode(im.sb.Root)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, badf(offRoot, "the root inode is not a directory")
	}
	return n, nil
}

func (im *Image) lookup(clean string) (*inode, error) {
	n, err := im.root()
	if err != nil || clean == "." {
		return n, err
	}
	for part := range strings.SplitSeq(clean, "/") {
		if !n.isDir() {
			return nil, fs.ErrNotExist
		}
		if n, err = im.find(n, part); err != nil {
			return nil, err
		}
	}
	return n, nil
}

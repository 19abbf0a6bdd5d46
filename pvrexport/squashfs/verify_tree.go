package squashfs

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func (r inodeRef) String() string { return fmt.Sprintf("%d:%d", r.block(), r.offset()) }

// inodeState is what Verify keeps of an inode.
type inodeState struct {
	ref    inodeRef
	number uint32
	nlink  uint32
	links  uint32 // names found
	typ    uint16
}

// scanInodes reads the inode table from front to back. What the directories
// refer to must then be the start of one of these inodes, so no bytes are
// inodes twice.
func (v *verifier) scanInodes(ctx context.Context) error {
	im := v.im
	v.broken = true
	m, err := im.at(im.inodes, 0)
	if err != nil {
		return err
	}
	seen := make([]uint64, im.sb.Inodes/64+1)
	for len(v.inodes) <= int(im.sb.Inodes) && !m.atEnd() {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := im.decodeInode(m)
		if err != nil {
			return err
		}
		v.inodes = append(v.inodes, inodeState{n.ref, n.number, n.nlink, 0, n.basic()})
		switch i := n.number; {
		case i == 0 || i > im.sb.Inodes:
			v.add(Damage, "inode", "", m.block, "inode number %d of %d", i, im.sb.Inodes)
		case seen[i/64]&(1<<(i%64)) != 0:
			v.add(Damage, "inode", "", m.block, "inode number %d twice", i)
		default:
			seen[i/64] |= 1 << (i % 64)
		}
	}
	switch n := int(im.sb.Inodes); {
	case len(v.inodes) > n:
		v.add(Damage, "inode", "", offInodes, "the superblock counts %d inodes, the table holds more", n)
	case len(v.inodes) < n:
		v.add(Damage, "inode", "", offInodes, "the superblock counts %d inodes, the table holds %d", n, len(v.inodes))
	}
	v.broken = false
	return nil
}

// atEnd says that nothing follows in the region.
func (m *metaReader) atEnd() bool { return m.off == len(m.data) && m.next >= m.reg.end }

func (v *verifier) state(ref inodeRef) *inodeState {
	i, ok := slices.BinarySearchFunc(v.inodes, ref, func(s inodeState, r inodeRef) int { return cmp.Compare(s.ref, r) })
	if !ok {
		return nil
	}
	return &v.inodes[i]
}

// walk visits every name once and every inode once.
func (v *verifier) walk(ctx context.Context) error {
	if v.broken {
		return nil
	}
	im := v.im
	v.fragEnd, v.fragOf = make([]uint32, im.sb.Fragments), make([]uint32, im.sb.Fragments)
	root, err := im.root()
	if err != nil {
		return err
	}
	s := v.state(im.sb.Root)
	if s == nil {
		return badf(offRoot, "the root inode at %v is not the start of an inode", im.sb.Root)
	}
	s.links++
	v.stats.Directories++
	dirs, err := im.countBlocks(im.dirs)
	if err != nil {
		return err
	}
	left := dirs * metadataSize
	for stack := []step{{".", root}}; len(stack) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if top.n.listing() > left {
			return badf(offDirTab, "the directories overlap: together they are larger than the directory table")
		}
		left -= top.n.listing()
		sub, err := v.directory(top, &stack)
		if err != nil {
			if !v.note("directory", top.path, err) {
				return pathError("read", top.path, err)
			}
			continue
		}
		if top.n.nlink != sub+2 {
			v.add(Damage, "links", top.path, -1, "link count %d with %d directories in it, want %d", top.n.nlink, sub, sub+2)
		}
	}
	v.checkLinks()
	return nil
}

// checkLinks compares the link counts with the names that were found.
func (v *verifier) checkLinks() {
	for _, s := range v.inodes {
		switch {
		case s.links == 0:
			v.add(Unusual, "links", "", -1, "inode %d has no name", s.number)
		case s.typ != inodeDir && s.links != s.nlink:
			v.add(Damage, "links", "", -1, "inode %d has %d names and a link count of %d", s.number, s.links, s.nlink)
		}
	}
}

// directory checks the entries of a directory and pushes its directories; it
// returns how many there are.
func (v *verifier) directory(at step, push *[]step) (sub uint32, err error) {
	if err := v.common(at.path, at.n); err != nil {
		return 0, err
	}
	if at.n.indexCount > 0 {
		if err := v.index(at); err != nil {
			return 0, err
		}
	}
	if at.n.size < dirCountNoDot {
		v.add(Damage, "directory", at.path, -1, "a directory of %d bytes; an empty one has %d", at.n.size, dirCountNoDot)
	}
	d, err := v.im.openDir(at.n)
	if err != nil {
		return 0, err
	}
	for {
		e, ok, err := d.next()
		if err != nil || !ok {
			return sub, err
		}
		if e.typ == inodeDir {
			sub++
		}
		if err := v.name(at, e, push); err != nil {
			return sub, err
		}
	}
}

// name checks one entry and, when it is the first name of its inode, the inode.
func (v *verifier) name(at step, e dirEntry, push *[]step) error {
	path := join(at.path, e.name)
	s := v.state(e.ref)
	switch {
	case s == nil:
		v.add(Damage, "directory", path, -1, "the entry points to %v, where no inode starts", e.ref)
		return nil
	case s.number != e.number:
		v.add(Damage, "directory", path, -1, "the entry says inode %d, the inode %d", e.number, s.number)
	case s.typ != e.typ:
		v.add(Damage, "directory", path, -1, "the entry says type %d, the inode %d", e.typ, s.typ)
		return nil
	}
	if s.links++; s.links > 1 {
		if s.typ == inodeDir {
			v.add(Damage, "directory", path, -1, "the directory appears a second time")
			return nil
		}
		v.stats.HardLinks++
		return nil
	}
	if len(path) > maxPath {
		v.add(Unusual, "directory", path[:64]+"…", -1, "a path of %d bytes; Linux opens at most %d", len(path), maxPath)
		if s.typ == inodeDir {
			return nil
		}
	}
	n, err := v.im.readInode(e.ref)
	if err != nil {
		return err
	}
	if s.typ == inodeDir {
		v.stats.Directories++
		if n.parent != at.n.number {
			v.add(Damage, "directory", path, -1, "its parent is inode %d, the directory says %d", at.n.number, n.parent)
		}
		*push = append(*push, step{path, n})
		return nil
	}
	if err := v.common(path, n); err != nil {
		return err
	}
	if s.typ == inodeFile {
		return v.file(path, n)
	}
	v.stats.Others++
	if s.typ == inodeSymlink {
		v.symlink(path, n)
	}
	return nil
}

// common checks what every inode has.
func (v *verifier) common(path string, n *inode) error {
	im := v.im
	for _, id := range [...]uint16{n.uid, n.gid} {
		if id >= im.sb.IDs {
			v.add(Damage, "ids", path, -1, "owner %d of an id table of %d", id, im.sb.IDs)
		}
	}
	if n.mode&^0o7777 != 0 {
		v.add(Damage, "inode", path, -1, "mode %#o holds bits of the type", n.mode)
	}
	if n.xattr != noXattr && n.xattr >= im.xattr.count {
		v.add(Damage, "xattr", path, -1, "extended attributes %d of %d", n.xattr, im.xattr.count)
	}
	return nil
}

func (v *verifier) symlink(path string, n *inode) {
	switch {
	case n.target == "":
		v.add(Kernel, "inode", path, -1, "a symlink without a target")
	case len(n.target) > maxPath:
		v.add(Kernel, "inode", path, -1, "a symlink target of %d bytes; Linux follows at most %d", len(n.target), maxPath)
	case strings.IndexByte(n.target, 0) >= 0:
		v.add(Damage, "inode", path, -1, "a symlink target with a NUL byte")
	}
}

// index checks that each entry of a large directory's index leads to a group
// that begins with the name it says, in rising order.
func (v *verifier) index(at step) error {
	m, err := v.im.at(v.im.inodes, at.n.index)
	if err != nil {
		return err
	}
	var prev indexEntry
	for i := range at.n.indexCount {
		x, err := readDirIndex(m)
		if err != nil {
			return err
		}
		if i > 0 && (x.name <= prev.name || x.offset <= prev.offset) {
			v.add(Kernel, "directory", at.path, -1, "the directory's index is out of order at %q", x.name)
		}
		prev = x
		d := &dirReader{}
		if err := v.im.seekDir(at.n, d, x); err != nil {
			return err
		}
		e, _, err := d.next()
		if err != nil || e.name != x.name {
			v.add(Kernel, "directory", at.path, -1, "the directory's index says %q at byte %d, where %q stands", x.name, x.offset, e.name)
		}
	}
	return nil
}

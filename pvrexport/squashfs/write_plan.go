package squashfs

import (
	"fmt"
	"math"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// item is an inode of the image to be.
type item struct {
	node    *rootfs.Node
	path    string // its first name, for ordering and messages
	number  uint32
	parent  uint32 // directories: the number of the one that holds it
	nlink   uint32
	uid     uint16 // indices into the id table
	gid     uint16
	xattr   uint32
	entries []entry   // directories
	data    *fileData // regular files

	ref     inodeRef // once written
	written bool
	listing listing // directories, once written
}

// entry is a name in a directory.
type entry struct {
	name string
	item *item
}

// plan is what is known of the image before any content is read: which inodes
// there are, their numbers, and the order of the content.
type plan struct {
	opts   Options
	root   *item
	items  []*item // by number, from 1 on
	files  []*item // regular files, in the order of their content
	ids    idTable
	xattrs *xattrTable
	stats  Stats

	byNode map[*rootfs.Node]*item
}

func newPlan(t *rootfs.Tree, o Options, enc encoder) (*plan, error) {
	p := &plan{opts: o, xattrs: newXattrTable(enc), byNode: map[*rootfs.Node]*item{}}
	var err error
	if p.root, err = p.add(".", t.Root()); err != nil {
		return nil, err
	}
	if err := p.scan(p.root); err != nil {
		return nil, err
	}
	// The root's parent does not exist; mksquashfs uses the number after the
	// last, and so do we.
	p.root.parent = uint32(len(p.items)) + 1
	p.byNode = nil
	sortContent(p.files)
	p.stats.Inodes, p.stats.Files = len(p.items), len(p.files)
	p.stats.XattrSets, p.stats.IDs = len(p.xattrs.entries), len(p.ids.ids)
	return p, nil
}

// scan numbers a directory's entries one after the other and then those of
// its subdirectories, so that the differences of numbers in a directory stay
// small, as its format wants them.
func (p *plan) scan(dir *item) error {
	p.stats.Directories++
	dir.nlink = 2
	dir.entries = make([]entry, 0, dir.node.Len())
	for name, n := range dir.node.Entries() {
		full := name
		if dir != p.root {
			full = dir.path + "/" + name
		}
		if len(name) == 0 || len(name) > nameMax-1 {
			return nodeError(full, "its name has %d bytes; squashfs takes 1 to %d", len(name), nameMax-1)
		}
		it, err := p.add(full, n)
		if err != nil {
			return err
		}
		if n.Kind == rootfs.Dir {
			it.parent = dir.number
			dir.nlink++
		}
		dir.entries = append(dir.entries, entry{name, it})
	}
	for _, e := range dir.entries {
		if e.item.node.Kind != rootfs.Dir {
			continue
		}
		if err := p.scan(e.item); err != nil {
			return err
		}
	}
	return nil
}

// add makes the inode of a node, or counts a link to the one it has.
func (p *plan) add(name string, n *rootfs.Node) (*item, error) {
	if it := p.byNode[n]; it != nil {
		if n.Kind == rootfs.Dir {
			return nil, nodeError(name, "the same directory is also %s; directories cannot be linked", it.path)
		}
		it.nlink++
		p.stats.Links++
		return it, nil
	}
	if err := checkNode(name, n); err != nil {
		return nil, err
	}
	it := &item{node: n, path: name, number: uint32(len(p.items)) + 1, nlink: 1, xattr: noXattr}
	var err error
	if it.uid, err = p.ids.index(name, n.UID); err != nil {
		return nil, err
	}
	if it.gid, err = p.ids.index(name, n.GID); err != nil {
		return nil, err
	}
	if len(n.Xattrs) > 0 && !p.opts.NoXattrs {
		if it.xattr, err = p.xattrs.add(name, n.Xattrs); err != nil {
			return nil, err
		}
	}
	if n.Kind == rootfs.File {
		p.files = append(p.files, it)
		p.stats.ContentSize += n.Size()
	}
	p.byNode[n] = it
	p.items = append(p.items, it)
	return it, nil
}

// checkNode refuses what the format cannot hold.
func checkNode(name string, n *rootfs.Node) error {
	switch {
	case n.Kind < rootfs.Dir || n.Kind > rootfs.Socket:
		return nodeError(name, "unknown kind of node %d", n.Kind)
	case n.Mode > 0o7777:
		return nodeError(name, "mode %#o has bits beyond 07777", n.Mode)
	case n.ModTime < 0 || n.ModTime > math.MaxUint32:
		return nodeError(name, "modification time %d is outside squashfs's range, 1970 to 2106", n.ModTime)
	case n.Kind == rootfs.Symlink && (len(n.Target) == 0 || len(n.Target) > maxSymlink):
		return nodeError(name, "a symlink target of %d bytes; Linux takes 1 to %d", len(n.Target), maxSymlink)
	case n.Kind == rootfs.File && n.Size() < 0:
		return nodeError(name, "negative size %d", n.Size())
	case (n.Kind == rootfs.BlockDevice || n.Kind == rootfs.CharDevice) && (n.Major > maxMajor || n.Minor > maxMinor):
		return nodeError(name, "device number %d:%d is beyond %d:%d", n.Major, n.Minor, maxMajor, maxMinor)
	}
	return nil
}

// Limits of Linux: paths (PATH_MAX with its NUL) and device numbers
// (new_encode_dev in linux/kdev_t.h).
const (
	maxSymlink = 4095
	maxMajor   = 1<<12 - 1
	maxMinor   = 1<<20 - 1
)

func nodeError(name, format string, args ...any) error {
	return &rootfs.PathError{Op: "store", Path: name, Reason: fmt.Sprintf(format, args...)}
}

package squashfs

import (
	"context"
	"fmt"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// Limits of a tree that is read, beyond those that the image's size sets.
const (
	maxPath       = 4095     // Linux's PATH_MAX without the NUL
	maxXattrBytes = 64 << 20 // of all values of a tree
	xattrsEach    = 16       // attributes per inode, on average
	xattrsMore    = 1 << 20  // and these above the average
)

// treeReader walks an image. Directories are visited once each and inodes may
// not share bytes of the inode table beyond its size, so a hostile image costs
// no more than an honest one of its size.
type treeReader struct {
	im   *Image
	tree *rootfs.Tree
	seen map[inodeRef]*rootfs.Node
	budget
}

// budget is what may still be read.
type budget struct {
	inodeBytes uint64
	dirBytes   uint64
	xattrs     uint64
	xattrBytes uint64
}

func (im *Image) newBudget() (budget, error) {
	inodes, err := im.countBlocks(im.inodes)
	if err != nil {
		return budget{}, err
	}
	dirs, err := im.countBlocks(im.dirs)
	if err != nil {
		return budget{}, err
	}
	b := budget{
		inodeBytes: inodes * metadataSize, dirBytes: dirs * metadataSize,
		xattrs: xattrsEach*uint64(im.sb.Inodes) + xattrsMore, xattrBytes: maxXattrBytes,
	}
	if uint64(im.sb.Inodes) > b.inodeBytes/20 {
		return b, badf(offInodes, "%d inodes cannot fit in %d metadata blocks", im.sb.Inodes, inodes)
	}
	return b, nil
}

// countBlocks walks the headers of a table's metadata blocks.
func (im *Image) countBlocks(r region) (uint64, error) {
	var n uint64
	for pos := r.start; pos < r.end; n++ {
		length, _, err := im.metaHeader(pos, r.end)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", r.name, err)
		}
		pos += 2 + int64(length)
	}
	return n, nil
}

// take charges an inode that is seen for the first time.
func (b *budget) take(n *inode) error {
	size := 16 + 4*n.blocks + 12*uint64(n.indexCount)
	if size > b.inodeBytes {
		return badf(offInoTab, "the inodes overlap: together they are larger than the inode table")
	}
	b.inodeBytes -= size
	if n.isDir() {
		if n.listing() > b.dirBytes {
			return badf(offDirTab, "the directories overlap: together they are larger than the directory table")
		}
		b.dirBytes -= n.listing()
	}
	return nil
}

func (b *budget) takeXattrs(list []rootfs.Xattr) error {
	var size uint64
	for _, x := range list {
		size += uint64(len(x.Value))
	}
	if uint64(len(list)) > b.xattrs || size > b.xattrBytes {
		return badf(offXattr, "more extended attributes than %d inodes can sensibly have", len(list))
	}
	b.xattrs -= uint64(len(list))
	b.xattrBytes -= size
	return nil
}

// Tree reads all names and metadata. Names of one inode are one node. Contents
// are read from the image when they are opened.
func (im *Image) Tree(ctx context.Context) (*rootfs.Tree, error) {
	b, err := im.newBudget()
	if err != nil {
		return nil, err
	}
	t := &treeReader{im: im, tree: rootfs.New(), seen: make(map[inodeRef]*rootfs.Node), budget: b}
	root, err := im.root()
	if err != nil {
		return nil, err
	}
	// Depth first with a stack of our own: a deep image must not use up the
	// goroutine's.
	type dir struct {
		path string
		n    *inode
	}
	if err := t.put(".", root); err != nil {
		return nil, err
	}
	for stack := []dir{{".", root}}; len(stack) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		err := t.list(top.path, top.n, func(path string, n *inode) {
			stack = append(stack, dir{path, n})
		})
		if err != nil {
			return nil, err
		}
	}
	return t.tree, nil
}

// list puts the entries of a directory and hands its directories to push.
func (t *treeReader) list(path string, n *inode, push func(string, *inode)) error {
	d, err := t.im.openDir(n)
	if err != nil {
		return pathError("read", path, err)
	}
	for {
		e, ok, err := d.next()
		if err != nil {
			return pathError("read", path, err)
		}
		if !ok {
			return nil
		}
		name := join(path, e.name)
		if len(name) > maxPath {
			return pathError("read", name[:64]+"…", badf(t.im.dirs.start, "a path longer than %d bytes", maxPath))
		}
		if node := t.seen[e.ref]; node != nil {
			if int(e.typ) >= len(kinds) || kinds[e.typ] != node.Kind {
				return pathError("read", name, badf(t.im.inodes.start, "the directory says type %d, the inode is a %s", e.typ, node.Kind))
			}
			if node.Kind == rootfs.Dir {
				return pathError("read", name, badf(t.im.dirs.start, "the directory appears a second time"))
			}
			if err := t.tree.Put(name, node); err != nil {
				return err
			}
			continue
		}
		child, err := t.im.entryInode(e)
		if err != nil {
			return pathError("read", name, err)
		}
		if err := t.put(name, child); err != nil {
			return err
		}
		if child.isDir() {
			push(name, child)
		}
	}
}

// put makes the node of an inode that is new.
func (t *treeReader) put(path string, n *inode) error {
	if len(t.seen) >= int(t.im.sb.Inodes) {
		return pathError("read", path, badf(offInodes, "the tree has more inodes than the %d of the superblock", t.im.sb.Inodes))
	}
	if err := t.take(n); err != nil {
		return pathError("read", path, err)
	}
	node, err := t.im.node(n)
	if err != nil {
		return pathError("read", path, err)
	}
	if err := t.takeXattrs(node.Xattrs); err != nil {
		return pathError("read", path, err)
	}
	t.seen[n.ref] = node
	return t.tree.Put(path, node)
}

func join(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}

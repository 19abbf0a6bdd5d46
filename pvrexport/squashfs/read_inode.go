package squashfs

import (
	"encoding/binary"
	"fmt"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// maxTarget is the longest symlink target that is read. Linux follows at most
// 4,095 bytes; Verify reports longer ones.
const maxTarget = 65535

// inode is a decoded inode of any of the 14 types.
type inode struct {
	ref    inodeRef // where it starts
	end    inodeRef // where the next one starts
	typ    uint16
	mode   uint16
	uid    uint16 // indexes of the id table
	gid    uint16
	mtime  uint32
	number uint32
	nlink  uint32
	xattr  uint32

	target string // symlinks
	rdev   uint32 // devices

	// Files.
	size       uint64
	start      uint64
	sparse     uint64
	fragment   uint32
	fragOffset uint32
	blocks     uint64   // how many sizes follow
	blockList  inodeRef // where they are

	// Directories: size counts "." and ".." as 3 bytes.
	dirBlock   uint32
	dirOffset  uint16
	parent     uint32
	indexCount uint16
	index      inodeRef
}

func (n *inode) isDir() bool  { return n.typ == inodeDir || n.typ == inodeExtDir }
func (n *inode) isFile() bool { return n.typ == inodeFile || n.typ == inodeExtFile }

// basic is the type as directories store it: without the extended bit.
func (n *inode) basic() uint16 {
	if n.typ >= inodeExtDir {
		return n.typ - inodeExtDir + inodeDir
	}
	return n.typ
}

// kinds of the basic types, by number.
var kinds = [...]rootfs.Kind{
	inodeDir: rootfs.Dir, inodeFile: rootfs.File, inodeSymlink: rootfs.Symlink,
	inodeBlockDevice: rootfs.BlockDevice, inodeCharDevice: rootfs.CharDevice,
	inodeFifo: rootfs.Fifo, inodeSocket: rootfs.Socket,
}

// listing is how many bytes of the directory table belong to a directory.
func (n *inode) listing() uint64 {
	if n.size < dirCountNoDot {
		return 0
	}
	return n.size - dirCountNoDot
}

// readInode decodes the inode at ref.
func (im *Image) readInode(ref inodeRef) (*inode, error) {
	m, err := im.at(im.inodes, ref)
	if err != nil {
		return nil, err
	}
	n, err := im.decodeInode(m)
	if err != nil {
		return nil, fmt.Errorf("inode at %d:%d: %w", ref.block(), ref.offset(), err)
	}
	return n, nil
}

// decodeInode decodes the next inode and leaves m behind it.
func (im *Image) decodeInode(m *metaReader) (*inode, error) {
	le := binary.LittleEndian
	n := &inode{ref: m.ref(), nlink: 1, xattr: noXattr, fragment: noFragment}
	h, err := m.bytes(16)
	if err != nil {
		return nil, err
	}
	n.typ, n.mode = le.Uint16(h), le.Uint16(h[2:])
	n.uid, n.gid = le.Uint16(h[4:]), le.Uint16(h[6:])
	n.mtime, n.number = le.Uint32(h[8:]), le.Uint32(h[12:])
	switch n.typ {
	case inodeDir, inodeExtDir:
		err = im.decodeDir(m, n)
	case inodeFile, inodeExtFile:
		err = im.decodeFile(m, n)
	case inodeSymlink, inodeExtSymlink:
		err = decodeSymlink(m, n)
	case inodeBlockDevice, inodeCharDevice, inodeExtBlockDevice, inodeExtCharDevice,
		inodeFifo, inodeSocket, inodeExtFifo, inodeExtSocket:
		err = decodeSpecial(m, n)
	default:
		err = badf(m.block, "unknown inode type %d", n.typ)
	}
	if err != nil {
		return nil, err
	}
	n.end = m.ref()
	return n, nil
}

func (im *Image) decodeDir(m *metaReader, n *inode) error {
	le := binary.LittleEndian
	if n.typ == inodeDir {
		b, err := m.bytes(16)
		if err != nil {
			return err
		}
		n.dirBlock, n.nlink, n.size = le.Uint32(b), le.Uint32(b[4:]), uint64(le.Uint16(b[8:]))
		n.dirOffset, n.parent = le.Uint16(b[10:]), le.Uint32(b[12:])
	} else {
		b, err := m.bytes(24)
		if err != nil {
			return err
		}
		n.nlink, n.size, n.dirBlock = le.Uint32(b), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		n.parent, n.indexCount = le.Uint32(b[12:]), le.Uint16(b[16:])
		n.dirOffset, n.xattr = le.Uint16(b[18:]), le.Uint32(b[20:])
		n.index = m.ref()
		for range n.indexCount {
			e, err := m.bytes(12)
			if err != nil {
				return err
			}
			size := le.Uint32(e[8:])
			if size >= nameMax {
				return badf(m.block, "a directory index name of %d bytes", uint64(size)+1)
			}
			if _, err := m.bytes(int(size) + 1); err != nil {
				return err
			}
		}
	}
	if n.listing() > im.dirs.maxUncompressed() {
		return badf(m.block, "a directory of %d bytes, more than the directory table can hold", n.size)
	}
	return nil
}

func (im *Image) decodeFile(m *metaReader, n *inode) error {
	le := binary.LittleEndian
	if n.typ == inodeFile {
		b, err := m.bytes(16)
		if err != nil {
			return err
		}
		n.start, n.fragment = uint64(le.Uint32(b)), le.Uint32(b[4:])
		n.fragOffset, n.size = le.Uint32(b[8:]), uint64(le.Uint32(b[12:]))
	} else {
		b, err := m.bytes(40)
		if err != nil {
			return err
		}
		n.start, n.size, n.sparse = le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])
		n.nlink, n.fragment = le.Uint32(b[24:]), le.Uint32(b[28:])
		n.fragOffset, n.xattr = le.Uint32(b[32:]), le.Uint32(b[36:])
	}
	if !fitsInt(n.size) {
		return badf(m.block, "a file of %d bytes", n.size)
	}
	n.blocks = n.size >> im.sb.BlockLog
	if n.fragment == noFragment && n.size&uint64(im.sb.BlockSize-1) != 0 {
		n.blocks++
	}
	if n.blocks > im.inodes.maxUncompressed()/4 {
		return badf(m.block, "a file of %d bytes has %d blocks, more than the inode table can list", n.size, n.blocks)
	}
	n.blockList = m.ref()
	return m.skip(n.blocks * 4)
}

func decodeSymlink(m *metaReader, n *inode) error {
	b, err := m.bytes(8)
	if err != nil {
		return err
	}
	n.nlink = binary.LittleEndian.Uint32(b)
	size := binary.LittleEndian.Uint32(b[4:])
	if size > maxTarget {
		return badf(m.block, "a symlink target of %d bytes", size)
	}
	t, err := m.bytes(int(size))
	if err != nil {
		return err
	}
	n.target = string(t)
	if n.typ == inodeExtSymlink {
		n.xattr, err = m.uint32()
	}
	return err
}

func decodeSpecial(m *metaReader, n *inode) error {
	var err error
	if n.nlink, err = m.uint32(); err != nil {
		return err
	}
	switch n.basic() {
	case inodeBlockDevice, inodeCharDevice:
		if n.rdev, err = m.uint32(); err != nil {
			return err
		}
	}
	if n.typ >= inodeExtDir {
		n.xattr, err = m.uint32()
	}
	return err
}

// major and minor undo the kernel's new_encode_dev (include/linux/kdev_t.h).
func (n *inode) major() uint32 { return n.rdev >> 8 & 0xfff }
func (n *inode) minor() uint32 { return n.rdev&0xff | n.rdev>>12&0xfff00 }

// node makes the tree's node of an inode, without a directory's entries.
func (im *Image) node(n *inode) (*rootfs.Node, error) {
	ids, err := im.ids()
	if err != nil {
		return nil, err
	}
	if int(n.uid) >= len(ids) || int(n.gid) >= len(ids) {
		return nil, badf(int64(im.sb.IDTable), "inode %d refers to ids %d and %d of %d", n.number, n.uid, n.gid, len(ids))
	}
	out := &rootfs.Node{
		Kind: kinds[n.basic()], Mode: n.mode & 0o7777, UID: ids[n.uid], GID: ids[n.gid],
		ModTime: int64(n.mtime), Target: n.target,
	}
	switch n.basic() {
	case inodeBlockDevice, inodeCharDevice:
		out.Major, out.Minor = n.major(), n.minor()
	case inodeFile:
		out.Content = &fileContent{im, n}
	}
	if n.xattr != noXattr {
		if out.Xattrs, err = im.readXattrs(n.xattr); err != nil {
			return nil, fmt.Errorf("extended attributes: %w", err)
		}
	}
	return out, nil
}

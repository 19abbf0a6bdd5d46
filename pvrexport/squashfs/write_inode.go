package squashfs

import (
	"encoding/binary"
	"math"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// inodeType is the basic type of a kind of node, the one that directories
// name. The extended types follow in the same order.
func inodeType(k rootfs.Kind) uint16 {
	switch k {
	case rootfs.Dir:
		return inodeDir
	case rootfs.File:
		return inodeFile
	case rootfs.Symlink:
		return inodeSymlink
	case rootfs.BlockDevice:
		return inodeBlockDevice
	case rootfs.CharDevice:
		return inodeCharDevice
	case rootfs.Fifo:
		return inodeFifo
	}
	return inodeSocket
}

const toExtended = inodeExtDir - inodeDir

// appendInode encodes an inode: the basic type where that can say everything.
func appendInode(b []byte, it *item) []byte {
	switch it.node.Kind {
	case rootfs.Dir:
		return appendDirInode(b, it)
	case rootfs.File:
		return appendFileInode(b, it)
	}
	le := binary.LittleEndian
	extended := it.xattr != noXattr
	b = appendInodeHeader(b, it, extended)
	b = le.AppendUint32(b, it.nlink)
	switch it.node.Kind {
	case rootfs.Symlink:
		b = le.AppendUint32(b, uint32(len(it.node.Target)))
		b = append(b, it.node.Target...)
	case rootfs.BlockDevice, rootfs.CharDevice:
		b = le.AppendUint32(b, deviceNumber(it.node.Major, it.node.Minor))
	}
	if extended {
		b = le.AppendUint32(b, it.xattr)
	}
	return b
}

func appendInodeHeader(b []byte, it *item, extended bool) []byte {
	le := binary.LittleEndian
	kind := inodeType(it.node.Kind)
	if extended {
		kind += toExtended
	}
	b = le.AppendUint16(b, kind)
	b = le.AppendUint16(b, it.node.Mode)
	b = le.AppendUint16(b, it.uid)
	b = le.AppendUint16(b, it.gid)
	b = le.AppendUint32(b, uint32(it.node.ModTime))
	return le.AppendUint32(b, it.number)
}

// deviceNumber is new_encode_dev of linux/kdev_t.h.
func deviceNumber(major, minor uint32) uint32 {
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}

func appendFileInode(b []byte, it *item) []byte {
	le := binary.LittleEndian
	d, size := it.data, uint64(it.node.Size())
	extended := it.nlink > 1 || it.xattr != noXattr || d.sparse > 0 || size > math.MaxUint32 || d.start > math.MaxUint32
	b = appendInodeHeader(b, it, extended)
	if extended {
		b = le.AppendUint64(b, d.start)
		b = le.AppendUint64(b, size)
		b = le.AppendUint64(b, d.sparse)
		b = le.AppendUint32(b, it.nlink)
		b = le.AppendUint32(b, d.fragment)
		b = le.AppendUint32(b, d.offset)
		b = le.AppendUint32(b, it.xattr)
	} else {
		b = le.AppendUint32(b, uint32(d.start))
		b = le.AppendUint32(b, d.fragment)
		b = le.AppendUint32(b, d.offset)
		b = le.AppendUint32(b, uint32(size))
	}
	for _, word := range d.blocks {
		b = le.AppendUint32(b, word)
	}
	for i := int64(len(d.blocks)); i < d.count; i++ {
		b = le.AppendUint32(b, 0)
	}
	return b
}

func appendDirInode(b []byte, it *item) []byte {
	le := binary.LittleEndian
	l := &it.listing
	size := l.size + dirCountNoDot
	extended := it.xattr != noXattr || size > math.MaxUint16 || len(l.index) > 0
	b = appendInodeHeader(b, it, extended)
	if !extended {
		b = le.AppendUint32(b, uint32(l.ref.block()))
		b = le.AppendUint32(b, it.nlink)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, uint16(l.ref.offset()))
		return le.AppendUint32(b, it.parent)
	}
	b = le.AppendUint32(b, it.nlink)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, uint32(l.ref.block()))
	b = le.AppendUint32(b, it.parent)
	b = le.AppendUint16(b, uint16(len(l.index)))
	b = le.AppendUint16(b, uint16(l.ref.offset()))
	b = le.AppendUint32(b, it.xattr)
	for _, x := range l.index {
		b = le.AppendUint32(b, x.offset)
		b = le.AppendUint32(b, x.block)
		b = le.AppendUint32(b, uint32(len(x.name)-1))
		b = append(b, x.name...)
	}
	return b
}

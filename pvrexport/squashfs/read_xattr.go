package squashfs

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// Linux's limits of one attribute (include/uapi/linux/limits.h).
const (
	xattrNameMax = 255
	xattrSizeMax = 64 << 10
	xattrListMax = 64 << 10 // all names of a file together
)

// xattrPrefixes by their number in the format.
var xattrPrefixes = [...]string{xattrPrefixUser: "user.", xattrPrefixTrust: "trusted.", xattrPrefixSec: "security."}

// readXattrs reads a set of extended attributes by its number, sorted by name.
func (im *Image) readXattrs(id uint32) ([]rootfs.Xattr, error) {
	t := im.xattr
	if id >= t.count {
		return nil, badf(int64(im.sb.XattrTable), "set %d of %d", id, t.count)
	}
	e, err := im.tableEntry(t.index, uint64(id), 16, int64(im.sb.XattrTable))
	if err != nil {
		return nil, err
	}
	ref, count := inodeRef(binary.LittleEndian.Uint64(e)), binary.LittleEndian.Uint32(e[8:])
	if count > xattrListMax/2 {
		return nil, badf(t.values.start, "set %d has %d attributes", id, count)
	}
	m, err := im.at(t.values, ref)
	if err != nil {
		return nil, err
	}
	var out []rootfs.Xattr
	names := 0
	for range count {
		x, err := im.readXattr(m)
		if err != nil {
			return nil, err
		}
		if names += len(x.Name) + 1; names > xattrListMax {
			return nil, badf(m.block, "set %d has more than %d bytes of names", id, xattrListMax)
		}
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b rootfs.Xattr) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(out); i++ {
		if out[i].Name == out[i-1].Name {
			return nil, badf(m.block, "attribute %q twice in set %d", out[i].Name, id)
		}
	}
	return out, nil
}

func (im *Image) readXattr(m *metaReader) (rootfs.Xattr, error) {
	var x rootfs.Xattr
	h, err := m.bytes(4)
	if err != nil {
		return x, err
	}
	typ, size := binary.LittleEndian.Uint16(h), binary.LittleEndian.Uint16(h[2:])
	prefix := int(typ &^ xattrOutOfLine)
	if prefix >= len(xattrPrefixes) {
		return x, badf(m.block, "attribute with unknown prefix number %d", prefix)
	}
	if size == 0 || int(size)+len(xattrPrefixes[prefix]) > xattrNameMax {
		return x, badf(m.block, "attribute name of %d bytes after %q", size, xattrPrefixes[prefix])
	}
	name, err := m.bytes(int(size))
	if err != nil {
		return x, err
	}
	x.Name = xattrPrefixes[prefix] + string(name)
	if strings.IndexByte(x.Name, 0) >= 0 {
		return x, badf(m.block, "attribute name %q holds a NUL byte", x.Name)
	}
	if typ&xattrOutOfLine == 0 {
		x.Value, err = readXattrValue(m)
		return x, err
	}
	b, err := m.bytes(12) // its own length, 8, and a reference
	if err != nil {
		return x, err
	}
	if n := binary.LittleEndian.Uint32(b); n != 8 {
		return x, badf(m.block, "attribute %s: a reference of %d bytes, want 8", x.Name, n)
	}
	other, err := im.at(im.xattr.values, inodeRef(binary.LittleEndian.Uint64(b[4:])))
	if err != nil {
		return x, err
	}
	x.Value, err = readXattrValue(other)
	return x, err
}

func readXattrValue(m *metaReader) ([]byte, error) {
	size, err := m.uint32()
	if err != nil {
		return nil, err
	}
	if size > xattrSizeMax {
		return nil, badf(m.block, "an attribute value of %d bytes; Linux allows %d", size, xattrSizeMax)
	}
	b := make([]byte, size)
	return b, m.read(b)
}

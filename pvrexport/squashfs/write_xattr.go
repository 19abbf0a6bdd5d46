package squashfs

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// Limits of Linux (linux/limits.h).
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
)

// xattrTable holds the sets of extended attributes, each different set once,
// and each long value once.
type xattrTable struct {
	pairs   *metaWriter
	entries []xattrEntry
	sets    map[[sha256.Size]byte]uint32
	values  map[[sha256.Size]byte]inodeRef // where a value's length and bytes are
	hash    hash.Hash
}

// xattrEntry is a row of the xattr id table.
type xattrEntry struct {
	ref   inodeRef
	count uint32
	size  uint32 // bytes of the names and values
}

func newXattrTable(enc encoder) *xattrTable {
	return &xattrTable{
		pairs:  newMetaWriter(enc),
		sets:   map[[sha256.Size]byte]uint32{},
		values: map[[sha256.Size]byte]inodeRef{},
		hash:   sha256.New(),
	}
}

// xattrPrefix splits a name into the number of its prefix and the rest.
func xattrPrefix(name string) (uint16, string, bool) {
	for prefix, n := range map[string]uint16{
		"user.": xattrPrefixUser, "trusted.": xattrPrefixTrust, "security.": xattrPrefixSec,
	} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			return n, rest, true
		}
	}
	return 0, "", false
}

// add returns the number of a set and stores it if it is new.
func (x *xattrTable) add(name string, set []rootfs.Xattr) (uint32, error) {
	if err := checkXattrs(name, set); err != nil {
		return 0, err
	}
	sum := x.sum(set)
	if n, ok := x.sets[sum]; ok {
		return n, nil
	}
	e := xattrEntry{ref: x.pairs.here(), count: uint32(len(set))}
	for _, a := range set {
		e.size += x.pair(a)
	}
	n := uint32(len(x.entries))
	x.sets[sum] = n
	x.entries = append(x.entries, e)
	return n, x.pairs.err
}

func checkXattrs(name string, set []rootfs.Xattr) error {
	for i, a := range set {
		_, _, known := xattrPrefix(a.Name)
		switch {
		case !known:
			return nodeError(name, "squashfs cannot hold the extended attribute %q: only user.*, trusted.* and security.*", a.Name)
		case len(a.Name) > maxXattrName:
			return nodeError(name, "an extended attribute's name has %d bytes; Linux takes %d", len(a.Name), maxXattrName)
		case len(a.Value) > maxXattrValue:
			return nodeError(name, "the extended attribute %q has %d bytes; Linux takes %d", a.Name, len(a.Value), maxXattrValue)
		case i > 0 && set[i-1].Name >= a.Name:
			return nodeError(name, "its extended attributes are not sorted at %q, or one is there twice", a.Name)
		}
	}
	return nil
}

func (x *xattrTable) sum(set []rootfs.Xattr) (sum [sha256.Size]byte) {
	x.hash.Reset()
	var length [8]byte
	for _, a := range set {
		binary.LittleEndian.PutUint32(length[:4], uint32(len(a.Name)))
		binary.LittleEndian.PutUint32(length[4:], uint32(len(a.Value)))
		x.hash.Write(length[:])
		x.hash.Write([]byte(a.Name))
		x.hash.Write(a.Value)
	}
	x.hash.Sum(sum[:0])
	return sum
}

// pair writes a name and its value, or a reference to where the same value is
// already when that is shorter. It returns the length of what it wrote.
func (x *xattrTable) pair(a rootfs.Xattr) uint32 {
	const refSize = 8
	le := binary.LittleEndian
	prefix, rest, _ := xattrPrefix(a.Name)
	var where inodeRef
	stored := false
	var sum [sha256.Size]byte
	if len(a.Value) > refSize {
		sum = sha256.Sum256(a.Value)
		where, stored = x.values[sum]
	}
	if stored {
		prefix |= xattrOutOfLine
	}
	b := le.AppendUint16(nil, prefix)
	b = le.AppendUint16(b, uint16(len(rest)))
	b = append(b, rest...)
	x.pairs.write(b)
	size := len(b)
	if stored {
		b = le.AppendUint64(le.AppendUint32(b[:0], refSize), uint64(where))
	} else {
		if len(a.Value) > refSize {
			x.values[sum] = x.pairs.here()
		}
		b = append(le.AppendUint32(b[:0], uint32(len(a.Value))), a.Value...)
	}
	x.pairs.write(b)
	return uint32(size + len(b))
}

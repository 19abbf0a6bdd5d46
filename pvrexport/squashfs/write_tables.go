package squashfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
)

// idTable numbers owners and groups in the order of their appearance.
type idTable struct {
	ids  []uint32
	byID map[uint32]uint16
}

func (t *idTable) index(name string, id uint32) (uint16, error) {
	if i, ok := t.byID[id]; ok {
		return i, nil
	}
	if len(t.ids) == maxIDs {
		return 0, nodeError(name, "its owner or group %d is one more than the %d different ones an image can hold", id, maxIDs)
	}
	if t.byID == nil {
		t.byID = map[uint32]uint16{}
	}
	i := uint16(len(t.ids))
	t.ids = append(t.ids, id)
	t.byID[id] = i
	return i, nil
}

// fragment is a shared block: where it is and its size word.
type fragment struct {
	start uint64
	word  uint32
}

// writeTables writes what follows the content. The kernel computes the length
// of each table from the start of the next, so the order is fixed and nothing
// may lie between them (squashfs_fill_super in fs/squashfs/super.c).
func writeTables(ctx context.Context, out *output, p *plan, frags []fragment, enc encoder, s *superblock) error {
	t := &treeWriter{ctx: ctx, inodes: newMetaWriter(enc), dirs: newMetaWriter(enc), refs: make([]inodeRef, len(p.items))}
	if err := t.tree(p.root); err != nil {
		return err
	}
	s.Inodes, s.Root = uint32(len(p.items)), p.root.ref
	s.Fragments, s.IDs = uint32(len(frags)), uint16(len(p.ids.ids))

	var err error
	if s.InodeTable, err = writeChain(out, t.inodes); err != nil {
		return fmt.Errorf("inode table: %w", err)
	}
	if s.DirTable, err = writeChain(out, t.dirs); err != nil {
		return fmt.Errorf("directory table: %w", err)
	}
	le := binary.LittleEndian
	s.FragTable, err = writeIndexed(out, enc, len(frags), func(b []byte, i int) []byte {
		b = le.AppendUint64(b, frags[i].start)
		return le.AppendUint64(b, uint64(frags[i].word)) // the upper half is unused
	})
	if err != nil {
		return fmt.Errorf("fragment table: %w", err)
	}
	s.ExportTable = noTable
	if !p.opts.NoExport {
		s.ExportTable, err = writeIndexed(out, enc, len(t.refs), func(b []byte, i int) []byte {
			return le.AppendUint64(b, uint64(t.refs[i]))
		})
		if err != nil {
			return fmt.Errorf("export table: %w", err)
		}
	}
	s.IDTable, err = writeIndexed(out, enc, len(p.ids.ids), func(b []byte, i int) []byte {
		return le.AppendUint32(b, p.ids.ids[i])
	})
	if err != nil {
		return fmt.Errorf("id table: %w", err)
	}
	if s.XattrTable, err = writeXattrs(out, p.xattrs, enc); err != nil {
		return fmt.Errorf("xattr table: %w", err)
	}
	return nil
}

// writeChain writes a chain of metadata blocks and returns where it begins.
func writeChain(out *output, m *metaWriter) (uint64, error) {
	start := out.pos
	b, err := m.finish()
	if err != nil {
		return 0, err
	}
	return start, out.write(b)
}

// writeIndexed writes a table of n rows: a chain of metadata blocks and behind
// it the positions of these blocks, which is where the table is said to be. A
// table without rows is not there.
func writeIndexed(out *output, enc encoder, n int, row func(b []byte, i int) []byte) (uint64, error) {
	if n == 0 {
		return noTable, nil
	}
	index, err := writeRows(out, enc, n, row)
	if err != nil {
		return 0, err
	}
	start := out.pos
	return start, out.write(index)
}

func writeRows(out *output, enc encoder, n int, row func(b []byte, i int) []byte) (index []byte, err error) {
	m := newMetaWriter(enc)
	var b []byte
	for i := range n {
		if len(m.open) == 0 {
			index = binary.LittleEndian.AppendUint64(index, out.pos+m.here().block())
		}
		b = row(b[:0], i)
		m.write(b)
	}
	_, err = writeChain(out, m)
	return index, err
}

// writeXattrs writes the pairs, the id table and its header. The kernel wants
// a table only where there are attributes.
func writeXattrs(out *output, x *xattrTable, enc encoder) (uint64, error) {
	if len(x.entries) == 0 {
		return noTable, nil
	}
	le := binary.LittleEndian
	pairs, err := writeChain(out, x.pairs)
	if err != nil {
		return 0, err
	}
	if uint64(len(x.entries)) > math.MaxInt32 {
		return 0, fmt.Errorf("%d different sets of extended attributes are too many", len(x.entries))
	}
	index, err := writeRows(out, enc, len(x.entries), func(b []byte, i int) []byte {
		e := x.entries[i]
		b = le.AppendUint64(b, uint64(e.ref))
		b = le.AppendUint32(b, e.count)
		return le.AppendUint32(b, e.size)
	})
	if err != nil {
		return 0, err
	}
	start := out.pos
	head := le.AppendUint64(nil, pairs)
	head = le.AppendUint32(head, uint32(len(x.entries)))
	head = le.AppendUint32(head, 0) // unused
	return start, out.write(append(head, index...))
}

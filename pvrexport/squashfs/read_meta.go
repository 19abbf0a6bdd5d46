package squashfs

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"sync"
)

// metaCacheBlocks bounds the cache of uncompressed metadata: 1 MiB.
const metaCacheBlocks = 128

// metaEntry is an uncompressed metadata block and the place of the next one.
type metaEntry struct {
	pos  int64
	data []byte
	next int64
}

// metaCache keeps the metadata blocks used last.
type metaCache struct {
	mu    sync.Mutex // guards what follows
	byPos map[int64]*list.Element
	used  *list.List // of *metaEntry, the latest in front
	max   int
}

func (c *metaCache) init(most int) {
	c.byPos, c.used, c.max = make(map[int64]*list.Element, most), list.New(), most
}

func (c *metaCache) get(pos int64) *metaEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byPos[pos]
	if !ok {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*metaEntry)
}

func (c *metaCache) add(m *metaEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byPos[m.pos]; ok {
		return
	}
	if c.used.Len() >= c.max {
		last := c.used.Back()
		delete(c.byPos, last.Value.(*metaEntry).pos)
		c.used.Remove(last)
	}
	c.byPos[m.pos] = c.used.PushFront(m)
}

// metaHeader reads the header of the metadata block at pos: the length of
// what follows it, and whether that is compressed.
func (im *Image) metaHeader(pos, end int64) (length int, compressed bool, err error) {
	var h [2]byte
	if pos < superblockSize || pos > end-2 {
		return 0, false, badf(pos, "a metadata block starts past the end of its table at %d", end)
	}
	if err := readFullAt(im.r, h[:], pos); err != nil {
		return 0, false, fmt.Errorf("read metadata at byte %d: %w", pos, err)
	}
	v := binary.LittleEndian.Uint16(h[:])
	length, compressed = int(v&^metadataStored), v&metadataStored == 0
	if length == 0 || length > metadataSize {
		return 0, false, badf(pos, "a metadata block of %d bytes", length)
	}
	if int64(length) > end-pos-2 {
		return 0, false, badf(pos, "a metadata block of %d bytes runs past the end of its table at %d", length, end)
	}
	return length, compressed, nil
}

// metaBlock returns the uncompressed metadata block at pos and the place of the
// next one. The block must end by end. The caller must not change the bytes.
func (im *Image) metaBlock(pos, end int64) ([]byte, int64, error) {
	if m := im.meta.get(pos); m != nil && m.next <= end {
		return m.data, m.next, nil
	}
	length, compressed, err := im.metaHeader(pos, end)
	if err != nil {
		return nil, 0, err
	}
	raw := make([]byte, length)
	if err := readFullAt(im.r, raw, pos+2); err != nil {
		return nil, 0, fmt.Errorf("read metadata at byte %d: %w", pos, err)
	}
	m := &metaEntry{pos, raw, pos + 2 + int64(length)}
	if compressed {
		out, err := im.codec.decompress(make([]byte, 0, metadataSize), raw)
		if err != nil {
			return nil, 0, blockError(pos, "metadata block", err)
		}
		if len(out) == 0 {
			return nil, 0, badf(pos, "an empty metadata block")
		}
		m.data = out
	}
	im.meta.add(m)
	return m.data, m.next, nil
}

// metaReader reads along a chain of metadata blocks.
type metaReader struct {
	im    *Image
	reg   region
	block int64 // where the current block starts
	next  int64
	data  []byte
	off   int
}

// at places a reader at a reference: a byte offset of a block in the region
// and an offset in its uncompressed data.
func (im *Image) at(reg region, ref inodeRef) (*metaReader, error) {
	if ref.block() >= uint64(reg.end-reg.start) {
		return nil, badf(reg.start, "reference to byte %d of the %s, which has %d", ref.block(), reg.name, reg.end-reg.start)
	}
	m := &metaReader{im: im, reg: reg}
	if err := m.load(reg.start + int64(ref.block())); err != nil {
		return nil, err
	}
	if ref.offset() > len(m.data) {
		return nil, badf(m.block, "reference to offset %d of a block of %d bytes in the %s", ref.offset(), len(m.data), reg.name)
	}
	m.off = ref.offset()
	return m, nil
}

func (m *metaReader) load(pos int64) error {
	data, next, err := m.im.metaBlock(pos, m.reg.end)
	if err != nil {
		return fmt.Errorf("%s: %w", m.reg.name, err)
	}
	m.block, m.next, m.data, m.off = pos, next, data, 0
	return nil
}

// ref is the place of the next byte.
func (m *metaReader) ref() inodeRef {
	if m.off == len(m.data) && m.next < m.reg.end {
		return newRef(uint64(m.next-m.reg.start), 0)
	}
	return newRef(uint64(m.block-m.reg.start), m.off)
}

// read fills b.
func (m *metaReader) read(b []byte) error {
	for len(b) > 0 {
		if m.off == len(m.data) {
			if err := m.load(m.next); err != nil {
				return err
			}
		}
		n := copy(b, m.data[m.off:])
		m.off += n
		b = b[n:]
	}
	return nil
}

// skip passes over n bytes.
func (m *metaReader) skip(n uint64) error {
	for n > uint64(len(m.data)-m.off) {
		n -= uint64(len(m.data) - m.off)
		if err := m.load(m.next); err != nil {
			return err
		}
	}
	m.off += int(n)
	return nil
}

// bytes reads n bytes; the caller has checked that n is small.
func (m *metaReader) bytes(n int) ([]byte, error) {
	if n <= len(m.data)-m.off {
		b := m.data[m.off : m.off+n : m.off+n]
		m.off += n
		return b, nil
	}
	b := make([]byte, n)
	return b, m.read(b)
}

func (m *metaReader) uint32() (uint32, error) {
	b, err := m.bytes(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// fragmentCacheBlocks bounds the cache of uncompressed fragment blocks. Files
// packed together lie next to each other in the tree, so few are enough.
const fragmentCacheBlocks = 4

// fileContent is a file's data in the image.
type fileContent struct {
	im *Image
	n  *inode
}

// Size returns the length of the file.
func (c *fileContent) Size() int64 { return int64(c.n.size) }

// Open returns a reader that uncompresses block by block.
func (c *fileContent) Open() (io.ReadCloser, error) {
	m, err := c.im.at(c.im.inodes, c.n.blockList)
	if err != nil {
		return nil, err
	}
	return &fileReader{im: c.im, n: c.n, sizes: m, left: c.n.blocks, pos: int64(c.n.start)}, nil
}

// block is a block of file data in the image.
type block struct {
	pos    int64
	length int // in the image; 0 is a hole
	stored bool
	want   int // uncompressed
}

// decodeBlock splits a size word.
func decodeBlock(pos int64, word uint32, want int) block {
	return block{pos, int(word &^ dataStored), word&dataStored != 0, want}
}

// fileReader reads a file from front to back. It holds one block.
type fileReader struct {
	im    *Image
	n     *inode
	sizes *metaReader
	left  uint64 // blocks still to come
	pos   int64  // of the next block in the image
	done  uint64 // bytes of the file in blocks read so far

	buf    *[]byte // from im.buffers; nil before the first block and after Close
	data   []byte  // what is left of the current block
	tail   bool    // the fragment was read
	closed bool
}

// Read implements io.Reader.
func (f *fileReader) Read(p []byte) (int, error) {
	if f.closed {
		return 0, fs.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	for len(f.data) == 0 {
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}

// WriteTo implements io.WriterTo: io.Copy then writes whole blocks.
func (f *fileReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if f.closed {
			return total, fs.ErrClosed
		}
		if len(f.data) > 0 {
			n, err := w.Write(f.data)
			total += int64(n)
			f.data = f.data[n:]
			if err != nil {
				return total, err
			}
			continue
		}
		if err := f.fill(); errors.Is(err, io.EOF) {
			return total, nil
		} else if err != nil {
			return total, err
		}
	}
}

// Close gives the block's memory back.
func (f *fileReader) Close() error {
	f.closed, f.data = true, nil
	if f.buf != nil {
		f.im.buffers.Put(f.buf)
		f.buf = nil
	}
	return nil
}

// fill reads the next block, or the tail from its fragment.
func (f *fileReader) fill() error {
	if f.left == 0 {
		return f.fillTail()
	}
	word, err := f.sizes.uint32()
	if err != nil {
		return err
	}
	want := int(min(f.n.size-f.done, uint64(f.im.sb.BlockSize)))
	b := decodeBlock(f.pos, word, want)
	if f.buf == nil {
		f.buf = f.im.buffers.Get().(*[]byte)
	}
	if f.data, err = f.im.readBlock((*f.buf)[:0], b); err != nil {
		return err
	}
	f.left--
	f.pos += int64(b.length)
	f.done += uint64(want)
	return nil
}

func (f *fileReader) fillTail() error {
	if f.done == f.n.size || f.tail {
		return io.EOF
	}
	f.tail = true
	data, err := f.im.readFragment(f.n.fragment)
	if err != nil {
		return err
	}
	size := f.n.size - f.done
	if uint64(f.n.fragOffset)+size > uint64(len(data)) {
		return badf(offFragTb, "inode %d has its tail at %d+%d of fragment %d, which holds %d bytes",
			f.n.number, f.n.fragOffset, size, f.n.fragment, len(data))
	}
	f.data = data[f.n.fragOffset:][:size]
	return nil
}

// readBlock reads a block into dst's capacity, which must be enough for want.
func (im *Image) readBlock(dst []byte, b block) ([]byte, error) {
	dst = dst[:0:b.want]
	if b.length == 0 {
		clear(dst[:b.want])
		return dst[:b.want], nil
	}
	if err := im.checkBlock(b); err != nil {
		return nil, err
	}
	if b.stored {
		err := readFullAt(im.r, dst[:b.want], b.pos)
		if err != nil {
			return nil, fmt.Errorf("read data at byte %d: %w", b.pos, err)
		}
		return dst[:b.want], nil
	}
	raw := im.buffers.Get().(*[]byte)
	defer im.buffers.Put(raw)
	if err := readFullAt(im.r, (*raw)[:b.length], b.pos); err != nil {
		return nil, fmt.Errorf("read data at byte %d: %w", b.pos, err)
	}
	return im.uncompress(dst, (*raw)[:b.length], b)
}

// uncompress uncompresses a block's bytes into dst's capacity.
func (im *Image) uncompress(dst, raw []byte, b block) ([]byte, error) {
	out, err := im.codec.decompress(dst, raw)
	if err != nil {
		return nil, blockError(b.pos, "data block", err)
	}
	if len(out) != b.want {
		return nil, badf(b.pos, "data block holds %d bytes, want %d", len(out), b.want)
	}
	return out, nil
}

// checkBlock checks a block's place and length.
func (im *Image) checkBlock(b block) error {
	switch {
	case b.length > int(im.sb.BlockSize):
		return badf(b.pos, "data block of %d bytes, the block size is %d", b.length, im.sb.BlockSize)
	case b.pos < superblockSize || b.pos > int64(im.sb.BytesUsed)-int64(b.length):
		return badf(b.pos, "data block of %d bytes lies outside of the image's %d", b.length, im.sb.BytesUsed)
	case b.stored && b.length != b.want:
		return badf(b.pos, "stored data block holds %d bytes, want %d", b.length, b.want)
	}
	return nil
}

// fragmentBlock returns the place of fragment block i.
func (im *Image) fragmentBlock(i uint32) (block, error) {
	if i >= im.sb.Fragments {
		return block{}, badf(offFrags, "fragment %d of %d", i, im.sb.Fragments)
	}
	e, err := im.tableEntry(im.fragIndex, uint64(i), fragmentEntry, int64(im.sb.FragTable))
	if err != nil {
		return block{}, fmt.Errorf("fragment table: %w", err)
	}
	pos := binary.LittleEndian.Uint64(e)
	if !fitsInt(pos) {
		return block{}, badf(int64(im.sb.FragTable), "fragment %d lies at %d", i, pos)
	}
	b := decodeBlock(int64(pos), binary.LittleEndian.Uint32(e[8:]), 0)
	if b.length == 0 {
		return block{}, badf(int64(im.sb.FragTable), "fragment %d is empty", i)
	}
	if b.stored {
		b.want = b.length
	}
	return b, im.checkBlock(b)
}

// fragmentCache keeps the fragment blocks used last. Goroutines that want the
// same block wait for one to read it.
type fragmentCache struct {
	mu     sync.Mutex // guards slots
	slots  []*fragmentSlot
	maxLen int
}

type fragmentSlot struct {
	id   uint32
	once sync.Once
	data []byte
	err  error
}

func (c *fragmentCache) init(n int) { c.maxLen = n }

// slot returns the slot of a fragment and makes it the one used last.
func (c *fragmentCache) slot(id uint32) *fragmentSlot {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.slots {
		if s.id == id {
			copy(c.slots[1:i+1], c.slots[:i])
			c.slots[0] = s
			return s
		}
	}
	if len(c.slots) < c.maxLen {
		c.slots = append(c.slots, nil)
	}
	copy(c.slots[1:], c.slots)
	c.slots[0] = &fragmentSlot{id: id}
	return c.slots[0]
}

// readFragment returns a fragment block. The caller must not change it.
func (im *Image) readFragment(id uint32) ([]byte, error) {
	s := im.frags.slot(id)
	s.once.Do(func() { s.data, s.err = im.loadFragment(id) })
	return s.data, s.err
}

func (im *Image) loadFragment(id uint32) ([]byte, error) {
	b, err := im.fragmentBlock(id)
	if err != nil {
		return nil, err
	}
	dst := make([]byte, 0, im.sb.BlockSize)
	if b.stored {
		return im.readBlock(dst, b)
	}
	raw := im.buffers.Get().(*[]byte)
	defer im.buffers.Put(raw)
	if err := readFullAt(im.r, (*raw)[:b.length], b.pos); err != nil {
		return nil, fmt.Errorf("read fragment at byte %d: %w", b.pos, err)
	}
	out, err := im.codec.decompress(dst, (*raw)[:b.length])
	if err != nil {
		return nil, blockError(b.pos, "fragment block", err)
	}
	return out, nil
}

package squashfs

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ownerFragment in dataBlock.owner marks a fragment; the rest is its number.
const ownerFragment = 1 << 31

// dataBlock is a block that a file or the fragment table refers to.
type dataBlock struct {
	pos   int64
	word  uint32
	want  uint32 // uncompressed; of a fragment, at least
	owner uint32 // index of verifier.files, or a fragment
}

func (b dataBlock) block() block   { return decodeBlock(b.pos, b.word, int(b.want)) }
func (b dataBlock) fragment() bool { return b.owner&ownerFragment != 0 }

// compactFirst is how many blocks are collected before repeated ones are
// dropped for the first time.
const compactFirst = 1 << 16

// file collects the blocks of a file.
func (v *verifier) file(path string, n *inode) error {
	im := v.im
	owner := uint32(len(v.files))
	v.files = append(v.files, path)
	v.stats.Files++
	v.stats.FileBytes += int64(n.size)
	if n.sparse > n.size {
		v.add(Damage, "inode", path, -1, "%d bytes of holes in a file of %d", n.sparse, n.size)
	}
	m, err := im.at(im.inodes, n.blockList)
	if err != nil {
		return err
	}
	pos, size := n.start, uint64(im.sb.BlockSize)
	for i := range n.blocks {
		word, err := m.uint32()
		if err != nil {
			return err
		}
		if word == 0 {
			continue
		}
		if pos > uint64(im.size) {
			v.add(Damage, "block", path, -1, "block %d lies at %d, past the end of the image", i, pos)
			return nil
		}
		v.blocks = append(v.blocks, dataBlock{int64(pos), word, uint32(min(n.size-i*size, size)), owner})
		pos += uint64(word &^ dataStored)
	}
	if len(v.blocks) > v.compact {
		// Many files may share blocks: memory follows the image, not them.
		v.dropRepeated()
		v.compact = max(compactFirst, 2*len(v.blocks))
	}
	if n.fragment == noFragment {
		return nil
	}
	if n.fragment >= im.sb.Fragments {
		v.add(Damage, "fragment", path, -1, "fragment %d of %d", n.fragment, im.sb.Fragments)
		return nil
	}
	end := uint64(n.fragOffset) + n.size - n.blocks*size
	if end > size {
		v.add(Damage, "fragment", path, -1, "the tail ends at byte %d of fragment %d; a block has %d", end, n.fragment, size)
		return nil
	}
	if uint32(end) > v.fragEnd[n.fragment] {
		v.fragEnd[n.fragment], v.fragOf[n.fragment] = uint32(end), owner
	}
	return nil
}

// checkData uncompresses every distinct block once, in the order of the image.
func (v *verifier) checkData(ctx context.Context) error {
	if v.broken {
		return nil
	}
	for i := range v.im.sb.Fragments {
		b, err := v.im.fragmentBlock(i)
		if err != nil {
			if !v.note("fragment", "", err) {
				return err
			}
			continue
		}
		if v.fragEnd[i] == 0 {
			v.add(Unusual, "fragment", "", b.pos, "no file uses fragment %d", i)
		}
		word := uint32(b.length)
		if b.stored {
			word |= dataStored
		}
		v.blocks = append(v.blocks, dataBlock{b.pos, word, v.fragEnd[i], i | ownerFragment})
	}
	blocks := v.distinct()
	return v.uncompressAll(ctx, blocks)
}

// dropRepeated sorts the blocks by place and keeps the first of equal ones.
func (v *verifier) dropRepeated() {
	slices.SortFunc(v.blocks, func(a, b dataBlock) int {
		return cmp.Or(cmp.Compare(a.pos, b.pos), cmp.Compare(a.word, b.word), cmp.Compare(a.want, b.want), cmp.Compare(a.owner, b.owner))
	})
	v.blocks = slices.CompactFunc(v.blocks, func(a, b dataBlock) bool {
		return a.pos == b.pos && a.word == b.word && a.want == b.want && !a.fragment() && !b.fragment()
	})
}

// distinct drops repeated blocks. Blocks that overlap are reported and dropped
// too, so the work that follows is never more than the image is large.
func (v *verifier) distinct() []dataBlock {
	v.dropRepeated()
	out := v.blocks[:0]
	end := int64(superblockSize)
	if v.im.options != nil {
		end += 2 + int64(len(v.im.options))
	}
	for _, b := range v.blocks {
		blk := b.block()
		if len(out) > 0 {
			if last := out[len(out)-1]; last.pos == b.pos && last.word == b.word && !b.fragment() && !last.fragment() {
				v.add(Damage, "block", v.owner(b), b.pos, "the block holds %d bytes for this file and %d for %s", b.want, last.want, v.owner(last))
				continue
			}
		}
		check := blk
		if b.fragment() {
			check.want = blk.length // its length is not known before
		}
		if err := v.im.checkBlock(check); err != nil {
			v.note("block", v.owner(b), err)
			continue
		}
		tables := blk.pos+int64(blk.length) > int64(v.im.sb.InodeTable)
		if blk.pos < end || tables {
			v.add(Damage, "overlap", v.owner(b), b.pos, "a block of %d bytes overlaps what lies before it or the tables", blk.length)
			continue
		}
		v.stats.Unused += blk.pos - end
		end = blk.pos + int64(blk.length)
		out = append(out, b)
	}
	v.stats.Unused += max(0, int64(v.im.sb.InodeTable)-end)
	return out
}

func (v *verifier) owner(b dataBlock) string {
	i := b.owner
	if b.fragment() {
		if i &^= ownerFragment; v.fragEnd[i] == 0 {
			return ""
		}
		i = v.fragOf[i]
	}
	return v.files[i]
}

// found is what a worker reports about a block.
type found struct {
	i    int
	size int
	rule string // of the kernel, broken
	err  error
}

// uncompressAll hands blocks to workers. They report through one channel that
// is read here, so nothing is shared.
func (v *verifier) uncompressAll(ctx context.Context, blocks []dataBlock) error {
	jobs, results := make(chan int), make(chan found, v.opts.Workers)
	var workers sync.WaitGroup
	for range v.opts.Workers {
		workers.Go(func() {
			buf := make([]byte, v.im.sb.BlockSize)
			raw := make([]byte, v.im.sb.BlockSize)
			for i := range jobs {
				results <- v.im.tryBlock(i, blocks[i], buf, raw)
			}
		})
	}
	go func() {
		defer func() { close(jobs); workers.Wait(); close(results) }()
		for i := range blocks {
			select {
			case jobs <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var failed error
	var bad []found
	for f := range results {
		b := blocks[f.i]
		v.stats.DataBytes += int64(f.size)
		if b.fragment() {
			v.stats.Fragments++
		} else {
			v.stats.Blocks++
		}
		if f.err != nil || f.rule != "" {
			bad = append(bad, f)
		}
	}
	slices.SortFunc(bad, func(a, b found) int { return cmp.Compare(a.i, b.i) }) // workers finish in any order
	for _, f := range bad {
		b := blocks[f.i]
		if f.rule != "" {
			v.add(Kernel, "codec", v.owner(b), b.pos, "data block: %s", f.rule)
		}
		if f.err != nil && !v.note("block", v.owner(b), f.err) {
			failed = cmp.Or(failed, f.err)
		}
	}
	return cmp.Or(failed, ctx.Err())
}

// tryBlock uncompresses a block and checks its codec's rules.
func (im *Image) tryBlock(i int, d dataBlock, buf, raw []byte) found {
	f := found{i: i}
	b := d.block()
	if f.err = readFullAt(im.r, raw[:b.length], b.pos); f.err != nil {
		f.err = fmt.Errorf("read data at byte %d: %w", b.pos, f.err)
		return f
	}
	f.size = b.length
	if !b.stored {
		f.rule, _ = im.kernelRules(raw[:b.length])
		out, err := im.codec.decompress(buf[:0:im.sb.BlockSize], raw[:b.length])
		if err != nil {
			f.err = blockError(b.pos, "data block", err)
			return f
		}
		f.size = len(out)
	}
	switch {
	case d.fragment() && f.size < b.want:
		f.err = badf(b.pos, "a fragment block holds %d bytes, its files need %d", f.size, b.want)
	case !d.fragment() && f.size != b.want:
		f.err = badf(b.pos, "data block holds %d bytes, want %d", f.size, b.want)
	}
	return f
}

// kernelRules checks a compressed block for what Linux cannot uncompress
// although the codec's own tools can.
func (im *Image) kernelRules(raw []byte) (string, bool) {
	most := uint64(max(im.sb.BlockSize, metadataSize))
	switch im.sb.Compression {
	case Zstd:
		var h zstd.Header
		if h.Decode(raw) != nil {
			return "", false // reported when it is uncompressed
		}
		window := h.WindowSize
		if h.SingleSegment {
			window = h.FrameContentSize
		}
		if window > most {
			return fmt.Sprintf("zstd window of %d bytes; Linux allows the block size, %d", window, most), true
		}
	case XZ:
		return im.xzKernelRules(raw, most)
	}
	return "", false
}

// xzKernelRules are those of lib/xz as fs/squashfs/xz_wrapper.c sets it up.
func (im *Image) xzKernelRules(raw []byte, most uint64) (string, bool) {
	if o := im.compressor(); o.Present && o.XZDictSize > 0 {
		most = min(uint64(o.XZDictSize), math.MaxUint32)
	}
	check, err := xzStreamCheck(raw)
	if err != nil {
		return "", false
	}
	if check != xzCheckNone && check != xzCheckCRC32 {
		return fmt.Sprintf("xz check %d; Linux knows none (0) and CRC32 (1)", check), true
	}
	h, err := xzBlockHeader(raw[xzHeaderSize:])
	if err == nil && h.dict > most {
		return fmt.Sprintf("xz dictionary of %d bytes; Linux allots %d", h.dict, most), true
	}
	return "", false
}

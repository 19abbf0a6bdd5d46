package squashfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// feeder reads the files in order and decides for each whether its content is
// in the image already, and what becomes a block, a hole or a part of a shared
// block.
type feeder struct {
	ctx    context.Context
	pl     *pipeline
	plan   *plan
	zeros  []byte
	short  []byte // the end of a file, before it has a place
	shared *job   // the shared block that is being filled
	frags  uint32 // shared blocks begun
	size   int    // of a block
	dups   *duplicates

	content int64 // bytes of content since the last job
	stats   Stats
}

func newFeeder(ctx context.Context, pl *pipeline, p *plan) *feeder {
	n := p.opts.BlockSize
	return &feeder{
		ctx: ctx, pl: pl, plan: p, size: n, dups: newDuplicates(p),
		zeros: make([]byte, n), short: make([]byte, n),
	}
}

func (f *feeder) run() error {
	for _, it := range f.plan.files {
		if err := f.ctx.Err(); err != nil {
			return context.Cause(f.ctx)
		}
		if err := f.file(it); err != nil {
			if f.ctx.Err() != nil {
				return context.Cause(f.ctx)
			}
			return err
		}
	}
	return f.flushShared()
}

func (f *feeder) addStats(s *Stats) {
	s.FragmentPieces, s.Holes = f.stats.FragmentPieces, f.stats.Holes
	s.Duplicates, s.DuplicateSize = f.stats.Duplicates, f.stats.DuplicateSize
}

// file stores one file's content, or finds it stored.
func (f *feeder) file(it *item) error {
	size := it.node.Size()
	if size == 0 {
		it.data = &fileData{fragment: noFragment}
		return nil
	}
	whole := f.dups.mayRepeat(size)
	var sum digest
	known := whole && f.dups.seen(size)
	if known {
		var err error
		if sum, err = f.sum(it); err != nil {
			return err
		}
		if it.data = f.dups.file(sum); it.data != nil {
			f.stats.Duplicates++
			f.stats.DuplicateSize += size
			f.content += size
			return nil
		}
	}
	c, err := openContent(it)
	if err != nil {
		return err
	}
	defer c.close()
	if whole && !known {
		c.hash = sha256.New()
	}
	it.data = &fileData{fragment: noFragment}
	if err := f.blocks(c, it.data); err != nil {
		return err
	}
	if err := c.end(); err != nil {
		return err
	}
	if c.hash != nil {
		c.hash.Sum(sum[:0])
	}
	if whole {
		f.dups.addFile(sum, size, it.data)
	}
	return nil
}

// blocks cuts a file into blocks, its end into a shared block where the
// options say so.
func (f *feeder) blocks(c *content, d *fileData) error {
	whole, rest := c.size/int64(f.size), int(c.size%int64(f.size))
	pieces := hasPiece(f.plan.opts, c.size)
	n := whole
	if rest > 0 && !pieces {
		n++
	}
	d.count = n
	for i := range n {
		length := f.size
		if i == whole {
			length = rest
		}
		if err := f.block(c, d, i, length); err != nil {
			return err
		}
	}
	if pieces {
		return f.piece(c, d, rest)
	}
	return nil
}

// block reads a block and sends it on its way, unless it is a hole.
func (f *feeder) block(c *content, d *fileData, i int64, length int) error {
	j, err := f.job()
	if err != nil {
		return err
	}
	j.in = j.in[:length]
	if err := c.read(j.in); err != nil {
		f.pl.free <- j
		return err
	}
	f.content += int64(length)
	if bytes.Equal(j.in, f.zeros[:length]) {
		d.sparse += uint64(length)
		f.stats.Holes++
		f.pl.free <- j
		return nil
	}
	j.file, j.index, j.frag = d, i, false
	f.send(j)
	return nil
}

// piece reads the end of a file and finds or makes it a place in a shared
// block.
func (f *feeder) piece(c *content, d *fileData, length int) error {
	b := f.short[:length]
	if err := c.read(b); err != nil {
		return err
	}
	f.content += int64(length)
	var sum digest
	known := f.dups.mayRepeatPiece(length)
	if known {
		sum = sha256.Sum256(b)
		if place, ok := f.dups.pieces[sum]; ok {
			d.fragment, d.offset = place.fragment, place.offset
			if d.count == 0 {
				f.stats.Duplicates++
				f.stats.DuplicateSize += c.size
			}
			return nil
		}
	}
	if f.shared != nil && len(f.shared.in)+length > f.size {
		if err := f.flushShared(); err != nil {
			return err
		}
	}
	if f.shared == nil {
		j, err := f.job()
		if err != nil {
			return err
		}
		f.shared, j.in = j, j.in[:0]
		f.frags++
	}
	d.fragment, d.offset = f.frags-1, uint32(len(f.shared.in))
	f.shared.in = append(f.shared.in, b...)
	f.stats.FragmentPieces++
	if known {
		f.dups.pieces[sum] = place{d.fragment, d.offset}
	}
	return nil
}

func (f *feeder) flushShared() error {
	j := f.shared
	if j == nil {
		return nil
	}
	f.shared = nil
	j.file, j.frag = nil, true
	f.send(j)
	return nil
}

// job waits for a free job, with room for a block.
func (f *feeder) job() (*job, error) {
	select {
	case j := <-f.pl.free:
		if j.in == nil {
			j.in = make([]byte, f.size)
		}
		return j, nil
	case <-f.ctx.Done():
		return nil, context.Cause(f.ctx)
	}
}

// send cannot block: the channels have room for all jobs.
func (f *feeder) send(j *job) {
	j.content, f.content = f.content, 0
	f.pl.order <- j
	f.pl.queue <- j
}

// sum reads a file for its digest alone.
func (f *feeder) sum(it *item) (sum digest, err error) {
	c, err := openContent(it)
	if err != nil {
		return sum, err
	}
	defer c.close()
	c.hash = sha256.New()
	for left := c.size; left > 0; {
		if err := f.ctx.Err(); err != nil {
			return sum, context.Cause(f.ctx)
		}
		n := min(left, int64(f.size))
		if err := c.read(f.short[:n]); err != nil {
			return sum, err
		}
		left -= n
	}
	c.hash.Sum(sum[:0])
	return sum, c.end()
}

// ErrContentSize is the cause when a file's content is longer or shorter than
// its size says.
var ErrContentSize = errors.New("its content does not have the size it was said to have")

// content is a file being read; it keeps to the promised size and puts the
// path into errors.
type content struct {
	path string
	r    io.ReadCloser
	size int64
	got  int64
	hash hash.Hash // of what was read, if wanted
}

func openContent(it *item) (*content, error) {
	r, err := it.node.Content.Open()
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", it.path, err)
	}
	return &content{path: it.path, r: r, size: it.node.Size()}, nil
}

func (c *content) read(b []byte) error {
	n, err := io.ReadFull(c.r, b)
	c.got += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("store %s: %w: it ends after %d of %d bytes", c.path, ErrContentSize, c.got, c.size)
	}
	if err != nil {
		return fmt.Errorf("store %s: read at byte %d: %w", c.path, c.got, err)
	}
	if c.hash != nil {
		c.hash.Write(b)
	}
	return nil
}

// end checks that nothing follows.
func (c *content) end() error {
	var b [1]byte
	n, err := io.ReadFull(c.r, b[:])
	if n > 0 {
		return fmt.Errorf("store %s: %w: it goes on after %d bytes", c.path, ErrContentSize, c.size)
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("store %s: read at byte %d: %w", c.path, c.got, err)
	}
	return nil
}

// close drops the reader's error: everything was read, or the file has a
// better error already.
func (c *content) close() { _ = c.r.Close() }

package squashfs

import (
	"context"
	"fmt"
	"io"
	"math/bits"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// Stats tells what Write stored.
type Stats struct {
	Inodes      int   // all of them; a hard link is not an inode
	Directories int   //
	Files       int   // regular files
	Links       int   // further names of inodes that had one
	ContentSize int64 // bytes of file content, a hard-linked file counted once
	ImageSize   int64 // bytes of the image, padding included

	Blocks         int   // data blocks stored, shared ones not counted
	Fragments      int   // shared blocks stored
	FragmentPieces int   // files and ends of files in shared blocks
	Holes          int   // blocks of zeros, of which nothing is stored
	Duplicates     int   // files whose content was stored already
	DuplicateSize  int64 // bytes of these
	XattrSets      int   // different sets of extended attributes
	IDs            int   // different owners and groups
}

// Write writes the tree as an image from w's current position on. The same
// tree and options give the same bytes, whatever the number of workers. Memory
// grows with the number of inodes and with workers times the block size, not
// with the content.
//
// Content is stored in an order that puts like beside like: by the extension
// of the name; then by the name, if several files have it; then by path. Files
// shorter than a block fill shared blocks in that order.
//
// An error about one of the tree's nodes is a *rootfs.PathError or wraps the
// error of its content together with its path. When Write fails, what it has
// written so far is worthless.
func Write(ctx context.Context, w io.WriteSeeker, t *rootfs.Tree, opts Options) (Stats, error) {
	o, err := opts.normal()
	if err != nil {
		return Stats{}, err
	}
	encoders := make([]encoder, o.Workers)
	for i := range encoders {
		if encoders[i], err = newEncoder(o); err != nil {
			return Stats{}, err
		}
	}
	p, err := newPlan(t, o, encoders[0])
	if err != nil {
		return Stats{}, err
	}
	out, err := newOutput(w)
	if err != nil {
		return Stats{}, err
	}
	s := &superblock{
		ModTime:     uint32(o.ModTime.Unix()),
		BlockSize:   uint32(o.BlockSize),
		Compression: o.Compression,
		BlockLog:    uint16(bits.TrailingZeros(uint(o.BlockSize))),
		Flags:       o.flags(),
	}
	head := make([]byte, superblockSize)
	if c := compressorOptions(o); c != nil {
		head = appendMetadata(head, nil, c)
	}
	if err := out.write(head); err != nil {
		return Stats{}, err
	}
	frags, err := writeData(ctx, out, p, encoders)
	if err != nil {
		return Stats{}, err
	}
	if err := writeTables(ctx, out, p, frags, encoders[0], s); err != nil {
		return Stats{}, err
	}
	if err := out.finish(s); err != nil {
		return Stats{}, err
	}
	p.stats.ImageSize = int64(out.pos)
	return p.stats, nil
}

func (o Options) flags() uint16 {
	flags := uint16(0)
	for flag, set := range map[uint16]bool{
		flagNoFragments:       o.NoFragments,
		flagAlwaysFragments:   !o.NoFragments && o.TailPacking,
		flagDuplicates:        !o.NoDuplicates,
		flagExportable:        !o.NoExport,
		flagNoXattrs:          o.NoXattrs,
		flagCompressorOptions: compressorOptions(o) != nil,
		flagUncompressedInodes | flagUncompressedData | flagUncompressedFragments |
			flagUncompressedXattrs | flagUncompressedIDs: o.Compression == None,
	} {
		if set {
			flags |= flag
		}
	}
	return flags
}

// output is the image as it grows. Positions count from where it begins.
type output struct {
	w     io.WriteSeeker
	start int64
	pos   uint64
}

func newOutput(w io.WriteSeeker) (*output, error) {
	start, err := w.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("write image: find its place: %w", err)
	}
	return &output{w: w, start: start}, nil
}

func (o *output) write(b []byte) error {
	n, err := o.w.Write(b)
	if err != nil {
		return fmt.Errorf("write image at byte %d: %w", o.pos+uint64(n), err)
	}
	o.pos += uint64(n)
	return nil
}

// finish pads the image to whole pages, writes the superblock in its place at
// the front and leaves w at the image's end.
func (o *output) finish(s *superblock) error {
	s.BytesUsed = o.pos
	if s.Compression == None {
		s.Compression = Gzip
	}
	if over := o.pos % padTo; over != 0 {
		if err := o.write(make([]byte, padTo-over)); err != nil {
			return err
		}
	}
	if _, err := o.w.Seek(o.start, io.SeekStart); err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	if _, err := o.w.Write(s.encode()); err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	if _, err := o.w.Seek(o.start+int64(o.pos), io.SeekStart); err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	return nil
}

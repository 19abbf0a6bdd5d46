package squashfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// Gravity says what a Problem means for the people who use the image.
type Gravity uint8

// The gravities, in rising order.
const (
	Unusual Gravity = iota // works; mksquashfs does not write it so
	Kernel                 // our reader copes, Linux refuses to mount or to read it
	Damage                 // the image contradicts itself: data is lost or wrong
)

func (g Gravity) String() string { return [...]string{"unusual", "kernel", "damage"}[g] }

// MarshalText renders the gravity by name.
func (g Gravity) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// Problem is something wrong in an image.
type Problem struct {
	Gravity Gravity
	Rule    string // superblock, table, inode, links, directory, ids, xattr, export, fragment, block, overlap, codec, padding
	Path    string // in the image; "" when it is about no single path
	Offset  int64  // in the file; -1 when it is about no single place
	Message string
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s: %s", p.Gravity, p.Rule, p.Message)
	if p.Offset >= 0 {
		s += fmt.Sprintf(" (at byte %d)", p.Offset)
	}
	if p.Path != "" {
		return p.Path + ": " + s
	}
	return s
}

// VerifyOptions bound the work of Verify; the zero value is sensible.
type VerifyOptions struct {
	Workers     int // blocks uncompressed at the same time; 0 is one for each CPU
	MaxProblems int // listed; 0 is 100
}

// VerifyStats is what Verify went through.
type VerifyStats struct {
	Directories int
	Files       int
	Others      int // links, devices, fifos, sockets
	HardLinks   int // names beyond the first of an inode
	Blocks      int // distinct blocks of file data, fragments not included
	Fragments   int
	FileBytes   int64 // of all files, a hard link counted once
	DataBytes   int64 // uncompressed from the distinct blocks
	Unused      int64 // bytes between the blocks that nothing refers to
	More        int   // problems beyond MaxProblems
}

// Verify reads all of the image and compares everything that it says twice: the
// tables' places, inode numbers, link counts, directory sizes and order, ids,
// fragments, the export table, the lengths of blocks. It also checks what only
// Linux insists on, such as the zstd window and the xz checksum. Problems come
// sorted by gravity, the worst first, then by path. An error is a failure to
// read, or errors.ErrUnsupported for a codec that is not supported.
func (im *Image) Verify(ctx context.Context, opts VerifyOptions) ([]Problem, VerifyStats, error) {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	if opts.MaxProblems <= 0 {
		opts.MaxProblems = 100
	}
	v := &verifier{im: im, opts: opts, compact: compactFirst}
	for _, step := range []func(context.Context) error{
		v.checkSuperblock, v.checkPadding, v.checkTables, v.checkXattrs,
		v.scanInodes, v.walk, v.checkExports, v.checkData,
	} {
		if err := step(ctx); err != nil && !v.note("table", "", err) {
			return nil, v.stats, err
		}
	}
	slices.SortStableFunc(v.problems, func(a, b Problem) int {
		return cmp.Or(-cmp.Compare(a.Gravity, b.Gravity), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Offset, b.Offset))
	})
	return v.problems, v.stats, nil
}

type verifier struct {
	im       *Image
	opts     VerifyOptions
	problems []Problem
	stats    VerifyStats

	inodes  []inodeState // in the order of the table
	broken  bool         // the inode table cannot be read through
	files   []string     // paths of files, for messages about blocks
	blocks  []dataBlock
	compact int      // length of blocks at which repeated ones are dropped
	fragEnd []uint32 // by fragment: how far files reach into it
	fragOf  []uint32 // and the file that reaches farthest
}

func (v *verifier) add(g Gravity, rule, path string, off int64, format string, a ...any) {
	if len(v.problems) >= v.opts.MaxProblems {
		v.stats.More++
		return
	}
	v.problems = append(v.problems, Problem{g, rule, path, off, fmt.Sprintf(format, a...)})
}

// note records an error that tells of bad data and says whether it was one.
func (v *verifier) note(rule, path string, err error) bool {
	if bad, ok := errors.AsType[*FormatError](err); ok {
		v.add(Damage, rule, path, bad.Offset, "%s", bad.What)
		return true
	}
	return false
}

// checkSuperblock checks what Open leaves alone because it can read without.
func (v *verifier) checkSuperblock(context.Context) error {
	sb := &v.im.sb
	if sb.Compression == LZMA {
		v.add(Kernel, "codec", "", 20, "Linux has never read lzma; use xz")
	}
	if has := sb.ExportTable != noTable; has != (sb.Flags&flagExportable != 0) {
		v.add(Unusual, "superblock", "", offExport, "the export table and its flag do not agree: table %v", has)
	}
	switch o := v.im.compressor(); {
	case sb.Compression == LZ4 && !o.Present:
		v.add(Kernel, "codec", "", superblockSize, "lz4 without compressor options: Linux refuses to mount it")
	case sb.Compression == LZ4 && o.LZ4Version != 1:
		v.add(Kernel, "codec", "", superblockSize, "lz4 version %d: Linux knows version 1", o.LZ4Version)
	case sb.Compression == XZ && o.Present && !xzDictStorable(uint32(o.XZDictSize)):
		v.add(Kernel, "codec", "", superblockSize, "xz dictionary of %d bytes: Linux wants 2^n or 2^n+2^(n+1)", o.XZDictSize)
	}
	return nil
}

// xzDictStorable is the kernel's rule (fs/squashfs/xz_wrapper.c).
func xzDictStorable(d uint32) bool {
	low := d & -d
	return d != 0 && (d == low || d == low+low<<1)
}

// checkPadding looks behind the image: a loop device drops an incomplete last
// page, and with it the tables at the end.
func (v *verifier) checkPadding(context.Context) error {
	im := v.im
	used := int64(im.sb.BytesUsed)
	whole := im.size / 512 * 512 // losetup's smallest unit
	switch {
	case whole < used:
		v.add(Kernel, "padding", "", im.size, "the file is not padded: a loop device sees %d of the image's %d bytes", whole, used)
	case im.size%padTo != 0:
		v.add(Unusual, "padding", "", im.size, "the file is not padded to a multiple of %d bytes", padTo)
	}
	return nil
}

// checkTables checks that the tables stand where the kernel computes them to
// be (fs/squashfs/super.c: each index ends where the next table begins), and
// reads every metadata block.
func (v *verifier) checkTables(context.Context) error {
	im, sb := v.im, &v.im.sb
	next := sb.BytesUsed
	exact := func(name string, pos uint64, index []uint64, head uint64) {
		if end := pos + head + uint64(len(index))*8; end != next {
			v.add(Kernel, "table", "", int64(pos), "the index of the %s ends at byte %d and the next table begins at %d", name, end, next)
		}
		if len(index) > 0 {
			next = index[0]
		}
	}
	if sb.XattrTable != noTable {
		if im.xattr.count == 0 {
			v.add(Kernel, "table", "", int64(sb.XattrTable), "an xattr table without sets: Linux refuses to mount it")
		}
		exact("xattr table", sb.XattrTable, im.xattr.index, 16)
		next = uint64(im.xattr.values.start)
	}
	exact("id table", sb.IDTable, im.idIndex, 0)
	if sb.ExportTable != noTable {
		exact("export table", sb.ExportTable, im.exportIndex, 0)
	}
	if sb.Fragments > 0 {
		exact("fragment table", sb.FragTable, im.fragIndex, 0)
	}
	if err := v.checkIndexes(); err != nil {
		return err
	}
	for _, r := range []region{im.inodes, im.dirs, im.xattr.values} {
		for pos := r.start; pos < r.end; {
			next, err := v.checkMeta(pos, r.end)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			pos = next
		}
	}
	return nil
}

// checkIndexes reads the metadata blocks that the indexes point to: they lie
// next to each other and are full, all but the last.
func (v *verifier) checkIndexes() error {
	im, sb := v.im, &v.im.sb
	for _, t := range []struct {
		name  string
		index []uint64
		end   uint64
		bytes uint64
	}{
		{"fragment table", im.fragIndex, sb.FragTable, uint64(sb.Fragments) * fragmentEntry},
		{"export table", im.exportIndex, sb.ExportTable, uint64(sb.Inodes) * 8},
		{"id table", im.idIndex, sb.IDTable, uint64(sb.IDs) * 4},
		{"xattr table", im.xattr.index, sb.XattrTable, uint64(im.xattr.count) * 16},
	} {
		for i, pos := range t.index {
			end := t.end
			if i+1 < len(t.index) {
				end = t.index[i+1]
			}
			if end <= pos {
				return badf(int64(pos), "the blocks of the %s are out of order", t.name)
			}
			next, err := v.checkMeta(int64(pos), int64(end))
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if next != int64(end) {
				v.add(Kernel, "table", "", int64(pos), "block %d of the %s ends at byte %d and what follows begins at %d", i, t.name, next, end)
			}
			data, _, err := im.metaBlock(int64(pos), int64(end))
			if err != nil {
				return err
			}
			if want := min(t.bytes-uint64(i)*metadataSize, metadataSize); uint64(len(data)) != want {
				v.add(Damage, "table", "", int64(pos), "block %d of the %s holds %d bytes, want %d", i, t.name, len(data), want)
			}
		}
	}
	return nil
}

// checkMeta checks a metadata block against the rules of its codec and returns
// the place of the next one.
func (v *verifier) checkMeta(pos, end int64) (int64, error) {
	length, compressed, err := v.im.metaHeader(pos, end)
	if err != nil {
		return 0, err
	}
	next := pos + 2 + int64(length)
	if !compressed {
		return next, nil
	}
	raw := make([]byte, length)
	if err := readFullAt(v.im.r, raw, pos+2); err != nil {
		return 0, fmt.Errorf("read metadata at byte %d: %w", pos, err)
	}
	if p, ok := v.im.kernelRules(raw); ok {
		v.add(Kernel, "codec", "", pos, "metadata block: %s", p)
	}
	return next, nil
}

// checkXattrs reads every set once.
func (v *verifier) checkXattrs(context.Context) error {
	b := budget{xattrs: xattrsEach*uint64(v.im.sb.Inodes) + xattrsMore, xattrBytes: maxXattrBytes}
	for id := range v.im.xattr.count {
		list, err := v.im.readXattrs(id)
		if err == nil {
			err = b.takeXattrs(list)
		}
		if err != nil {
			if !v.note("xattr", "", err) {
				return err
			}
			if v.stats.More > 0 {
				return nil // a set of nonsense: the rest is no better
			}
		}
	}
	return nil
}

// checkExports compares the table that NFS servers use with the inodes.
func (v *verifier) checkExports(context.Context) error {
	if v.im.sb.ExportTable == noTable || v.broken {
		return nil
	}
	for i := range v.inodes {
		s := &v.inodes[i]
		if s.number == 0 || s.number > v.im.sb.Inodes {
			continue // reported by scanInodes
		}
		e, err := v.im.tableEntry(v.im.exportIndex, uint64(s.number-1), 8, int64(v.im.sb.ExportTable))
		if err != nil {
			return err
		}
		if got := inodeRef(le64(e)); got != s.ref {
			v.add(Damage, "export", "", int64(v.im.sb.ExportTable), "inode %d is at %v, the export table says %v", s.number, s.ref, got)
		}
	}
	return nil
}

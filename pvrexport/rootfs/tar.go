package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// TarOptions says how FromTar reads an archive; the zero value takes everything
// as it is, within the default limits.
type TarOptions struct {
	Owner     func(uid, gid uint32) (uint32, uint32) // nil keeps the archive's ids; see AllRoot
	ClampTime time.Time                              // later times become this one, as SOURCE_DATE_EPOCH asks
	Excludes  *Excludes                              // paths that do not enter the tree
	Skipped   func(name, what string)                // told about what a tree cannot hold, such as POSIX ACLs; may be nil
	Limits    Limits
	TempDir   string // where contents of packed archives and of pipes wait; "" is os.TempDir

	// Base is the tree that the archive is laid over; nil is a new one. After
	// an error it is in no useful state.
	Base *Tree
	// Whiteouts lets entries ".wh.NAME" and ".wh..wh..opq" remove what Base
	// holds, as in the layers of an OCI image (image-spec, layer.md).
	Whiteouts bool
}

// TarTree is a Tree made from an archive. The contents of its files can be
// read until Close.
type TarTree struct {
	*Tree
	Packing string // "gzip", "zstd", "xz", "bzip2", or "" for none

	closers []io.Closer
}

// Close releases what the contents are read from.
func (t *TarTree) Close() error {
	var errs []error
	for _, c := range t.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// TarError is a place in an archive where reading stopped.
type TarError struct {
	Entry  int    // counted from 1
	Name   string // "" when the header itself cannot be read
	Offset int64  // in the unpacked archive, where reading stood
	Err    error
}

func (e *TarError) Error() string {
	name := ""
	if e.Name != "" {
		name = fmt.Sprintf(" %q", e.Name)
	}
	return fmt.Sprintf("entry %d%s at byte %d of the archive: %v", e.Entry, name, e.Offset, e.Err)
}

func (e *TarError) Unwrap() error { return e.Err }

// ErrTruncated is an archive without its end marker: it was cut between two
// entries.
var ErrTruncated = errors.New("the archive has no end marker: it is cut off")

// FromTar reads a tar archive (old, ustar, pax, GNU with sparse files), plain
// or in gzip, zstd, xz or bzip2, into a Tree. It unpacks no files: contents of
// a plain archive in a regular file or in memory (an io.ReaderAt that can
// seek) are read from there when they are asked for, so r must stay open;
// otherwise they wait in one unlinked temporary file. Memory holds names and
// metadata only.
//
// Entries mean what they mean to tar -x: later ones replace earlier ones, a
// hard link is to what stood under its target's name at that point, missing
// directories are made. Unlike there, an entry below a symlink is an error.
//
// Names that climb out of the tree, what is malformed or cut off and what
// exceeds the limits end in a *TarError with the place; limits are in it as
// *LimitError. An input that is no archive is ErrFormat.
func FromTar(ctx context.Context, r io.Reader, opts TarOptions) (*TarTree, error) {
	t, err := readTar(ctx, r, opts)
	if err != nil {
		return nil, fmt.Errorf("read tar: %w", err)
	}
	return t, nil
}

// OpenTar is FromTar of a file, which Close closes.
func OpenTar(ctx context.Context, name string, opts TarOptions) (*TarTree, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read tar: %w", err)
	}
	t, err := readTar(ctx, f, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read tar %s: %w", name, err), f.Close())
	}
	t.closers = append(t.closers, f)
	return t, nil
}

func readTar(ctx context.Context, r io.Reader, opts TarOptions) (_ *TarTree, err error) {
	lim := opts.Limits.withDefaults()
	src, err := openSource(ctx, r, lim)
	if err != nil {
		return nil, err
	}
	defer src.release()
	tr := &tarReader{
		ctx: ctx, opts: opts, lim: lim, src: src,
		tr:    tar.NewReader(src.reader),
		in:    intake{opts.Owner, opts.ClampTime, opts.Skipped},
		tree:  opts.Base,
		aside: New(),
	}
	if tr.tree == nil {
		tr.tree = New()
	}
	if opts.Whiteouts {
		tr.layer = &layer{placed: map[string]bool{}}
	}
	defer func() {
		if err != nil && tr.spool != nil {
			err = errors.Join(err, tr.spool.Close())
		}
	}()
	if err := tr.entries(); err != nil {
		return nil, err
	}
	if err := src.finish(); err != nil {
		return nil, err
	}
	if tr.layer != nil {
		tr.layer.apply(tr.tree)
	}
	t := &TarTree{Tree: tr.tree, Packing: src.packing}
	if tr.spool != nil {
		if err := tr.spool.flush(); err != nil {
			return nil, err
		}
		t.closers = append(t.closers, tr.spool)
	}
	return t, nil
}

// tarReader is the state of one FromTar.
type tarReader struct {
	ctx   context.Context
	opts  TarOptions
	lim   Limits
	src   *source
	tr    *tar.Reader
	in    intake
	tree  *Tree
	aside *Tree // what was excluded: hard links may still point there
	spool *spool
	layer *layer // with Whiteouts

	nodes, bytes, meta int64
}

func (r *tarReader) entries() error {
	for i := 1; ; i++ {
		hdr, err := r.tr.Next()
		if errors.Is(err, io.EOF) && hdr == nil {
			if r.src.stream.zeros < 512 {
				return &TarError{Entry: i, Offset: r.src.stream.pos, Err: ErrTruncated}
			}
			return nil
		}
		if err != nil {
			return &TarError{Entry: i, Offset: r.src.stream.pos, Err: err}
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.entry(hdr); err != nil {
			return &TarError{Entry: i, Name: hdr.Name, Offset: r.src.stream.pos, Err: err}
		}
		r.src.stream.zeros = 0 // what follows now is padding and the next header
	}
}

func (r *tarReader) entry(hdr *tar.Header) error {
	switch hdr.Typeflag {
	case tar.TypeXGlobalHeader:
		for key := range hdr.PAXRecords {
			if key != "comment" {
				r.in.skip(hdr.Name, "global pax record "+key)
			}
		}
		return nil
	case 'V': // GNU volume label
		return nil
	}
	if err := r.checkNames(hdr); err != nil {
		return err
	}
	name, err := Clean(hdr.Name)
	if err != nil {
		return err
	}
	if r.layer != nil && r.layer.whiteout(name) {
		return nil
	}
	tree := r.tree
	if r.opts.Excludes.Match(name) {
		if hdr.Typeflag == tar.TypeDir {
			return nil
		}
		tree = r.aside
	}
	n, err := r.node(hdr)
	if err != nil {
		return err
	}
	made, err := tree.put(name, n)
	if err != nil {
		return err
	}
	if r.layer != nil && tree == r.tree {
		r.layer.place(name)
	}
	r.nodes += made
	return within("entries", r.nodes, r.lim.MaxEntries)
}

func (r *tarReader) checkNames(hdr *tar.Header) error {
	if err := within("bytes of the name", int64(len(hdr.Name)), r.lim.MaxNameLen); err != nil {
		return err
	}
	if err := within("bytes of the link's target", int64(len(hdr.Linkname)), r.lim.MaxNameLen); err != nil {
		return err
	}
	r.meta += int64(len(hdr.Name) + len(hdr.Linkname))
	return within("bytes of metadata", r.meta, r.lim.MaxMetaBytes)
}

// linked finds the node that a hard link names.
func (r *tarReader) linked(hdr *tar.Header) (*Node, error) {
	target, err := Clean(hdr.Linkname)
	if err != nil {
		return nil, fmt.Errorf("hard link: %w", err)
	}
	n := r.tree.Lookup(target)
	if n == nil {
		n = r.aside.Lookup(target)
	}
	switch {
	case n == nil:
		return nil, fmt.Errorf("hard link to %q, which the archive does not hold before this entry", hdr.Linkname)
	case n.Kind == Dir:
		return nil, fmt.Errorf("hard link to %q, which is a directory", hdr.Linkname)
	}
	return n, nil
}

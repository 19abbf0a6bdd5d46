package squashfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// External makes images with a program instead of with Write: a choice for
// who wants its bytes. The program gets the tree as a tar stream, so it needs
// no root either, and what it made is read back and compared with the tree.
// The one thing that is not compared is the time of the root directory of
// mksquashfs: it becomes the latest time in the tree.
type External struct {
	Tool string   // "mksquashfs" (squashfs-tools 4.5 or newer) or "tar2sqfs" (squashfs-tools-ng)
	Path string   // of the program
	Env  []string // its environment
}

// ExternalTools lists what External.Tool may be.
func ExternalTools() []string { return []string{"mksquashfs", "tar2sqfs"} }

// ErrExternal is an image that an external program made and that does not
// hold what it was given.
var ErrExternal = errors.New("the image is not what was asked for")

// Write writes the image of the tree to w. dir is where the program puts it
// first. Options that the program cannot honour are an *OptionError.
func (e External) Write(ctx context.Context, w io.Writer, dir string, t *rootfs.Tree, opts Options) (_ Stats, err error) {
	o, err := opts.normal()
	if err != nil {
		return Stats{}, err
	}
	temp, err := os.MkdirTemp(dir, ".image-*.tmp")
	if err != nil {
		return Stats{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	file := filepath.Join(temp, "image")
	args, env, err := e.command(file, t, o)
	if err != nil {
		return Stats{}, err
	}
	if err = e.run(ctx, args, env, t); err == nil {
		err = setModTime(file, o.ModTime)
	}
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", e.Tool, err)
	}
	stats, err := e.check(ctx, file, t, o)
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", e.Tool, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return Stats{}, err
	}
	defer f.Close()
	stats.ImageSize, err = io.Copy(w, f)
	return stats, err
}

// command is the program's command line and environment.
func (e External) command(file string, t *rootfs.Tree, o Options) (args, env []string, err error) {
	root := t.Root()
	env = slices.Clone(e.Env)
	switch e.Tool {
	case "mksquashfs":
		args = append([]string{"-", file}, append(mksquashfsArgs(o), "-root-mode", strconv.FormatUint(uint64(root.Mode), 8),
			"-root-uid", strconv.FormatUint(uint64(root.UID), 10), "-root-gid", strconv.FormatUint(uint64(root.GID), 10))...)
		// With -tar, mksquashfs 4.5.1 ignores -root-time and gives the root the
		// time of day, but no time later than this.
		return args, append(env, "SOURCE_DATE_EPOCH="+strconv.FormatInt(latest(t), 10)), nil
	case "tar2sqfs":
		args, err = tar2sqfsArgs(o)
		return append(args, file), append(env, "SOURCE_DATE_EPOCH="+strconv.FormatInt(o.ModTime.Unix(), 10)), err
	}
	return nil, nil, &OptionError{"engine", fmt.Sprintf("%q is not one of %s", e.Tool, strings.Join(ExternalTools(), ", "))}
}

// latest is the latest time in a tree.
func latest(t *rootfs.Tree) int64 {
	var last int64
	for _, n := range t.All() {
		last = max(last, n.ModTime)
	}
	return last
}

func mksquashfsArgs(o Options) []string {
	args := []string{"-tar", "-noappend", "-quiet", "-no-progress", "-b", strconv.Itoa(o.BlockSize), "-processors", strconv.Itoa(o.Workers)}
	if o.Compression == None {
		args = append(args, "-comp", "gzip", "-noI", "-noD", "-noF", "-noX", "-noId")
	} else {
		args = append(args, "-comp", o.Compression.String())
	}
	switch {
	case o.Level != 0 && o.Compression != XZ: // of xz it has one, the best
		args = append(args, "-Xcompression-level", strconv.Itoa(o.Level))
	case o.HC:
		args = append(args, "-Xhc")
	}
	for _, f := range []struct {
		on       bool
		yes, not string
	}{
		{o.NoFragments, "-no-fragments", ""},
		{o.TailPacking, "-always-use-fragments", ""},
		{o.NoDuplicates, "-no-duplicates", ""},
		{o.NoExport, "-no-exports", "-exports"},
		{o.NoXattrs, "-no-xattrs", "-xattrs"},
	} {
		if f.on {
			args = append(args, f.yes)
		} else if f.not != "" {
			args = append(args, f.not)
		}
	}
	return args
}

func tar2sqfsArgs(o Options) ([]string, error) {
	switch {
	case o.Compression == None:
		return nil, &OptionError{"compression", "tar2sqfs always compresses"}
	case o.NoFragments:
		return nil, &OptionError{"fragments", "tar2sqfs always makes fragments"}
	case o.NoDuplicates:
		return nil, &OptionError{"duplicates", "tar2sqfs always stores equal files once"}
	}
	args := []string{"--quiet", "--force", "--no-skip", "--block-size", strconv.Itoa(o.BlockSize), "--num-jobs", strconv.Itoa(o.Workers), "--compressor", o.Compression.String()}
	if o.Level != 0 {
		args = append(args, "--comp-extra", "level="+strconv.Itoa(o.Level))
	}
	if o.HC {
		args = append(args, "--comp-extra", "hc")
	}
	if !o.TailPacking {
		args = append(args, "--no-tail-packing")
	}
	if !o.NoExport {
		args = append(args, "--exportable")
	}
	if o.NoXattrs {
		args = append(args, "--no-xattr")
	}
	return args, nil
}

// run starts the program and feeds it the tree.
func (e External) run(ctx context.Context, args, env []string, t *rootfs.Tree) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.Path, args...)
	cmd.Env = env
	cmd.WaitDelay = 5 * time.Second
	var messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &messages, &messages
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	feed := writeTar(ctx, in, t)
	if feed != nil {
		cancel() // half a tree must not become an image
	}
	closed := in.Close()
	err = cmd.Wait()
	switch {
	case feed != nil && !errors.Is(feed, syscall.EPIPE):
		return feed
	case err != nil: // the reason for a broken pipe, if there was one
		const most = 2000
		said := strings.TrimSpace(messages.String())
		return fmt.Errorf("%w: %s", err, said[max(0, len(said)-most):])
	}
	return errors.Join(feed, closed)
}

// setModTime puts the time of the image itself into its superblock, which is
// never compressed.
func setModTime(file string, t time.Time) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint32(nil, uint32(t.Unix())), 8)
	return errors.Join(err, f.Close())
}

// check reads the image back.
func (e External) check(ctx context.Context, file string, t *rootfs.Tree, o Options) (Stats, error) {
	f, err := os.Open(file)
	if err != nil {
		return Stats{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Stats{}, err
	}
	im, err := Open(f, st.Size())
	if err != nil {
		return Stats{}, err
	}
	info, want := im.Info(), o.Compression
	if want == None {
		want = Gzip // with every block stored
	}
	switch {
	case info.Compression != want && info.Compression != o.Compression:
		return Stats{}, fmt.Errorf("%w: compression %s, not %s", ErrExternal, info.Compression, want)
	case info.BlockSize != o.BlockSize:
		return Stats{}, fmt.Errorf("%w: block size %d, not %d", ErrExternal, info.BlockSize, o.BlockSize)
	case info.ModTime.Unix() != o.ModTime.Unix():
		return Stats{}, fmt.Errorf("%w: made at %s, not %s", ErrExternal, info.ModTime.UTC(), o.ModTime.UTC())
	}
	got, err := im.Tree(ctx)
	if err != nil {
		return Stats{}, err
	}
	diffs, err := rootfs.Compare(ctx, t, got, rootfs.CompareOptions{IgnoreXattrs: o.NoXattrs})
	if err != nil {
		return Stats{}, err
	}
	if e.Tool == "mksquashfs" { // see command
		diffs = slices.DeleteFunc(diffs, func(d rootfs.Difference) bool { return d.Path == "." && d.What == "time" })
	}
	if len(diffs) > 0 {
		return Stats{}, fmt.Errorf("%w: %d differences, the first: %s", ErrExternal, len(diffs), diffs[0])
	}
	return count(t, info), nil
}

// count gathers what an image made elsewhere can tell.
func count(t *rootfs.Tree, info Info) Stats {
	s := Stats{Inodes: info.Inodes, IDs: info.IDs, Fragments: info.Fragments, XattrSets: info.Xattrs}
	seen := map[*rootfs.Node]bool{}
	for _, n := range t.All() {
		switch {
		case seen[n]:
			s.Links++
		case n.Kind == rootfs.Dir:
			s.Directories++
		case n.Kind == rootfs.File:
			s.Files++
			s.ContentSize += n.Size()
		}
		seen[n] = true
	}
	return s
}

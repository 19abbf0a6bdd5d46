package squashfs_test

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem"
	diskfs "github.com/diskfs/go-diskfs/filesystem/squashfs"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

func run(t testing.TB, tool string, args ...string) string {
	t.Helper()
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", tool, args, err, out)
	}
	return string(out)
}

func fromDir(t testing.TB, dir string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.FromDir(t.Context(), dir, rootfs.DirOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// kernelTree mounts an image through a loop device. The mount lasts until the
// test ends.
func kernelTree(t testing.TB, image string) *rootfs.Tree {
	t.Helper()
	testreq.Root(t)
	mount, umount := testreq.Tool(t, "mount"), testreq.Tool(t, "umount")
	dir := t.TempDir()
	if out, err := exec.Command(mount, "-t", "squashfs", "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
		known, _ := os.ReadFile("/proc/filesystems")
		loop, _ := filepath.Glob("/dev/loop-control")
		able := slices.Contains(strings.Fields(string(known)), "squashfs") && len(loop) > 0
		testreq.Feature(t, "squashfs-mount", able, "this kernel cannot mount squashfs through a loop device")
		t.Fatalf("mount: %v\n%s", err, out)
	}
	// Lazily: the tree's contents keep the directory open.
	t.Cleanup(func() { run(t, umount, "-l", dir) })
	return fromDir(t, dir)
}

// unsquashfsTree extracts an image with squashfs-tools.
func unsquashfsTree(t testing.TB, image string) *rootfs.Tree {
	t.Helper()
	testreq.Root(t)
	dir := filepath.Join(t.TempDir(), "out")
	run(t, testreq.Tool(t, "unsquashfs"), "-q", "-n", "-d", dir, image)
	return fromDir(t, dir)
}

// diskfsTree reads an image with go-diskfs. It does not tell setuid, setgid,
// the sticky bit and device numbers: these come from want.
func diskfsTree(t testing.TB, image string, want *rootfs.Tree) *rootfs.Tree {
	t.Helper()
	b, err := diskfile.OpenFromPath(image, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	i, err := os.Stat(image)
	if err != nil {
		t.Fatal(err)
	}
	sq, err := diskfs.Read(b, i.Size(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &diskfsReader{t: t, sq: sq, want: want, tree: rootfs.New(), links: map[uint32]*rootfs.Node{}}
	if err := d.tree.Put(".", copyNode(want.Root())); err != nil { // go-diskfs has no entry for it
		t.Fatal(err)
	}
	d.read(".")
	return d.tree
}

// copyNode copies a node without its entries.
func copyNode(n *rootfs.Node) *rootfs.Node {
	return &rootfs.Node{
		Kind: n.Kind, Mode: n.Mode, UID: n.UID, GID: n.GID, ModTime: n.ModTime,
		Major: n.Major, Minor: n.Minor, Target: n.Target, Content: n.Content, Xattrs: n.Xattrs,
	}
}

type diskfsReader struct {
	t     testing.TB
	sq    *diskfs.FileSystem
	want  *rootfs.Tree
	tree  *rootfs.Tree
	links map[uint32]*rootfs.Node
}

func (d *diskfsReader) read(dir string) {
	d.t.Helper()
	list, err := d.sq.ReadDir(dir)
	if err != nil {
		d.t.Fatalf("%s: %v", dir, err)
	}
	for _, e := range list {
		name := e.Name()
		if dir != "." {
			name = dir + "/" + name
		}
		i, err := e.Info()
		if err != nil {
			d.t.Fatal(err)
		}
		st := i.Sys().(*diskfs.StatT)
		n := d.links[st.Inode]
		if n == nil {
			n = d.node(name, e, i, st)
			d.links[st.Inode] = n
		}
		if err := d.tree.Put(name, n); err != nil {
			d.t.Fatal(err)
		}
		if i.IsDir() {
			d.read(name)
		}
	}
}

var diskfsKinds = map[fs.FileMode]rootfs.Kind{
	fs.ModeDir: rootfs.Dir, 0: rootfs.File, fs.ModeSymlink: rootfs.Symlink, fs.ModeDevice: rootfs.BlockDevice,
	fs.ModeDevice | fs.ModeCharDevice: rootfs.CharDevice, fs.ModeNamedPipe: rootfs.Fifo, fs.ModeSocket: rootfs.Socket,
}

func (d *diskfsReader) node(name string, e fs.DirEntry, i fs.FileInfo, st *diskfs.StatT) *rootfs.Node {
	n := &rootfs.Node{
		Kind: diskfsKinds[i.Mode().Type()], Mode: uint16(i.Mode().Perm()), UID: st.UID, GID: st.GID,
		ModTime: i.ModTime().Unix(), Target: st.LinkTarget,
	}
	if w := d.want.Lookup(name); w != nil {
		n.Mode |= w.Mode & 0o7000
		n.Major, n.Minor = w.Major, w.Minor
	}
	for x, v := range st.Xattrs {
		n.SetXattr(x, []byte(v))
	}
	if n.Kind == rootfs.File {
		n.Content = diskfsContent{i.Size(), e}
	}
	return n
}

type diskfsContent struct {
	size  int64
	entry fs.DirEntry
}

func (c diskfsContent) Size() int64 { return c.size }

func (c diskfsContent) Open() (io.ReadCloser, error) {
	return c.entry.(interface {
		Open() (filesystem.File, error)
	}).Open()
}

// slow says that mksquashfs takes its time: then a part of the tree must do.
func slow(args []string) bool {
	return slices.ContainsFunc([]string{"xz", "-Xhc", "-Xstrategy"}, func(s string) bool { return slices.Contains(args, s) })
}

func TestReadsMksquashfs(t *testing.T) {
	testreq.Root(t)
	tool := testreq.Tool(t, "mksquashfs")
	name, _ := imageFile(t, torture(), squashfs.Options{Compression: squashfs.None})
	dir := filepath.Join(t.TempDir(), "tree")
	run(t, testreq.Tool(t, "unsquashfs"), "-q", "-n", "-d", dir, name)
	// mksquashfs 4.5.1 makes two inodes of a hard-linked symlink, in about one
	// run of ten.
	if err := os.Remove(filepath.Join(dir, "links", "b", "symlink")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"gzip", []string{"-Xcompression-level", "6"}},
		{"gzip-4K", []string{"-b", "4K", "-Xcompression-level", "1"}},
		{"gzip-1M-strategies", []string{"-b", "1M", "-Xcompression-level", "2", "-Xwindow-size", "10", "-Xstrategy", "default,huffman_only"}},
		{"lz4", []string{"-comp", "lz4"}},
		{"lz4hc-1M", []string{"-comp", "lz4", "-Xhc", "-b", "1M"}},
		{"lz4-4K", []string{"-comp", "lz4", "-b", "4K"}},
		{"xz", []string{"-comp", "xz"}},
		{"xz-dict", []string{"-comp", "xz", "-b", "1M", "-Xdict-size", "25%"}},
		{"zstd", []string{"-comp", "zstd", "-Xcompression-level", "3"}},
		{"zstd-4K", []string{"-comp", "zstd", "-b", "4K", "-Xcompression-level", "1"}},
		{"zstd-1M", []string{"-comp", "zstd", "-b", "1M", "-Xcompression-level", "3"}},
		{"no-fragments", []string{"-comp", "zstd", "-Xcompression-level", "1", "-no-fragments"}},
		{"tailends", []string{"-comp", "zstd", "-Xcompression-level", "1", "-always-use-fragments", "-no-exports"}},
		{"no-duplicates", []string{"-comp", "lz4", "-no-duplicates", "-no-sparse"}},
		{"stored", []string{"-noI", "-noD", "-noF", "-noX"}},
		{"stored-inodes", []string{"-noI", "-comp", "lz4"}},
		{"stored-data", []string{"-noD", "-comp", "lz4"}},
		{"no-xattrs", []string{"-no-xattrs", "-comp", "lz4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := dir
			if slow(c.args) {
				dir = filepath.Join(dir, "duplicates")
			}
			image := filepath.Join(t.TempDir(), "image")
			run(t, tool, append([]string{dir, image, "-quiet", "-no-progress"}, c.args...)...)
			f, err := os.Open(image)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			i, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			im, err := squashfs.Open(f, i.Size())
			if err != nil {
				t.Fatal(err)
			}
			clean(t, im)
			got, err := im.Tree(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sameBut(t, fromDir(t, dir), got, rootfs.CompareOptions{IgnoreXattrs: c.name == "no-xattrs"})
		})
	}
}

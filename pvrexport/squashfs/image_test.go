package squashfs_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// packed reads an image of testdata/read.
func packed(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "read", name+".sqfs.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t testing.TB, b []byte) *squashfs.Image {
	t.Helper()
	im, err := squashfs.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func contents(t testing.TB, n *rootfs.Node) string {
	t.Helper()
	r, err := n.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tinyTree is what testdata/read/make.sh packs. The bytes of "stored" are
// random: they come from one of the images.
func tinyTree(t testing.TB, random string) *rootfs.Tree {
	t.Helper()
	const when = 1700000000
	node := func(k rootfs.Kind, mode uint16, content string) *rootfs.Node {
		n := &rootfs.Node{Kind: k, Mode: mode, ModTime: when}
		switch {
		case k == rootfs.Symlink:
			n.Target = content
		case k == rootfs.File:
			n.Content = rootfs.Bytes(content)
		}
		return n
	}
	dir := func(mode uint16) *rootfs.Node { return node(rootfs.Dir, mode, "") }
	file := func(mode uint16, s string) *rootfs.Node { return node(rootfs.File, mode, s) }
	sparse := make([]byte, 20000)
	sparse[12000] = 'x'
	hello, stored, group, zero := file(0o640, "hello squashfs\n"), file(0o644, random), dir(0o2750), file(0o644, "")
	hello.UID, hello.GID = 1000, 100
	big := bytes.Repeat([]byte("y"), 300)
	hello.SetXattr("user.note", []byte("value"))
	zero.SetXattr("user.note", []byte("value"))
	stored.SetXattr("trusted.big", big)
	group.SetXattr("trusted.big", big)
	stored.SetXattr("security.capability", append([]byte{1, 0, 0, 2, 0, 0x20}, make([]byte, 14)...))
	null, disk := node(rootfs.CharDevice, 0o644, ""), node(rootfs.BlockDevice, 0o644, "")
	null.Major, null.Minor = 1, 3
	disk.Major, disk.Minor = 259, 70000
	tree := rootfs.New()
	put := func(name string, n *rootfs.Node) {
		if err := tree.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	put(".", dir(0o755))
	put("dir", group)
	put("dir/sub", dir(0o755))
	put("empty", dir(0o1777))
	put("many", dir(0o755))
	put("hello", hello)
	put("dir/hard", hello)
	put("zero", zero)
	put("blocks", file(0o4755, strings.Repeat("a line that compresses well\n", 400)[:9000]))
	put("stored", stored)
	put("sparse", file(0o644, string(sparse)))
	put("dir/sub/link", node(rootfs.Symlink, 0o777, "../hard"))
	put("abs", node(rootfs.Symlink, 0o777, "/hello"))
	put("dev-c", null)
	put("dev-b", disk)
	put("fifo", node(rootfs.Fifo, 0o644, ""))
	put("sock", node(rootfs.Socket, 0o755, ""))
	for i := range 40 {
		put(fmt.Sprintf("many/file-%d", i), file(0o644, fmt.Sprintf("%d\n", i)))
	}
	return tree
}

// same fails the test for every difference between two trees.
func same(t testing.TB, a, b *rootfs.Tree) {
	t.Helper()
	sameBut(t, a, b, rootfs.CompareOptions{})
}

func sameBut(t testing.TB, a, b *rootfs.Tree, o rootfs.CompareOptions) {
	t.Helper()
	o.Max = 20
	diffs, err := rootfs.Compare(t.Context(), a, b, o)
	if err != nil {
		t.Error(err)
	}
	for _, d := range diffs {
		t.Error(d)
	}
}

// readable are the packed images whose codec is supported.
var readable = []string{"gzip", "gzipopt", "xz", "lz4", "lz4hc", "zstd", "lzma", "none", "nofrag"}

func TestTree(t *testing.T) {
	stored, err := open(t, packed(t, "none")).Lookup("stored")
	if err != nil {
		t.Fatal(err)
	}
	want := tinyTree(t, contents(t, stored.Node))
	for _, name := range readable {
		t.Run(name, func(t *testing.T) {
			got, err := open(t, packed(t, name)).Tree(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			same(t, want, got)
			if got.Lookup("hello") != got.Lookup("dir/hard") {
				t.Error("a hard link became two nodes")
			}
		})
	}
}

func TestInfo(t *testing.T) {
	for _, c := range []struct {
		image   string
		codec   squashfs.Compression
		block   int
		options string
	}{
		{"gzip", squashfs.Gzip, 4096, "defaults"},
		{"gzipopt", squashfs.Gzip, 128 << 10, "level 5, window 15, strategies filtered,fixed"},
		{"xz", squashfs.XZ, 4096, "defaults"},
		{"lz4", squashfs.LZ4, 4096, "version 1"},
		{"lz4hc", squashfs.LZ4, 128 << 10, "version 1, high compression"},
		{"zstd", squashfs.Zstd, 4096, "defaults"},
		{"lzma", squashfs.LZMA, 4096, "defaults"},
		{"lzo", squashfs.LZO, 4096, "defaults"},
		{"none", squashfs.None, 4096, "defaults"},
	} {
		t.Run(c.image, func(t *testing.T) {
			in := open(t, packed(t, c.image)).Info()
			if in.Compression != c.codec || in.BlockSize != c.block || in.Compressor.String() != c.options {
				t.Errorf("got %v, %d, %v", in.Compression, in.BlockSize, in.Compressor)
			}
			if in.Inodes != 56 || in.IDs != 3 || in.Xattrs != 3 || in.ModTime.Unix() != 1700000000 {
				t.Errorf("got %d inodes, %d ids, %d xattrs, %v", in.Inodes, in.IDs, in.Xattrs, in.ModTime)
			}
			if in.Flags.Exportable != (c.image != "gzipopt") {
				t.Errorf("exportable is %v", in.Flags.Exportable)
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	im := open(t, packed(t, "lzo"))
	if _, err := im.Tree(t.Context()); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "lzo") {
		t.Errorf("got %v", err)
	}
	im = open(t, packed(t, "xzbcj"))
	if o := im.Info().Compressor.String(); o != "dictionary 8192, filters x86" {
		t.Errorf("got %s", o)
	}
	e, err := im.Lookup("code")
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "unsupported filter x86") {
		t.Errorf("got %v", err)
	}
}

func TestLookup(t *testing.T) {
	im := open(t, packed(t, "zstd"))
	e, err := im.Lookup("/dir/hard")
	if err != nil {
		t.Fatal(err)
	}
	if e.Path != "dir/hard" || e.Links != 2 || e.Mode != 0o640 || e.UID != 1000 || contents(t, e.Node) != "hello squashfs\n" {
		t.Errorf("got %+v", e)
	}
	for _, name := range []string{"nothing", "dir/nothing", "hello/below", "zzz", "a", "many/file-99"} {
		if _, err := im.Lookup(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFS(t *testing.T) {
	for _, name := range readable {
		t.Run(name, func(t *testing.T) {
			f := open(t, packed(t, name)).FS()
			if err := fstest.TestFS(f, "hello", "dir/hard", "many/file-39", "dir/sub/link"); err != nil {
				t.Error(err)
			}
			for link, want := range map[string]string{"abs": "hello squashfs\n", "many/file-7": "7\n", "dir/sub/link": "hello squashfs\n"} {
				if b, err := fs.ReadFile(f, link); err != nil || string(b) != want {
					t.Errorf("%s: %q, %v", link, b, err)
				}
			}
			if i, err := fs.Stat(f, "abs"); err != nil || !i.Mode().IsRegular() || i.Name() != "abs" {
				t.Errorf("stat follows: %v, %v", i, err)
			}
			if i, err := fs.Lstat(f, "blocks"); err != nil || i.Mode() != fs.ModeSetuid|0o755 {
				t.Errorf("lstat: %v, %v", i, err)
			}
		})
	}
}

package squashfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/rootfs/rootfstest"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// torture is the tree that all tests of one run share.
var torture = sync.OnceValue(func() *rootfs.Tree { return rootfstest.Torture(1) })

// imageFile writes a tree to a file and returns its name and the open image.
func imageFile(t testing.TB, tree *rootfs.Tree, o squashfs.Options) (string, *squashfs.Image) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s, err := squashfs.Write(t.Context(), f, tree, o)
	if err != nil {
		t.Fatal(err)
	}
	im, err := squashfs.Open(f, s.ImageSize)
	if err != nil {
		t.Fatal(err)
	}
	return f.Name(), im
}

// TestWriteThenRead has every codec in every size on the small tree.
func TestWriteThenRead(t *testing.T) {
	tree := oddTree(t)
	for _, c := range []squashfs.Options{
		{Compression: squashfs.Gzip, Level: 1},
		{Compression: squashfs.Zstd, Level: 1},
		{Compression: squashfs.XZ},
		{Compression: squashfs.LZ4},
		{Compression: squashfs.LZ4, HC: true},
		{Compression: squashfs.None},
		{NoFragments: true}, {NoDuplicates: true}, {NoExport: true},
	} {
		for size := 4 << 10; size <= 1<<20; size *= 4 {
			c.BlockSize = size
			t.Run(fmt.Sprintf("%v-hc=%v-%d", c.Compression, c.HC, size), func(t *testing.T) {
				t.Parallel()
				_, im := imageFile(t, tree, c)
				clean(t, im)
				got, err := im.Tree(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				same(t, tree, got)
			})
		}
	}
}

// tortured are the images in which everybody reads the torture tree. Writing
// to a disk is slow: unsquashfs extracts one of them.
var tortured = []struct {
	name       string
	unsquashfs bool
	options    squashfs.Options
}{
	{"default", true, squashfs.Options{}},
	{"gzip-4K", false, squashfs.Options{Compression: squashfs.Gzip, Level: 1, BlockSize: 4 << 10}},
	{"lz4-64K", false, squashfs.Options{Compression: squashfs.LZ4, BlockSize: 64 << 10}},
	{"none-128K", false, squashfs.Options{Compression: squashfs.None, BlockSize: 128 << 10}},
}

func TestEverybodyReadsTorture(t *testing.T) {
	for _, c := range tortured {
		t.Run(c.name, func(t *testing.T) {
			name, im := imageFile(t, torture(), c.options)
			t.Run("own", func(t *testing.T) {
				clean(t, im)
				got, err := im.Tree(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				same(t, torture(), got)
				lookups(t, im, torture())
			})
			t.Run("kernel", func(t *testing.T) { same(t, torture(), kernelTree(t, name)) })
			if c.unsquashfs {
				t.Run("unsquashfs", func(t *testing.T) { same(t, torture(), unsquashfsTree(t, name)) })
			}
		})
	}
}

// TestDiskfsReadsTorture leaves out the extended attributes: go-diskfs 1.9.4
// cannot read a set of three or more (its offset grows twice), and then not
// the directory either.
func TestDiskfsReadsTorture(t *testing.T) {
	for _, o := range []squashfs.Options{
		{Level: 1},
		{Compression: squashfs.Gzip, Level: 1, BlockSize: 4 << 10},
		{Compression: squashfs.None, BlockSize: 128 << 10},
	} {
		o.NoXattrs = true
		t.Run(fmt.Sprintf("%v-%d", o.Compression, o.BlockSize), func(t *testing.T) {
			name, _ := imageFile(t, torture(), o)
			sameBut(t, torture(), diskfsTree(t, name, torture()), rootfs.CompareOptions{IgnoreXattrs: true})
		})
	}
}

// lookups finds every path of the tree by itself.
func lookups(t *testing.T, im *squashfs.Image, tree *rootfs.Tree) {
	t.Helper()
	n := 0
	for name, want := range tree.All() {
		got, err := im.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != want.Kind || got.Mode != want.Mode || got.Size() != want.Size() || got.ModTime != want.ModTime {
			t.Fatalf("%s: got %+v", name, got.Node)
		}
		if _, err := im.Lookup(name + "\x01"); err == nil {
			t.Fatalf("%q was found", name+"\x01")
		}
		n++
	}
	if n < 1000 {
		t.Errorf("the tree has %d paths", n)
	}
}

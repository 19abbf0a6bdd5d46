package squashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// put adds a node to a tree.
func put(t testing.TB, tree *rootfs.Tree, name string, n rootfs.Node) *rootfs.Node {
	t.Helper()
	if n.ModTime == 0 {
		n.ModTime = 1_700_000_000
	}
	if err := tree.Put(name, &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

func file(content []byte) rootfs.Node {
	return rootfs.Node{Kind: rootfs.File, Mode: 0o644, Content: rootfs.Bytes(content)}
}

// words is text-like data that is the same in every run.
func words(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = fmt.Appendf(b, "%x ", r.Uint32N(5000)*7919)
	}
	return b[:n]
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// oddTree holds every kind of node and every way in which content is stored.
func oddTree(t testing.TB) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	put(t, tree, "bin", rootfs.Node{Kind: rootfs.Dir, Mode: 0o1777, UID: 7, GID: 4_000_000_000})
	sh := put(t, tree, "bin/sh", rootfs.Node{Kind: rootfs.File, Mode: 0o6755, UID: 1, GID: 2, Content: rootfs.Bytes(words(1, 300_000))})
	if err := tree.Put("bin/sh.link", sh); err != nil {
		t.Fatal(err)
	}
	put(t, tree, "bin/copy", file(words(1, 300_000)))
	put(t, tree, "bin/tail", file(words(1, 299_999)))
	put(t, tree, "abs", rootfs.Node{Kind: rootfs.Symlink, Mode: 0o777, Target: "/bin/sh"})
	put(t, tree, "dev/sda", rootfs.Node{Kind: rootfs.BlockDevice, Mode: 0o660, Major: 8, Minor: 1})
	put(t, tree, "dev/big", rootfs.Node{Kind: rootfs.CharDevice, Mode: 0o600, Major: 4095, Minor: 1<<20 - 1})
	put(t, tree, "dev/fifo", rootfs.Node{Kind: rootfs.Fifo, Mode: 0o644})
	put(t, tree, "dev/socket", rootfs.Node{Kind: rootfs.Socket, Mode: 0o777, ModTime: 1<<32 - 1})
	put(t, tree, "empty", file(nil))
	put(t, tree, "empty.d", rootfs.Node{Kind: rootfs.Dir, Mode: 0})
	put(t, tree, "noise", file(noise(1, 200_001)))
	put(t, tree, "zeros", file(make([]byte, 3<<20+5)))
	put(t, tree, "block", file(words(2, 128<<10)))
	put(t, tree, "holes", file(append(append(make([]byte, 1<<21), words(3, 100)...), make([]byte, 1<<21)...)))
	capability := rootfs.Xattr{Name: "security.capability", Value: []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")}
	for i := range 40 {
		n := file(words(uint64(i%30), i*1000))
		n.Xattrs = []rootfs.Xattr{capability}
		if i%4 == 0 {
			n.Xattrs = append(n.Xattrs, rootfs.Xattr{Name: "user.n", Value: noise(uint64(i%8), 3000)})
		}
		put(t, tree, fmt.Sprintf("usr/share/f%d.txt", i), n)
	}
	for i := range 600 {
		put(t, tree, fmt.Sprintf("many/entry-with-a-long-name-%d", i), rootfs.Node{Kind: rootfs.Symlink, Mode: 0o777, Target: fmt.Sprint(i)})
	}
	return tree
}

// image writes a tree and returns the bytes.
func image(t testing.TB, tree *rootfs.Tree, o squashfs.Options) ([]byte, squashfs.Stats) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := squashfs.Write(t.Context(), f, tree, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != s.ImageSize || len(b)%4096 != 0 {
		t.Errorf("the image has %d bytes, Stats say %d", len(b), s.ImageSize)
	}
	return b, s
}

func TestWorkersDoNotChangeTheBytes(t *testing.T) {
	tree := oddTree(t)
	for _, p := range squashfs.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			var first []byte
			for _, workers := range []int{1, 2, 4, 8, 1} {
				o := p.Options
				o.Workers, o.ModTime = workers, time.Unix(1_700_000_000, 5)
				b, _ := image(t, tree, o)
				if first == nil {
					first = b
				}
				if !bytes.Equal(b, first) {
					t.Fatalf("%d workers: other bytes than one", workers)
				}
			}
		})
	}
}

func TestUnsquashfsReadsEveryPreset(t *testing.T) {
	tool := testreq.Tool(t, "unsquashfs")
	tree := oddTree(t)
	for _, p := range squashfs.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			b, _ := image(t, tree, p.Options)
			name := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(tool, "-cat", name, "bin/sh", "holes", "usr/share/f33.txt", "noise").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var want []byte
			for _, f := range []string{"bin/sh", "holes", "usr/share/f33.txt", "noise"} {
				r, _ := tree.Lookup(f).Content.Open()
				c, _ := io.ReadAll(r)
				want = append(want, c...)
			}
			if !bytes.Equal(out, want) {
				t.Error("the contents differ")
			}
		})
	}
}

// short is a content that delivers another number of bytes than it promises.
type short struct {
	rootfs.Bytes
	size int64
}

func (s short) Size() int64 { return s.size }

func TestContentOfAnotherSize(t *testing.T) {
	for _, size := range []int64{10, 4096, 99, 4095, 8191, 100_000} {
		tree := rootfs.New()
		n := file(nil)
		n.Content = short{noise(1, 8000), size}
		put(t, tree, "etc/passwd", n)
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = squashfs.Write(t.Context(), f, tree, squashfs.Options{BlockSize: 4096})
		if !errors.Is(err, squashfs.ErrContentSize) || !bytes.Contains([]byte(err.Error()), []byte("store etc/passwd")) {
			t.Errorf("size %d: %v", size, err)
		}
		f.Close()
	}
}

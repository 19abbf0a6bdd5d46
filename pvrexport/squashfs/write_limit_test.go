package squashfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// farZeros is a content of zeros and a short end.
type farZeros struct{ size int64 }

func (z farZeros) Size() int64 { return z.size }
func (z farZeros) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(io.LimitReader(zeroReader{}, z.size-3), strings.NewReader("end"))), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestFileBeyond4GiB(t *testing.T) {
	const size = 4<<30 + 5<<20 + 3
	tree := rootfs.New()
	put(t, tree, "large", rootfs.Node{Kind: rootfs.File, Mode: 0o600, Content: farZeros{size}})
	b, s := image(t, tree, squashfs.Options{})
	if s.ContentSize != size || s.Holes != 4<<10+5 || s.ImageSize > 64<<10 {
		t.Errorf("stats: %+v", s)
	}
	got, err := open(t, b).Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Lookup("large"); n == nil || n.Size() != size {
		t.Fatalf("read back: %+v", n)
	}
}

func TestLargeDirectoryThroughTheKernel(t *testing.T) {
	tree := rootfs.New()
	for i := range 5000 {
		put(t, tree, fmt.Sprintf("d/%s-%05d", strings.Repeat("n", i%200), i), rootfs.Node{Kind: rootfs.File, Mode: 0o644})
	}
	name, _ := imageFile(t, tree, squashfs.Options{})
	same(t, tree, kernelTree(t, name)) // opens every name through the index
}

// TestOptionsThatMoveContent has a small tree; TestWriteThenRead has the
// codecs and block sizes.
func TestOptionsThatMoveContent(t *testing.T) {
	tree := oddTree(t)
	for name, o := range map[string]squashfs.Options{
		"tail packing":  {TailPacking: true},
		"no fragments":  {NoFragments: true},
		"no duplicates": {NoDuplicates: true},
		"no export":     {NoExport: true},
	} {
		t.Run(name, func(t *testing.T) {
			o.Compression, o.BlockSize = squashfs.LZ4, 16<<10
			f, im := imageFile(t, tree, o)
			got, err := im.Tree(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			same(t, tree, got)
			same(t, tree, kernelTree(t, f))
		})
	}
}

func TestIDs(t *testing.T) {
	tree := rootfs.New()
	for i := range uint32(65534) { // and 0, the root's
		n := rootfs.Node{Kind: rootfs.Fifo, Mode: 0o600, UID: i + 1, GID: 65534 - i}
		put(t, tree, fmt.Sprintf("%d/%d", i%100, i), n)
	}
	b, s := image(t, tree, squashfs.Options{Compression: squashfs.LZ4})
	if s.IDs != 65535 {
		t.Errorf("%d ids", s.IDs)
	}
	got, err := open(t, b).Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, tree, got)

	put(t, tree, "one/more", rootfs.Node{Kind: rootfs.Fifo, Mode: 0o600, UID: 1 << 31})
	_, err = squashfs.Write(t.Context(), discard{}, tree, squashfs.Options{})
	if e, ok := errors.AsType[*rootfs.PathError](err); !ok || e.Path != "one/more" || !strings.Contains(e.Reason, "65535") {
		t.Errorf("65,536 ids: %v", err)
	}
}

// discard is an image that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error)        { return len(p), nil }
func (discard) Seek(n int64, _ int) (int64, error) { return n, nil }

func TestRefusals(t *testing.T) {
	xattr := func(name string, size int) rootfs.Node {
		return rootfs.Node{Kind: rootfs.Fifo, Xattrs: []rootfs.Xattr{{Name: name, Value: make([]byte, size)}}}
	}
	for _, c := range []struct {
		what string
		node rootfs.Node
		want string
	}{
		{"before 1970", rootfs.Node{Kind: rootfs.Fifo, ModTime: -1}, "modification time -1"},
		{"after 2106", rootfs.Node{Kind: rootfs.Fifo, ModTime: 1 << 32}, "modification time 4294967296"},
		{"mode", rootfs.Node{Kind: rootfs.Fifo, Mode: 0o10000}, "mode 010000"},
		{"no target", rootfs.Node{Kind: rootfs.Symlink}, "a symlink target of 0 bytes"},
		{"long target", rootfs.Node{Kind: rootfs.Symlink, Target: strings.Repeat("x", 4096)}, "a symlink target of 4096 bytes"},
		{"major", rootfs.Node{Kind: rootfs.CharDevice, Major: 4096}, "device number 4096:0"},
		{"minor", rootfs.Node{Kind: rootfs.BlockDevice, Minor: 1 << 20}, "device number 0:1048576"},
		{"kind", rootfs.Node{}, "unknown kind of node 0"},
		{"xattr prefix", xattr("system.posix_acl_access", 4), `"system.posix_acl_access"`},
		{"xattr without name", xattr("user.", 4), `"user."`},
		{"xattr name", xattr("user."+strings.Repeat("x", 251), 4), "name has 256 bytes"},
		{"xattr value", xattr("user.x", 65537), "has 65537 bytes"},
	} {
		t.Run(c.what, func(t *testing.T) {
			tree := rootfs.New()
			if err := tree.Put("some/where", &c.node); err != nil {
				t.Fatal(err)
			}
			tree.Lookup("some").ModTime = 0
			_, err := squashfs.Write(t.Context(), discard{}, tree, squashfs.Options{})
			e, ok := errors.AsType[*rootfs.PathError](err)
			if !ok || e.Path != "some/where" || !strings.Contains(e.Reason, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []squashfs.Options{
		{BlockSize: 2048}, {BlockSize: 2 << 20}, {BlockSize: 5000}, {BlockSize: -4096},
		{Workers: -1}, {Compression: squashfs.LZO}, {Compression: squashfs.Gzip, Level: 10},
		{Level: 23}, {Level: -1}, {Compression: squashfs.XZ, HC: true}, {ModTime: time.Unix(-1, 0)}, {ModTime: time.Unix(1<<32, 0)},
	} {
		_, err := squashfs.Write(t.Context(), discard{}, rootfs.New(), o)
		if _, ok := errors.AsType[*squashfs.OptionError](err); !ok {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// failing is a content or an image that stops working.
type failing struct {
	left int
	err  error
	then func()
}

func (f *failing) Size() int64                  { return 1 << 40 }
func (f *failing) Open() (io.ReadCloser, error) { return io.NopCloser(f), nil }
func (f *failing) Seek(n int64, _ int) (int64, error) {
	return n, nil
}
func (f *failing) fail(n int) (int, error) {
	if f.left -= n; f.left > 0 {
		return n, nil
	}
	if f.then != nil {
		f.then()
	}
	return 0, f.err
}
func (f *failing) Write(p []byte) (int, error) { return f.fail(len(p)) }
func (f *failing) Read(p []byte) (int, error) {
	copy(p, noise(uint64(f.left), 64))
	return f.fail(len(p))
}

// TestFailuresEndEverything checks each way to fail: the first error comes
// back, and no goroutine stays.
func TestFailuresEndEverything(t *testing.T) {
	broken := errors.New("broken")
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	for _, c := range []struct {
		what    string
		ctx     context.Context
		content rootfs.Content
		w       io.WriteSeeker
		want    error
		text    string
	}{
		{"read", t.Context(), &failing{left: 3 << 20, err: broken}, discard{}, broken, "store deep/file: read at byte 3"},
		{"write", t.Context(), farNoise{}, &failing{left: 1 << 20, err: broken}, broken, "write image at byte "},
		{"cancel", ctx, &failing{left: 3 << 20, err: io.EOF, then: func() { cancel(stopped) }}, discard{}, stopped, "stopped"},
		{"cancelled before", ctx, rootfs.Bytes("x"), discard{}, stopped, "stopped"},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := runtime.NumGoroutine()
			tree := rootfs.New()
			put(t, tree, "deep/file", rootfs.Node{Kind: rootfs.File, Content: c.content})
			_, err := squashfs.Write(c.ctx, c.w, tree, squashfs.Options{Compression: squashfs.LZ4, BlockSize: 64 << 10, Workers: 4})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
			// One that is waited for counts a moment longer, until it has returned.
			for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if after := runtime.NumGoroutine(); after > before {
				t.Errorf("%d goroutines before, %d after", before, after)
			}
		})
	}
}

// farNoise never ends.
type farNoise struct{}

func (farNoise) Size() int64 { return 1 << 40 }
func (farNoise) Open() (io.ReadCloser, error) {
	return io.NopCloser(&failing{left: 1 << 40, err: io.EOF}), nil
}

func TestProgressAndStats(t *testing.T) {
	tree := oddTree(t)
	o, _ := squashfs.Preset("lz4")
	var last int64
	o.Progress = func(done, total int64) {
		if done < last || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}
	_, s := image(t, tree, o)
	if last != s.ContentSize {
		t.Errorf("progress ended at %d of %d", last, s.ContentSize)
	}
	if s.Links != 1 || s.Duplicates == 0 || s.Holes == 0 || s.XattrSets == 0 || s.Fragments == 0 {
		t.Errorf("%+v", s)
	}
}

func TestDuplicatesAreStoredOnce(t *testing.T) {
	one, many := rootfs.New(), rootfs.New()
	small, large := noise(5, 3000), noise(6, 3<<20+77)
	put(t, one, "small", file(small))
	put(t, one, "large", file(large))
	for i := range 20 {
		put(t, many, fmt.Sprintf("small%d", i), file(small))
		put(t, many, fmt.Sprintf("large%d", i), file(large))
	}
	for _, o := range []squashfs.Options{{}, {TailPacking: true}, {NoFragments: true}} {
		_, a := image(t, one, o)
		b, s := image(t, many, o)
		if s.Duplicates != 38 || s.ImageSize > a.ImageSize+8192 {
			t.Errorf("%d duplicates, %d bytes; one of each takes %d", s.Duplicates, s.ImageSize, a.ImageSize)
		}
		got, err := open(t, b).Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, many, got)
	}
	o := squashfs.Options{NoDuplicates: true}
	if b, s := image(t, many, o); s.Duplicates != 0 || len(b) < 20*3<<20 {
		t.Errorf("not asked for: %d duplicates, %d bytes", s.Duplicates, len(b))
	}
}

// TestImageBeginsWhereTheWriterIs writes behind something else.
func TestImageBeginsWhereTheWriterIs(t *testing.T) {
	tree := oddTree(t)
	want, _ := image(t, tree, squashfs.Options{})
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprint(f, "before")
	if _, err := squashfs.Write(t.Context(), f, tree, squashfs.Options{}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "after")
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, append(append([]byte("before"), want...), "after"...)) {
		t.Error("the bytes around or in the image are not right")
	}
}

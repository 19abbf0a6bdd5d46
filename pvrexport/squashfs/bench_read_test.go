package squashfs_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// benchTree has 24 MiB in 200 files and a directory of so many names.
func benchTree(b *testing.B, names int) *rootfs.Tree {
	b.Helper()
	tree := rootfs.New()
	for i := range 200 {
		put(b, tree, fmt.Sprintf("data/file-%d", i), file(words(uint64(i), 123_456)))
	}
	for i := range names {
		put(b, tree, fmt.Sprintf("large/entry-%05d", i), rootfs.Node{Kind: rootfs.Fifo, Mode: 0o600})
	}
	return tree
}

func BenchmarkOpenAndLookup(b *testing.B) {
	name, _ := imageFile(b, benchTree(b, 20_000), squashfs.Options{Level: 1})
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		im, err := squashfs.Open(f, i.Size())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := im.Lookup("large/entry-17777"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookup is one name of 20,000 in a directory, in an open image.
func BenchmarkLookup(b *testing.B) {
	_, im := imageFile(b, benchTree(b, 20_000), squashfs.Options{Level: 1})
	n := 0
	for b.Loop() {
		n = (n + 7919) % 20_000
		if _, err := im.Lookup(fmt.Sprintf("large/entry-%05d", n)); err != nil {
			b.Fatal(err)
		}
	}
}

var benchCodecs = []squashfs.Options{
	{Compression: squashfs.Zstd, Level: 3}, {Compression: squashfs.Gzip, Level: 6},
	{Compression: squashfs.LZ4}, {Compression: squashfs.XZ}, {Compression: squashfs.None},
}

// BenchmarkRead reads every file, one after the other.
func BenchmarkRead(b *testing.B) {
	for _, o := range benchCodecs {
		o.BlockSize = 128 << 10
		b.Run(o.Compression.String(), func(b *testing.B) {
			_, im := imageFile(b, benchTree(b, 0), o)
			b.SetBytes(200 * 123_456)
			for b.Loop() {
				tree, err := im.Tree(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				for name, n := range tree.All() {
					if n.Kind != rootfs.File {
						continue
					}
					r, err := n.Content.Open()
					if err != nil {
						b.Fatal(name, err)
					}
					if _, err := io.Copy(io.Discard, r); err != nil {
						b.Fatal(name, err)
					}
					r.Close()
				}
			}
		})
	}
}

// BenchmarkVerify reads everything with one worker for each CPU.
func BenchmarkVerify(b *testing.B) {
	for _, o := range benchCodecs {
		o.BlockSize = 128 << 10
		b.Run(o.Compression.String(), func(b *testing.B) {
			_, im := imageFile(b, benchTree(b, 0), o)
			b.SetBytes(200 * 123_456)
			for b.Loop() {
				if p, _, err := im.Verify(b.Context(), squashfs.VerifyOptions{}); err != nil || len(p) > 0 {
					b.Fatal(p, err)
				}
			}
		})
	}
}

// BenchmarkExtract compares with unsquashfs: both write the files of an image
// to a directory. The ratio is our time to theirs.
func BenchmarkExtract(b *testing.B) {
	tool := testreq.Tool(b, "unsquashfs")
	for _, o := range benchCodecs {
		o.BlockSize = 128 << 10
		b.Run(o.Compression.String(), func(b *testing.B) {
			name, im := imageFile(b, benchTree(b, 0), o)
			b.SetBytes(200 * 123_456)
			var own, peer time.Duration
			n := 0
			for b.Loop() {
				n++
				dir := filepath.Join(b.TempDir(), fmt.Sprint(n))
				if err := os.Mkdir(dir, 0o755); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				tree, err := im.Tree(b.Context())
				if err == nil {
					_, err = rootfs.Extract(b.Context(), tree, filepath.Join(dir, "own"))
				}
				own += time.Since(start)
				if err != nil {
					b.Fatal(err)
				}
				start = time.Now()
				if out, err := exec.Command(tool, "-q", "-n", "-d", filepath.Join(dir, "peer"), name).CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				peer += time.Since(start)
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(own.Seconds()/peer.Seconds(), "own/unsquashfs")
		})
	}
}

package rootfs_test

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/rootfs/rootfstest"
)

func BenchmarkFromTar(b *testing.B) {
	var entries []entry
	for i := range 2000 {
		data, err := io.ReadAll(io.NewSectionReader(&rootfstest.Data{Seed: uint64(i), Length: 16 << 10, Flavour: rootfstest.Text}, 0, 16<<10))
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, file(fmt.Sprintf("usr/share/%d/%d", i%50, i), string(data)))
	}
	plain := pack(b, entries...)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		r    func() io.Reader
	}{
		{"in place", func() io.Reader { return bytes.NewReader(plain) }},
		{"pipe", func() io.Reader { return pipe{bytes.NewReader(plain)} }},
		{"gzip", reader(gz(plain))},
		{"zstd", reader(enc.EncodeAll(plain, nil))},
		{"xz", reader(packXZ(b, plain))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				tree, err := rootfs.FromTar(b.Context(), c.r(), rootfs.TarOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if err := tree.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func reader(data []byte) func() io.Reader {
	return func() io.Reader { return bytes.NewReader(data) }
}

func BenchmarkFromDir(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "d")
	if _, err := rootfs.Extract(b.Context(), rootfstest.Options{NoUserXattr: true}.Tree(), dir); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rootfs.FromDir(b.Context(), dir, rootfs.DirOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

package squashfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// FuzzOpen reads whatever it is given in every way that there is. Nothing may
// panic or take more memory or time than the input's size explains.
func FuzzOpen(f *testing.F) {
	for _, name := range append(readable, "lzo", "xzbcj") {
		f.Add(packed(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := squashfs.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, squashfs.ErrFormat) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("an error that blames neither the image nor its end: %v", err)
			}
			return
		}
		_ = im.Info()
		problems, _, verr := im.Verify(t.Context(), squashfs.VerifyOptions{Workers: 2})
		tree, err := im.Tree(t.Context())
		if err != nil {
			if verr == nil && len(problems) == 0 {
				t.Fatalf("Verify finds nothing and Tree says %v", err)
			}
			return
		}
		left := int64(4 << 20)
		for name, n := range tree.All() {
			e, err := im.Lookup(name)
			if err == nil && e.Kind != n.Kind {
				t.Fatalf("%s is a %v by lookup and a %v in the tree", name, e.Kind, n.Kind)
			}
			if n.Kind != rootfs.File || left <= 0 {
				continue
			}
			r, err := n.Content.Open()
			if err != nil {
				continue
			}
			got, err := io.Copy(io.Discard, io.LimitReader(r, left))
			left -= got
			if err == nil && left > 0 && got != n.Size() {
				t.Fatalf("%s: read %d of %d bytes without an error", name, got, n.Size())
			}
			if err != nil && verr == nil && len(problems) == 0 {
				t.Fatalf("Verify finds nothing and %s cannot be read: %v", name, err)
			}
			r.Close()
		}
		_ = fs.WalkDir(im.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
			if err == nil {
				_, _ = d.Info()
			}
			return nil
		})
	})
}

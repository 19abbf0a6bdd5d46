package storage_test

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

// BenchmarkApply fills a storage with 25 exports of 256 KiB each, as an
// appengine's first start does, on the disk of the temporary directory.
func BenchmarkApply(b *testing.B) {
	pvtxd := b.TempDir()
	for i := range 25 {
		image := make([]byte, 256<<10)
		_, _ = rand.Read(image) // never fails
		name := fmt.Sprintf("app%02d", i)
		write(b, filepath.Join(pvtxd, name+".tgz"), bundle(b, name+"/run.json", `{}`, name+"/services.json", `{}`,
			name+"/src.json", `{}`, name+"/lxc.container.conf", "# "+name, name+"/root.squashfs", string(image)))
	}
	for b.Loop() {
		s := open(b, b.TempDir())
		if _, err := s.Apply(b.Context(), []string{pvtxd}, storage.ApplyOptions{}); err != nil {
			b.Fatal(err)
		}
		if err := s.Verify(b.Context(), "0", nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSetMeta(b *testing.B) {
	m := open(b, b.TempDir()).UserMeta()
	for i := 0; b.Loop(); i++ {
		if err := m.Set("key", fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
}

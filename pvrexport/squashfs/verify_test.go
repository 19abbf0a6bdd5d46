package squashfs_test

import (
	"testing"

	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// clean fails the test for every problem that Verify finds.
func clean(t testing.TB, im *squashfs.Image) squashfs.VerifyStats {
	t.Helper()
	problems, stats, err := im.Verify(t.Context(), squashfs.VerifyOptions{})
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return stats
}

func TestVerifyFindsNothingInGoodImages(t *testing.T) {
	for _, name := range []string{"gzip", "gzipopt", "xz", "lz4", "lz4hc", "zstd", "none", "nofrag"} {
		t.Run(name, func(t *testing.T) {
			s := clean(t, open(t, packed(t, name)))
			t.Logf("%+v", s)
		})
	}
}

package rootfstest_test

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/rootfs/rootfstest"
)

func TestTortureIsReproducible(t *testing.T) {
	a, b := rootfstest.Torture(7), rootfstest.Torture(7)
	diffs, err := rootfs.Compare(t.Context(), a, b, rootfs.CompareOptions{})
	if err != nil || len(diffs) > 0 {
		t.Errorf("%v, %v", diffs, err)
	}
	diffs, err = rootfs.Compare(t.Context(), a, rootfstest.Torture(8), rootfs.CompareOptions{})
	if err != nil || len(diffs) == 0 {
		t.Errorf("another seed makes the same tree: %v", err)
	}
	nodes, ids, size := 0, map[uint32]bool{}, int64(0)
	kinds := map[rootfs.Kind]int{}
	for _, n := range a.All() {
		nodes++
		ids[n.UID], ids[n.GID] = true, true
		size += n.Size()
		kinds[n.Kind]++
	}
	t.Logf("%d names, %d ids, %d bytes, %v", nodes, len(ids), size, kinds)
	if nodes < 5000 || len(ids) < 2500 || len(kinds) != 7 {
		t.Error("the tree lacks something")
	}
}

func TestOptions(t *testing.T) {
	tree := rootfstest.Options{FarTimes: true, LongPaths: true, LargeXattrs: true, IDs: 6000, NoUserXattr: true}.Tree()
	longest, ids := 0, map[uint32]bool{}
	for name, n := range tree.All() {
		longest = max(longest, len(name))
		ids[n.UID] = true
		for _, x := range n.Xattrs {
			if bytes.HasPrefix([]byte(x.Name), []byte("user.")) {
				t.Errorf("%s has %s", name, x.Name)
			}
		}
	}
	if longest <= 4096 || len(ids) < 6000 || tree.Lookup("times/-1") == nil {
		t.Errorf("longest %d, ids %d", longest, len(ids))
	}
}

func TestDataReadsTheSameInAnyPieces(t *testing.T) {
	d := &rootfstest.Data{Seed: 3, Length: 100_003, Flavour: rootfstest.Mixed, Holes: [][2]int64{{10, 20}, {5000, 20000}, {99_999, 100_003}}}
	whole := make([]byte, d.Length)
	if _, err := d.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(io.NewSectionReader(d, 0, d.Length), whole); err != nil {
		t.Error(err)
	}
	for _, h := range d.Holes {
		if len(bytes.Trim(whole[h[0]:h[1]], "\x00")) > 0 {
			t.Errorf("hole %v is not empty", h)
		}
	}
	if whole[9] == 0 && whole[20] == 0 && whole[4999] == 0 {
		t.Error("too many zeros")
	}
}

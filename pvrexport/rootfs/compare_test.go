package rootfs_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/rootfs/rootfstest"
)

// compared is a tree with one of everything that can differ.
func compared(t *testing.T) *rootfs.Tree {
	t.Helper()
	tree := build(t, "d/", "d/file=content", "d/link->target", "other=content", "empty", "new\nline")
	for name, n := range map[string]*rootfs.Node{
		"dev":  {Kind: rootfs.CharDevice, Major: 1, Minor: 3},
		"big":  {Kind: rootfs.File, Content: &rootfstest.Data{Length: 200_000}},
		"hard": tree.Lookup("d/file"),
	} {
		if err := tree.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	tree.Lookup("d/file").SetXattr("user.a", []byte("1"))
	return tree
}

func TestCompareFindsEveryDifference(t *testing.T) {
	type tree = *rootfs.Tree
	put := func(b tree, name string, n *rootfs.Node) {
		if err := b.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(tree)
		opts   rootfs.CompareOptions
		want   string
	}{
		"nothing":        {func(tree) {}, rootfs.CompareOptions{}, ""},
		"missing":        {func(b tree) { b.Remove("d/link") }, rootfs.CompareOptions{}, "d/link: exists: symlink, none"},
		"more":           {func(b tree) { put(b, "z", &rootfs.Node{Kind: rootfs.Fifo}) }, rootfs.CompareOptions{}, "z: exists: none, fifo"},
		"more, ignored":  {func(b tree) { put(b, "z", &rootfs.Node{Kind: rootfs.Fifo}) }, rootfs.CompareOptions{IgnoreKinds: []rootfs.Kind{rootfs.Fifo}}, ""},
		"kind":           {func(b tree) { put(b, "dev", &rootfs.Node{Kind: rootfs.BlockDevice, Major: 1, Minor: 3}) }, rootfs.CompareOptions{}, "dev: kind: character device, block device"},
		"minor":          {func(b tree) { b.Lookup("dev").Minor = 4 }, rootfs.CompareOptions{}, "dev: device: 1:3, 1:4"},
		"mode":           {func(b tree) { b.Lookup("empty").Mode = 0o4644 }, rootfs.CompareOptions{}, "empty: mode: 0644, 4644"},
		"mode of root":   {func(b tree) { b.Root().Mode = 0 }, rootfs.CompareOptions{}, ".: mode: 0755, 0000"},
		"mode of link":   {func(b tree) { b.Lookup("d/link").Mode = 0 }, rootfs.CompareOptions{}, ""},
		"uid":            {func(b tree) { b.Lookup("d").UID = 5 }, rootfs.CompareOptions{}, "d: owner: 0:0, 5:0"},
		"gid, ignored":   {func(b tree) { b.Lookup("d").GID = 5 }, rootfs.CompareOptions{IgnoreOwners: true}, ""},
		"time":           {func(b tree) { b.Lookup("new\nline").ModTime = 1 }, rootfs.CompareOptions{}, `"new\nline": time: 1970-01-01T00:00:00Z, 1970-01-01T00:00:01Z`},
		"time, ignored":  {func(b tree) { b.Lookup("d").ModTime = 1 }, rootfs.CompareOptions{IgnoreTimes: true}, ""},
		"target":         {func(b tree) { b.Lookup("d/link").Target = "else" }, rootfs.CompareOptions{}, "d/link: target: target, else"},
		"xattr value":    {func(b tree) { b.Lookup("hard").SetXattr("user.a", []byte("2")) }, rootfs.CompareOptions{}, "d/file: xattr user.a: \"1\", \"2\"\nhard: xattr user.a: \"1\", \"2\""},
		"xattr missing":  {func(b tree) { b.Lookup("empty").SetXattr("user.e", []byte{}) }, rootfs.CompareOptions{}, `empty: xattr user.e: none, ""`},
		"xattr, ignored": {func(b tree) { b.Lookup("hard").SetXattr("user.a", nil) }, rootfs.CompareOptions{IgnoreXattrs: true}, ""},
		"size":           {func(b tree) { b.Lookup("other").Content = rootfs.Bytes("con") }, rootfs.CompareOptions{}, "other: size: 7, 3"},
		"content":        {func(b tree) { b.Lookup("other").Content = rootfs.Bytes("conTent") }, rootfs.CompareOptions{}, "other: content: differs, first at byte 3 of 7"},
		"far content": {func(b tree) {
			b.Lookup("big").Content = &rootfstest.Data{Length: 200_000, Holes: [][2]int64{{150_000, 150_100}}}
		}, rootfs.CompareOptions{}, "big: content: differs, first at byte 150000 of 200000"},
		"content, ignored": {func(b tree) { b.Lookup("other").Content = nil }, rootfs.CompareOptions{IgnoreContents: true}, ""},
		"link broken": {func(b tree) {
			n := *b.Lookup("hard")
			put(b, "hard", &n)
		}, rootfs.CompareOptions{}, "hard: link: same file as d/file, none"},
		"link made":     {func(b tree) { put(b, "other", b.Lookup("d/file")) }, rootfs.CompareOptions{IgnoreXattrs: true}, "other: link: none, same file as d/file"},
		"link, ignored": {func(b tree) { put(b, "other", b.Lookup("d/file")) }, rootfs.CompareOptions{IgnoreLinks: true, IgnoreXattrs: true}, ""},
		"at most": {func(b tree) {
			b.Remove("dev")
			b.Remove("big")
			b.Remove("d")
		}, rootfs.CompareOptions{Max: 2}, "big: exists: file, none\nd: exists: directory, none"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := compared(t), compared(t)
			c.change(b)
			diffs, err := rootfs.Compare(t.Context(), a, b, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, d := range diffs {
				lines = append(lines, d.String())
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			back, err := rootfs.Compare(t.Context(), b, a, c.opts)
			if err != nil || len(back) != len(diffs) {
				t.Errorf("the other way: %v, %v", back, err)
			}
		})
	}
}

// failing is content whose reader fails half way.
type failing struct{ rootfs.Bytes }

var errDisk = errors.New("disk fault")

func (f failing) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader("con"), failure{})), nil
}

type failure struct{}

func (failure) Read([]byte) (int, error) { return 0, errDisk }

func TestCompareSaysWhatItCannotRead(t *testing.T) {
	a, b := compared(t), compared(t)
	b.Lookup("other").Content = failing{rootfs.Bytes("content")}
	for _, pair := range [][2]*rootfs.Tree{{a, b}, {b, a}} {
		if _, err := rootfs.Compare(t.Context(), pair[0], pair[1], rootfs.CompareOptions{}); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "other") {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rootfs.Compare(ctx, a, a, rootfs.CompareOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNodesOfATree(t *testing.T) {
	tree := compared(t)
	d := tree.Root().Child("d")
	if d == nil || tree.Root().Child("nothing") != nil || listing(rootfs.Rooted(d)) != ". file link->target" {
		t.Error("Child or Rooted")
	}
	var kinds []string
	for k := range rootfs.Socket + 2 {
		kinds = append(kinds, k.String())
	}
	if want := []string{"unknown", "directory", "file", "symlink", "block device", "character device", "fifo", "socket", "unknown"}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %q", kinds)
	}
	for name := range tree.All() { // a loop may end early
		if name == "d" {
			break
		}
	}
	if uid, gid := rootfs.AllRoot(5, 6); uid != 0 || gid != 0 {
		t.Error("AllRoot")
	}
}

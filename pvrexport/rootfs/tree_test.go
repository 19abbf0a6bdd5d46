package rootfs_test

import (
	"errors"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

func TestPutMergesDirectoriesAndReplacesTheRest(t *testing.T) {
	tr := rootfs.New()
	put := func(name string, n *rootfs.Node) {
		t.Helper()
		if err := tr.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	put("/usr/bin/sh", &rootfs.Node{Kind: rootfs.File, Mode: 0o755, Content: rootfs.Bytes("x")})
	put("usr", &rootfs.Node{Kind: rootfs.Dir, Mode: 0o700, UID: 7})
	put("usr/bin/sh", &rootfs.Node{Kind: rootfs.Symlink, Mode: 0o777, Target: "dash"})
	put(".", &rootfs.Node{Kind: rootfs.Dir, Mode: 0o711})

	var names []string
	for name := range tr.All() {
		names = append(names, name)
	}
	if want := ". usr usr/bin usr/bin/sh"; len(names) != 4 || names[3] != "usr/bin/sh" {
		t.Errorf("names %v, want %s", names, want)
	}
	if n := tr.Lookup("/usr"); n.Mode != 0o700 || n.UID != 7 || n.Len() != 1 {
		t.Errorf("usr: %+v", n)
	}
	if n := tr.Lookup("usr/bin/sh"); n.Kind != rootfs.Symlink || n.Size() != 4 {
		t.Errorf("sh: %+v", n)
	}
	var pe *rootfs.PathError
	if err := tr.Put("usr/bin/sh/x", &rootfs.Node{Kind: rootfs.File}); !errors.As(err, &pe) {
		t.Errorf("put below a symlink: %v", err)
	}
	if tr.Root().Mode != 0o711 || !tr.Remove("usr/bin") || tr.Remove("usr/bin") || tr.Remove(".") {
		t.Error("root or remove")
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{"": ".", "/": ".", "./a//b/": "a/b", "a/./b": "a/b"} {
		if got, err := rootfs.Clean(in); err != nil || got != want {
			t.Errorf("Clean(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"../a", "a/..", "a/../../b", "a\x00b", string(make([]byte, 300))} {
		if got, err := rootfs.Clean(in); err == nil {
			t.Errorf("Clean(%q) = %q, want an error", in, got)
		}
	}
}

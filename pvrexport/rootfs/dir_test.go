package rootfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// zoo makes a directory with one of everything; asRoot adds what needs root.
func zoo(t *testing.T, asRoot bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "zoo")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755))
	must(os.MkdirAll(filepath.Join(dir, "var/empty"), 0o700))
	must(os.MkdirAll(filepath.Join(dir, strings.Repeat("deep/", 60)), 0o755))
	in := func(name string) string { return filepath.Join(dir, name) }
	must(os.WriteFile(in("usr/bin/su"), []byte("su\n"), 0o755))
	must(os.Chmod(in("usr/bin/su"), 0o755|os.ModeSetuid|os.ModeSetgid))
	must(os.Chmod(in("var"), 0o777|os.ModeSticky))
	must(os.WriteFile(in("with blank\nand newline é"), bytes.Repeat([]byte("x"), 70000), 0o600))
	must(os.WriteFile(in("empty"), nil, 0o444))
	must(os.Symlink("../../etc/passwd", in("usr/bin/escape")))
	must(os.Symlink("/nowhere", in("dangling")))
	must(os.Link(in("usr/bin/su"), in("var/hard")))
	must(os.Link(in("dangling"), in("var/hardlink-of-symlink")))
	must(syscall.Mkfifo(in("fifo"), 0o640))
	sparse, err := os.Create(in("sparse"))
	must(err)
	_, err = sparse.WriteAt([]byte("end"), 3<<20)
	must(err)
	must(sparse.Close())
	err = syscall.Setxattr(in("usr/bin/su"), "user.note", []byte("a\x00b"), 0)
	testreq.Feature(t, "xattr", err == nil, "the temporary directory takes no extended attributes")
	must(syscall.Setxattr(in("usr"), "user.empty", nil, 0))
	if asRoot {
		must(os.Lchown(in("empty"), 1234, wide(4294967294)))
		must(syscall.Mknod(in("null"), syscall.S_IFCHR|0o666, 1<<8|3))
		must(syscall.Mknod(in("sda"), syscall.S_IFBLK|0o660, 8<<8))
		must(syscall.Setxattr(in("var/hard"), "trusted.t", []byte("v"), 0))
		must(syscall.Setxattr(in("empty"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	}
	must(os.Chtimes(in("empty"), time.Time{}, time.Unix(4000000000, 5)))
	must(os.Chtimes(in("usr"), time.Time{}, time.Unix(0, 0)))
	return dir
}

func fromDir(t *testing.T, dir string, opts rootfs.DirOptions) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.FromDir(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func wantSame(t *testing.T, a, b *rootfs.Tree, opts rootfs.CompareOptions) {
	t.Helper()
	diffs, err := rootfs.Compare(t.Context(), a, b, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		t.Error(d)
	}
}

func read(t *testing.T, n *rootfs.Node) string {
	t.Helper()
	r, err := n.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFromDirTakesEveryKind(t *testing.T) {
	dir := zoo(t, false)
	tree := fromDir(t, dir, rootfs.DirOptions{})
	for name, want := range map[string]struct {
		kind rootfs.Kind
		mode uint16
		size int64
	}{
		"usr/bin/su":                {rootfs.File, 0o6755, 3},
		"var":                       {rootfs.Dir, 0o1777, 0},
		"with blank\nand newline é": {rootfs.File, 0o600, 70000},
		"empty":                     {rootfs.File, 0o444, 0},
		"usr/bin/escape":            {rootfs.Symlink, 0o777, 16},
		"fifo":                      {rootfs.Fifo, 0, 0},
		"sparse":                    {rootfs.File, 0, 3<<20 + 3},
	} {
		n := tree.Lookup(name)
		if n == nil {
			t.Errorf("%q is missing", name)
			continue
		}
		if n.Kind != want.kind || want.mode != 0 && n.Mode != want.mode || n.Size() != want.size {
			t.Errorf("%q: %s %04o %d, want %+v", name, n.Kind, n.Mode, n.Size(), want)
		}
	}
	su := tree.Lookup("usr/bin/su")
	if su != tree.Lookup("var/hard") || tree.Lookup("dangling") != tree.Lookup("var/hardlink-of-symlink") {
		t.Error("hard links are not one node")
	}
	if len(su.Xattrs) != 1 || su.Xattrs[0].Name != "user.note" || string(su.Xattrs[0].Value) != "a\x00b" {
		t.Errorf("xattrs %+v", su.Xattrs)
	}
	if x := tree.Lookup("usr").Xattrs; len(x) != 1 || x[0].Value == nil || len(x[0].Value) != 0 {
		t.Errorf("empty xattr %+v", x)
	}
	if read(t, su) != "su\n" || tree.Lookup("empty").ModTime != 4000000000 || tree.Lookup("usr").ModTime != 0 {
		t.Error("content or times")
	}
	if su.UID != uint32(os.Getuid()) {
		t.Errorf("owner %d", su.UID)
	}
}

func TestFromDirOptions(t *testing.T) {
	dir := zoo(t, false)
	ex, err := rootfs.ParseExcludes([]string{"usr/bin", "/dangling"}, false)
	if err != nil {
		t.Fatal(err)
	}
	tree := fromDir(t, dir, rootfs.DirOptions{Owner: rootfs.OwnedBy(7, 8), ClampTime: time.Unix(1000, 0), Excludes: ex})
	if tree.Lookup("usr/bin") != nil || tree.Lookup("dangling") != nil || tree.Lookup("var/hardlink-of-symlink") == nil {
		t.Error("excludes")
	}
	for name, n := range tree.All() {
		if n.UID != 7 || n.GID != 8 || n.ModTime > 1000 {
			t.Errorf("%s: %d:%d at %d", name, n.UID, n.GID, n.ModTime)
		}
	}
	if tree.Lookup("usr").ModTime != 0 {
		t.Error("an earlier time was changed")
	}
	if _, err := rootfs.FromDir(t.Context(), filepath.Join(dir, "empty"), rootfs.DirOptions{}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("a file as the root: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rootfs.FromDir(ctx, dir, rootfs.DirOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFromDirNoticesChanges(t *testing.T) {
	for name, change := range map[string]func(string) error{
		"grown":  func(f string) error { return os.WriteFile(f, make([]byte, 200), 0o644) },
		"shrunk": func(f string) error { return os.Truncate(f, 10) },
		"replaced": func(f string) error {
			return errors.Join(os.Rename(f, f+"2"), os.WriteFile(f, make([]byte, 100), 0o644))
		},
		"symlink": func(f string) error { return errors.Join(os.Rename(f, f+"2"), os.Symlink(f+"2", f)) },
		"inside": func(f string) error {
			return errors.Join(os.WriteFile(f+"2", make([]byte, 100), 0o644), os.Remove(f), os.Symlink("f2", f))
		},
		"fifo": func(f string) error { return errors.Join(os.Remove(f), syscall.Mkfifo(f, 0o600)) },
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			if err := os.WriteFile(file, make([]byte, 100), 0o644); err != nil {
				t.Fatal(err)
			}
			tree := fromDir(t, dir, rootfs.DirOptions{})
			if err := change(file); err != nil {
				t.Fatal(err)
			}
			r, err := tree.Lookup("f").Content.Open()
			if err == nil {
				r.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), file) || name != "gone" && name != "symlink" && !errors.Is(err, rootfs.ErrChanged) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("while reading", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, make([]byte, 100), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{50, 101} {
			if err := os.Truncate(file, 100); err != nil {
				t.Fatal(err)
			}
			r, err := fromDir(t, dir, rootfs.DirOptions{}).Lookup("f").Content.Open()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(file, size); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(r); !errors.Is(err, rootfs.ErrChanged) || !strings.Contains(err.Error(), file) {
				t.Errorf("now %d bytes: %v", size, err)
			}
			r.Close()
		}
	})
}

func TestFromDirDoesNotEnterOtherFileSystems(t *testing.T) {
	testreq.Root(t)
	dir := t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "")
	testreq.Feature(t, "mount", err == nil, "mount tmpfs failed")
	t.Cleanup(func() {
		if err := syscall.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(mnt, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if fromDir(t, dir, rootfs.DirOptions{}).Lookup("mnt/x") == nil {
		t.Error("mnt/x is missing")
	}
	tree := fromDir(t, dir, rootfs.DirOptions{OneDevice: true})
	if tree.Lookup("mnt") == nil || tree.Lookup("mnt/x") != nil {
		t.Error("OneDevice")
	}
}

// gnuTar packs dir as GNU tar does when nothing may be lost.
func gnuTar(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	tar := testreq.Tool(t, "tar")
	cmd := exec.Command(tar, append(args, "-C", dir, "-cf", "-", ".")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tar: %v: %s", err, &stderr)
	}
	return out
}

package rootfs_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/rootfs/rootfstest"
)

func TestExtractAndReadBack(t *testing.T) {
	testreq.Root(t)
	want := rootfstest.Torture(1)
	dest := filepath.Join(t.TempDir(), "out")
	skips, err := rootfs.Extract(t.Context(), want, dest)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range skips {
		t.Errorf("skipped %s", s)
	}
	got := fromDir(t, dest, rootfs.DirOptions{})
	wantSame(t, got, want, rootfs.CompareOptions{})
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dest, "sparse/all"), &st); err != nil || st.Blocks*512 > st.Size/2 {
		t.Errorf("sparse/all has %d blocks, %v", st.Blocks, err)
	}
	if err := exec.Command(testreq.Tool(t, "tar"), "-C", dest, "--format=pax", "--xattrs", "--xattrs-include=*", "-cf", dest+".tar", ".").Run(); err != nil {
		t.Fatal(err)
	}
	tarred, err := rootfs.OpenTar(t.Context(), dest+".tar", rootfs.TarOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tarred.Close()
	wantSame(t, tarred.Tree, want, rootfs.CompareOptions{IgnoreKinds: []rootfs.Kind{rootfs.Socket, rootfs.Fifo}}) // GNU tar takes no sockets, and linked fifos twice
}

func TestExtractWithoutRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		runAsNobody(t)
		return
	}
	tree := rootfs.New()
	for name, n := range map[string]*rootfs.Node{
		"bin/su":   {Kind: rootfs.File, Mode: 0o4755, UID: 12345, Content: rootfs.Bytes("x")},
		"dev/null": {Kind: rootfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3},
		"sealed/f": {Kind: rootfs.File, Mode: 0o400},
		"sealed":   {Kind: rootfs.Dir, Mode: 0},
	} {
		if err := tree.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Put("z/linked", tree.Lookup("sealed/f")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	dest := filepath.Join(dir, "out")
	skips, err := rootfs.Extract(t.Context(), tree, dest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(filepath.Join(dest, "sealed"), 0o700); err != nil {
			t.Error(err)
		}
	})
	var all []string
	for _, s := range skips {
		all = append(all, s.String())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"bin/su: owner: ", "bin/su: setuid and setgid: ", "dev/null: device: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := os.Stat(filepath.Join(dest, "z/linked")); err != nil {
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(dest, "bin/su"))
	if err != nil || st.Mode() != 0o755 {
		t.Errorf("su: %v, %v", st.Mode(), err)
	}
}

// runAsNobody runs the test again in a process without privileges.
func runAsNobody(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "t"), data, 0o755), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "t"), "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// broken is content that cannot be read.
type broken struct{ rootfs.Bytes }

func (broken) Size() int64 { return 100 }

func TestExtractLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	dest := filepath.Join(dir, "out")
	tree := rootfs.New()
	for name, n := range map[string]*rootfs.Node{
		"a":     {Kind: rootfs.Dir, Mode: 0},
		"a/b":   {Kind: rootfs.Dir, Mode: 0},
		"a/b/x": {Kind: rootfs.File},
		"z":     {Kind: rootfs.File, Content: broken{}},
	} {
		if err := tree.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rootfs.Extract(t.Context(), tree, dest); err == nil || !strings.Contains(err.Error(), "z: read content") {
		t.Errorf("unreadable content: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rootfs.Extract(cancelled, rootfstest.Torture(1), dest); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "full/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := rootfs.Extract(t.Context(), rootfs.New(), filepath.Join(dir, "full")); err == nil {
		t.Error("replaced a directory that is not empty")
	}
	names, err := filepath.Glob(filepath.Join(dir, "{.*,*}"))
	entries, err2 := os.ReadDir(dir)
	if err != nil || err2 != nil || len(entries) != 1 {
		t.Errorf("left %v %v", names, entries)
	}
}

func TestExtractStaysInside(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	tree := rootfs.New()
	for _, name := range []string{"link", "a/link"} {
		if err := tree.Put(name, &rootfs.Node{Kind: rootfs.Symlink, Target: victim, ModTime: 5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Put("link/x", &rootfs.Node{Kind: rootfs.File}); err == nil {
		t.Error("an entry below a symlink was taken")
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := rootfs.Extract(t.Context(), tree, filepath.Join(dir, "empty")); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(victim)
	if err != nil || st.ModTime().Unix() == 5 || st.Mode().Perm() != 0o755 {
		t.Errorf("the link's target was touched: %v %v", st, err)
	}
	if entries, err := os.ReadDir(victim); err != nil || len(entries) != 0 {
		t.Errorf("victim holds %v, %v", entries, err)
	}
}

// TestFullDisk: what does not fit is an error and leaves nothing.
func TestFullDisk(t *testing.T) {
	testreq.Root(t)
	mnt := t.TempDir()
	err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m")
	testreq.Feature(t, "mount", err == nil, "mount tmpfs failed")
	t.Cleanup(func() {
		if err := syscall.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	})
	tree := rootfs.New()
	if err := tree.Put("a/b/noise", &rootfs.Node{Kind: rootfs.File, Content: &rootfstest.Data{Length: 4 << 20}}); err != nil {
		t.Fatal(err)
	}
	if _, err := rootfs.Extract(t.Context(), tree, filepath.Join(mnt, "out")); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "a/b/noise") {
		t.Errorf("extract: %v", err)
	}
	noise := read(t, tree.Lookup("a/b/noise"))
	_, err = rootfs.FromTar(t.Context(), pipe{strings.NewReader(string(pack(t, file("noise", noise))))}, rootfs.TarOptions{TempDir: mnt})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), `entry 1 "noise"`) || !strings.Contains(err.Error(), "temporary file") {
		t.Errorf("spool: %v", err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(mnt, &st); err != nil || st.Bfree != st.Blocks {
		t.Errorf("%d of %d blocks are free, %v", st.Bfree, st.Blocks, err)
	}
}

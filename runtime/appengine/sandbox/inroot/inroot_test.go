package inroot_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/inroot"
)

func tree(t *testing.T) (*inroot.Root, string, string) {
	t.Helper()
	top := t.TempDir()
	root, prey := filepath.Join(top, "root"), filepath.Join(top, "prey")
	for _, d := range []string{filepath.Join(root, "a", "b"), prey} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(root, "a", "file"), []byte("inside"), 0o644)
	os.WriteFile(filepath.Join(prey, "file"), []byte("outside"), 0o644)
	for at, to := range map[string]string{"abs": prey, "up": "../prey", "in": "/a", "self": "self", "magic": "/proc/self/root" + prey} {
		os.Symlink(to, filepath.Join(root, at))
	}
	r, err := inroot.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, root, prey
}

func TestRoot(t *testing.T) {
	r, root, prey := tree(t)
	for name, want := range map[string]string{
		"a/file": "inside", "/a/file": "inside", "in/file": "inside", "../../a/file": "inside", "in/../../../a/b/../file": "inside",
		"abs/file": "ENOENT", "up/file": "ENOENT", "self": "ELOOP", "magic/file": "ENOENT", "a": "EISDIR",
	} {
		got, err := r.Read(name, 100)
		if text := string(got); text != want && (err == nil || !errors.Is(err, errno(want))) {
			t.Errorf("read %s: %q %v, want %s", name, got, err, want)
		}
	}
	if got, err := r.Read("a/file", 3); string(got) != "ins" || err != nil {
		t.Errorf("with a limit: %q %v", got, err)
	}
	for name, want := range map[string]string{"x/y/z": "x/y/z", "in/new": "a/new", "../top": "top", "a/b": "a/b"} {
		f, err := r.Mkdir(name, 0o755)
		if err != nil {
			t.Errorf("mkdir %s: %v", name, err)
			continue
		}
		f.Close()
		if st, err := os.Stat(filepath.Join(root, want)); err != nil || !st.IsDir() || !f.IsDir() {
			t.Errorf("mkdir %s: %s: %v", name, want, err)
		}
	}
	for name, want := range map[string]string{"n/f": "n/f", "in/f": "a/f", "a/file": "a/file"} {
		f, err := r.Create(name, 0o600)
		if err != nil {
			t.Errorf("create %s: %v", name, err)
			continue
		}
		f.Close()
		if st, err := os.Stat(filepath.Join(root, want)); err != nil || !st.Mode().IsRegular() {
			t.Errorf("create %s: %v", name, err)
		}
	}
	for _, name := range []string{"abs", "up", "abs/x", "up/x", "self/x", "magic/x", "a/file/x"} {
		if f, err := r.Mkdir(name, 0o755); err == nil {
			f.Close()
			t.Errorf("mkdir %s: no error", name)
		}
		if f, err := r.Create(name, 0o644); err == nil {
			f.Close()
			t.Errorf("create %s: no error", name)
		}
	}
	entries, _ := os.ReadDir(prey)
	if data, _ := os.ReadFile(filepath.Join(prey, "file")); len(entries) != 1 || string(data) != "outside" {
		t.Errorf("outside: %v %q", entries, data)
	}
}

func errno(name string) error {
	return map[string]error{"ENOENT": unix.ENOENT, "ELOOP": unix.ELOOP, "EISDIR": unix.EISDIR}[name]
}

func FuzzLookup(f *testing.F) {
	f.Add("in/../abs/../../file")
	f.Add("/proc/self/root")
	f.Fuzz(func(t *testing.T, name string) {
		if strings.IndexByte(name, 0) >= 0 {
			return
		}
		r, root, prey := tree(t)
		if f, err := r.Lookup(name); err == nil {
			where, _ := os.Readlink(f.Path())
			if where != root && !strings.HasPrefix(where, root+"/") {
				t.Errorf("%q is %s", name, where)
			}
			f.Close()
		}
		if f, err := r.Create(name+"/n", 0o644); err == nil {
			f.Close()
		}
		if entries, _ := os.ReadDir(prey); len(entries) != 1 {
			t.Errorf("%q: outside: %v", name, entries)
		}
	})
}

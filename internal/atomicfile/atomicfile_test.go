package atomicfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvkit/pvkit/internal/atomicfile"
)

func TestCommitReplacesAndAbortKeeps(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := atomicfile.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}

	f, err := atomicfile.Create(name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(name); string(got) != "old" {
		t.Errorf("before commit the file holds %q", got)
	}
	f.Abort()
	if got, _ := os.ReadFile(name); string(got) != "old" {
		t.Errorf("after abort the file holds %q", got)
	}
	if err := f.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("commit after abort: %v", err)
	}

	if err := atomicfile.WriteFile(name, []byte("new"), 0o755); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, want 0755 whatever the umask", st.Mode())
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

func TestCreateInMissingDirectory(t *testing.T) {
	if _, err := atomicfile.Create(filepath.Join(t.TempDir(), "no", "f"), 0o644); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestCreateInLeavesTheDirectoryAlone(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	name := filepath.Join(dir, "f")
	f, err := atomicfile.CreateIn(temp, name, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("before commit the directory holds %v, %v", entries, err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "new" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if entries, err := os.ReadDir(temp); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

package storage_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

// A process that is being made has copies of all descriptors for a moment. That
// does not keep a storage that was given back.
func TestLockOfCopiedDescriptor(t *testing.T) {
	dir := t.TempDir()
	s, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	copied := false
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || to != filepath.Join(dir, ".lock") {
			continue
		}
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(n)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		copied = true
	}
	if !copied {
		t.Fatalf("no descriptor of %s/.lock is open", dir)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = storage.Open(dir, storage.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

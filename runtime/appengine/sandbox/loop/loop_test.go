package loop_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/loop"
)

// The device shows the file's bytes, takes none, and is free again when it is
// closed.
func TestAttach(t *testing.T) {
	testreq.Root(t)
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, []byte(strings.Repeat("0123456789abcdef", 256)), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dev, err := loop.Attach(f)
	testreq.Feature(t, "loop", !errors.Is(err, loop.ErrUnavailable), "no loop devices here")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 20)
	if _, err := dev.ReadAt(buf, 0); err != nil || string(buf) != "0123456789abcdef0123" {
		t.Errorf("got %q %v", buf, err)
	}
	if w, err := os.OpenFile(dev.Name(), os.O_RDWR, 0); err == nil {
		if _, err := w.Write([]byte("x")); err == nil && w.Sync() == nil {
			t.Error("it can be written to")
		}
		w.Close()
	}
	backing := filepath.Join("/sys/block", filepath.Base(dev.Name()), "loop/backing_file")
	if data, err := os.ReadFile(backing); strings.TrimSpace(string(data)) != name {
		t.Errorf("backed by %s, %v", data, err)
	}
	dev.Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		data, err := os.ReadFile(backing)
		if err != nil || strings.TrimSpace(string(data)) != name {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it is not free again")
		}
	}
	if data, _ := os.ReadFile(name); len(data) != 4096 || data[0] != '0' {
		t.Error("the file has changed")
	}
}

func TestMountErrors(t *testing.T) {
	testreq.Root(t)
	dir := t.TempDir()
	if err := loop.Mount(filepath.Join(dir, "nothing"), dir); !errors.Is(err, os.ErrNotExist) || loop.Refused(err) {
		t.Errorf("got %v", err)
	}
	bad := filepath.Join(dir, "bad")
	os.WriteFile(bad, make([]byte, 8192), 0o644)
	err := loop.Mount(bad, dir)
	testreq.Feature(t, "loop", !loop.Refused(err), "no loop devices here")
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), bad) {
		t.Errorf("got %v", err)
	}
}

package storage_test

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSwapInSteps(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, content := range []string{"first", "second"} {
		made := filepath.Join(dir, ".tmp", "made")
		write(t, filepath.Join(made, "file"), []byte(content))
		if err := s.SwapInSteps(made, "locals/a"); err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, filepath.Join(dir, "trails/locals/a/file")); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
	if err := s.SwapInSteps(filepath.Join(dir, ".tmp", "none"), "locals/a"); err == nil {
		t.Error("nothing took the place of something")
	}
	if got := readFile(t, filepath.Join(dir, "trails/locals/a/file")); got != "second" {
		t.Errorf("after a failure: %q", got)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestOpenEndsASwap opens what a process left that was killed between the two
// renames of a swap, before them and after them.
func TestOpenEndsASwap(t *testing.T) {
	for _, c := range []struct {
		name, rev      string
		old, now, want string // contents; "" is no directory
	}{
		{"between", "locals/a", "old", "", "old"},
		{"after", "locals/a", "old", "new", "new"},
		{"before", "locals/a", "", "old", "old"},
		{"a plain revision", "3", "old", "", "old"},
		{"not one of ours", "../../x", "old", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			file := filepath.Join(dir, "trails", c.rev, "file")
			aside := filepath.Join(dir, ".tmp/aside-1")
			write(t, filepath.Join(aside, "rev"), []byte(c.rev))
			if c.old != "" {
				write(t, filepath.Join(aside, "old/file"), []byte(c.old))
			}
			if c.now != "" {
				write(t, file, []byte(c.now))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			open(t, dir)
			if _, err := os.Lstat(file); (err == nil) != (c.want != "") {
				t.Errorf("%v", err)
			} else if err == nil && readFile(t, file) != c.want {
				t.Errorf("got %q, want %q", readFile(t, file), c.want)
			}
			if entries, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(entries) != 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

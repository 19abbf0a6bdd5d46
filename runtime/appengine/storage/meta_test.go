package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

func TestMetaKeepsItsOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	m := s.UserMeta()
	for i := range 20 { // faster than a file system's clock ticks
		if err := m.Set(fmt.Sprint("k", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"k0", "k7"} {
		if err := m.Set(key, "changed"); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Delete("k19"); err != nil {
		t.Fatal(err)
	}
	var want []storage.Entry
	for i := 18; i >= 0; i-- {
		e := storage.Entry{Key: fmt.Sprint("k", i), Value: "v"}
		if i == 0 || i == 7 {
			e.Value = "changed"
		}
		want = append(want, e)
	}
	if got := m.All(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if got := s.UserMeta().All(); !slices.Equal(got, want) {
		t.Errorf("after a restart: %v", got)
	}
	if err := s.UserMeta().Set("new", ""); err != nil {
		t.Fatal(err)
	}
	if got := s.UserMeta().All()[0]; got.Key != "new" {
		t.Errorf("the newest is %v", got)
	}
	if got := s.DeviceMeta().All(); len(got) != 0 {
		t.Errorf("device metadata: %v", got)
	}
}

func TestMetaKeys(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir).DeviceMeta()
	for _, key := range []string{"", ".", "..", "a/b", "/", "../x", "a\x00b", strings.Repeat("k", 256)} {
		if err := m.Set(key, "v"); !errors.Is(err, storage.ErrKey) {
			t.Errorf("%.10q: %v", key, err)
		}
	}
	odd := []string{"...", ".hidden", ".x.123.tmp", "a b", "ä", "a\nb", strings.Repeat("k", 255), "pantavisor.revision"}
	for _, key := range odd {
		if err := m.Set(key, key); err != nil {
			t.Errorf("%.10q: %v", key, err)
		}
		if got, ok := m.Get(key); !ok || got != key || readFile(t, filepath.Join(dir, "cache/devmeta", key)) != key {
			t.Errorf("%.10q is %q, %v", key, got, ok)
		}
	}
	if got := len(m.All()); got != len(odd) {
		t.Errorf("%d entries", got)
	}
	for _, key := range append(odd, "not there", "../usrmeta") {
		err := m.Delete(key)
		if wasThere := slices.Contains(odd, key); (err == nil) != wasThere || err != nil && !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("delete %.10q: %v", key, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "cache/devmeta")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := m.Set("k", strings.Repeat("v", storage.MaxMeta+1)); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("a large value: %v", err)
	}
}

func TestMetaOfAnotherWriter(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cache/usrmeta/theirs"), []byte("v"))
	write(t, filepath.Join(dir, "cache/usrmeta/dir/x"), []byte("v"))
	m := open(t, dir).UserMeta()
	if got := m.All(); !slices.Equal(got, []storage.Entry{{Key: "theirs", Value: "v"}}) {
		t.Errorf("got %v", got)
	}
	// A file that somebody removed is written again.
	if err := os.Remove(filepath.Join(dir, "cache/usrmeta/theirs")); err != nil {
		t.Fatal(err)
	}
	if err := m.Set("theirs", "new"); err != nil {
		t.Errorf("set: %v", err)
	}
	if err := m.Delete("theirs"); err != nil {
		t.Errorf("delete: %v", err)
	}
}

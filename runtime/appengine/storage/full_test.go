package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// small mounts a file system that is full soon.
func small(t *testing.T) string {
	t.Helper()
	testreq.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		testreq.Feature(t, "tmpfs", false, err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no page free.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for {
		if _, err := f.Write(page); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	dir, pvtxd := small(t), t.TempDir()
	big := strings.Repeat("x", 100_000)
	write(t, filepath.Join(pvtxd, "1.tgz"), bundle(t, "app/run.json", `{}`, "app/file", big))
	s := open(t, filepath.Join(dir, "storage"))
	old := state(`"a/x":"%s"`, put(t, s, "object"))
	putStep(t, s, "locals/a", old)
	if err := errors.Join(s.UserMeta().Set("k", "old"), s.SetBoot(storage.Boot{Rev: "locals/a"}), s.Install(t.Context(), "locals/a")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, s.Dir())
	fill(t, dir)
	id := pvrexport.ObjectID([]byte(big))
	_, applyErr := s.Apply(t.Context(), []string{pvtxd}, storage.ApplyOptions{})
	for what, err := range map[string]error{
		"object":                 s.Objects().Put(t.Context(), id, strings.NewReader(big), int64(len(big))),
		"object of unknown size": s.Objects().Put(t.Context(), id, strings.NewReader(big), -1),
		"step":                   s.PutStep(t.Context(), "locals/a", bytes.NewReader([]byte(state(`"b.json":1`))), nil),
		"new step":               s.PutStep(t.Context(), "locals/b", bytes.NewReader([]byte(state(`"b.json":1`))), nil),
		"metadata":               s.UserMeta().Set("k", "new"),
		"new metadata":           s.UserMeta().Set("k2", "new"),
		"boot state":             s.SetBoot(storage.Boot{Rev: "0"}),
		"progress":               s.SetProgress("locals/a", pvctrl.Progress{Status: "DONE"}),
		"exports":                applyErr,
	} {
		if !errors.Is(err, storage.ErrNoSpace) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, ok := s.UserMeta().Get("k"); !ok || got != "old" {
		t.Errorf("metadata in memory: %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, s.Dir()); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if err := s.Objects().Put(t.Context(), id, strings.NewReader(big), int64(len(big))); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func TestReservedSpace(t *testing.T) {
	dir := small(t)
	s, err := storage.Open(filepath.Join(dir, "storage"), storage.Options{Reserved: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp, err := s.Space()
	if err != nil || sp.Total != 1<<20 || sp.RealFree != sp.Free-sp.Reserved || sp.Reserved < 1<<19-100 {
		t.Errorf("%+v, %v", sp, err)
	}
	content := strings.Repeat("x", 700_000)
	id := pvrexport.ObjectID([]byte(content))
	if err := s.Objects().Put(t.Context(), id, strings.NewReader(content), int64(len(content))); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
}

package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

func TestPutObject(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir).Objects()
	id := pvrexport.ObjectID([]byte("content"))
	file := filepath.Join(dir, "objects", id)

	if err := o.Put(t.Context(), id, strings.NewReader("Content"), 7); !errors.Is(err, storage.ErrBadChecksum) {
		t.Errorf("another content: %v", err)
	} else if d, ok := errors.AsType[*pvrexport.DigestError](err); !ok || d.Got != pvrexport.ObjectID([]byte("Content")) {
		t.Errorf("the digest that was found: %v", err)
	}
	for _, bad := range []string{"", "x", strings.ToUpper(id), strings.Repeat("z", 64), "../../" + id[6:]} {
		if err := o.Put(t.Context(), bad, strings.NewReader(""), 0); !errors.Is(err, pvrexport.ErrObjectID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	broken := io.MultiReader(strings.NewReader("cont"), iotestErr{})
	if err := o.Put(t.Context(), id, broken, 7); err == nil {
		t.Error("half an object was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Put(ctx, id, strings.NewReader("content"), 7); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if list, err := o.List(); err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}

	for range 2 { // the second finds it there
		r := strings.NewReader("content")
		if err := o.Put(t.Context(), id, r, -1); err != nil || r.Len() != 0 {
			t.Errorf("put: %v, %d bytes not read", err, r.Len())
		}
	}
	// A damaged one is replaced.
	write(t, file, []byte("c0ntent"))
	if err := o.Put(t.Context(), id, strings.NewReader("content"), 7); err != nil || readFile(t, file) != "content" {
		t.Errorf("over a damaged one: %v, %q", err, readFile(t, file))
	}
	empty := pvrexport.ObjectID(nil)
	if err := o.Put(t.Context(), empty, strings.NewReader(""), 0); err != nil {
		t.Errorf("an empty one: %v", err)
	}
	write(t, filepath.Join(dir, "objects", "README"), nil)
	list, err := o.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("list %v, %v", list, err)
	}
	for _, e := range list {
		if want := map[string]string{id: "7", empty: "0"}[e.SHA256]; e.Size != want {
			t.Errorf("%+v", e)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOpenObjectChecksWhileReading(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	id := put(t, s, "content")
	read := func() (string, error) {
		r, size, err := s.Objects().OpenObject(id)
		if err != nil {
			return "", err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if size != int64(len(b)) {
			t.Errorf("size %d, read %d", size, len(b))
		}
		return string(b), err
	}
	if got, err := read(); err != nil || got != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	write(t, filepath.Join(dir, "objects", id), []byte("Content"))
	if got, err := read(); !errors.Is(err, storage.ErrBadChecksum) || got != "Content" {
		t.Errorf("damaged: %q, %v", got, err)
	}
	if _, _, err := s.Objects().OpenObject(pvrexport.ObjectID(nil)); !errors.Is(err, storage.ErrNotExist) || !errors.Is(err, pvrexport.ErrMissingObject) {
		t.Errorf("missing: %v", err)
	}
}

func TestInstallAndVerify(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	src := state(`"a/root.squashfs":"%s","a/same":"%[1]s","a/conf":"%s","a/run.json":{"x":1},"a/data.bind":"%s"`,
		put(t, s, "image"), pvrexport.ObjectID([]byte("late")), put(t, s, "bind"))
	putStep(t, s, "locals/a", src)
	trail := s.TrailDir("locals/a")

	err := s.Install(t.Context(), "locals/a")
	if !errors.Is(err, pvrexport.ErrMissingObject) || !strings.Contains(err.Error(), "a/conf") {
		t.Errorf("without an object: %v", err)
	}
	late := put(t, s, "late")
	for range 2 { // the second finds all right
		if err := s.Install(t.Context(), "locals/a"); err != nil {
			t.Fatal(err)
		}
	}
	var seen []int
	if err := s.Verify(t.Context(), "locals/a", func(done, total int) { seen = append(seen, done, total) }); err != nil {
		t.Error(err)
	}
	if len(seen) != 6 || seen[4] != 3 || seen[5] != 3 {
		t.Errorf("progress %v", seen)
	}
	// A container may write to its copy, and to nothing else.
	write(t, filepath.Join(trail, "a/data.bind"), []byte("written"))
	if err := s.Verify(t.Context(), "locals/a", nil); err != nil {
		t.Errorf("after a write to the copy: %v", err)
	}
	write(t, filepath.Join(trail, "a/conf"), []byte("LATE"))
	write(t, filepath.Join(trail, "a/run.json"), []byte("{}"))
	if err := s.Verify(t.Context(), "locals/a", nil); !errors.Is(err, storage.ErrBadChecksum) || !strings.Contains(err.Error(), "a/conf") {
		t.Errorf("a damaged file: %v", err)
	}
	// The object is damaged with it; a new upload heals both.
	if err := s.Objects().Put(t.Context(), late, strings.NewReader("late"), 4); err != nil {
		t.Fatal(err)
	}
	if err := s.Install(t.Context(), "locals/a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), "locals/a", nil); err != nil {
		t.Errorf("healed: %v", err)
	}
	if got := readFile(t, filepath.Join(trail, "a/run.json")); got != `{"x":1}` {
		t.Errorf("run.json %s", got)
	}
	if got := readFile(t, filepath.Join(trail, "a/data.bind")); got != "written" {
		t.Errorf("the copy %s", got)
	}
}

func TestBatchIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir).Objects()
	add := func(b *storage.Batch, content string) {
		t.Helper()
		w, err := b.CreateObject(pvrexport.ObjectID([]byte(content)), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		if _, err := io.Copy(w, bytes.NewReader([]byte(content))); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	list := func() int {
		t.Helper()
		l, err := o.List()
		if err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	for _, commit := range []bool{false, true} {
		b, err := o.NewBatch()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []string{"a", "b", "a"} {
			add(b, c)
		}
		if list() != 0 {
			t.Error("objects are there before the commit")
		}
		want := 0
		if commit {
			want = 2
			if err := b.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		b.Abort()
		if got := list(); got != want {
			t.Errorf("commit %v: %d objects", commit, got)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

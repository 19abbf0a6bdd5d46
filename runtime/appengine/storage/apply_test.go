package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

// bundle makes an export of keys and contents; a key that ends in .json holds
// its content itself.
func bundle(t testing.TB, keysAndContents ...string) []byte {
	t.Helper()
	s := pvrexport.NewState()
	var m pvrexport.Memory
	for i := 0; i < len(keysAndContents); i += 2 {
		key, content := keysAndContents[i], []byte(keysAndContents[i+1])
		v, err := pvrexport.JSONValue(content)
		if !pvrexport.Inlined(key) {
			id := pvrexport.ObjectID(content)
			m.Put(id, content)
			v, err = pvrexport.ObjectValue(id)
		}
		if err == nil {
			err = s.Set(key, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if err := pvrexport.Write(t.Context(), &buf, s, &m, pvrexport.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree lists what lies below a directory, with the content of files.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if rel == ".lock" {
			return nil
		}
		fmt.Fprintf(&b, "%s %s", e.Type(), rel)
		if e.Type().IsRegular() {
			fmt.Fprintf(&b, " %q", readFile(t, name))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestApply(t *testing.T) {
	dir, pvtxd := t.TempDir(), t.TempDir()
	write(t, filepath.Join(pvtxd, "10-b.tgz"), bundle(t, "b/run.json", `{"name":"b"}`, "b/root.squashfs", "image", "device.json", `{"from":"b"}`))
	write(t, filepath.Join(pvtxd, "20-a.tgz"), bundle(t, "a/run.json", `{"name":"a"}`, "a/root.squashfs", "image", "_config/a/etc/x", "conf", "device.json", `{"from":"a"}`))
	write(t, filepath.Join(pvtxd, "30-device.json"), []byte(state(`"device.json":{"groups":[]}`)))
	write(t, filepath.Join(pvtxd, ".hidden"), []byte("not an export"))
	write(t, filepath.Join(pvtxd, "sub", "x"), []byte("not an export"))
	s := open(t, dir)
	var order []string
	opts := storage.ApplyOptions{Progress: func(f string) { order = append(order, filepath.Base(f)) }}
	applied, err := s.Apply(t.Context(), []string{pvtxd, filepath.Join(pvtxd, "missing")}, opts)
	if err != nil || !applied {
		t.Fatal(applied, err)
	}
	if want := []string{"10-b.tgz", "20-a.tgz", "30-device.json"}; !slices.Equal(order, want) {
		t.Errorf("order %v", order)
	}
	st, err := s.State("0")
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := st.Get("device.json"); v.String() != `{"groups":[]}` || st.Len() != 7 {
		t.Errorf("state %s", st.Encode())
	}
	object, err := os.Stat(filepath.Join(dir, "objects", pvrexport.ObjectID([]byte("image"))))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a/root.squashfs", "b/root.squashfs"} {
		if st, err := os.Stat(filepath.Join(dir, "trails/0", name)); err != nil || !os.SameFile(st, object) {
			t.Errorf("%s is not the object: %v", name, err)
		}
	}
	if got := readFile(t, filepath.Join(dir, "trails/0/_config/a/etc/x")); got != "conf" {
		t.Errorf("overlay %q", got)
	}
	if got := readFile(t, filepath.Join(dir, "trails/0/b/run.json")); got != `{"name":"b"}` {
		t.Errorf("run.json %q", got)
	}
	if b, err := s.Boot(); err != nil || b != (storage.Boot{Rev: "0"}) {
		t.Errorf("boot %v, %v", b, err)
	}
	if err := s.Verify(t.Context(), "0", nil); err != nil {
		t.Error(err)
	}

	write(t, filepath.Join(pvtxd, "40.json"), []byte(state(`"new.json":1`)))
	if applied, err := s.Apply(t.Context(), []string{pvtxd}, opts); err != nil || applied {
		t.Errorf("a second time: %v, %v", applied, err)
	}
	if st, err := s.State("0"); err != nil || st.Len() != 7 {
		t.Errorf("the second time did something: %v", err)
	}
}

func TestApplyInitialRevision(t *testing.T) {
	s := open(t, t.TempDir())
	applied, err := s.Apply(t.Context(), nil, storage.ApplyOptions{Rev: "locals/first", Done: true})
	if err != nil || !applied || !s.Done("locals/first") {
		t.Fatal(applied, err)
	}
	p, err := s.Progress("locals/first")
	if want := `{"status":"DONE","status-msg":"Factory revision","progress":100,"retries":0}`; err != nil || string(p) != want {
		t.Errorf("progress %s, %v", p, err)
	}
	if b, err := s.Boot(); err != nil || b.Rev != "locals/first" {
		t.Errorf("boot %v, %v", b, err)
	}
}

func TestFailingExportLeavesTheStorageAsItWas(t *testing.T) {
	good := bundle(t, "a/run.json", `{}`, "a/root.squashfs", "image")
	id := pvrexport.ObjectID([]byte("image"))
	for _, c := range []struct {
		name string
		bad  []byte
		want error
	}{
		{"damaged", good[:len(good)/2], pvrexport.ErrTruncated},
		{"no export", []byte("hello"), pvrexport.ErrFormat},
		{"an object nobody has", []byte(state(`"b/x":"%s"`, pvrexport.ObjectID(nil))), pvrexport.ErrMissingObject},
		{"a collision", []byte(state(`"a":1,"a/run.json/x":1`)), nil},
		{"a place of ours", []byte(state(`".pv/progress":"%s"`, id)), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, pvtxd := t.TempDir(), t.TempDir()
			write(t, filepath.Join(pvtxd, "1-good"), good)
			write(t, filepath.Join(pvtxd, "2-bad"), c.bad)
			s := open(t, dir)
			before := tree(t, dir)
			_, err := s.Apply(t.Context(), []string{pvtxd}, storage.ApplyOptions{})
			if c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if a, ok := errors.AsType[*storage.ApplyError](err); !ok || filepath.Base(a.File) != "2-bad" {
				t.Errorf("the error names another file: %v", err)
			}
			if after := tree(t, dir); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			if err := os.Remove(filepath.Join(pvtxd, "2-bad")); err != nil {
				t.Fatal(err)
			}
			if applied, err := s.Apply(t.Context(), []string{pvtxd}, storage.ApplyOptions{}); err != nil || !applied {
				t.Errorf("without it: %v, %v", applied, err)
			}
		})
	}
}

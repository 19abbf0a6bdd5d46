package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

// open opens a storage and closes it with the test.
func open(t testing.TB, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(dir, storage.Options{Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// put stores an object and returns its id.
func put(t testing.TB, s *storage.Store, content string) string {
	t.Helper()
	id := pvrexport.ObjectID([]byte(content))
	if err := s.Objects().Put(t.Context(), id, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	return id
}

// state makes a state's text of members, written without braces.
func state(format string, a ...any) string {
	return `{"#spec":"pantavisor-service-system@1",` + fmt.Sprintf(format, a...) + `}`
}

func putStep(t testing.TB, s *storage.Store, rev, src string) {
	t.Helper()
	if err := s.PutStep(t.Context(), rev, strings.NewReader(src), nil); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOpenMakesTheSkeleton(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "storage")
	s := open(t, dir)
	for _, name := range []string{".created", "boot", "config", "objects", "trails/locals", "logs", "cache/usrmeta", "cache/devmeta", "disks/perm", "disks/rev"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, ".pvtx-done")); err == nil {
		t.Error(".pvtx-done is there before anything was applied")
	}
	if s.Dir() != dir {
		t.Errorf("Dir is %s", s.Dir())
	}
}

func TestSecondEngineIsToldWhoHasTheStorage(t *testing.T) {
	dir := t.TempDir()
	first, err := storage.Open(dir, storage.Options{Holder: "pid 7 (one)"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = storage.Open(dir, storage.Options{Holder: "pid 8 (two)"})
	locked, ok := errors.AsType[*storage.LockedError](err)
	if !ok || locked.Holder != "pid 7 (one)" {
		t.Fatalf("got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatalf("after the first is gone: %v", err)
	}
	_, err = storage.Open(dir, storage.Options{})
	if want := fmt.Sprintf("pid %d", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s in it", err, want)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCheckRevision(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		rev              string
		any, localAlones bool
	}{
		{"0", true, false},
		{"3", true, false},
		{"locals/a", true, true},
		{"locals/" + long, true, true},
		{"locals/.a", true, true},
		{"locals/" + long + "a", false, false},
		{long + "a", false, false},
		{"", false, false},
		{"locals", false, false},
		{"locals/", false, false},
		{"locals/.", false, false},
		{"locals/..", false, false},
		{"locals//a", false, false},
		{"locals/a/b", false, false},
		{"locals/a/", false, false},
		{"other/a", false, false},
		{"/a", false, false},
		{".", false, false},
		{"..", false, false},
		{"../a", false, false},
		{"current", false, false},
		{"locals/a\x00b", false, false},
		{"locals/a\n", false, false},
	} {
		if err := storage.CheckRevision(c.rev); (err == nil) != c.any || err != nil && !errors.Is(err, storage.ErrRevision) {
			t.Errorf("%q: %v", c.rev, err)
		}
		if err := storage.CheckLocalRevision(c.rev); (err == nil) != c.localAlones || err != nil && !errors.Is(err, storage.ErrRevision) {
			t.Errorf("%q as a local one: %v", c.rev, err)
		}
	}
}

func TestStepIsKeptByteForByte(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	src := " " + state(`"b/run.json":{"z":1,  "a":2},"a.json":[]`) + "\n"
	putStep(t, s, "locals/one", src)
	got, err := s.Step("locals/one")
	if err != nil || string(got) != src {
		t.Errorf("got %q, %v", got, err)
	}
	p, err := s.Progress("locals/one")
	if want := `{"status":"NEW","status-msg":"Update ready to be run","progress":0,"retries":0}`; err != nil || string(p) != want {
		t.Errorf("progress %s, %v", p, err)
	}
	if got := readFile(t, filepath.Join(dir, "trails/locals/one/.pvr/config")); got != `{"ObjectsDir":"`+dir+`/objects"}` {
		t.Errorf("config %s", got)
	}
	if _, err := s.Step("locals/two"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("a step that is not there: %v", err)
	}
	if err := s.SetCurrent("locals/one"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Step("current"); err != nil || string(got) != src {
		t.Errorf("current: %q, %v", got, err)
	}
	if got := readFile(t, filepath.Join(dir, "trails/current/.pvr/json")); got != src {
		t.Errorf("through the link: %q", got)
	}
}

func TestRejectedStepLeavesWhatWasThere(t *testing.T) {
	s := open(t, t.TempDir())
	good := state(`"a.json":1`)
	putStep(t, s, "locals/a", good)
	reject := &storage.RejectError{Text: "Secureboot: no signature"}
	for _, c := range []struct {
		name, rev, body, text string
		check                 func(*pvrexport.State) error
	}{
		{"not JSON", "locals/a", "{", "Parser: State JSON has bad format", nil},
		{"not a state", "locals/new", `{"#spec":"other"}`, "Parser: State JSON has bad format", nil},
		{"a check", "locals/a", state(`"b.json":1`), "Secureboot: no signature", func(st *pvrexport.State) error {
			if _, ok := st.Get("b.json"); !ok {
				t.Error("the check sees another state")
			}
			return reject
		}},
	} {
		err := s.PutStep(t.Context(), c.rev, strings.NewReader(c.body), c.check)
		r, ok := errors.AsType[*storage.RejectError](err)
		if !ok || r.Text != c.text {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got, err := s.Step("locals/a"); err != nil || string(got) != good {
		t.Errorf("the old step: %q, %v", got, err)
	}
	if revs, err := s.Revisions(); err != nil || len(revs) != 1 {
		t.Errorf("revisions %v, %v", revs, err)
	}
	big := bytes.Repeat([]byte(" "), pvrexport.MaxStateSize+1)
	if err := s.PutStep(t.Context(), "locals/a", bytes.NewReader(big), nil); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("a large one: %v", err)
	}
}

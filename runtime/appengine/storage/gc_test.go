package storage_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

func TestGC(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	shared, old, update, loose := put(t, s, "shared"), put(t, s, "only old"), put(t, s, "not linked yet"), put(t, s, "loose")
	revs := map[string]string{
		"locals/run":  state(`"a/x":"%s"`, shared),
		"locals/old":  state(`"a/x":"%s","a/y":"%s"`, shared, old),
		"locals/next": state(`"a/z":"%s"`, update),
		"locals/good": state(`"a/x":"%s"`, shared),
	}
	for rev, src := range revs {
		putStep(t, s, rev, src)
		if rev != "locals/next" {
			if err := s.Install(t.Context(), rev); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Copy(t.Context(), "locals/run", "0"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"logs/locals/old/a", "logs/locals/run/a", "disks/rev/locals/old/a", "disks/perm/a", "pv/volume-disk/d/rev/locals/old/a", "pv/volume-disk/d/perm/a"} {
		write(t, filepath.Join(s.Dir(), dir, "file"), []byte("x"))
	}
	if err := s.SetCurrent("locals/run"); err != nil {
		t.Fatal(err)
	}
	keep := storage.Keep{Running: "locals/run", Updating: "locals/next", Committed: "locals/good", Factory: true}
	c, err := s.GC(keep)
	if err != nil {
		t.Fatal(err)
	}
	wantObjects := []string{loose, old}
	slices.Sort(wantObjects)
	if !slices.Equal(c.Revisions, []string{"locals/old"}) || !slices.Equal(c.Objects, wantObjects) || c.Reclaimed != int64(len("only old")+len("loose")) {
		t.Errorf("%+v", c)
	}
	for name, there := range map[string]bool{
		"trails/locals/old": false, "trails/locals/run": true, "trails/0": true, "trails/current": true,
		"logs/locals/old": false, "logs/locals/run/a/file": true, "logs/current": true,
		"disks/rev/locals/old": false, "disks/perm/a/file": true,
		"pv/volume-disk/d/rev/locals/old": false, "pv/volume-disk/d/perm/a/file": true,
		"objects/" + update: true, "objects/" + shared: true,
	} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err = s.GC(keep); err != nil || c.Reclaimed != 0 || c.Objects != nil || c.Revisions != nil {
		t.Errorf("a second time: %+v, %v", c, err)
	}
	if c, err = s.GC(storage.Keep{Running: "locals/run"}); err != nil || !slices.Equal(c.Revisions, []string{"0", "locals/good", "locals/next"}) {
		t.Errorf("without the factory: %+v, %v", c, err)
	}
	if err := s.Verify(t.Context(), "current", nil); err != nil {
		t.Error(err)
	}
}

func TestGCStopsAtAStateItCannotRead(t *testing.T) {
	s := open(t, t.TempDir())
	id := put(t, s, "content")
	putStep(t, s, "locals/a", state(`"a/x":"%s"`, id))
	write(t, filepath.Join(s.TrailDir("locals/a"), ".pvr/json"), []byte("{"))
	if _, err := s.GC(storage.Keep{Running: "locals/a"}); err == nil {
		t.Error("objects went whose use is unknown")
	}
	if err := s.Objects().Check(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestSteps(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, rev := range []string{"locals/b", "locals/a"} {
		putStep(t, s, rev, state(`"x.json":1`))
	}
	for _, rev := range []string{"10", "9"} {
		if err := s.Copy(t.Context(), "locals/a", rev); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetMessage("locals/a", `say "hi"`); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMessage("locals/early", "no step yet"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCurrent("9"); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	if err := os.Chtimes(s.TrailDir("locals/a"), at, at); err != nil {
		t.Fatal(err)
	}
	steps, err := s.Steps()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, st := range steps {
		if st.Name != "locals/a" {
			st.Date = "…"
		}
		got = append(got, strings.Join([]string{st.Name, st.Date, st.CommitMsg, string(st.Progress)}, "|"))
	}
	fresh := `{"status":"NEW","status-msg":"Update ready to be run","progress":0,"retries":0}`
	want := []string{
		"10|…||{}", "9|…||{}",
		`locals/a|2026-03-04T05:06:07Z|say "hi"|` + fresh, "locals/b|…||" + fresh, "locals/early|…|no step yet|{}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = storage.Open(dir, storage.Options{Location: time.FixedZone("", 2*3600)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if steps, err := s.Steps(); err != nil || steps[2].Date != "2026-03-04T07:06:07Z" {
		t.Errorf("in another zone: %v, %v", steps, err)
	}
	// The message that came early meets its step.
	putStep(t, s, "locals/early", state(`"x.json":1`))
	if msg, err := s.Message("locals/early"); err != nil || msg != "no step yet" {
		t.Errorf("message %q, %v", msg, err)
	}
}

func TestPutStepAgain(t *testing.T) {
	s := open(t, t.TempDir())
	src := state(`"a/x":"%s"`, put(t, s, "content"))
	putStep(t, s, "locals/a", src)
	if err := errors.Join(s.Install(t.Context(), "locals/a"), s.SetDone("locals/a")); err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(s.TrailDir("locals/a"), "a/x")
	putStep(t, s, "locals/a", src)
	if _, err := os.Lstat(installed); err != nil || !s.Done("locals/a") {
		t.Errorf("the same step took away its files: %v", err)
	}
	putStep(t, s, "locals/a", state(`"b.json":1`))
	if _, err := os.Lstat(installed); !errors.Is(err, fs.ErrNotExist) || s.Done("locals/a") {
		t.Errorf("another step has the old one's files: %v", err)
	}
}

func TestVolumeDir(t *testing.T) {
	s := open(t, t.TempDir())
	for _, c := range []struct {
		rev  string
		v    storage.Volume
		want string
	}{
		{"0", storage.Volume{Persistence: storage.Permanent, Container: "app", Name: "docker--data"}, "disks/perm/app/docker--data"},
		{"locals/a", storage.Volume{Persistence: storage.Revision, Container: "app", Name: "lxc-overlay"}, "disks/rev/locals/a/app/lxc-overlay"},
		{"0", storage.Volume{Persistence: storage.Permanent, Container: "app", Name: "v", Disk: "dm", DiskType: "volume-disk"}, "pv/volume-disk/dm/perm/app/v"},
		{"0", storage.Volume{Persistence: storage.Revision, Container: "app", Name: "v", Disk: "dm", DiskType: "volume-disk"}, "pv/volume-disk/dm/rev/0/app/v"},
		{"0", storage.Volume{Persistence: storage.Permanent, Container: "..", Name: "v"}, ""},
		{"0", storage.Volume{Persistence: storage.Permanent, Container: "app", Name: "a/b"}, ""},
		{"0", storage.Volume{Persistence: storage.Permanent, Container: "app"}, ""},
		{"../x", storage.Volume{Persistence: storage.Revision, Container: "app", Name: "v"}, ""},
		{"0", storage.Volume{Persistence: "boot", Container: "app", Name: "v"}, ""},
	} {
		got, err := s.VolumeDir(c.rev, c.v)
		if c.want == "" {
			if err == nil {
				t.Errorf("%+v: %s", c, got)
			}
			continue
		}
		if st, statErr := os.Stat(got); err != nil || got != filepath.Join(s.Dir(), c.want) || statErr != nil || !st.IsDir() {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

// TestMessageWhileAStepIsReplaced: whatever comes first, both are there in the
// end.
func TestMessageWhileAStepIsReplaced(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 30 {
		var wg sync.WaitGroup
		want := fmt.Sprint("message ", i)
		wg.Go(func() {
			if err := s.PutStep(t.Context(), "locals/a", strings.NewReader(state(`"x.json":%d`, i)), nil); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := s.SetMessage("locals/a", want); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if got, err := s.Message("locals/a"); err != nil || got != want {
			t.Fatalf("message %q, want %q: %v", got, want, err)
		}
	}
}

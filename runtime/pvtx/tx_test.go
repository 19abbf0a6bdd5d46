package pvtx_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvtx"
)

// open opens the transaction of a directory for the time of a test.
func open(t testing.TB, dir string, opts pvtx.Options) *pvtx.Tx {
	t.Helper()
	tx, err := pvtx.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Close() })
	return tx
}

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

// keys lists the keys of the active transaction.
func keys(t testing.TB, tx *pvtx.Tx) string {
	t.Helper()
	s, err := tx.State()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for key := range s.All() {
		out = append(out, key)
	}
	return strings.Join(out, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, tx *pvtx.Tx, in []byte) {
	t.Helper()
	_, err := tx.Add(t.Context(), bytes.NewReader(in))
	must(t, err)
}

func TestLocalTransaction(t *testing.T) {
	dir, objects, trail := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "trails", "0")
	tx := open(t, dir, pvtx.Options{})
	must(t, tx.Begin(t.Context(), "empty", objects))
	add(t, tx, bundle(t, "app/run.json", `{"name":"app"}`, "app/root.squashfs", "image", "_config/app/etc/x", "conf"))
	add(t, tx, []byte(`{"#spec":"pantavisor-service-system@1","device.json":{"a":1}}`))
	must(t, tx.Close())

	tx = open(t, dir, pvtx.Options{}) // another process
	if got, want := keys(t, tx), "#spec _config/app/etc/x app/root.squashfs app/run.json device.json"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := tx.Begin(t.Context(), "empty", objects); !errors.Is(err, pvtx.ErrActive) {
		t.Errorf("a second begin: %v", err)
	}
	if _, err := tx.Commit(t.Context(), ""); !errors.Is(err, pvtx.ErrKind) {
		t.Errorf("commit: %v", err)
	}
	must(t, tx.Remove("_config/app"))
	must(t, tx.Deploy(t.Context(), trail))
	if s := tx.Status(); s.Phase != pvtx.Deployed || s.Revision != trail {
		t.Errorf("status %+v", s)
	}
	if _, err := tx.State(); !errors.Is(err, pvtx.ErrNoTransaction) {
		t.Errorf("show: %v", err)
	}
	for name, want := range map[string]string{
		".pvr/json":         `{"#spec":"pantavisor-service-system@1","app/root.squashfs":"` + pvrexport.ObjectID([]byte("image")) + `","app/run.json":{"name":"app"},"device.json":{"a":1}}`,
		".pvr/config":       `{"ObjectsDir":"` + objects + `"}`,
		"app/root.squashfs": "image",
		"app/run.json":      `{"name":"app"}`,
		"device.json":       `{"a":1}`,
	} {
		if got, err := os.ReadFile(filepath.Join(trail, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	a, err := os.Stat(filepath.Join(trail, "app/root.squashfs"))
	must(t, err)
	b, err := os.Stat(filepath.Join(objects, pvrexport.ObjectID([]byte("image"))))
	must(t, err)
	if !os.SameFile(a, b) {
		t.Error("the file is no link to the object")
	}

	// Again, over what is there.
	must(t, os.WriteFile(filepath.Join(trail, ".pvr/config"), []byte("mine"), 0o644))
	must(t, tx.Begin(t.Context(), trail, objects))
	must(t, tx.Remove("app"))
	must(t, tx.Deploy(t.Context(), trail))
	if got, err := os.ReadFile(filepath.Join(trail, ".pvr/config")); err != nil || string(got) != "mine" {
		t.Errorf("config %q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(trail, "app")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("app is still there: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(trail)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFailureLeavesTheTransaction(t *testing.T) {
	objects := t.TempDir()
	tx := open(t, t.TempDir(), pvtx.Options{})
	must(t, tx.Begin(t.Context(), "empty", objects))
	add(t, tx, bundle(t, "app/run.json", `{}`))
	before := keys(t, tx)
	good := bundle(t, "b/run.json", `{}`, "b/x", "content")
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"half a bundle", good[:len(good)/2], pvrexport.ErrTruncated},
		{"junk", []byte("hello"), pvrexport.ErrFormat},
		{"a collision", []byte(`{"#spec":"pantavisor-service-system@1","app/run.json/x":1}`), nil},
	} {
		if _, err := tx.Add(t.Context(), bytes.NewReader(c.in)); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := tx.Remove("nothing"); !errors.Is(err, pvrexport.ErrNoPart) {
		t.Errorf("remove: %v", err)
	}
	if err := tx.Deploy(t.Context(), filepath.Join(t.TempDir(), "x", "y")); err != nil {
		t.Errorf("deploy: %v", err)
	}
	must(t, tx.Begin(t.Context(), "empty", objects))
	id := pvrexport.ObjectID([]byte("nobody has it"))
	added, err := tx.Add(t.Context(), strings.NewReader(`{"#spec":"pantavisor-service-system@1","a/x":"`+id+`"}`))
	if err != nil || !slices.Equal(added.Missing, []string{id}) {
		t.Errorf("missing %v, %v", added, err)
	}
	to := filepath.Join(t.TempDir(), "trail")
	if err := tx.Deploy(t.Context(), to); !errors.Is(err, pvrexport.ErrMissingObject) || !strings.Contains(err.Error(), "a/x") {
		t.Errorf("deploy without an object: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(to)); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if keys(t, tx) != "#spec a/x" || before != "#spec app/run.json" {
		t.Errorf("the transaction holds %s", keys(t, tx))
	}
	if entries, err := filepath.Glob(filepath.Join(objects, ".tmp", "*")); err != nil || len(entries) != 0 {
		t.Errorf("temporary objects: %v, %v", entries, err)
	}
}

func TestNoTransaction(t *testing.T) {
	tx := open(t, t.TempDir(), pvtx.Options{})
	_, err := tx.State()
	_, addErr := tx.Add(t.Context(), strings.NewReader("{}"))
	_, commitErr := tx.Commit(t.Context(), "")
	for what, err := range map[string]error{
		"show": err, "add": addErr, "commit": commitErr,
		"remove": tx.Remove("a"), "deploy": tx.Deploy(t.Context(), t.TempDir()), "process": tx.Process(t.Context()),
	} {
		if !errors.Is(err, pvtx.ErrNoTransaction) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := tx.Abort(); err != nil {
		t.Errorf("abort: %v", err)
	}
	if err := tx.QueueRemove("a"); !errors.Is(err, pvtx.ErrNoQueue) {
		t.Errorf("queue remove: %v", err)
	}
}

func TestBeginFrom(t *testing.T) {
	dir := t.TempDir()
	src := []byte(`{"#spec":"pantavisor-service-system@1","a.json":1}`)
	must(t, os.MkdirAll(filepath.Join(dir, "rev/.pvr"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "rev/.pvr/json"), src, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "state.json"), src, 0o644))
	for _, from := range []string{"rev", "state.json", "rev/.pvr/json"} {
		tx := open(t, t.TempDir(), pvtx.Options{})
		must(t, tx.Begin(t.Context(), filepath.Join(dir, from), t.TempDir()))
		if got := keys(t, tx); got != "#spec a.json" {
			t.Errorf("%s: %s", from, got)
		}
	}
	tx := open(t, t.TempDir(), pvtx.Options{})
	for _, from := range []string{"current", filepath.Join(dir, "none"), dir} {
		if err := tx.Begin(t.Context(), from, ""); err == nil || !strings.Contains(err.Error(), from) {
			t.Errorf("%s: %v", from, err)
		}
	}
	if tx.Status().Phase != pvtx.None {
		t.Errorf("phase %q", tx.Status().Phase)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	tx := open(t, dir, pvtx.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pvtx.Open(ctx, dir, pvtx.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	go func() {
		time.Sleep(30 * time.Millisecond)
		_ = tx.Close()
	}()
	second, err := pvtx.Open(t.Context(), dir, pvtx.Options{})
	must(t, err)
	must(t, second.Close())
}

func TestFilesOfTheRealPvtxStay(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".status", "current.json"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("theirs"), 0o644))
	}
	tx := open(t, dir, pvtx.Options{})
	must(t, tx.Begin(t.Context(), "empty", t.TempDir()))
	must(t, tx.Abort())
	for _, name := range []string{".status", "current.json"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "theirs" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestDamagedStatus(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "pvkit-tx.json"), []byte(`{"#spec":"pvkit-tx@1","phase":"active"`), 0o644))
	if _, err := pvtx.Open(t.Context(), dir, pvtx.Options{}); !errors.Is(err, pvtx.ErrStatus) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeStatus(f *testing.F) {
	for _, s := range []string{
		`{"#spec":"pvkit-tx@1","phase":"active","objects":"/o","state":{"#spec":"pantavisor-service-system@1","a":"<b>"}}`,
		`{"#spec":"pvkit-tx@1","phase":"queue","objects":"/o","queue":"/q"}`,
		`{"#spec":"pvkit-tx@1","phase":"committed","revision":"locals/a"}`,
		`{"#spec":"pvkit-tx@1","phase":"active","state":null}`,
		`{"#spec":"pvkit-tx@1","phase":"other"}`, `[]`, ``, `{}{}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		status, state, err := pvtx.DecodeStatus(bytes.NewReader(src))
		if err != nil {
			return
		}
		if (state != nil) != (status.Phase == pvtx.Active) {
			t.Fatalf("phase %q and state %v", status.Phase, state)
		}
		out, err := pvtx.EncodeStatus(status, state)
		if err != nil {
			t.Fatal(err)
		}
		again, state2, err := pvtx.DecodeStatus(bytes.NewReader(out))
		if err != nil || again != status {
			t.Fatalf("%s becomes %s: %v", src, out, err)
		}
		if state != nil && len(pvrexport.Diff(state, state2)) > 0 {
			t.Fatalf("%s becomes %s", src, out)
		}
	})
}

package pvtx_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pvkit/pvkit/runtime/pvtx"
)

func unpack(t testing.TB, tx *pvtx.Tx, name string, in []byte) {
	t.Helper()
	_, err := tx.QueueUnpack(t.Context(), name, bytes.NewReader(in))
	must(t, err)
}

func TestQueue(t *testing.T) {
	dir, queue, objects := t.TempDir(), filepath.Join(t.TempDir(), "queue"), filepath.Join(t.TempDir(), "objects")
	tx := open(t, dir, pvtx.Options{})
	must(t, tx.NewQueue(queue, objects))
	must(t, tx.QueueRemove("old"))
	must(t, tx.QueueRemove("_sigs/not-there.json"))
	unpack(t, tx, "app.tgz", bundle(t, "app/run.json", `{}`, "app/root.squashfs", "image"))
	must(t, tx.QueueRemove("app"))
	unpack(t, tx, "app.tgz", bundle(t, "app/run.json", `{"again":true}`))

	entries, err := os.ReadDir(queue)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"000__old.remove", "001___sigs%2Fnot-there.json.remove", "002__app.tgz", "003__app.remove", "004__app.tgz"}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
	if err := tx.Process(t.Context()); !errors.Is(err, pvtx.ErrNoTransaction) {
		t.Errorf("process without begin: %v", err)
	}
	state := filepath.Join(t.TempDir(), "state")
	must(t, os.WriteFile(state, []byte(`{"#spec":"pantavisor-service-system@1","old/x.json":1,"other/x.json":1}`), 0o644))
	if err := tx.Begin(t.Context(), state, "/elsewhere"); err == nil {
		t.Error("begin took another directory for objects than the queue's")
	}
	must(t, tx.Begin(t.Context(), state, ""))
	must(t, tx.Process(t.Context()))
	if got, want := keys(t, tx), "#spec app/run.json other/x.json"; got != want {
		t.Errorf("got %s", got)
	}
	if err := tx.NewQueue(queue, objects); !errors.Is(err, pvtx.ErrActive) {
		t.Errorf("queue new: %v", err)
	}
	must(t, tx.Deploy(t.Context(), filepath.Join(t.TempDir(), "trail")))
}

func TestQueueOrderIsByNumber(t *testing.T) {
	queue := t.TempDir()
	for i := range 1002 {
		name := fmt.Sprintf("%03d__p.remove", i)
		must(t, os.WriteFile(filepath.Join(queue, name), nil, 0o644))
	}
	tx := open(t, t.TempDir(), pvtx.Options{})
	must(t, tx.NewQueue(queue, t.TempDir()))
	unpack(t, tx, "last", bundle(t, "p/run.json", `{}`))
	if _, err := os.Stat(filepath.Join(queue, "1002__last", "json")); err != nil {
		t.Error(err)
	}
	must(t, tx.Begin(t.Context(), "empty", ""))
	must(t, tx.Process(t.Context()))
	if got := keys(t, tx); got != "#spec p/run.json" {
		t.Errorf("got %s: 1002 came before 999", got)
	}
}

func TestQueueWithADamagedItemChangesNothing(t *testing.T) {
	queue := t.TempDir()
	tx := open(t, t.TempDir(), pvtx.Options{})
	must(t, tx.NewQueue(queue, t.TempDir()))
	unpack(t, tx, "good", bundle(t, "a/run.json", `{}`))
	unpack(t, tx, "bad", bundle(t, "b/run.json", `{}`))
	must(t, os.WriteFile(filepath.Join(queue, "001__bad", "json"), []byte("{"), 0o644))
	must(t, tx.Begin(t.Context(), "empty", ""))
	if err := tx.Process(t.Context()); err == nil {
		t.Fatal("it was processed")
	}
	if got := keys(t, tx); got != "#spec" {
		t.Errorf("got %s", got)
	}
}

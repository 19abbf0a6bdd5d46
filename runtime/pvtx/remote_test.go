package pvtx_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/pvtx"
)

// device answers the three requests of a remote transaction.
type device struct {
	t       *testing.T
	steps   map[string]string
	objects map[string]string
	full    bool
}

func (d *device) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.t.Error(err)
	}
	if r.Host != "localhost" || r.Method == http.MethodPut && r.ContentLength != int64(len(body)) {
		d.t.Errorf("host %s, length %d of %d", r.Host, r.ContentLength, len(body))
	}
	rev, isStep := strings.CutPrefix(r.URL.Path, "/steps/")
	id, isObject := strings.CutPrefix(r.URL.Path, "/objects/")
	switch {
	case isStep && r.Method == http.MethodGet && d.steps[rev] != "":
		_, _ = io.WriteString(w, d.steps[rev])
	case isStep && r.Method == http.MethodPut && !d.full:
		d.steps[rev] = string(body)
	case isObject && r.Method == http.MethodPut && !d.full:
		d.objects[id] = string(body)
	case d.full:
		w.WriteHeader(http.StatusInsufficientStorage)
		_, _ = io.WriteString(w, `{"Error":"Not enough disk space available"}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"Error":"Resource does not exist"}`)
	}
}

func serve(t *testing.T) (*device, string) {
	t.Helper()
	d := &device{t: t, steps: map[string]string{}, objects: map[string]string{}}
	socket := filepath.Join(t.TempDir(), "pv-ctrl")
	l, err := net.Listen("unix", socket)
	must(t, err)
	srv := &http.Server{Handler: d}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return d, socket
}

func TestRemoteTransaction(t *testing.T) {
	d, socket := serve(t)
	d.steps["current"] = `{"#spec":"pantavisor-service-system@1","old/run.json":{}}`
	dir := t.TempDir()
	now := time.Unix(1700000000, 7e6)
	tx := open(t, dir, pvtx.Options{Remote: pvtx.NewPVControl("/no/such/socket", socket), Now: func() time.Time { return now }})
	must(t, tx.Begin(t.Context(), "current", ""))
	add(t, tx, bundle(t, "app/run.json", `{}`, "app/root.squashfs", "image", "app/empty", ""))
	for _, content := range []string{"image", ""} {
		if got, ok := d.objects[pvrexport.ObjectID([]byte(content))]; !ok || got != content {
			t.Errorf("object %q: %q, %v", content, got, ok)
		}
	}
	if err := tx.Deploy(t.Context(), t.TempDir()); !errors.Is(err, pvtx.ErrKind) {
		t.Errorf("deploy: %v", err)
	}
	for _, name := range []string{"mine", "locals/a/b", "locals/.."} {
		if _, err := tx.Commit(t.Context(), name); err == nil {
			t.Errorf("commit as %s worked", name)
		}
	}
	s, err := tx.State()
	must(t, err)
	want := "locals/pvtx-1700000000-" + pvrexport.ObjectID(s.Encode())[:8] + "-7"
	rev, err := tx.Commit(t.Context(), "")
	if err != nil || rev != want || d.steps[rev] != string(s.Encode()) {
		t.Errorf("rev %s, want %s, holds %s: %v", rev, want, d.steps[rev], err)
	}
	if s := tx.Status(); s.Phase != pvtx.Committed || s.Revision != rev {
		t.Errorf("status %+v", s)
	}
}

func TestRemoteRefuses(t *testing.T) {
	d, socket := serve(t)
	tx := open(t, t.TempDir(), pvtx.Options{Remote: pvtx.NewPVControl(socket)})
	err := tx.Begin(t.Context(), "current", "")
	s, ok := errors.AsType[*pvctrl.StatusError](err)
	if !ok || s.Status != http.StatusNotFound || !strings.Contains(s.Text, "Resource does not exist") {
		t.Errorf("begin: %v", err)
	}
	must(t, tx.Begin(t.Context(), "empty", ""))
	d.full = true
	if _, err := tx.Add(t.Context(), strings.NewReader(string(bundle(t, "a/x", "1")))); err == nil || !strings.Contains(err.Error(), "507") {
		t.Errorf("add: %v", err)
	}
	if got := keys(t, tx); got != "#spec" {
		t.Errorf("the transaction holds %s", got)
	}
	if _, err := tx.Commit(t.Context(), "locals/a"); err == nil || !strings.Contains(err.Error(), "507") {
		t.Errorf("commit: %v", err)
	}
	if tx.Status().Phase != pvtx.Active {
		t.Error("a commit that was refused ended the transaction")
	}
}

func TestNoSocket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pv-ctrl") // where one was mounted
	must(t, os.WriteFile(file, nil, 0o644))
	for _, sockets := range [][]string{{"/no/such/socket"}, {"/no/such/socket", file}} {
		if _, err := pvtx.NewPVControl(sockets...).Step(t.Context(), "0"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	}
}

func TestConnectIsTriedAgain(t *testing.T) {
	// A socket whose server is gone: nobody listens.
	socket := filepath.Join(t.TempDir(), "pv-ctrl")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = pvtx.NewPVControl(socket).Step(ctx, "0")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

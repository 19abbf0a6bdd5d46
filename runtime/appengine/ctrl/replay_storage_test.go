package ctrl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// disk answers for objects, revisions and metadata from a real storage. What
// needs a supervisor is the machine's.
type disk struct {
	*ctrltest.Machine
	store *storage.Store
}

// api gives the API's words for the storage's errors.
func api(err error) error {
	if e, ok := errors.AsType[*storage.RejectError](err); ok {
		return &ctrl.StateError{Text: e.Text, Err: e.Err}
	}
	switch {
	case errors.Is(err, storage.ErrNotExist), errors.Is(err, pvrexport.ErrMissingObject):
		return ctrl.ErrNotFound
	case errors.Is(err, storage.ErrBadChecksum):
		return ctrl.ErrBadObject
	}
	return err
}

func (d disk) Objects(context.Context) ([]pvctrl.Object, error) { return d.store.Objects().List() }

func (d disk) OpenObject(_ context.Context, sum string) (io.ReadCloser, error) {
	r, _, err := d.store.Objects().OpenObject(sum)
	return r, api(err)
}

func (d disk) PutObject(ctx context.Context, sum string, size int64, r io.Reader) error {
	return api(d.store.Objects().Put(ctx, sum, r, size))
}

func (d disk) Steps(context.Context) ([]pvctrl.Step, error) { return d.store.Steps() }

func (d disk) Step(_ context.Context, rev string) ([]byte, error) {
	text, err := d.store.Step(rev)
	return text, api(err)
}

func (d disk) PutStep(ctx context.Context, rev string, text []byte) error {
	return api(d.store.PutStep(ctx, rev, bytes.NewReader(text), func(*pvrexport.State) error { return d.Machine.PutStep(ctx, rev, text) }))
}

func (d disk) StepProgress(_ context.Context, rev string) ([]byte, error) {
	text, err := d.store.Progress(rev)
	return text, api(err)
}

func (d disk) PutCommitMsg(_ context.Context, rev, msg string) error {
	return api(d.store.SetMessage(rev, msg))
}

func (d disk) CollectGarbage(context.Context) (int64, error) {
	current, err := d.store.Current()
	if err != nil {
		return 0, err
	}
	c, err := d.store.GC(storage.Keep{Running: current, Factory: true})
	return c.Reclaimed, err
}

// diskMeta is one of the storage's two sets.
type diskMeta struct{ set *storage.Meta }

func (d diskMeta) Meta(context.Context) (all []pvctrl.MetaEntry, _ error) {
	for _, e := range d.set.All() {
		all = append(all, pvctrl.MetaEntry(e))
	}
	return all, nil
}
func (d diskMeta) PutMeta(_ context.Context, key, value string) error { return d.set.Set(key, value) }
func (d diskMeta) DeleteMeta(_ context.Context, key string) error     { return api(d.set.Delete(key)) }

// lay makes the storage of the captures: revision 0 and files in the place of
// the objects that its state refers to.
func lay(t *testing.T, all []ctrltest.Capture) *storage.Store {
	t.Helper()
	dir := t.TempDir()
	s, err := storage.Open(dir, storage.Options{Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for name, text := range map[string]string{".pvr/json": all[5].Body, ".pv/progress": all[7].Body} {
		path := filepath.Join(s.TrailDir("0"), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetCurrent("0"); err != nil {
		t.Fatal(err)
	}
	var objects []struct {
		SHA256 string
		Size   int64 `json:",string"`
	}
	if err := json.Unmarshal([]byte(all[36].Body), &objects); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		path := filepath.Join(s.Objects().Dir(), o.SHA256)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, o.Size)); err != nil {
			t.Fatal(err)
		}
	}
	device := slices.Collect(func(yield func(pvctrl.MetaEntry) bool) {
		entries, err := pvctrl.DecodeMeta([]byte(all[12].Body))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range slices.Backward(entries) { // the newest is first
			if !yield(e) {
				return
			}
		}
	})
	for _, e := range device {
		if err := s.DeviceMeta().Set(e.Key, e.Value); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestReplayOnStorage replays the captures to a server in front of a storage on
// disk.
func TestReplayOnStorage(t *testing.T) {
	all, err := ctrltest.Captures()
	if err != nil {
		t.Fatal(err)
	}
	m := ctrltest.NewMachine(nil)
	m.AddDaemon(pvctrl.Daemon{Name: "pv-dbus", PID: 1100, Respawn: true})
	load(t, m, all)
	d := disk{m, lay(t, all)}
	b := m.Backend()
	b.Objects, b.Steps, b.GC = d, d, d
	b.UserMeta, b.DeviceMeta = diskMeta{d.store.UserMeta()}, diskMeta{d.store.DeviceMeta()}
	sockets := map[string]string{}
	for caller, name := range map[string]string{ctrltest.Host: pvctrl.HostName, ctrltest.Norole: ctrltest.Norole, ctrltest.Client: ctrltest.Client} {
		sockets[caller] = serve(t, ctrl.Options{Backend: b, Owner: as(name)})
	}
	ctrltest.Replay(t, ctrltest.Target{
		Dial: dialer(t.Context(), sockets),
		Before: func(c ctrltest.Capture) {
			var rev string
			switch c.Index {
			case 85, 190:
			case 128:
				if _, err := d.CollectGarbage(t.Context()); err != nil {
					t.Error(err)
				}
			case 133, 136:
				rev = "locals/run-rev"
			case 151:
				rev = "locals/does-not-exist"
			default:
				return
			}
			m.Tick()
			if rev == "" {
				return
			}
			d.follow(t, rev)
		},
	}, differences)
}

// follow writes down what the machine made of a revision.
func (d disk) follow(t *testing.T, rev string) {
	t.Helper()
	text, err := d.Machine.StepProgress(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	var p pvctrl.Progress
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	if err := d.store.SetProgress(rev, p); err != nil {
		t.Error(err)
	}
	if p.Status == "TESTING" {
		if err := d.store.SetCurrent(rev); err != nil {
			t.Error(err)
		}
	}
}

package storage_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/pvtx"
)

// childDir, when set, makes this program the one that is killed.
const childDir = "PVKIT_STORAGE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// op is something that the child does. It says so before it starts, and again
// when it has been acknowledged.
type op struct {
	Kind       string
	Name, Text string
}

// workDir is a storage with a pvtx transaction beside it.
type workDir struct {
	store *storage.Store
	tx    *pvtx.Tx
	dir   string
}

func openWork(dir string) (*workDir, error) {
	s, err := storage.Open(filepath.Join(dir, "storage"), storage.Options{Location: time.UTC})
	if err != nil {
		return nil, err
	}
	tx, err := pvtx.Open(context.Background(), filepath.Join(dir, "tx"), pvtx.Options{})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &workDir{s, tx, dir}, nil
}

func (w *workDir) close() error { return errors.Join(w.tx.Close(), w.store.Close()) }

func (w *workDir) objects() string { return filepath.Join(w.dir, "txobjects") }

func (w *workDir) trail() string { return filepath.Join(w.dir, "trail") }

// child works until it is killed.
func child(dir string) error {
	w, err := openWork(dir)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		o := randomOp(w)
		line, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if _, err := fmt.Printf("begin %s\n", line); err != nil {
			return err
		}
		word := "ack"
		if err := w.do(o); errors.Is(err, pvrexport.ErrMissingObject) || errors.Is(err, pvrexport.ErrNoPart) || errors.Is(err, storage.ErrNotExist) {
			word = "refused"
		} else if err != nil {
			return fmt.Errorf("%+v: %w", o, err)
		}
		if _, err := fmt.Println(word); err != nil {
			return err
		}
	}
}

func randomOp(w *workDir) op {
	rev := fmt.Sprint("locals/s", rand.IntN(5))
	key := fmt.Sprint("k", rand.IntN(8))
	unique := fmt.Sprint(rand.Uint64())
	part := string(rune('a' + rand.IntN(4)))
	switch rand.IntN(14) {
	case 0:
		return op{"boot", rev, fmt.Sprint("locals/s", rand.IntN(5))}
	case 1:
		return op{"user", key, unique}
	case 2:
		return op{"device", key, unique}
	case 3:
		return op{"no user", key, ""}
	case 4:
		return op{"no device", key, ""}
	case 5, 6:
		return op{"object", "", strings.Repeat(unique, 1+rand.IntN(5000))}
	case 7, 8:
		return op{"step", rev, randomStep(w, unique)}
	case 9:
		return op{"progress", rev, unique}
	case 10:
		return op{"message", rev, unique}
	case 11:
		return op{"install", rev, ""}
	case 12:
		if rand.IntN(4) > 0 {
			return op{"user", key, unique}
		}
		return op{"gc", "", ""}
	}
	if w.tx.Status().Phase != pvtx.Active {
		return op{"begin", "", ""}
	}
	switch rand.IntN(4) {
	case 0:
		return op{"remove", part, ""}
	case 1:
		return op{"deploy", "", ""}
	}
	return op{"add", part, unique}
}

// randomStep is a state that names some objects of the store.
func randomStep(w *workDir, unique string) string {
	list, err := w.store.Objects().List()
	if err != nil {
		panic(err)
	}
	text := fmt.Sprintf(`{"#spec":"pantavisor-service-system@1","a/run.json":{"n":"%s"}`, unique)
	for i := range min(len(list), 3) {
		text += fmt.Sprintf(`,"a/file%d":"%s"`, i, list[rand.IntN(len(list))].SHA256)
	}
	return text + "}"
}

// added is the bundle of an add.
func (o op) added() []byte {
	s := pvrexport.NewState()
	id := pvrexport.ObjectID([]byte(o.Text))
	v, err := pvrexport.ObjectValue(id)
	if err != nil {
		panic(err)
	}
	if err := s.Set(o.Name+"/file", v); err != nil {
		panic(err)
	}
	var m pvrexport.Memory
	m.Put(id, []byte(o.Text))
	var buf bytes.Buffer
	if err := pvrexport.Write(context.Background(), &buf, s, &m, pvrexport.WriteOptions{}); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

var kept = storage.Keep{Running: "locals/s0", Updating: "locals/s1", Committed: "locals/s2"}

func (w *workDir) do(o op) error {
	ctx := context.Background()
	switch o.Kind {
	case "boot":
		return w.store.SetBoot(storage.Boot{Rev: o.Name, Try: o.Text})
	case "user":
		return w.store.UserMeta().Set(o.Name, o.Text)
	case "device":
		return w.store.DeviceMeta().Set(o.Name, o.Text)
	case "no user":
		return w.store.UserMeta().Delete(o.Name)
	case "no device":
		return w.store.DeviceMeta().Delete(o.Name)
	case "object":
		return w.store.Objects().Put(ctx, pvrexport.ObjectID([]byte(o.Text)), strings.NewReader(o.Text), int64(len(o.Text)))
	case "step":
		return w.store.PutStep(ctx, o.Name, strings.NewReader(o.Text), nil)
	case "progress":
		return w.store.SetProgress(o.Name, pvctrl.Progress{Status: o.Text})
	case "message":
		return w.store.SetMessage(o.Name, o.Text)
	case "install":
		return w.store.Install(ctx, o.Name)
	case "gc":
		_, err := w.store.GC(kept)
		return err
	case "begin":
		return w.tx.Begin(ctx, "empty", w.objects())
	case "add":
		_, err := w.tx.Add(ctx, bytes.NewReader(o.added()))
		return err
	case "remove":
		return w.tx.Remove(o.Name)
	case "deploy":
		return w.tx.Deploy(ctx, w.trail())
	}
	return errors.New("no such operation")
}

// facts is what is on the disk, in a form that can be compared.
type facts map[string]string

// after returns the facts that an operation leads to.
func (f facts) after(o op) facts {
	f = maps.Clone(f)
	switch o.Kind {
	case "boot":
		f["boot"] = o.Name + " " + o.Text
	case "user", "device":
		if f[o.Kind+"/"+o.Name] == "" {
			f[o.Kind] = strings.TrimSpace(o.Name + " " + f[o.Kind])
		}
		f[o.Kind+"/"+o.Name] = o.Text
	case "no user", "no device":
		kind := o.Kind[3:]
		delete(f, kind+"/"+o.Name)
		f[kind] = strings.Join(slices.DeleteFunc(strings.Fields(f[kind]), func(k string) bool { return k == o.Name }), " ")
	case "object":
		f["object/"+pvrexport.ObjectID([]byte(o.Text))] = "whole"
	case "step":
		if f["step/"+o.Name] != o.Text {
			delete(f, "installed/"+o.Name)
		}
		f["step/"+o.Name], f["progress/"+o.Name] = o.Text, "NEW"
	case "progress", "message":
		f[o.Kind+"/"+o.Name] = o.Text
	case "install":
		f["installed/"+o.Name] = "whole"
	case "gc":
		named := f["step/locals/s0"] + f["step/locals/s1"] + f["step/locals/s2"]
		maps.DeleteFunc(f, func(k, _ string) bool {
			id, isObject := strings.CutPrefix(k, "object/")
			return strings.HasSuffix(k, "/s3") || strings.HasSuffix(k, "/s4") || isObject && !strings.Contains(named, id)
		})
	case "begin", "add", "remove":
		f["tx"] = afterTx(f["tx"], o)
	case "deploy":
		f["deployed"], f["tx"] = f["tx"], ""
	}
	return f
}

func afterTx(tx string, o op) string {
	state := pvrexport.NewState()
	if o.Kind == "begin" {
		return string(state.Encode())
	}
	state, err := pvrexport.DecodeState(strings.NewReader(tx))
	if err != nil {
		panic(err)
	}
	if o.Kind == "remove" {
		_ = state.Remove(o.Name)
		return string(state.Encode())
	}
	taken, err := pvrexport.Take(context.Background(), bytes.NewReader(o.added()), pvrexport.Discard, pvrexport.Limits{})
	if err == nil {
		err = state.Merge(taken.State)
	}
	if err != nil {
		panic(err)
	}
	return string(state.Encode())
}

// look opens what the child left, as the next engine does.
func look(t *testing.T, dir string) facts {
	t.Helper()
	w, err := openWork(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := facts{}
	s := w.store
	if b, err := s.Boot(); err == nil {
		f["boot"] = b.Rev + " " + b.Try
	} else if !errors.Is(err, storage.ErrNotExist) {
		t.Error(err)
	}
	for kind, m := range map[string]*storage.Meta{"user": s.UserMeta(), "device": s.DeviceMeta()} {
		var order []string
		for _, e := range m.All() {
			order = append(order, e.Key)
			f[kind+"/"+e.Key] = e.Value
		}
		f[kind] = strings.Join(order, " ")
	}
	lookAtSteps(t, s, f)
	list, err := s.Objects().List()
	if err != nil {
		t.Error(err)
	}
	for _, o := range list {
		f["object/"+o.SHA256] = "whole"
		if err := s.Objects().Check(t.Context(), o.SHA256); err != nil {
			t.Error(err)
		}
	}
	lookAtTx(t, w, f)
	for _, name := range []string{"storage/.tmp", "txobjects/.tmp"} {
		left, err := os.ReadDir(filepath.Join(dir, name))
		if name == "storage/.tmp" && (err != nil || len(left) > 0) {
			t.Errorf("%s holds %v, %v", name, left, err)
		}
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
	return f
}

func lookAtSteps(t *testing.T, s *storage.Store, f facts) {
	t.Helper()
	steps, err := s.Steps()
	if err != nil {
		t.Error(err)
	}
	for _, st := range steps {
		var p pvctrl.Progress
		if err := json.Unmarshal(st.Progress, &p); err != nil {
			t.Errorf("progress of %s: %v", st.Name, err)
		}
		f["message/"+st.Name], f["progress/"+st.Name] = st.CommitMsg, p.Status
		src, err := s.Step(st.Name)
		if errors.Is(err, storage.ErrNotExist) {
			continue // only a message or progress so far
		}
		state, stateErr := s.State(st.Name)
		if err != nil || stateErr != nil {
			t.Errorf("step %s: %v, %v", st.Name, err, stateErr)
			continue
		}
		f["step/"+st.Name] = string(src)
		if laidOut(state, s.TrailDir(st.Name)) && s.Verify(t.Context(), st.Name, nil) == nil {
			f["installed/"+st.Name] = "whole"
		}
	}
}

// laidOut reports whether all files of a state are there, with their values.
func laidOut(state *pvrexport.State, dir string) bool {
	for key, v := range state.All() {
		if key == pvrexport.SpecKey {
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, key))
		want := v.JSON()
		if id, ok := v.Object(); ok {
			got, want = []byte(pvrexport.ObjectID(got)), []byte(id)
		}
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

func lookAtTx(t *testing.T, w *workDir, f facts) {
	t.Helper()
	if state, err := w.tx.State(); err == nil {
		f["tx"] = string(state.Encode())
		for _, id := range state.Objects() {
			objects, err := storage.OpenObjects(w.objects())
			if err == nil {
				err = objects.Check(t.Context(), id)
			}
			if err != nil {
				t.Errorf("the transaction names what is not there: %v", err)
			}
		}
	}
	src, err := os.ReadFile(filepath.Join(w.trail(), ".pvr/json"))
	if err != nil {
		return
	}
	f["deployed"] = string(src)
	state, err := pvrexport.DecodeState(bytes.NewReader(src))
	if err != nil || !laidOut(state, w.trail()) {
		t.Errorf("the deployed directory is not whole: %v", err)
	}
}

// compare checks that each fact is one of two.
func compare(t *testing.T, got, old, pending facts) {
	t.Helper()
	all := maps.Clone(got)
	maps.Copy(all, old)
	maps.Copy(all, pending)
	for k := range all {
		if got[k] != old[k] && got[k] != pending[k] {
			t.Errorf("%s\n got %.200q\nwant %.200q\n  or %.200q", k, got[k], old[k], pending[k])
		}
	}
}

// TestKill kills an engine at random instants. Whatever it had acknowledged is
// there when the next one starts, and what it was doing is done or is not.
func TestKill(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	dir, err := os.MkdirTemp("/dev/shm", "pvkit-kill-*")
	if err != nil {
		dir = t.TempDir() // slower
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	known, acks := facts{}, 0
	for round := range rounds {
		acked, pending := killChild(t, dir, time.Duration(rand.Int64N(int64(25*time.Millisecond))))
		for _, o := range acked {
			known = known.after(o)
		}
		acks += len(acked)
		next := known
		if pending != nil {
			next = known.after(*pending)
		}
		got := look(t, dir)
		compare(t, got, known, next)
		if t.Failed() {
			t.Fatalf("round %d, after %d acknowledged, during %+.300v", round, acks, pending)
		}
		known = got
	}
	t.Logf("%d kills, %d acknowledged operations, %d facts in the end", rounds, acks, len(known))
	if acks < rounds {
		t.Errorf("%d operations in %d rounds: the child hardly worked", acks, rounds)
	}
}

// killChild lets a child work for a while. It returns what was acknowledged
// and what the child was about, which is nil between two operations.
func killChild(t *testing.T, dir string, work time.Duration) (acked []op, pending *op) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != "ready" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the child says %q\n%s", lines.Text(), &stderr)
	}
	timer := time.AfterFunc(work, func() { _ = cmd.Process.Signal(unix.SIGKILL) })
	defer timer.Stop()
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "begin":
			pending = &op{}
			if err := json.Unmarshal([]byte(rest), pending); err != nil {
				pending = nil // the line was cut short, and the work not begun
			}
		case "ack":
			acked = append(acked, *pending)
			pending = nil
		case "refused":
			pending = nil
		}
	}
	err = cmd.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v\n%s", err, &stderr)
	}
	return acked, pending
}

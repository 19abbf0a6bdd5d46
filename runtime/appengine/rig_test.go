package appengine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/container"
	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

func TestMain(m *testing.M) {
	sandbox.Child()
	ctrltest.Child()
	// The tests mostly wait: for goals, graces and delays.
	parallel := strconv.Itoa(2 * runtime.GOMAXPROCS(0))
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", parallel)
	}
	code := m.Run()
	os.RemoveAll(shared())
	os.Exit(code)
}

// shared is where programs and images are built once for all tests.
var shared = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "pv-engine-test")
	if err != nil {
		panic(err)
	}
	return dir
})

// program builds a command of ours once.
func program(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		file := filepath.Join(shared(), name)
		out, err := exec.Command("go", "build", "-o", file, "../../cmd/"+name).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return file, nil
	})
}

var (
	xconnect = program("pv-xconnect")
	pvengine = program("pv-appengine")
)

var builder = sync.OnceValues(func() (*container.Builder, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	return container.NewBuilder(container.Options{
		TempDir: shared(), Go: container.GoTool{Path: path, Env: os.Environ()}, Image: container.Image{Preset: "fast"},
	})
})

// export builds a definition, given as text or as a directory, into dir.
func export(t testing.TB, dir, def string) string {
	t.Helper()
	return exportFor(t, dir, def, container.Arch(runtime.GOARCH))
}

func exportFor(t testing.TB, dir, def string, arch container.Arch) string {
	t.Helper()
	b, err := builder()
	if err != nil {
		t.Fatal(err)
	}
	from, src := "testdata", []byte(def)
	if !strings.Contains(def, "\n") {
		from = def
		if src, err = os.ReadFile(filepath.Join(def, container.DefinitionFile)); err != nil {
			t.Fatal(err)
		}
	}
	d, found := container.Parse(container.DefinitionFile, from, src)
	if d == nil {
		t.Fatal(found)
	}
	file := filepath.Join(dir, d.Name+container.Suffix)
	if _, err := b.BuildFile(t.Context(), d, arch, file, nil); err != nil {
		t.Fatal(err)
	}
	return file
}

// does are the words of an actor.
func does(words ...string) []string { return words }

// actor is the definition of a container that runs the actor with the words;
// more are further lines of it.
func actor(name string, words []string, more ...string) string {
	def := "name: " + name + "\nrootfs:\n"
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "data"} {
		def += "  - mkdir: /" + dir + "\n"
	}
	def += "  - go: ./actor\n    at: /actor\n"
	def += "entrypoint: [/actor]\n"
	if len(words) > 0 {
		text, err := json.Marshal(words) // JSON is YAML
		if err != nil {
			panic(err)
		}
		def += "cmd: " + string(text) + "\n"
	}
	return def + strings.Join(more, "\n") + "\n"
}

// app is what most tests want of a container: controlled alone, no recovery.
const app = "group: app\nrestart_policy: container\nauto_recovery: {policy: \"no\"}"

// rig is an engine that runs in the test's process.
type rig struct {
	t       testing.TB
	opts    appengine.Options
	ctrl    *pvctrl.Client
	exports string
	cancel  context.CancelCauseFunc
	done    chan struct{}
	end     appengine.Ending
	err     error

	mu     sync.Mutex // guards events
	events []appengine.Event
	news   chan struct{}
}

// newRig makes an engine that is not started yet, with the containers.
func newRig(t testing.TB, defs ...string) *rig {
	t.Helper()
	testreq.Root(t)
	dir := t.TempDir()
	r := &rig{t: t, exports: filepath.Join(dir, "exports"), news: make(chan struct{}, 1)}
	if err := os.Mkdir(r.exports, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range defs {
		export(t, r.exports, d)
	}
	r.opts = appengine.Options{
		Storage: filepath.Join(dir, "storage"), RunDir: filepath.Join(dir, "run", "pv"),
		Exports: []string{r.exports}, Version: "test", Watch: r.watch,
	}
	// The appengine's times are for people; tests have less.
	r.opts.Settings.Environ = []string{"PV_UPDATER_COMMIT_DELAY=1"}
	r.ctrl = pvctrl.NewClient(r.socket())
	return r
}

func (r *rig) socket() string { return filepath.Join(r.opts.RunDir, "pv-ctrl") }

func (r *rig) watch(e appengine.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// start runs the engine; the test's end stops it.
func (r *rig) start() *rig {
	r.t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		r.end, r.err = appengine.Run(ctx, r.opts)
	}()
	r.t.Cleanup(func() {
		r.stop()
		if r.t.Failed() {
			for _, e := range r.events {
				r.t.Logf("%s %s", e.Time.Format("05.000"), e)
			}
			r.t.Log(r.log())
		}
	})
	return r
}

// stop powers the engine off and waits for its end.
func (r *rig) stop() {
	r.cancel(appengine.ErrPowerOff)
	r.wait()
}

// wait waits until the engine has ended by itself.
func (r *rig) wait() {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		r.t.Fatal("the engine does not end")
	}
}

// log is everything the runtime logged.
func (r *rig) log() string {
	var all strings.Builder
	filepath.WalkDir(filepath.Join(r.opts.Storage, "logs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "pantavisor.log") {
			b, _ := os.ReadFile(path)
			all.Write(b)
		}
		return nil
	})
	return all.String()
}

// eventually waits until ok, at most a while.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	eventuallyIn(t, 10*time.Second, what, ok)
}

// eventuallyIn has a limit for a usual machine. PVKIT_SLOW says how many times
// slower this one is, an emulated one for instance.
func eventuallyIn(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	if slower, err := strconv.Atoi(os.Getenv("PVKIT_SLOW")); err == nil {
		limit *= time.Duration(slower)
	}
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// saw waits for an event.
func (r *rig) saw(what string, is func(appengine.Event) bool) appengine.Event {
	r.t.Helper()
	var found appengine.Event
	eventually(r.t, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if is(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// ready waits until the system is.
func (r *rig) ready() *rig {
	r.t.Helper()
	eventually(r.t, "READY", func() bool {
		select {
		case <-r.done:
			r.t.Fatalf("the engine ended: %v", r.err)
		default:
		}
		b, err := os.ReadFile(filepath.Join(r.opts.RunDir, "device-meta", "pantavisor.status"))
		return err == nil && string(b) == "READY"
	})
	return r
}

// status is a container's, "" if it is not there.
func (r *rig) status(name string) string {
	list, err := r.ctrl.Containers(context.Background())
	if err != nil {
		return ""
	}
	for _, c := range list {
		if c.Name == name {
			return c.Status.String()
		}
	}
	return ""
}

// console is what a container has printed.
func (r *rig) console(rev, name string) string {
	b, err := os.ReadFile(filepath.Join(r.opts.Storage, "logs", rev, name, "lxc", "console.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	return string(b)
}

// progress is a revision's status and message.
func (r *rig) progress(rev string) string {
	p, err := r.ctrl.Progress(context.Background(), rev)
	if err != nil {
		return ""
	}
	return p.Status + " " + p.StatusMsg
}

// put uploads the exports as a local revision: what they hold replaces what
// the running state has under the same names.
func (r *rig) put(rev string, files ...string) {
	r.t.Helper()
	if _, err := r.push(context.Background(), rev, files...); err != nil {
		r.t.Fatal(err)
	}
}

// push is put for a runtime that may be gone; it returns the state.
func (r *rig) push(ctx context.Context, rev string, files ...string) ([]byte, error) {
	src, err := r.ctrl.Step(ctx, "current")
	if err != nil {
		return nil, err
	}
	state, err := pvrexport.DecodeState(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := r.upload(ctx, state, file); err != nil {
			return nil, err
		}
	}
	return state.Encode(), r.ctrl.PutStep(ctx, rev, state.Encode())
}

// upload sends the objects of an export and adds its state to another.
func (r *rig) upload(ctx context.Context, state *pvrexport.State, file string) error {
	b, err := pvrexport.OpenBundle(ctx, file, "", pvrexport.Limits{})
	if err != nil {
		return err
	}
	defer b.Close()
	for _, id := range b.State.Objects() {
		o, err := b.Object(id)
		if err == nil {
			err = r.ctrl.PutObject(ctx, id, o.Size(), io.NewSectionReader(o, 0, o.Size()))
		}
		if err != nil {
			return err
		}
	}
	return state.Merge(b.State)
}

// command sends one, and again while another is worked on.
func (r *rig) command(op, payload string) {
	r.t.Helper()
	if err := r.ctrl.Command(context.Background(), pvctrl.Command{Op: op, Payload: payload}); err != nil {
		r.t.Fatal(err)
	}
}

// mounts are the mount points of this process.
func mounts(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 {
			all = append(all, f[1])
		}
	}
	return all
}

// device writes a bundle that has a device.json alone.
func (r *rig) device(doc string) string {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "device.pvrexport.tgz")
	state, err := pvrexport.DecodeState(strings.NewReader(`{"#spec":"` + pvrexport.Spec + `","device.json":` + doc + `}`))
	if err != nil {
		r.t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if err := pvrexport.Write(context.Background(), f, state, &pvrexport.Memory{}, pvrexport.WriteOptions{}); err != nil {
		r.t.Fatal(err)
	}
	return file
}

// objectOf is the file in the store of what a revision's state names.
func (r *rig) objectOf(rev, key string) string {
	r.t.Helper()
	src, err := os.ReadFile(filepath.Join(r.opts.Storage, "trails", rev, ".pvr", "json"))
	if err != nil {
		r.t.Fatal(err)
	}
	state, err := pvrexport.DecodeState(strings.NewReader(string(src)))
	if err != nil {
		r.t.Fatal(err)
	}
	v, ok := state.Get(key)
	if !ok {
		r.t.Fatalf("%s has no %s", rev, key)
	}
	id, _ := v.Object()
	return filepath.Join(r.opts.Storage, "objects", id)
}

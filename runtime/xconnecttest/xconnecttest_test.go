package xconnecttest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/testreport"
	"github.com/pvkit/pvkit/runtime/xconnecttest"
)

// The test program is also the daemon that the tests look at: it answers at a
// socket, well or with a fault.
func TestMain(m *testing.M) {
	if os.Args[0] == "pv-xconnect" {
		serve(os.Args[1], os.Args[2])
		return
	}
	os.Exit(m.Run())
}

const body = `{"service": "network-manager-mock"}`

func serve(socket, fault string) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	fmt.Println("serving")
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go answer(c.(*net.UnixConn), fault)
	}
}

func answer(c *net.UnixConn, fault string) {
	defer c.Close()
	r := bufio.NewReader(c)
	if _, err := http.ReadRequest(r); err != nil {
		return // a connection to see whether it can be made
	}
	if fault == "leak" {
		// Ten at first: a connection that only looked may be counted as open
		// before and be gone after.
		mu.Lock()
		for n := 0; n < 1 || len(kept) < 10; n++ {
			f, err := os.Open(os.DevNull)
			if err != nil {
				panic(err)
			}
			kept = append(kept, f)
		}
		mu.Unlock()
	}
	text, status := body, "200 OK"
	switch fault {
	case "half":
		// As a relay that ends both directions with the first one.
		c.SetReadDeadline(time.Now().Add(time.Second)) // the half-close comes before, on any machine
		if _, err := r.ReadByte(); err == io.EOF {
			return
		}
	case "cut":
		text = text[:5]
	case "404":
		status = "404 Not Found"
	case "silent":
		return
	}
	fmt.Fprintf(c, "HTTP/1.0 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), text)
}

var (
	mu   sync.Mutex // guards kept
	kept []*os.File
)

// world is a runtime as the tests see it: every container is this process.
type world struct {
	dir    string
	socket string // of pv-ctrl
	docs   map[string]any
	daemon *exec.Cmd
}

func newWorld(t *testing.T, fault string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.daemon = exec.Command(os.Args[0])
	if self, err := os.Executable(); err == nil {
		w.daemon.Path = self
	}
	w.daemon.Args = []string{"pv-xconnect", w.path("rest"), fault}
	out, err := w.daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.daemon.Process.Kill(); w.daemon.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	for name, network := range map[string]string{"stream": "unix", "packet": "unixpacket", "bus": "unix"} {
		l, err := net.Listen(network, w.path(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	w.log(t, "pv-example-rest-client", "--- asking\n"+body+"\n")
	w.log(t, "pv-example-dbus-client", "method return time=1.5 sender=:1.2\n   string \"{}\"\n")
	link := func(kind, provider, consumer, target string) map[string]any {
		return map[string]any{"consumer": consumer, "consumer_pid": os.Getpid(), "provider": provider, "provider_pid": os.Getpid(),
			"name": kind, "type": kind, "role": "any", "interface": kind, "target": target, "socket": "/s"}
	}
	w.docs = map[string]any{
		"/xconnect-graph": []any{
			link("unix", "server", "client", w.path("stream")), link("unix", "server", "other", w.path("packet")),
			link("dbus", "server", "pv-example-dbus-client", w.path("bus")), link("rest", "server", "pv-example-rest-client", w.path("rest")),
			link("drm", "server", "client", "/dev/null"),
		},
		"/containers": containers("server", "client", "other", "pv-example-dbus-client", "pv-example-rest-client"),
		"/daemons":    []any{map[string]any{"name": "pv-xconnect", "pid": w.daemon.Process.Pid, "respawn": true}},
		"/config2":    []any{map[string]any{"key": "PV_LOG_DIR", "value": w.path("logs"), "modified": "default"}},
		"/device-meta": map[string]any{
			"pantavisor.revision": "locals/x",
		},
	}
	l, err := net.Listen("unix", w.path("pv-ctrl"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		doc, ok := w.docs[r.URL.Path]
		if !ok {
			rw.WriteHeader(http.StatusInternalServerError)
			doc = map[string]string{"Error": "broken"}
		}
		json.NewEncoder(rw).Encode(doc)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	w.socket = w.path("pv-ctrl")
	return w
}

func containers(names ...string) []any {
	var list []any
	for _, name := range names {
		list = append(list, map[string]any{"name": name, "group": "app", "status": "STARTED", "status_goal": "STARTED", "restart_policy": "container", "roles": []string{}})
	}
	return list
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) log(t *testing.T, container, text string) {
	t.Helper()
	name := filepath.Join(w.dir, "logs/locals/x", container, "lxc/console.log")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// link is the graph's entry number i.
func (w *world) link(i int) map[string]any {
	return w.docs["/xconnect-graph"].([]any)[i].(map[string]any)
}

func (w *world) run(t *testing.T, tests string) *testreport.Report {
	t.Helper()
	choose, err := xconnecttest.Select(tests)
	if err != nil {
		t.Fatal(err)
	}
	report, err := xconnecttest.Run(t.Context(), xconnecttest.Options{
		Socket: w.socket, Run: choose, Patience: 300 * time.Millisecond,
		Inside: nsinject.New(nsinject.Options{OwnRoot: true}), // all is this process here
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestGoodMesh(t *testing.T) {
	report := newWorld(t, "").run(t, "")
	if len(report.Results) != 7 || len(xconnecttest.Tests()) != 7 {
		t.Errorf("%d results", len(report.Results))
	}
	for _, r := range report.Results {
		if r.Verdict != testreport.Pass || len(r.Evidence) == 0 {
			t.Error(r.Block(true))
		}
		if len(r.Name) > 48 {
			t.Errorf("%q does not fit the table", r.Name)
		}
	}
}

// Every test finds what it is for, and says it.
func TestFaultsAreFound(t *testing.T) {
	for _, c := range []struct {
		tests, fault string
		change       func(t *testing.T, w *world)
		verdict      testreport.Verdict
		reason       string
	}{
		{"1", "", func(_ *testing.T, w *world) { os.Remove(w.path("packet")) }, testreport.Fail, "no such file"},
		{"1", "", func(_ *testing.T, w *world) { w.link(0)["consumer_pid"] = -1 }, testreport.Fail, "its pid is not known"},
		{"1", "", func(_ *testing.T, w *world) { w.docs["/containers"] = containers("server", "client") }, testreport.Fail, "other has a link and is not among the containers"},
		{"1", "", func(_ *testing.T, w *world) {
			w.docs["/containers"].([]any)[0].(map[string]any)["status"] = "STOPPED"
		}, testreport.Fail, "server is STOPPED and should run"},
		{"1-7", "", func(_ *testing.T, w *world) { w.docs["/xconnect-graph"] = []any{} }, testreport.Skip, "the graph has no link of type"},
		{"2", "", func(t *testing.T, w *world) { w.log(t, "pv-example-dbus-client", "Failed to open connection\n") }, testreport.Fail, "has not a method return"},
		{"2,3", "", func(_ *testing.T, w *world) { os.RemoveAll(w.path("logs")) }, testreport.Skip, "not on this machine"},
		{"2", "", func(_ *testing.T, w *world) { delete(w.docs, "/config2") }, testreport.Fail, "broken"},
		{"3", "", func(t *testing.T, w *world) { w.log(t, "pv-example-rest-client", "curl: (7)\n[]\n\"x\"\n") }, testreport.Fail, "has not a JSON object"},
		{"4", "", func(_ *testing.T, w *world) { w.link(4)["target"] = w.path("stream") }, testreport.Fail, "not a device node"},
		{"5,6", "silent", nil, testreport.Fail, "without an answer"},
		{"5", "cut", nil, testreport.Fail, "the answer is not whole"},
		{"5", "404", nil, testreport.Fail, "404"},
		{"6", "half", nil, testreport.Fail, "without an answer"},
		{"7", "leak", nil, testreport.Fail, "100 connections left 1"},
		{"7", "", func(_ *testing.T, w *world) { w.docs["/daemons"] = []any{} }, testreport.Fail, "does not run"},
		{"7", "", func(_ *testing.T, w *world) {
			w.docs["/daemons"].([]any)[0].(map[string]any)["pid"] = os.Getppid()
		}, testreport.Skip, "run this where the runtime runs"},
	} {
		t.Run(c.tests+" "+c.fault+c.reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.fault)
			if c.change != nil {
				c.change(t, w)
			}
			for _, r := range w.run(t, c.tests).Results {
				if r.Verdict != c.verdict || !strings.Contains(r.Reason, c.reason) {
					t.Errorf("want %s with %q: %s", c.verdict, c.reason, r.Block(true))
				}
			}
		})
	}
}

func TestNothingToTest(t *testing.T) {
	w := newWorld(t, "")
	file := w.path("file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for socket, want := range map[string]string{
		w.path("none"): "there is no socket", file: "is not a socket", w.path("rest"): "no server answers there",
	} {
		if socket == w.path("rest") {
			w.daemon.Process.Kill()
			w.daemon.Wait()
		}
		if _, err := xconnecttest.Run(t.Context(), xconnecttest.Options{Socket: socket}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", socket, err, want)
		}
	}
	if _, err := xconnecttest.Select("8"); err == nil {
		t.Error("there is no test 8")
	}
}

package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testns"
)

// program builds the command once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pv-xconnect")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "pv-xconnect"), nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if p, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(p))
	}
	os.Exit(code)
}

// ctrl answers as the runtime does: HTTP/1.0, head and body in one write.
type ctrl struct {
	path string
	mu   sync.Mutex
	body string
}

func newCtrl(t *testing.T) *ctrl {
	t.Helper()
	c := &ctrl{path: filepath.Join(t.TempDir(), "pv-ctrl"), body: "[]"}
	l, err := net.Listen("unix", c.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				io.WriteString(conn, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"+c.body)
			}()
		}
	}()
	return c
}

func (c *ctrl) set(body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.body = body
}

func entry(consumer, provider int, n string) string {
	return fmt.Sprintf(`{"consumer":"c","consumer_pid":%d,"provider":"p","provider_pid":%d,"name":"n%s","type":"unix","role":"any","interface":"unix","target":"/run/pv/%s.sock","socket":"/run/ex.sock"}`, consumer, provider, n, n)
}

// daemon is a running pv-xconnect.
type daemon struct {
	cmd *exec.Cmd
	log bytes.Buffer
}

func start(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{cmd: exec.Command(path, args...)}
	d.cmd.Env = env
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			d.cmd.Process.Kill()
			d.cmd.Wait()
		}
		if t.Failed() {
			t.Log(d.log.String())
		}
	})
	return d
}

// stop ends the daemon as the runtime does and returns its log.
func (d *daemon) stop(t *testing.T) string {
	t.Helper()
	d.cmd.Process.Signal(syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	return d.log.String()
}

func echoAt(t *testing.T, c *testns.Container, path string) {
	t.Helper()
	l, err := net.Listen("unix", c.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
}

// works tries one round trip until it succeeds and says how long that took.
func works(t *testing.T, path string) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		err := trip(path)
		if err == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%s does not work: %v", path, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func trip(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

func TestDaemon(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	echoAt(t, provider, "/run/ex.sock")
	server := newCtrl(t)
	dir := t.TempDir()
	status := filepath.Join(dir, "status")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "," + entry(0, provider.PID, "w") + "]")
	d := start(t, []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify")}, "--socket", server.path, "--interval", "1h", "--status", status)
	works(t, consumer.Path("/run/pv/a.sock"))

	buf := make([]byte, 64)
	told.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := told.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("the service manager heard %q, %v", buf[:n], err)
	}

	// SIGHUP fetches the graph at once.
	server.set("[" + entry(consumer.PID, provider.PID, "b") + "]")
	d.cmd.Process.Signal(syscall.SIGHUP)
	if took := works(t, consumer.Path("/run/pv/b.sock")); took > time.Second {
		t.Errorf("a new link took %v", took)
	} else {
		t.Logf("a new link took %v", took)
	}
	if _, err := os.Lstat(consumer.Path("/run/pv/a.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link that left the graph: %v", err)
	}

	var page struct {
		Links []struct {
			Name, State string
			Total       int `json:"total"`
		}
	}
	get := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", status) }}}
	resp, err := get.Get("http://x/status")
	if err != nil {
		t.Fatal(err)
	}
	err = json.NewDecoder(resp.Body).Decode(&page)
	resp.Body.Close()
	if err != nil || len(page.Links) != 1 || page.Links[0].Name != "nb" || page.Links[0].State != "up" || page.Links[0].Total == 0 {
		t.Errorf("status %+v, %v", page, err)
	}
	if fi, err := os.Stat(status); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the status socket: %v, %v", fi, err)
	}

	text := d.stop(t)
	if n, err := told.Read(buf); err != nil || string(buf[:n]) != "STOPPING=1" {
		t.Errorf("at the end the service manager heard %q, %v", buf[:n], err)
	}
	for _, want := range []string{"Connected to pv-ctrl", "Reconciling graph with 2 links", "Link established: c/na", "Adding link: c (pid=0, unix)", "Removing link: c/na"} {
		if !strings.Contains(text, want) {
			t.Errorf("no line with %q", want)
		}
	}
	for _, path := range []string{consumer.Path("/run/pv/b.sock"), status} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind: %s, %v", path, err)
		}
	}
}

// Stopping lets what is open go on for the drain time, and takes nobody new.
func TestStopWithOpenConnections(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	echoAt(t, provider, "/run/ex.sock")
	server := newCtrl(t)
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "]")
	d := start(t, nil, "--socket", server.path, "--drain", "700ms")
	at := consumer.Path("/run/pv/a.sock")
	works(t, at)
	c, err := net.Dial("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	exchange := func() error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	if err := exchange(); err != nil {
		t.Fatal(err)
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	began := time.Now()
	for trip(at) == nil {
		if time.Since(began) > 5*time.Second {
			t.Fatal("it goes on taking connections")
		}
	}
	if err := exchange(); err != nil {
		t.Errorf("the open connection: %v", err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if took := time.Since(began); took < 600*time.Millisecond || took > 5*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if err := exchange(); err == nil {
		t.Error("the connection outlives the daemon")
	}
}

// A daemon that was killed leaves its sockets; the next one takes their place.
func TestKilledAndStartedAgain(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	echoAt(t, provider, "/run/ex.sock")
	server := newCtrl(t)
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "]")
	first := start(t, nil, "--socket", server.path)
	works(t, consumer.Path("/run/pv/a.sock"))
	first.cmd.Process.Kill()
	first.cmd.Wait()
	if _, err := os.Lstat(consumer.Path("/run/pv/a.sock")); err != nil {
		t.Fatalf("the stale socket: %v", err)
	}
	start(t, nil, "--socket", server.path)
	works(t, consumer.Path("/run/pv/a.sock"))
}

// A container that cleans its /run gets its socket again.
func TestSocketTakenAway(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	echoAt(t, provider, "/run/ex.sock")
	server := newCtrl(t)
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "]")
	d := start(t, nil, "--socket", server.path, "--interval", "100ms")
	works(t, consumer.Path("/run/pv/a.sock"))
	if err := os.RemoveAll(consumer.Path("/run/pv")); err != nil {
		t.Fatal(err)
	}
	if took := works(t, consumer.Path("/run/pv/a.sock")); took > time.Second {
		t.Errorf("it came again after %v", took)
	}
	// Over a mount there is another one; what is below it goes.
	if out, err := consumer.Command("mount", "-t", "tmpfs", "none", "/run").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if took := works(t, consumer.Path("/run/pv/a.sock")); took > time.Second {
		t.Errorf("under a mount: it came again after %v", took)
	}
	if out, err := consumer.Command("umount", "-l", "/run").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	works(t, consumer.Path("/run/pv/a.sock"))
	if text := d.stop(t); strings.Count(text, "Link is made again") != 3 {
		t.Errorf("the log has not three of it:\n%s", text)
	}
}

// A consumer that ends before its answer comes, and a log that nobody reads any
// more, end nothing.
func TestBrokenPipes(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	l, err := net.Listen("unix", provider.Path("/run/ex.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan net.Conn, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 1)
				if _, err := io.ReadFull(c, b); err == nil && b[0] == 'l' {
					asked <- c // is answered late
					return
				}
				c.Write(b)
				c.Close()
			}()
		}
	}()
	server := newCtrl(t)
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "]")
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--socket", server.path, "--interval", "50ms", "--log-level", "debug")
	logs, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	at := consumer.Path("/run/pv/a.sock")
	works(t, at)
	logs.Close()
	for range 20 {
		c, err := net.Dial("unix", at)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("l"))
		late := <-asked
		c.Close()
		late.Write(make([]byte, 100))
		late.Close()
	}
	time.Sleep(200 * time.Millisecond) // some more lines for nobody
	works(t, at)
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
}

// The kernel's default limit of open files limits neither connections at once
// nor those one after the other, whoever ends them.
func TestDefaultLimitOfFiles(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	echoAt(t, provider, "/run/ex.sock")
	server := newCtrl(t)
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "]")
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -Sn 1024; exec "$@"`, "sh", path, "--socket", server.path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	at := consumer.Path("/run/pv/a.sock")
	works(t, at)
	for i := range 3000 {
		if err := trip(at); err != nil { // the consumer closes first
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	for i := range 800 {
		c, err := net.Dial("unix", at)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
}

// A runtime that comes after the daemon is found.
func TestRuntimeComesLater(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	echoAt(t, provider, "/run/ex.sock")
	server := newCtrl(t)
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "]")
	later := server.path + ".later"
	d := start(t, nil, "--socket", later, "--interval", "300ms")
	time.Sleep(500 * time.Millisecond)
	if err := os.Symlink(server.path, later); err != nil {
		t.Fatal(err)
	}
	if took := works(t, consumer.Path("/run/pv/a.sock")); took > time.Second {
		t.Errorf("the first link took %v", took)
	}
	if text := d.stop(t); !strings.Contains(text, "Failed to fetch graph") || !strings.Contains(text, "Connected to pv-ctrl") {
		t.Errorf("the log does not tell:\n%s", text)
	}
}

func TestOnceAndDryRun(t *testing.T) {
	provider, consumer := testns.Start(t), testns.Start(t)
	server := newCtrl(t)
	server.set("[" + entry(consumer.PID, provider.PID, "a") + "," + entry(0, provider.PID, "w") + `,{"name":"x"}]`)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "--socket", server.path, "--dry-run").Output()
	want := fmt.Sprintf("unix  c (pid %d) /run/pv/a.sock  ->  p (pid %d) /run/ex.sock  role any\n"+
		"unix  c (pid 0) /run/pv/w.sock  ->  p (pid %d) /run/ex.sock  role any  waits: c is not running\n"+
		"ignored  link 2: it has no consumer\n", consumer.PID, provider.PID, provider.PID)
	if err != nil || string(out) != want {
		t.Errorf("--dry-run: %v\n%s\nwant\n%s", err, out, want)
	}
	if left, _ := os.ReadDir(consumer.Path("/run/pv")); len(left) != 0 {
		t.Errorf("--dry-run made %v", left)
	}
	out, err = exec.Command(path, "--socket", server.path, "--once").Output()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 1 || !strings.Contains(string(e.Stderr), "1 links are not up") {
		t.Errorf("--once with a link that waits: %v", err)
	}
	if !strings.Contains(string(out), "c/na /run/pv/a.sock up") || !strings.Contains(string(out), "c/nw /run/pv/w.sock waiting a container is not running") {
		t.Errorf("--once: %s", out)
	}
	if left, _ := os.ReadDir(consumer.Path("/run/pv")); len(left) != 0 {
		t.Errorf("--once left %v", left)
	}
}

// One consumer takes all the connections it can get; the other link keeps
// answering, and the graph is still fetched.
func TestFewDescriptors(t *testing.T) {
	provider, greedy, other := testns.Start(t), testns.Start(t), testns.Start(t)
	echoAt(t, provider, "/run/ex.sock")
	server := newCtrl(t)
	both := entry(greedy.PID, provider.PID, "g") + "," + strings.Replace(entry(other.PID, provider.PID, "o"), `"c"`, `"o"`, 1)
	server.set("[" + both + "]")
	d := start(t, nil, "--socket", server.path, "--interval", "100ms", "--max-connections", "20")
	works(t, greedy.Path("/run/pv/g.sock"))
	if err := unix.Prlimit(d.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 128, Max: 128}, nil); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		c, err := net.Dial("unix", greedy.Path("/run/pv/g.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("x"))
	}
	if took := works(t, other.Path("/run/pv/o.sock")); took > time.Second {
		t.Errorf("the other link took %v", took)
	}
	server.set("[" + both + "," + entry(other.PID, provider.PID, "new") + "]")
	if took := works(t, other.Path("/run/pv/new.sock")); took > 2*time.Second {
		t.Errorf("a new link took %v", took)
	}
}

func TestUsage(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args     string
		code     int
		out, err string // what they have; "" for nothing at all
	}{
		{"-h", 0, "usage: pv-xconnect [options]", ""},
		{"--help", 0, "Exit codes:", ""},
		{"--version", 0, "pv-xconnect pvkit", ""},
		{"--interval 1ms", 2, "", "shorter than 10ms"},
		{"--interval soon", 2, "", `invalid value "soon"`},
		{"--log-format x", 2, "", "it is text or json"},
		{"--log-level loud", 2, "", "log-level"},
		{"--max-connections -1", 2, "", "negative"},
		{"--allow-device [", 2, "", "syntax error in pattern"},
		{"--once --dry-run", 2, "", "only one of them"},
		{"extra", 2, "", `unexpected argument "extra"`},
		{"--no-such", 2, "", "flag provided but not defined"},
		{"--dry-run --socket /no/such", 1, "", "dial /no/such: no such file or directory"},
		{"--once --socket /no/such", 1, "", "dial /no/such: no such file or directory"},
		{"--socket /no/such --status /dev/null/x", 1, "starting...", "/dev/null"},
	} {
		cmd := exec.Command(path, strings.Fields(c.args)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Run() // its code is looked at below
		has := func(got, want string) bool { return strings.Contains(got, want) && (want != "" || got == "") }
		if cmd.ProcessState.ExitCode() != c.code || !has(out.String(), c.out) || !has(errs.String(), c.err) {
			t.Errorf("%s: code %d\n%s\n%s", c.args, cmd.ProcessState.ExitCode(), &out, &errs)
		}
	}
}

// Every option that the usage names is there.
func TestUsageIsComplete(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command(path, "-h").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^  --([a-z-]+)`).FindAllStringSubmatch(string(text), -1) {
		// An option that takes no such value, or none, is known; another is not.
		out, err := exec.Command(path, "--"+m[1]+"=\x01", "extra").CombinedOutput()
		if err == nil || strings.Contains(string(out), "not defined") {
			t.Errorf("--%s: %s", m[1], out)
		}
	}
}

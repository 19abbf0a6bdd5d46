package ctrl_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// The test's program is also what its tests start: a client that hands its
// connection to a child and ends, and that child.
const (
	childMarker = "pv-ctrl-test-child"
	inContainer = "PV_CTRL_TEST_CONTAINER="
)

func TestMain(m *testing.M) {
	ctrltest.Child()
	if os.Args[0] == childMarker {
		child(os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// child connects to a socket ("connect"), makes a request if it is told to,
// and leaves the connection to another child, which makes one request for each
// line that it reads.
func child(args []string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
	}
	if args[0] == "connect" {
		c, err := net.Dial("unix", args[1])
		fail(err)
		if args[2] == "request" {
			fmt.Println(request(c))
		}
		f, err := c.(*net.UnixConn).File()
		fail(err)
		cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{childMarker, "hold"}, Stdin: os.Stdin, Stdout: os.Stdout, ExtraFiles: []*os.File{f}}
		fail(cmd.Start())
		return
	}
	c, err := net.FileConn(os.NewFile(3, "connection"))
	fail(err)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(request(c))
	}
}

// request is one for what needs the role, and the reply's status.
func request(c net.Conn) string {
	if _, err := io.WriteString(c, "GET /daemons HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err.Error()
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return err.Error()
	}
	line, _, _ := bytes.Cut(buf[:n], []byte("\r\n"))
	return string(line)
}

// byEnviron is an owner that asks the kernel about the pid, as the real one
// does: a process belongs to the container that its environment names.
func byEnviron(pid int) (string, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return "", false
	}
	for v := range bytes.SplitSeq(text, []byte{0}) {
		if name, ok := strings.CutPrefix(string(v), inContainer); ok {
			return name, true
		}
	}
	return pvctrl.HostName, true
}

// handedOver is a connection whose first owner, a container's process, is gone.
type handedOver struct {
	pid int
	in  *os.File
	out *bufio.Scanner
}

func (h *handedOver) line(t *testing.T) string {
	t.Helper()
	if !h.out.Scan() {
		t.Fatalf("the child has ended: %v", h.out.Err())
	}
	return h.out.Text()
}

func (h *handedOver) request(t *testing.T) string {
	t.Helper()
	fmt.Fprintln(h.in)
	return h.line(t)
}

// connect starts a process of the container. It connects, makes a request if
// first is set, and is waited for: its pid is free.
func connect(t *testing.T, socket string, first bool) *handedOver {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	mode := "silent"
	if first {
		mode = "request"
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{childMarker, "connect", socket, mode},
		Env: []string{inContainer + ctrltest.Norole}, Stdin: inR, Stdout: outW}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inW.Close(); outR.Close() })
	h := &handedOver{cmd.Process.Pid, inW, bufio.NewScanner(outR)}
	if first {
		if got := h.line(t); got != "HTTP/1.1 403 Forbidden" {
			t.Fatalf("the container's own request: %s", got)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	return h
}

// recycle gives the pid to a process of the host. false: somebody else's
// process was quicker.
func recycle(t *testing.T, pid int) bool {
	t.Helper()
	testreq.Root(t)
	const last = "/proc/sys/kernel/ns_last_pid"
	_, err := os.Stat(last)
	testreq.Feature(t, "ns_last_pid", err == nil, "the kernel has no checkpoint/restore")
	for range 100 {
		if err := os.WriteFile(last, []byte(strconv.Itoa(pid-1)), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			if name, ok := byEnviron(pid); !ok || name != pvctrl.HostName {
				t.Fatalf("pid %d is now %q, %t", pid, name, ok)
			}
			return true
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	return false
}

// A container's process connects, gives the connection to a child and ends; a
// process of the host gets its pid; the child makes a request.
func TestRecycledPID(t *testing.T) {
	t.Run("after the server has accepted", func(t *testing.T) {
		socket := serve(t, ctrl.Options{Backend: ctrltest.NewMachine(nil).Backend(), Owner: byEnviron})
		for range 20 {
			h := connect(t, socket, true)
			if got := h.request(t); got != "HTTP/1.1 403 Forbidden" {
				t.Errorf("while the pid is nobody's: %s", got)
			}
			if !recycle(t, h.pid) {
				continue
			}
			if got := h.request(t); got != "HTTP/1.1 403 Forbidden" {
				t.Errorf("while the pid is the host's: %s", got)
			}
			return
		}
		t.Fatal("no pid can be had again")
	})
	t.Run("before the server accepts", func(t *testing.T) {
		if !peerPidfd(t) {
			t.Skip("testreq: optional: before Linux 6.5 the kernel does not hold the process that connected")
		}
		for range 20 {
			path, begin := backlog(t)
			h := connect(t, path, false)
			if !recycle(t, h.pid) {
				continue
			}
			begin()
			if got := h.request(t); got != "HTTP/1.1 500 Internal Server Error" {
				t.Errorf("nobody's request: %s", got)
			}
			return
		}
		t.Fatal("no pid can be had again")
	})
	t.Run("before the server accepts, not taken again", func(t *testing.T) {
		path, begin := backlog(t)
		h := connect(t, path, false)
		begin()
		if got := h.request(t); got != "HTTP/1.1 500 Internal Server Error" {
			t.Errorf("nobody's request: %s", got)
		}
	})
}

// peerPidfd says whether the kernel has SO_PEERPIDFD.
func peerPidfd(t *testing.T) bool {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	fd, err := unix.GetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err == nil {
		unix.Close(fd)
	}
	return !errors.Is(err, unix.ENOPROTOOPT)
}

// backlog gives a socket where connections wait until begin is called.
func backlog(t *testing.T) (path string, begin func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pv-ctrl")
	l, err := ctrl.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s, err := ctrl.New(ctrl.Options{Backend: ctrltest.NewMachine(nil).Backend(), Owner: byEnviron})
	if err != nil {
		t.Fatal(err)
	}
	return path, func() {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, l) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// byCommand is an owner for whom a process that has ended, and was not waited
// for, looks like one of the host: it has no arguments any more, as it has no
// cgroup on a v1 hierarchy.
func byCommand(pid int) (string, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && bytes.HasPrefix(text, []byte(childMarker)) {
		return ctrltest.Norole, true
	}
	return pvctrl.HostName, err == nil
}

func TestEndedPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pv-ctrl")
	l, err := ctrl.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer inW.Close()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{childMarker, "connect", path, "silent"}, Env: []string{inContainer + ctrltest.Norole}, Stdin: inR, Stdout: outW}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the child does not end: %v", err)
		}
		if strings.Contains(string(text), ") Z ") {
			break
		}
	}
	if name, ok := byCommand(cmd.Process.Pid); !ok || name != pvctrl.HostName {
		t.Fatalf("an ended process is %q, %t", name, ok)
	}
	s, err := ctrl.New(ctrl.Options{Backend: ctrltest.NewMachine(nil).Backend(), Owner: byCommand})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	defer func() { cancel(); <-ended }()
	h := &handedOver{cmd.Process.Pid, inW, bufio.NewScanner(outR)}
	if got := h.request(t); got != "HTTP/1.1 500 Internal Server Error" {
		t.Errorf("the request of one that ended: %s", got)
	}
}

// The identity is asked for with each request, and must be what it was.
func TestIdentity(t *testing.T) {
	var owner atomic.Pointer[func(int) (string, bool)]
	be := func(name string, ok bool) {
		f := func(int) (string, bool) { return name, ok }
		owner.Store(&f)
	}
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: func(pid int) (string, bool) { return (*owner.Load())(pid) }})
	ask := func(c net.Conn, target string) string {
		io.WriteString(c, "GET "+target+" HTTP/1.1\r\n\r\n")
		buf := make([]byte, 8192)
		n, err := c.Read(buf)
		if err != nil {
			return err.Error()
		}
		head, body, _ := bytes.Cut(buf[:n], []byte("\r\n\r\n"))
		return string(head[len("HTTP/1.1 "):len("HTTP/1.1 ")+3]) + " " + string(body)
	}
	const (
		fixed = `500 {"Error":"Internal Error"}`
		open  = `500 {"Error":"Internal error, unknown caller"}`
	)
	for _, c := range []struct {
		name   string
		ok     bool
		fixed  string // of a fixed path
		inOpen string // of one with a name
	}{
		{pvctrl.HostName, true, "200 {}", `404 {"Error":"Resource does not exist"}`},
		{ctrltest.Client, true, "200 {}", `404 {"Error":"Resource does not exist"}`},
		{ctrltest.Client + "-12", true, "200 {}", `404 {"Error":"Resource does not exist"}`},
		{ctrltest.Norole, true, `403 {"Error":"Request not sent from a mgmt platform"}`, `403 {"Error":"Request not sent from mgmt platform"}`},
		{ctrltest.Norole + "-3", true, `403 {"Error":"Request not sent from a mgmt platform"}`, `403 {"Error":"Request not sent from mgmt platform"}`},
		{ctrltest.Client + "-", true, fixed, open},
		{ctrltest.Client + "-1x", true, fixed, open},
		{ctrltest.Client + "-1-2", true, fixed, open},
		{"-1", true, fixed, open},
		{"_pv", true, fixed, open}, // upstream compares its start with _pv_
		{"_", true, fixed, open},
		{"", true, fixed, open},
		{"unheard-of", true, fixed, open},
		{pvctrl.HostName, false, fixed, open},
	} {
		be(c.name, c.ok)
		conn := dial(t, socket)
		if got := ask(conn, "/drivers"); got != c.fixed {
			t.Errorf("%q, %t: %s, want %s", c.name, c.ok, got, c.fixed)
		}
		if got := ask(conn, "/steps/9"); got != c.inOpen {
			t.Errorf("%q, %t, a path with a name: %s, want %s", c.name, c.ok, got, c.inOpen)
		}
		if got := ask(conn, "/nowhere"); got != `400 {"Error":"unknown endpoint: /nowhere"}` {
			t.Errorf("%q, %t, an unknown path: %s", c.name, c.ok, got)
		}
		// It becomes somebody else, whoever that is.
		be(pvctrl.HostName, c.name != pvctrl.HostName)
		if got := ask(conn, "/drivers"); got != fixed {
			t.Errorf("%q became another one: %s", c.name, got)
		}
	}
}

// A process is of the container in whose cgroup it is.
func TestInsideCgroup(t *testing.T) {
	testreq.Root(t)
	mount, err := cgroup2()
	testreq.Feature(t, "cgroup2", err == nil, "there is no cgroup2 file system to write to")
	cgroup := filepath.Join(mount, fmt.Sprintf("pv-ctrl-test-%d", os.Getpid()))
	inside := filepath.Join(cgroup, "lxc", ctrltest.Norole)
	if err := os.MkdirAll(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for dir := inside; dir != mount; dir = filepath.Dir(dir) {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	})
	socket := serve(t, ctrl.Options{Backend: ctrltest.NewMachine(nil).Backend(), Owner: byCgroup})
	c, err := ctrltest.DialInside(inside, socket)
	if err != nil {
		t.Fatal(err)
	}
	if got := request(c); got != "HTTP/1.1 403 Forbidden" {
		t.Errorf("from inside: %s", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := request(dial(t, socket)); got != "HTTP/1.1 200 OK" {
		t.Errorf("from outside: %s", got)
	}
}

// cgroup2 is where the unified hierarchy is mounted and can be written to.
func cgroup2() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		try := filepath.Join(dir, fmt.Sprintf("pv-ctrl-try-%d", os.Getpid()))
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil && os.Mkdir(try, 0o755) == nil {
			return dir, os.Remove(try)
		}
	}
	return "", os.ErrNotExist
}

// byCgroup is an owner that reads the unified hierarchy.
func byCgroup(pid int) (string, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			if _, name, ok := strings.Cut(path, "/lxc/"); ok {
				return name, true
			}
		}
	}
	return pvctrl.HostName, true
}

// The host's processes are told apart by what the kernel says about them.
func TestHostProcess(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	c := pvctrl.NewClient(serve(t, ctrl.Options{Backend: m.Backend(), Owner: byEnviron}))
	if _, err := c.Daemons(t.Context()); err != nil {
		t.Error(err)
	}
}

package logs_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/syslog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

// web says that every living process is in the container web.
var web = logs.Identity{Owner: func(int) (string, bool) { return "web", true }}

var host = logs.Identity{Owner: func(int) (string, bool) { return "", true }}

// running runs something until the test ends.
func running(t testing.TB, run func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func serveLog(t testing.TB, s *logs.Server, id logs.Identity) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	l, err := logs.Listen(file)
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error { return s.ServeLog(ctx, l, id) })
	return file
}

func serveDatagrams(t testing.TB, s *logs.Server, id logs.Identity) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	c, err := logs.ListenDatagrams(file)
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error { return s.ServeDatagrams(ctx, c, id) })
	return file
}

// send connects, sends in one write, and closes, as pantavisor's tools do.
func send(t testing.TB, network, file, text string) {
	t.Helper()
	c, err := net.Dial(network, file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if network == "unix" {
		// Wait until the server has taken it, so that the order is known.
		_ = c.(*net.UnixConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Read(make([]byte, 1))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func binaryMessage(level int, platform, source, text string) string {
	body := fmt.Sprintf("%d\x00%s\x00%s\x00%s", level, platform, source, text)
	b := binary.NativeEndian.AppendUint32(nil, 0)
	return string(binary.NativeEndian.AppendUint32(b, uint32(len(body)))) + body
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestContainerCannotClaimAPlatform(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveLog(t, s, web)
	send(t, "unix", file, binaryMessage(3, "pantavisor", "init", "forged\n"))
	send(t, "unix", file, binaryMessage(3, "other", "../../x", "forged\n"))
	send(t, "unix", file, `{"version":"0","platform":"other","level":"info","src":"app","message":"json"}`)
	send(t, "unix", file, "<13>May 15 16:48:18 pantavisor app[1]: syslog")
	send(t, "unix", file, "level=INFO src=app message=kv")
	flush(t, s)
	for name, want := range map[string]string{
		"0/web/init": "forged\n", "0/web/x": "forged\n", "0/web/app": "json\nsyslog\nkv\n",
		"0/pantavisor/pantavisor.log": "", "0/other/x": "", "0/x": "",
	} {
		if got := read(t, dir, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestHostSenders(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveLog(t, s, host)
	send(t, "unix", file, binaryMessage(2, "pantavisor", "pvcontrol", "from the host"))
	send(t, "unix", file, binaryMessage(3, "web", "app", "for a container\n"))
	send(t, "unix", file, "<14>tool: syslog")
	flush(t, s)
	want := "[pantavisor] 7 WARN\t -- [pvcontrol]: from the host\n[pantavisor] 7 INFO\t -- [tool]: syslog\n"
	if got := read(t, dir, "0/pantavisor/pantavisor.log"); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := read(t, dir, "0/web/app"); got != "for a container\n" {
		t.Errorf("%q", got)
	}
}

// TestSenderOfWhomNothingCanBeTold is not the host, and claims nothing.
func TestSenderOfWhomNothingCanBeTold(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveLog(t, s, logs.Identity{Owner: func(int) (string, bool) { return "", false }})
	send(t, "unix", file, binaryMessage(3, "pantavisor", "init", "forged\n"))
	flush(t, s)
	if got := read(t, dir, "0/unknown-platform/init"); got != "forged\n" {
		t.Errorf("%q", got)
	}
	if got := read(t, dir, "0/pantavisor/pantavisor.log"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestBadMessagesAreNotedOnce(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: noon}
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{Clock: c.now})
	file := serveLog(t, s, web)
	for range 50 {
		send(t, "unix", file, "nonsense")
	}
	send(t, "unix", file, "\x00\x01\x00\x00\x02\x00\x00\x00{}") // a command
	c.add(2 * time.Second)
	send(t, "unix", file, "nonsense")
	flush(t, s)
	got := read(t, dir, "0/pantavisor/pantavisor.log")
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, `of "web" dropped (1): `) || !strings.Contains(got, `of "web" dropped (51): `) {
		t.Errorf("%s", got)
	}
}

func TestKeptConnection(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveLog(t, s, web)
	w, err := syslog.Dial("unix", file, syslog.LOG_INFO|syslog.LOG_LOCAL0, "goapp")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 100 {
		if err := w.Info(fmt.Sprintf("line %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "100 lines", func() bool {
		return strings.Count(read(t, dir, "0/web/goapp"), "\n") == 100
	})
	if got := read(t, dir, "0/web/goapp"); !strings.HasPrefix(got, "line 0\nline 1\n") {
		t.Errorf("%.60q", got)
	}
}

func TestSlowSenders(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveLog(t, s, web)
	c, err := net.Dial("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	msg := binaryMessage(3, "", "app", "in pieces\n")
	for i := range msg { // the pauses are shorter than the server's patience
		if _, err := c.Write([]byte{msg[i]}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte("<14>app: without an end")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both", func() bool { return read(t, dir, "0/web/app") == "in pieces\nwithout an end\n" })
}

func TestTooManyConnections(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveLog(t, s, web)
	for range 40 {
		c, err := net.Dial("unix", file)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "a note", func() bool {
		return strings.Contains(read(t, dir, "0/pantavisor/pantavisor.log"), "too many connections at once")
	})
}

func TestManySourcesShareAFile(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveDatagrams(t, s, web)
	for i := range 200 {
		send(t, "unixgram", file, fmt.Sprintf("<14>app%d: x", i))
	}
	eventually(t, "all", func() bool { return strings.Count(read(t, dir, "0/web/other"), "\n") == 200-64 })
	files, err := os.ReadDir(filepath.Join(dir, "0/web"))
	if err != nil || len(files) != 65 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func TestDatagrams(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveDatagrams(t, s, web)
	w, err := syslog.Dial("unixgram", file, syslog.LOG_ERR|syslog.LOG_LOCAL0, "goapp")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Err("over a datagram"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the line", func() bool { return read(t, dir, "0/web/goapp") == "over a datagram\n" })
}

// TestSenderThatEnded has the difference between a shared socket and one that
// only a container has: logger(1) ends before anybody can look at it.
func TestSenderThatEnded(t *testing.T) {
	if file := os.Getenv("LOGS_TEST_SEND"); file != "" {
		send(t, "unixgram", file, "<14>short: lived")
		return
	}
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	for _, c := range []struct {
		id   logs.Identity
		want string
	}{
		{host, "unknown-platform"},
		{web, "unknown-platform"},
		{logs.Identity{Platform: "db"}, "db"},
	} {
		file := filepath.Join(t.TempDir(), "log")
		conn, err := logs.ListenDatagrams(file)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestSenderThatEnded$")
		cmd.Env = append(os.Environ(), "LOGS_TEST_SEND="+file)
		// The options of the socket must stand before the message comes.
		ctx, cancel := context.WithCancel(context.Background())
		hold := make(chan struct{})
		id := c.id
		if owner := id.Owner; owner != nil {
			id.Owner = func(pid int) (string, bool) { <-hold; return owner(pid) }
		}
		done := make(chan error, 1)
		go func() { done <- s.ServeDatagrams(ctx, conn, id) }()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		close(hold)
		eventually(t, c.want, func() bool { return read(t, dir, "0/"+c.want+"/short") != "" })
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(filepath.Join(dir, "0", c.want))
	}
}

func serveFD(t testing.TB, s *logs.Server, id logs.Identity) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fd")
	l, err := logs.Listen(file)
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error { return s.ServeFD(ctx, l, id) })
	return file
}

// pass sends a request of pv-fd-log.
func pass(t testing.TB, file, platform, source string, level, action int, fds ...int) {
	t.Helper()
	b := make([]byte, 100, 108)
	copy(b, platform)
	copy(b[50:], source)
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(action))
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: file, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := c.WriteMsgUnix(b, oob, nil); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Read(make([]byte, 1)) // until it is taken
}

func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}

func TestPassedDescriptors(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := serveFD(t, s, web)
	say := func(fd int, text string) {
		t.Helper()
		if _, err := unix.Write(fd, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}

	r, w := pipe(t)
	pass(t, file, "pantavisor", "pipe", 3, 1, r)
	if flags, _ := unix.FcntlInt(uintptr(r), unix.F_GETFL, 0); flags&unix.O_NONBLOCK != 0 {
		t.Error("the container's descriptor no longer blocks")
	}
	unix.Close(r)
	say(w, "through a pipe\n")

	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pass(t, file, "", "sock", 3, 1, pair[0])
	unix.Close(pair[0])
	say(pair[1], "through a socket\n")

	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("in a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(plain)
	if err != nil {
		t.Fatal(err)
	}
	pass(t, file, "", "file", 3, 1, int(f.Fd()))
	f.Close()

	for name, want := range map[string]string{"pipe": "through a pipe\n", "sock": "through a socket\n", "file": "in a file\n"} {
		eventually(t, name, func() bool { return read(t, dir, "0/web", name) == want })
	}

	// A second descriptor of the same name replaces the first, and action 0
	// ends it: then the pipe has no reader.
	r2, w2 := pipe(t)
	pass(t, file, "", "pipe", 3, 1, r2)
	unix.Close(r2)
	eventually(t, "the first is closed", func() bool { _, err := unix.Write(w, []byte("x")); return err == unix.EPIPE })
	say(w2, "second\n")
	eventually(t, "second", func() bool { return strings.HasSuffix(read(t, dir, "0/web/pipe"), "second\n") })
	pass(t, file, "", "pipe", 0, 0)
	eventually(t, "the second is closed", func() bool { _, err := unix.Write(w2, []byte("x")); return err == unix.EPIPE })
	for _, fd := range []int{w, w2, pair[1]} {
		unix.Close(fd)
	}
}

func TestRefusedDescriptors(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: noon}
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{Clock: c.now})
	file := serveFD(t, s, web)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(name string, flags int) int {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	r, w := pipe(t)
	defer unix.Close(r)
	defer unix.Close(w)
	for _, bad := range []struct {
		fds  []int
		text string
	}{
		{[]int{open(secret, unix.O_PATH)}, "cannot be read"},
		{[]int{open(secret, unix.O_WRONLY)}, "cannot be read"},
		{[]int{w}, "cannot be read"},
		{[]int{open("/dev/zero", unix.O_RDONLY)}, "no terminal"},
		{[]int{open("/tmp", unix.O_RDONLY)}, "no pipe, terminal, socket or file"},
		{[]int{r, r}, "more than one descriptor"},
		{make([]int, 100), "more than one descriptor"},
		{nil, "without a descriptor"},
	} {
		c.add(2 * time.Second)
		pass(t, file, "", "app", 3, 1, bad.fds...)
		eventually(t, bad.text, func() bool {
			return strings.Contains(read(t, dir, "0/pantavisor/pantavisor.log"), bad.text)
		})
		_ = os.Truncate(filepath.Join(dir, "0/pantavisor/pantavisor.log"), 0)
	}
	if got := read(t, dir, "0/web/app"); got != "" {
		t.Errorf("%q", got)
	}
	// 50 of one platform are enough, and nothing leaks.
	c.add(2 * time.Second)
	var writers []int
	for i := range 60 {
		r, w := pipe(t)
		pass(t, file, "", fmt.Sprintf("app%d", i), 3, 1, r)
		unix.Close(r)
		writers = append(writers, w)
	}
	open50 := 0
	for _, w := range writers {
		if _, err := unix.Write(w, []byte("x\n")); err == nil {
			open50++
		}
		unix.Close(w)
	}
	if open50 != 50 {
		t.Errorf("%d descriptors are read", open50)
	}
}

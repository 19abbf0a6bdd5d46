package unix_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/xconnect"
	plugin "github.com/pvkit/pvkit/runtime/xconnect/plugins/unix"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

func upper(c *net.UnixConn) {
	b, _ := io.ReadAll(c)
	c.Write(bytes.ToUpper(b))
}

func TestStream(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", upper)
	p.Start()
	if got := p.Ask("hello"); got != "HELLO" {
		t.Errorf("answer %q", got)
	}
	fi, err := os.Lstat(p.Consumer.Path(p.Link.Target))
	if err != nil || fi.Mode() != fs.ModeSocket|0o666 {
		t.Errorf("the socket is %v, %v", fi.Mode(), err)
	}
	p.Mesh.Apply(nil)
	p.Mesh.Stop()
	if _, err := os.Lstat(p.Consumer.Path(p.Link.Target)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the link's end: %v", err)
	}
}

// The socket is there before the provider is, and works once it is.
func TestProviderComesLater(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Start()
	if b, err := io.ReadAll(p.Dial("unix")); err != nil || len(b) != 0 {
		t.Errorf("answer of nobody: %q, %v", b, err)
	}
	p.Serve("unix", upper)
	if got := p.Ask("now"); got != "NOW" {
		t.Errorf("answer %q", got)
	}
}

func TestPackets(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unixpacket", func(c *net.UnixConn) {
		buf := make([]byte, 1<<20)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			c.Write(buf[:n])
		}
	})
	p.Start()
	c := p.Dial("unixpacket")
	for _, size := range []int{1, 100_000, 3} {
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<20)
		if n, err := c.Read(buf); err != nil || n != size {
			t.Errorf("a packet of %d came back as %d, %v", size, n, err)
		}
	}
}

// A packet provider that starts after the link: the consumer's socket becomes
// one too.
func TestPacketsLater(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Start()
	p.Serve("unixpacket", func(c *net.UnixConn) { io.Copy(c, c) })
	addr := &net.UnixAddr{Name: p.Consumer.Path(p.Link.Target), Net: "unixpacket"}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.DialUnix("unixpacket", nil, addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestDatagrams(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	in, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p.Provider.Path(p.Link.Socket), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	raw, err := in.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	p.Start()
	c := p.Dial("unixgram")
	in.SetDeadline(time.Now().Add(10 * time.Second))
	for _, text := range []string{"<13>first", "", "second"} {
		cred := unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: 77, Gid: 78})
		raw, err := c.SyscallConn() // net does not write ancillary data on a connected datagram socket
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { err = unix.Sendmsg(int(fd), []byte(text), cred, nil, 0) })
		if err != nil {
			t.Fatal(err)
		}
		buf, oob := make([]byte, 100), make([]byte, 100)
		n, oobn, _, _, err := in.ReadMsgUnix(buf, oob)
		if err != nil || string(buf[:n]) != text {
			t.Fatalf("%q arrived as %q, %v", text, buf[:n], err)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			t.Fatal(msgs, err)
		}
		if u, err := unix.ParseUnixCredentials(&msgs[0]); err != nil || u.Uid != 77 || u.Gid != 78 {
			t.Errorf("credentials %+v, %v", u, err)
		}
	}
}

// What the graph drops is cut at once.
func TestRevoked(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", func(c *net.UnixConn) { io.Copy(c, c) })
	p.Start()
	c := p.Dial("unix")
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	p.Mesh.Apply(nil)
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 || time.Since(start) > 900*time.Millisecond {
		t.Errorf("after %v: %q, %v", time.Since(start), b, err)
	}
}

// When the daemon stops, what is under way may finish.
func TestDrain(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	asked, answer := make(chan bool), make(chan bool)
	p.Serve("unix", func(c *net.UnixConn) {
		io.ReadFull(c, make([]byte, 1))
		asked <- true
		<-answer
		c.Write([]byte("late"))
	})
	p.Start()
	c := p.Dial("unix")
	c.Write([]byte("x"))
	<-asked
	stopped := make(chan bool)
	go func() { p.Mesh.Stop(); close(stopped) }()
	for p.Mesh.Status()[0].Active == 0 {
		time.Sleep(time.Millisecond)
	}
	close(answer)
	if b, err := io.ReadAll(c); err != nil || string(b) != "late" {
		t.Errorf("%q, %v", b, err)
	}
	c.Close()
	<-stopped
}

// A provider container that starts again is another process: the link follows
// the graph, the consumer's socket stays where it is.
func TestRestartedProvider(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", upper)
	p.Start()
	second := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	second.Serve("unix", func(c *net.UnixConn) { upper(c); c.Write([]byte("2")) })
	p.Provider.Stop()
	p.WaitFor(xconnect.Waiting)
	p.Link.Provider.PID = second.Provider.PID
	start := time.Now()
	p.Start()
	if got := p.Ask("hello"); got != "HELLO2" {
		t.Errorf("answer %q", got)
	}
	if took := time.Since(start); took > 200*time.Millisecond {
		t.Errorf("the link worked again after %v", took)
	}
}

// Traps of a hostile provider: the consumer gets nothing, the host is not asked.
func TestHostileProvider(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	host, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	p.Start()
	at := p.Provider.Path(p.Link.Socket)
	for name, trap := range map[string]func() error{
		"a link to a host socket": func() error { return os.Symlink(host.Addr().String(), at) },
		"a FIFO":                  func() error { return unix.Mkfifo(at, 0o666) },
		"a magic link":            func() error { return os.Symlink("/proc/1/root"+host.Addr().String(), at) },
		"a device":                func() error { return unix.Mknod(at, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
	} {
		if err := trap(); err != nil {
			t.Fatal(err)
		}
		c := p.Dial("unix") // the plugin may cut before the question is sent
		if b, _ := io.ReadAll(c); len(b) != 0 {
			t.Errorf("%s: got %q", name, b)
		}
		os.Remove(at)
	}
	host.(*net.UnixListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := host.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("somebody reached the host: %v", err)
	}
}

func TestSocat(t *testing.T) {
	testreq.Tool(t, "socat")
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	server := p.Provider.Command("socat", "UNIX-LISTEN:"+p.Link.Socket+",fork", "EXEC:'tr a-z A-Z'")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Lstat(p.Provider.Path(p.Link.Socket)); err == nil {
			break
		}
	}
	p.Start()
	client := p.Consumer.Command("socat", "-t", "5", "-", "UNIX-CONNECT:"+p.Link.Target)
	client.Stdin = strings.NewReader("through two namespaces\n")
	out, err := client.Output()
	if err != nil || string(out) != "THROUGH TWO NAMESPACES\n" {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Log(string(e.Stderr))
		}
		t.Errorf("%q, %v", out, err)
	}
}

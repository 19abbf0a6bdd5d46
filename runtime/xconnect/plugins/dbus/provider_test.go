package dbus_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/dbus"
)

// fakeBus accepts one connection in the provider and does with it what the test
// likes.
func fakeBus(t testing.TB, provider *testns.Container, f func(c *net.UnixConn, r *bufio.Reader)) {
	t.Helper()
	in, err := nsinject.New(nsinject.Options{}).Enter(t.Context(), xconnect.Peer{Name: "provider", PID: provider.PID})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := in.Listen(t.Context(), "unix", busPath, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f(c.(*net.UnixConn), bufio.NewReader(c))
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done; in.Close() })
}

// The bus meets the role by the kernel's word and by SASL's, and root's group
// does not come with it.
func TestCredentialOfTheConnection(t *testing.T) {
	for _, c := range []struct {
		role, passwd string
		uid, gid     uint32
		line         string
	}{
		{"operator", "operator:x:1001:2001::/:/bin/sh\n", 1001, 2001, "AUTH EXTERNAL 31303031"},
		{"root", "root:x:0:0::/:/bin/sh\n", 0, 0, "AUTH EXTERNAL 30"},
		{"42", "", 42, 65534, "AUTH EXTERNAL 3432"},
		{"any", "", 65534, 65534, "AUTH EXTERNAL 3635353334"},
	} {
		provider := testns.Start(t)
		put(t, provider, "/etc/passwd", c.passwd)
		got := make(chan unixsock.Peer, 1)
		fakeBus(t, provider, func(conn *net.UnixConn, r *bufio.Reader) {
			cred, err := unixsock.PeerOf(conn)
			if err != nil {
				t.Error(err)
			}
			got <- cred
			if l, err := r.ReadString('\n'); err != nil || l != "\x00"+c.line+"\r\n" {
				t.Errorf("role %s: %q, %v", c.role, l, err)
			}
			io.WriteString(conn, "REJECTED EXTERNAL\r\n")
		})
		consumer, _ := link(t, provider, xconnect.Link{Role: c.role})
		conn := raw(t, consumer)
		io.WriteString(conn, "\x00AUTH EXTERNAL 30\r\n")
		if l, err := bufio.NewReader(conn).ReadString('\n'); err != nil || l != "REJECTED EXTERNAL\r\n" {
			t.Errorf("role %s: the client hears %q, %v", c.role, l, err)
		}
		if cred := <-got; cred.UID != c.uid || cred.GID != c.gid {
			t.Errorf("role %s: credential %+v, want %d:%d", c.role, cred, c.uid, c.gid)
		}
	}
}

// In a provider with a user namespace the role is a user of that namespace.
func TestUserNamespace(t *testing.T) {
	provider := testns.StartWith(t, func(a *syscall.SysProcAttr) {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
		a.GidMappings = a.UidMappings
		a.Credential = &syscall.Credential{NoSetGroups: true}
	})
	got := make(chan unixsock.Peer, 1)
	fakeBus(t, provider, func(conn *net.UnixConn, r *bufio.Reader) {
		cred, err := unixsock.PeerOf(conn)
		if err != nil {
			t.Error(err)
		}
		got <- cred
		if l, err := r.ReadString('\n'); err != nil || l != "\x00AUTH EXTERNAL 31303031\r\n" {
			t.Errorf("%q, %v", l, err)
		}
	})
	consumer, _ := link(t, provider, xconnect.Link{Role: "1001"})
	io.WriteString(raw(t, consumer), "\x00AUTH EXTERNAL 30\r\n")
	select {
	case cred := <-got:
		if cred.UID != 101001 || cred.GID != 165534 {
			t.Errorf("credential %+v", cred)
		}
	case <-time.After(10 * time.Second):
		t.Error("the bus is not reached")
	}
}

// A provider's users are read in the provider, whatever its file is.
func TestPasswdTraps(t *testing.T) {
	for name, trap := range map[string]func(c *testns.Container) error{
		"FIFO":             func(c *testns.Container) error { return unix.Mkfifo(c.Path("/etc/passwd"), 0o644) },
		"to the host":      func(c *testns.Container) error { return os.Symlink("/proc/1/root/etc/passwd", c.Path("/etc/passwd")) },
		"climbing":         func(c *testns.Container) error { return os.Symlink("../../../../../etc/shadow", c.Path("/etc/passwd")) },
		"directory":        func(c *testns.Container) error { return os.Mkdir(c.Path("/etc/passwd"), 0o755) },
		"endless":          func(c *testns.Container) error { return os.Truncate(mustCreate(t, c, "/etc/passwd"), 1<<40) },
		"without an end":   func(c *testns.Container) error { return os.WriteFile(c.Path("/etc/passwd"), []byte("daemon"), 0o644) },
		"not there at all": func(c *testns.Container) error { return nil },
	} {
		provider := testns.Start(t)
		if err := trap(provider); err != nil {
			t.Fatal(err)
		}
		got := make(chan unixsock.Peer, 1)
		fakeBus(t, provider, func(conn *net.UnixConn, _ *bufio.Reader) {
			cred, err := unixsock.PeerOf(conn)
			if err != nil {
				t.Error(err)
			}
			got <- cred
		})
		consumer, _ := link(t, provider, xconnect.Link{Role: "daemon"}) // the host has this user
		conn := raw(t, consumer)
		io.WriteString(conn, "\x00AUTH EXTERNAL 30\r\n")
		select {
		case cred := <-got:
			if cred.UID != 65534 {
				t.Errorf("%s: user %d", name, cred.UID)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: it waits", name)
		}
	}
}

func mustCreate(t testing.TB, c *testns.Container, path string) string {
	put(t, c, path, "")
	return c.Path(path)
}

// A bus that stops reading stops its client, costs nothing that grows, and
// does not hold up the link's end.
func TestStuckBus(t *testing.T) {
	provider := testns.Start(t)
	stuck := make(chan struct{})
	fakeBus(t, provider, func(conn *net.UnixConn, r *bufio.Reader) {
		r.ReadString('\n')
		io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
		r.ReadString('\n')
		io.WriteString(conn, "AGREE_UNIX_FD\r\n")
		<-stuck
	})
	t.Cleanup(func() { close(stuck) })
	consumer, stats := link(t, provider, xconnect.Link{Role: "any"})
	c := authenticated(t, consumer)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	msg, sent := hello(1), 0
	for {
		n, err := c.Write(msg)
		sent += n
		if err != nil {
			break
		}
	}
	if sent > 4<<20 {
		t.Errorf("%d bytes went nowhere", sent)
	}
	if n := stats.Read().Active; n != 1 {
		t.Errorf("%d connections", n)
	}
} // link's clean-up demands that Run returns

// A provider that ends while clients introduce themselves takes them with it,
// and so does the link's end (link's clean-up demands that Run returns).
func TestProviderEndsMeanwhile(t *testing.T) {
	provider := startDaemon(t)
	consumer, _ := link(t, provider, xconnect.Link{Role: "any"})
	var clients []net.Conn
	for _, said := range []string{"", "\x00", "\x00AUTH EXT", "\x00AUTH EXTERNAL\r\n", "\x00AUTH EXTERNAL 30\r\n"} {
		c := raw(t, consumer)
		io.WriteString(c, said)
		clients = append(clients, c)
	}
	time.Sleep(50 * time.Millisecond)
	provider.Stop()
	for i, c := range clients {
		if _, err := io.WriteString(c, "\x00AUTH EXTERNAL 30\r\nBEGIN\r\n"); err != nil {
			continue // it has ended already
		}
		if b := ends(t, "a client", c); i < 3 && strings.Contains(string(b), "OK ") {
			t.Errorf("client %d hears %q of a bus that has ended", i, b)
		}
	}
}

// A bus that does not answer is an error that the link shows.
func TestSilentBus(t *testing.T) {
	provider := testns.Start(t)
	fakeBus(t, provider, func(conn *net.UnixConn, _ *bufio.Reader) { io.Copy(io.Discard, conn) })
	consumer, stats := linkWith(t, dbus.Plugin{Loops: loops(t), HandshakeTime: 100 * time.Millisecond}, provider, xconnect.Link{Role: "any"})
	c := raw(t, consumer)
	io.WriteString(c, "\x00AUTH EXTERNAL 30\r\n")
	if b := ends(t, "silent bus", c); len(b) != 0 {
		t.Errorf("the client hears %q", b)
	}
	for end := time.Now().Add(5 * time.Second); stats.Read().Errors == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the error is not counted")
		}
	}
	if text := stats.Read().LastError; !strings.Contains(text, "wait for the bus") {
		t.Errorf("the error is %q", text)
	}
}

func TestInterfacesRefused(t *testing.T) {
	for _, iface := range []string{"org", "org..Name", ":1.5", "org.test.Name;x", "org.freedesktop.DBus", strings.Repeat("a.", 200) + "a"} {
		l := xconnect.Link{Type: "dbus", Interface: iface, Target: "/x", Socket: "/y"}
		err := dbus.Plugin{}.Run(context.Background(), l, xconnect.Env{Log: slog.New(slog.DiscardHandler), Stats: &xconnect.Stats{}})
		if !errors.Is(err, xconnect.ErrPermanent) {
			t.Errorf("interface %q: %v", iface, err)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	provider := startDaemon(b)
	startService(b, provider, "org.test.Service")
	open, _ := link(b, provider, xconnect.Link{Role: "any"})
	filtered, _ := link(b, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
	for _, c := range []struct {
		name string
		at   *testns.Container
	}{{"direct", provider}, {"link", open}, {"filtered", filtered}} {
		b.Run(c.name, func(b *testing.B) {
			conn := connect(b, c.at)
			obj := conn.Object("org.test.Service", godbus.ObjectPath("/obj"))
			for b.Loop() {
				if err := obj.Call("org.test.Iface.Echo", 0, "hello").Err; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIdle reports what a connection costs that nobody uses.
func BenchmarkIdle(b *testing.B) {
	provider := startDaemon(b)
	consumer, _ := link(b, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
	const n = 60
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var conns []net.Conn
		for range n {
			c := authenticated(b, consumer)
			c.Write(hello(1))
			conns = append(conns, c)
		}
		time.Sleep(2 * time.Second) // until nobody waits for them
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)
		b.ReportMetric(float64(used)/n, "B/connection")
		for _, c := range conns {
			c.Close()
		}
	}
}

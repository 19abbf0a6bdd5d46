package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// link is a running Forward and the provider behind it, which handle serves.
type link struct {
	path  string
	stats *xconnect.Stats
	end   func() // revokes the link and waits for Forward
}

func forward(t testing.TB, idle time.Duration, handle func(c *net.UnixConn)) *link {
	t.Helper()
	dir := t.TempDir()
	provider := listen(t, filepath.Join(dir, "provider"))
	go func() {
		for {
			c, err := provider.AcceptUnix()
			if err != nil {
				return
			}
			go func() { defer c.Close(); handle(c) }()
		}
	}()
	l := &link{path: filepath.Join(dir, "consumer"), stats: new(xconnect.Stats)}
	ln := listen(t, l.path)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	env := xconnect.Env{Log: slog.New(slog.DiscardHandler), Stats: l.stats, MaxConns: 4096, Idle: idle}
	go func() {
		done <- relay.Forward(ctx, env, ln, func(context.Context) (*net.UnixConn, error) {
			return net.DialUnix("unix", nil, provider.Addr().(*net.UnixAddr))
		})
	}()
	l.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Forward = %v", err)
		}
	})
	t.Cleanup(l.end)
	return l
}

func listen(t testing.TB, path string) *net.UnixListener {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func (l *link) dial(t testing.TB) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: l.path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func echo(c *net.UnixConn) { io.Copy(c, struct{ io.Reader }{c}) }

func ask(t testing.TB, c net.Conn, text string) {
	t.Helper()
	fmt.Fprint(c, text)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("echo of %q: %q, %v", text, got, err)
	}
}

// settle waits until the number of goroutines is at most n.
func settle(t testing.TB, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, want at most %d", runtime.NumGoroutine(), n)
		}
	}
}

// Connections that nobody uses cost the relay no goroutine, and go on as if
// nothing had been.
func TestIdleConnectionsPark(t *testing.T) {
	const n = 50
	base := runtime.NumGoroutine()
	l := forward(t, 20*time.Millisecond, echo)
	var conns []*net.UnixConn
	for range n {
		c := l.dial(t)
		ask(t, c, "first")
		conns = append(conns, c)
	}
	for round := range 3 {
		settle(t, base+n+8) // the provider's own, one each, and a few
		for i, c := range conns {
			ask(t, c, fmt.Sprintf("round %d of %d", round, i))
		}
	}
	if got := l.stats.Read(); got.Active != n || got.Errors != 0 {
		t.Errorf("active %d, errors %d", got.Active, got.Errors)
	}
	settle(t, base+n+8)
	l.end()
	for _, c := range conns {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("after the link's end: %v", err)
		}
	}
	if got := l.stats.Read(); got.Active != 0 {
		t.Errorf("active %d after the end", got.Active)
	}
}

// A parked connection notices each way in which its sides end.
func TestParkedConnectionsEnd(t *testing.T) {
	var provider sync.Map // the text that a connection began with → the provider's side
	l := forward(t, 10*time.Millisecond, func(c *net.UnixConn) {
		b := make([]byte, 1)
		io.ReadFull(c, b)
		c.Write(b)
		provider.Store(string(b), c)
		io.Copy(io.Discard, c)
		c.Write([]byte("the end"))
	})
	time.Sleep(20 * time.Millisecond)    // everything that serves runs now
	parked := runtime.NumGoroutine() + 2 // the provider's handler and the one that watches what is parked
	open := func(name string) (consumer, far *net.UnixConn) {
		consumer = l.dial(t)
		ask(t, consumer, name)
		settle(t, parked)
		v, _ := provider.Load(name)
		return consumer, v.(*net.UnixConn)
	}

	c, _ := open("1")
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "the end" {
		t.Errorf("half-closed: %q, %v", got, err)
	}
	c, far := open("2")
	far.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("the provider ended its direction: %q, %v", got, err)
	}
	c.Close()
	c, far = open("3")
	far.Close()
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("the provider closed: %q, %v", got, err)
	}
	c.Close()
	c, _ = open("4")
	c.Close()
	for end := time.Now().Add(5 * time.Second); l.stats.Read().Active != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are still open", l.stats.Read().Active)
		}
	}
}

// Messages around the moment of parking arrive once, in order, with their
// descriptors.
func TestParkingLosesNothing(t *testing.T) {
	const idle = time.Millisecond
	l := forward(t, idle, func(c *net.UnixConn) {
		b, oob := make([]byte, 8), make([]byte, 64)
		for {
			n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
			if err != nil {
				return
			}
			if _, _, err := c.WriteMsgUnix(b[:n], oob[:oobn], nil); err != nil {
				return
			}
		}
	})
	var wg sync.WaitGroup
	for range 8 {
		c := l.dial(t)
		wg.Go(func() {
			for i := range 200 {
				time.Sleep(rand.N(4 * idle))
				if _, _, err := c.WriteMsgUnix([]byte{byte(i)}, unix.UnixRights(0), nil); err != nil {
					t.Error(err)
					return
				}
				b, oob := make([]byte, 8), make([]byte, 64)
				n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
				if err != nil || n != 1 || b[0] != byte(i) {
					t.Errorf("message %d: %v, %v", i, b[:n], err)
					return
				}
				m, err := unix.ParseSocketControlMessage(oob[:oobn])
				if err != nil || len(m) != 1 {
					t.Errorf("message %d: %d control messages, %v", i, len(m), err)
					return
				}
				fds, err := unix.ParseUnixRights(&m[0])
				if err != nil || len(fds) != 1 {
					t.Errorf("message %d: %d descriptors, %v", i, len(fds), err)
					return
				}
				unix.Close(fds[0])
			}
		})
	}
	wg.Wait()
}

// A direction that cannot rest, because its receiver does not read, does not
// hold up the other.
func TestParkingLeavesABusyDirection(t *testing.T) {
	release := make(chan struct{})
	l := forward(t, 5*time.Millisecond, func(c *net.UnixConn) {
		ticks := time.NewTicker(20 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				if _, err := c.Write([]byte("t")); err != nil {
					return
				}
			case <-release:
				n, _ := io.Copy(io.Discard, io.LimitReader(c, 8<<20))
				fmt.Fprint(c, n)
				return
			}
		}
	})
	c := l.dial(t)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 8<<20)) // fills every queue
		sent <- err
	}()
	b := make([]byte, 1)
	for range 20 {
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 't' {
			t.Fatalf("tick %q, %v", b, err)
		}
	}
	close(release)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c)
	for len(rest) > 0 && rest[0] == 't' {
		rest = rest[1:]
	}
	if err != nil || string(rest) != "8388608" {
		t.Errorf("the provider got %s bytes, %v", rest, err)
	}
}

func BenchmarkForwardIdle(b *testing.B) {
	l := forward(b, 50*time.Millisecond, echo)
	c := l.dial(b)
	for b.Loop() {
		ask(b, c, "x")
	}
}

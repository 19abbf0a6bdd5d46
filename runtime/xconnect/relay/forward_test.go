package relay_test

import (
	"bytes"
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

func forward(t testing.TB, handle func(c *net.UnixConn)) *link {
	t.Helper()
	return forwardWith(t, slog.New(slog.DiscardHandler), handle)
}

func forwardWith(t testing.TB, log *slog.Logger, handle func(c *net.UnixConn)) *link {
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
	loops, err := relay.NewLoops(1)
	if err != nil {
		t.Fatal(err)
	}
	env := xconnect.Env{Log: log, Stats: l.stats, MaxConns: 4096}
	go func() {
		done <- relay.Forward(ctx, loops, env, xconnect.Link{}, ln, func(context.Context) (*net.UnixConn, error) {
			return net.DialUnix("unix", nil, provider.Addr().(*net.UnixAddr))
		})
	}()
	l.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Forward = %v", err)
		}
		loops.Close()
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
	return l.dialAfter(t, func() {})
}

// dialAfter connects when first has run.
func (l *link) dialAfter(t testing.TB, first func()) *net.UnixConn {
	t.Helper()
	first()
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

// A connection costs the relay no goroutine.
func TestForwardMany(t *testing.T) {
	const n = 200
	base := runtime.NumGoroutine()
	l := forward(t, echo)
	var conns []*net.UnixConn
	for range n {
		c := l.dial(t)
		ask(t, c, "first")
		conns = append(conns, c)
	}
	settle(t, base+n+4)               // the provider's own, one each, and those that accept
	time.Sleep(50 * time.Millisecond) // the loop waits in Go's poller now
	for i, c := range conns {
		ask(t, c, fmt.Sprintf("connection %d", i))
	}
	if got := l.stats.Read(); got.Active != n || got.Errors != 0 {
		t.Errorf("active %d, errors %d", got.Active, got.Errors)
	}
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

// What comes on many connections at once is received before it is sent: each
// gets its own, in order, small and large, and its end after it.
func TestForwardTogether(t *testing.T) {
	l := forward(t, func(c *net.UnixConn) { io.Copy(c, c) })
	var conns [48]*net.UnixConn
	for i := range conns {
		conns[i] = l.dial(t)
	}
	var sent [len(conns)][]byte
	for round := range 30 {
		for i, c := range conns {
			text := bytes.Repeat([]byte{byte(round), byte(i)}, 1+rand.IntN(1<<(1+round%14)))
			sent[i] = append(sent[i], text...)
			if _, err := c.Write(text); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range conns {
			if round == 29 {
				c.CloseWrite()
			}
			got := make([]byte, len(sent[i]))
			if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent[i]) {
				t.Fatalf("connection %d, round %d: %d of %d bytes, %v", i, round, n, len(got), err)
			}
			sent[i] = sent[i][:0]
		}
	}
	for i, c := range conns {
		if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
			t.Errorf("connection %d: %d bytes more, %v", i, len(rest), err)
		}
	}
}

// Each way in which the two sides of a forwarded connection can end.
func TestForwardEnds(t *testing.T) {
	var provider sync.Map // the text that a connection began with → the provider's side
	l := forward(t, func(c *net.UnixConn) {
		b := make([]byte, 1)
		io.ReadFull(c, b)
		c.Write(b)
		provider.Store(string(b), c)
		io.Copy(io.Discard, c)
		c.Write([]byte("the end"))
	})
	open := func(name string) (consumer, far *net.UnixConn) {
		consumer = l.dial(t)
		ask(t, consumer, name)
		for {
			if v, ok := provider.Load(name); ok {
				return consumer, v.(*net.UnixConn)
			}
		}
	}
	expect := func(what string, c *net.UnixConn, want string) {
		t.Helper()
		if got, err := io.ReadAll(c); err != nil || string(got) != want {
			t.Errorf("%s: read %q, %v; want %q and the end", what, got, err, want)
		}
	}

	c, _ := open("1")
	c.CloseWrite()
	expect("the consumer ended its direction", c, "the end")
	c, far := open("2")
	far.CloseWrite()
	expect("the provider ended its direction", c, "")
	c.Close()
	c, far = open("3")
	far.Write([]byte("bye"))
	far.Close()
	expect("the provider closed", c, "bye")
	c.Close()
	c, far = open("4")
	far.CloseRead() // it takes no more, and goes on talking
	for err := error(nil); err == nil; {
		_, err = c.Write(make([]byte, 4096))
		time.Sleep(time.Millisecond)
	}
	far.Close()
	c.Close()
	c, _ = open("5")
	c.Close()
	for end := time.Now().Add(5 * time.Second); l.stats.Read().Active != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are still open", l.stats.Read().Active)
		}
	}
}

// The provider half-closes, and is gone before its consumer is: both ends are
// passed on, and nothing is left waiting.
func TestForwardHalfCloseThenGone(t *testing.T) {
	gone := make(chan *net.UnixConn, 1)
	l := forward(t, func(c *net.UnixConn) {
		c.CloseWrite()
		gone <- c
		io.Copy(io.Discard, c)
	})
	c := l.dial(t)
	c.Write([]byte("x"))
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Fatalf("%q, %v", b, err)
	}
	(<-gone).Close()
	for end := time.Now().Add(5 * time.Second); l.stats.Read().Active != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is still open")
		}
		c.Write([]byte("x"))
	}
}

// Messages arrive once, in order, with their descriptors, however the waits of
// the loop fall.
func TestForwardLosesNothing(t *testing.T) {
	l := forward(t, func(c *net.UnixConn) {
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
				time.Sleep(rand.N(4 * time.Millisecond))
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

// A direction whose receiver does not read does not hold up the other.
func TestForwardBlockedDirection(t *testing.T) {
	release := make(chan struct{})
	l := forward(t, func(c *net.UnixConn) {
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

func BenchmarkForward(b *testing.B) {
	l := forward(b, echo)
	c := l.dial(b)
	for b.Loop() {
		ask(b, c, "x")
	}
}

package unix_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/xconnect"
	plugin "github.com/pvkit/pvkit/runtime/xconnect/plugins/unix"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

func openFiles(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// second is another link of the pair, to a provider that echoes.
func second(t *testing.T, p *xconnecttest.Pair) xconnect.Link {
	t.Helper()
	l := p.Link
	l.Name, l.Target, l.Socket = "other", "/run/pv/other.sock", "/run/ex/other.sock"
	ln, err := net.Listen("unix", p.Provider.Path(l.Socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return l
}

func tripTime(t *testing.T, path string) time.Duration {
	t.Helper()
	start := time.Now()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(start.Add(10 * time.Second))
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// A consumer that opens all the connections it can, to a provider that neither
// reads nor answers, and fills them: memory stays bounded, the other link
// answers, and everything is given back.
func TestHungryConsumer(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Listen("unix") // accepts nothing: its queue takes what it takes
	other := second(t, p)
	p.Mesh.Apply([]xconnect.Link{p.Link, other})
	if err := p.Mesh.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, routines := openFiles(t), runtime.NumGoroutine()
	var before, with runtime.MemStats
	runtime.ReadMemStats(&before)
	var conns []net.Conn
	chunk := make([]byte, 1<<20)
	refused := 0
	for range 10_000 {
		c, err := net.Dial("unix", p.Consumer.Path(p.Link.Target))
		if errors.Is(err, syscall.EAGAIN) { // beyond what is served and what may wait
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if len(conns) <= 300 {
			c.SetWriteDeadline(time.Now().Add(2 * time.Millisecond))
			c.Write(chunk)
		}
	}
	if took := tripTime(t, p.Consumer.Path(other.Target)); took > time.Second {
		t.Errorf("the other link took %v", took)
	}
	runtime.ReadMemStats(&with)
	if grown := int64(with.HeapInuse+with.StackInuse) - int64(before.HeapInuse+before.StackInuse); grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if s := p.Mesh.Status(); s[1].Active > 1024 {
		t.Errorf("%d connections at once", s[1].Active)
	}
	if len(conns) < 5000 {
		t.Errorf("%d of 10,000 connections were refused", refused)
	}
	for _, c := range conns {
		c.Close()
	}
	p.Mesh.Apply([]xconnect.Link{other})
	for end := time.Now().Add(15 * time.Second); openFiles(t) > files || runtime.NumGoroutine() > routines; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("files %d, then %d; goroutines %d, then %d", files, openFiles(t), routines, runtime.NumGoroutine())
		}
	}
}

// A consumer that sends a byte now and then costs one connection.
func TestSlowConsumer(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", upper)
	p.Start()
	slow := p.Dial("unix")
	for _, b := range []byte("slow") {
		slow.Write([]byte{b})
		if got := p.Ask("quick"); got != "QUICK" {
			t.Errorf("%q", got)
		}
	}
	slow.CloseWrite()
	if b, err := io.ReadAll(slow); err != nil || string(b) != "SLOW" {
		t.Errorf("%q, %v", b, err)
	}
}

// Nothing is left after many short connections of every kind of end.
func TestNothingLeaks(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", func(c *net.UnixConn) {
		b := make([]byte, 1)
		for {
			if _, err := io.ReadFull(c, b); err != nil || b[0] == 'q' {
				return
			}
			c.Write(b)
		}
	})
	p.Start()
	p.Ask("x")
	files, routines := openFiles(t), runtime.NumGoroutine()
	for i := range 300 {
		c := p.Dial("unix")
		switch i % 4 {
		case 0:
			c.Write([]byte("x")) // closed before the answer arrives
		case 1:
			c.Write([]byte("q")) // the provider closes
			io.ReadAll(c)
		case 2:
			c.Write([]byte("x"))
			c.CloseWrite()
			io.ReadAll(c)
		}
		c.Close()
	}
	for end := time.Now().Add(10 * time.Second); openFiles(t) > files || runtime.NumGoroutine() > routines; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("files %d, then %d; goroutines %d, then %d", files, openFiles(t), routines, runtime.NumGoroutine())
		}
	}
}

// Ten thousand links with their sockets, made and taken away.
func TestTenThousandSockets(t *testing.T) {
	testreq.Root(t)
	var r syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r)
	testreq.Feature(t, "15000-files", err == nil && r.Cur >= 15_000, fmt.Sprintf("the limit of open files is %d", r.Cur))
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", upper)
	var links []xconnect.Link
	for i := range 10_000 {
		l := p.Link
		l.Name = fmt.Sprint(i)
		l.Target = fmt.Sprintf("/run/pv/%d/%d.sock", i%100, i)
		links = append(links, l)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := time.Now()
	p.Mesh.Apply(links)
	if err := p.Mesh.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	up := 0
	for _, s := range p.Mesh.Status() {
		if s.State == xconnect.Up {
			up++
		}
	}
	start = time.Now()
	p.Mesh.Stop()
	t.Logf("10,000 links: %v to make, %v to take away", took, time.Since(start))
	if up != 10_000 || took > 10*time.Second {
		t.Errorf("%d links are up after %v", up, took)
	}
	for i := range 100 {
		if left, err := os.ReadDir(p.Consumer.Path(fmt.Sprintf("/run/pv/%d", i))); err != nil || len(left) != 0 {
			t.Fatalf("left: %v, %v", left, err)
		}
	}
}

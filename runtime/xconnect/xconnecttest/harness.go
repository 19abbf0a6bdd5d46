// Package xconnecttest runs a plugin between two containers, for the plugins'
// tests.
package xconnecttest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// Pair is a link between two containers. Nothing runs until Start.
type Pair struct {
	Consumer, Provider *testns.Container
	Link               xconnect.Link
	Mesh               *xconnect.Mesh
	t                  testing.TB
}

// New starts the containers; they and the link end with the test. It needs root.
func New(t testing.TB, plugin xconnect.Plugin) *Pair {
	t.Helper()
	p := &Pair{Consumer: testns.Start(t), Provider: testns.Start(t), t: t}
	p.Link = xconnect.Resolve(pvctrl.Link{
		Consumer: "consumer", ConsumerPID: p.Consumer.PID, Provider: "provider", ProviderPID: p.Provider.PID,
		Name: "svc", Type: plugin.Type(), Role: "any", Interface: plugin.Type(),
		Target: "/run/pv/svc.sock", Socket: "/run/ex/svc.sock",
	})
	p.Provider.Mkdir("/run/ex")
	log := &logWriter{t: t}
	log.left.Store(100)
	p.Mesh = xconnect.NewMesh(xconnect.Config{
		Plugins: []xconnect.Plugin{plugin}, Injector: nsinject.New(nsinject.Options{}),
		Log: slog.New(slog.NewTextHandler(log, nil)), Drain: time.Second,
	})
	t.Cleanup(p.Mesh.Stop)
	return p
}

// logWriter shows the start of the log of a test that fails.
type logWriter struct {
	t    testing.TB
	left atomic.Int64
}

func (w *logWriter) Write(b []byte) (int, error) {
	if w.left.Add(-1) >= 0 {
		w.t.Log(string(b[:len(b)-1]))
	}
	return len(b), nil
}

// Start applies the link and waits for it to be up.
func (p *Pair) Start() {
	p.t.Helper()
	p.Mesh.Apply([]xconnect.Link{p.Link})
	p.WaitFor(xconnect.Up)
}

// WaitFor waits for the link to be in the state.
func (p *Pair) WaitFor(state xconnect.State) xconnect.Status {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		all := p.Mesh.Status()
		if len(all) == 1 && all[0].State == state {
			return all[0]
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("the link is not %s: %+v", state, all)
		case <-time.After(time.Millisecond):
		}
	}
}

// Listen is a provider's socket.
func (p *Pair) Listen(network string) *net.UnixListener {
	p.t.Helper()
	path := p.Provider.Path(p.Link.Socket)
	os.Remove(path)
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { l.Close() })
	return l
}

// Serve answers every connection to the provider with f.
func (p *Pair) Serve(network string, f func(c *net.UnixConn)) {
	p.t.Helper()
	l := p.Listen(network)
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
}

// Dial is a consumer that connects, with ten seconds for all it does.
func (p *Pair) Dial(network string) *net.UnixConn {
	p.t.Helper()
	c, err := net.DialUnix(network, nil, &net.UnixAddr{Name: p.Consumer.Path(p.Link.Target), Net: network})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// Ask sends text, ends that direction and returns the whole answer.
func (p *Pair) Ask(text string) string {
	p.t.Helper()
	c := p.Dial("unix")
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		p.t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		p.t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

// Loops are for the plugins that need some; they end with the test.
func Loops(t testing.TB) *relay.Loops {
	t.Helper()
	l, err := relay.NewLoops(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// WaitIdle waits until the link has no open connection.
func (p *Pair) WaitIdle() {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); p.Mesh.Status()[0].Active > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%d connections are open", p.Mesh.Status()[0].Active)
		}
	}
}

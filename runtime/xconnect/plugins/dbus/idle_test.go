package dbus_test

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Connections that are filtered hold no goroutine while nobody says anything,
// and go on when somebody does, from either side.
func TestIdle(t *testing.T) {
	provider := startDaemon(t)
	service := startService(t, provider, "org.test.Service")
	consumer, stats := link(t, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
	conn := connect(t, consumer)
	if err := conn.AddMatchSignalContext(context.Background(), godbus.WithMatchInterface("org.test.Iface")); err != nil {
		t.Fatal(err)
	}
	signals := make(chan *godbus.Signal, 8)
	conn.Signal(signals)
	base := runtime.NumGoroutine()
	const n = 20
	for range n {
		c := authenticated(t, consumer)
		c.Write(hello(1))
		if _, err := io.ReadFull(c, make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > base; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines for %d connections that say nothing", runtime.NumGoroutine()-base, n)
		}
	}
	if got := stats.Read().Active; got != n+1 {
		t.Errorf("%d connections are open", got)
	}
	service.emit("after a while")
	select {
	case s := <-signals:
		if s.Body[0] != "after a while" {
			t.Errorf("the signal says %v", s.Body)
		}
	case <-time.After(10 * time.Second):
		t.Error("no signal arrives")
	}
	time.Sleep(1200 * time.Millisecond)
	var got string
	if err := call(conn, "org.test.Service", "Echo", "here").Store(&got); err != nil || got != "here" {
		t.Errorf("%q, %v", got, err)
	}
	// A client that ends while nobody waits for it is noticed.
	time.Sleep(1200 * time.Millisecond)
	conn.Close()
	for end := time.Now().Add(10 * time.Second); stats.Read().Active > n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is still there")
		}
	}
} // the link's end demands that the others end too

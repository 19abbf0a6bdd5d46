package dbus_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/dbus"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

const busPath = "/run/bus" // in the provider, and the link's target

// link runs the plugin between the provider and a consumer of its own. The end
// of the test stops it and demands that it returned nil and left nothing.
func link(t testing.TB, provider *testns.Container, l xconnect.Link) (consumer *testns.Container, stats *xconnect.Stats) {
	t.Helper()
	return linkWith(t, dbus.Plugin{Loops: loops(t)}, provider, l)
}

func linkWith(t testing.TB, p dbus.Plugin, provider *testns.Container, l xconnect.Link) (consumer *testns.Container, stats *xconnect.Stats) {
	t.Helper()
	consumer = container(t)
	l.Type, l.Name, l.Target, l.Socket = "dbus", "bus", busPath, busPath
	l.Consumer, l.Provider = xconnect.Peer{Name: "consumer", PID: consumer.PID}, xconnect.Peer{Name: "provider", PID: provider.PID}
	stats = &xconnect.Stats{}
	ready, done := make(chan struct{}), make(chan error, 1)
	env := xconnect.Env{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Stats: stats,
		Ready: func() { close(ready) }, MaxConns: 64,
	}
	in := nsinject.New(nsinject.Options{})
	var err error
	if env.Consumer, err = in.Enter(t.Context(), l.Consumer); err != nil {
		t.Fatal(err)
	}
	if env.Provider, err = in.Enter(t.Context(), l.Provider); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- p.Run(ctx, l, env) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		t.Fatalf("Run: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not return")
		}
		if _, err := os.Lstat(consumer.Path(busPath)); err == nil {
			t.Error("the socket is still there")
		}
		env.Consumer.Close()
		env.Provider.Close()
	})
	return consumer, stats
}

func loops(t testing.TB) *relay.Loops {
	t.Helper()
	l, err := relay.NewLoops(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

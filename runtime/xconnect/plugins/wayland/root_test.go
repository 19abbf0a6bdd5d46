package wayland_test

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/wayland"
)

// dirRoot is a container that is only a directory.
type dirRoot struct {
	xconnect.Root // nil: what is not below is not used
	dir           string
}

func (r dirRoot) Listen(_ context.Context, network, path string, mode fs.FileMode) (net.Listener, error) {
	ln, err := net.Listen(network, filepath.Join(r.dir, path))
	if err != nil {
		return nil, err
	}
	return ln, os.Chmod(filepath.Join(r.dir, path), mode)
}

func (r dirRoot) Dial(ctx context.Context, network, path string) (*net.UnixConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, filepath.Join(r.dir, path))
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// link runs the plugin between the provider's socket and a new one. The end of
// the test stops it and demands that it left nothing.
func link(t testing.TB, provider, socket string) (path string, stats *xconnect.Stats) {
	t.Helper()
	dir := tempDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	stats = &xconnect.Stats{}
	env := xconnect.Env{
		Consumer: dirRoot{dir: dir}, Provider: dirRoot{dir: provider},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Stats: stats,
		Ready: func() { close(ready) }, MaxConns: 64,
	}
	l := xconnect.Link{Type: "wayland", Target: "/wl", Socket: socket}
	go func() { done <- wayland.Plugin{}.Run(ctx, l, env) }()
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
		if _, err := os.Lstat(filepath.Join(dir, "wl")); err == nil {
			t.Error("the socket is still there")
		}
	})
	return filepath.Join(dir, "wl"), stats
}

// tempDir has a name short enough for a socket.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pvx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

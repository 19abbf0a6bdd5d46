package dbus_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/dbus"
)

// dirRoot is a container that is only a directory. Its paths are not safe
// against links, which runtime/nsinject is for; its identities are real.
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

func (r dirRoot) ReadFile(_ context.Context, path string, limit int64) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, path))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, err
}

// DialAs connects on a thread of its own, which ends afterwards: SO_PEERCRED
// gives the effective ids that the thread had at connect(2).
func (r dirRoot) DialAs(_ context.Context, network, path string, as xconnect.Cred) (*net.UnixConn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocks
		var r2 result
		_, _, e1 := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		_, _, e2 := unix.RawSyscall(unix.SYS_SETRESGID, ^uintptr(0), uintptr(as.GID), ^uintptr(0))
		_, _, e3 := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(as.UID), ^uintptr(0))
		if e1 != 0 || e2 != 0 || e3 != 0 {
			r2.err = fmt.Errorf("become %v: %v %v %v", as, e1, e2, e3)
		} else {
			r2.c, r2.err = net.Dial(network, filepath.Join(r.dir, path))
		}
		done <- r2
	}()
	r2 := <-done
	if r2.err != nil {
		return nil, r2.err
	}
	return r2.c.(*net.UnixConn), nil
}

// link runs the plugin and returns the path of the consumer's socket. The end
// of the test stops it and demands that it returned nil and left nothing.
func link(t testing.TB, provider string, l xconnect.Link) (path string, stats *xconnect.Stats) {
	t.Helper()
	dir := sharedDir(t)
	l.Type, l.Target, l.Socket = "dbus", "/sock", "/bus"
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	stats = &xconnect.Stats{}
	env := xconnect.Env{
		Consumer: dirRoot{dir: dir}, Provider: dirRoot{dir: provider},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Stats: stats,
		Ready: func() { close(ready) }, MaxConns: 64,
	}
	go func() { done <- dbus.Plugin{}.Run(ctx, l, env) }()
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
		if _, err := os.Lstat(filepath.Join(dir, "sock")); err == nil {
			t.Error("the socket is still there")
		}
	})
	return filepath.Join(dir, "sock"), stats
}

// sharedDir is a temporary directory that every user can reach, with a short
// name.
func sharedDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pvx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

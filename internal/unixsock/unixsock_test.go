package unixsock_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/unixsock"
)

func TestDialLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // bind by a short name
	l, err := net.Listen("unix", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := unixsock.Dial(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := unixsock.PeerOf(s.(*net.UnixConn))
	if want := (unixsock.Peer{PID: os.Getpid(), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}); err != nil || p != want {
		t.Errorf("peer %+v, %v; want %+v", p, err, want)
	}
}

func TestDialOfAnotherKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := unixsock.Dial(t.Context(), "unix", path); !errors.Is(err, syscall.EPROTOTYPE) {
		t.Errorf("dial a packet socket as a stream: %v", err)
	}
	if _, err := unixsock.Dial(t.Context(), "tcp", path); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("dial tcp: %v", err)
	}
	if _, err := unixsock.Dial(t.Context(), "unix", filepath.Dir(path)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial a directory: %v", err)
	}
}

// A full queue is waited for: until there is room, or the caller gives up.
func TestDialWaitsForRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	var conns []io.Closer
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		c, err := unixsock.Dial(ctx, "unix", path)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil || len(conns) > 10 {
			t.Fatalf("after %d connections: %v", len(conns), err)
		}
		conns = append(conns, c)
	}
	got := make(chan error, 1)
	go func() {
		c, err := unixsock.Dial(t.Context(), "unix", path)
		if err == nil {
			c.Close()
		}
		got <- err
	}()
	s, _, err := unix.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(s)
	if err := <-got; err != nil {
		t.Errorf("with room in the queue: %v", err)
	}
}

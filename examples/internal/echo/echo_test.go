package echo_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/examples/internal/echo"
	"github.com/pvkit/pvkit/examples/internal/unixsocket"
)

// lines is a writer that tests can wait on.
type lines struct {
	mu   sync.Mutex // guards buf
	buf  bytes.Buffer
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1000)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more <- struct{}{}
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	for timeout := time.After(10 * time.Second); !strings.Contains(l.String(), text); {
		select {
		case <-l.more:
		case <-timeout:
			t.Fatalf("no %q in %q", text, l.String())
		}
	}
}

// serve starts a server and returns its socket and what stops it.
func serve(t *testing.T) (socket string, stop func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run/raw.sock")
	ctx, cancel := context.WithCancel(t.Context())
	out, done := newLines(), make(chan error, 1)
	go func() { done <- echo.Serve(ctx, out, socket) }()
	out.await(t, "Starting raw Unix socket server on "+socket+"...\n")
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not stop")
		}
	})
	t.Cleanup(stop)
	return socket, stop
}

func TestClientAndServer(t *testing.T) {
	socket, _ := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, done := newLines(), make(chan error, 1)
	var errOut bytes.Buffer
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := echo.Client{Socket: socket, Interval: time.Millisecond, Timeout: 5 * time.Second, Now: func() time.Time { return at }}
	go func() { done <- c.Run(ctx, out, &errOut) }()
	round := "--- Sending data to raw Unix service via " + socket + " ---\nHello from client at Fri Jan  2 03:04:05 UTC 2026\n\n\n"
	out.await(t, round+round)
	cancel()
	if err := <-done; err != nil || errOut.Len() > 0 {
		t.Errorf("%v, stderr %q", err, errOut.String())
	}
}

func TestServerEchoesLargeDataToMany(t *testing.T) {
	socket, stop := serve(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			go func() {
				_, _ = conn.Write(data)
				_ = conn.(*net.UnixConn).CloseWrite()
			}()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	idle, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	stop() // with a connection open
	if unixsocket.Exists(socket) {
		t.Error("the socket is still there")
	}
}

func TestClientGivesUpOnASilentServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := unixsocket.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errOut, done := newLines(), make(chan error, 1)
	c := echo.Client{Socket: socket, Interval: time.Millisecond, Timeout: 20 * time.Millisecond, Now: time.Now}
	go func() { done <- c.Run(ctx, io.Discard, errOut) }()
	errOut.await(t, "read answer: context deadline exceeded\n")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

package info_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/examples/internal/info"
	"github.com/pvkit/pvkit/examples/internal/unixsocket"
)

// notes is a writer for several goroutines.
type notes struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

func (n *notes) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(n.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in %q", text, n.String())
		}
	}
}

func serve(t *testing.T) (socket string, log *notes) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "nm/api.sock")
	ctx, cancel := context.WithCancel(t.Context())
	out, log := &notes{}, &notes{}
	done := make(chan error, 1)
	s := info.Server{Socket: socket, Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }}
	go func() { done <- s.Serve(ctx, out, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if unixsocket.Exists(socket) {
			t.Error("the socket is still there")
		}
	})
	out.await(t, "Starting mock REST server on "+socket+"...\n")
	return socket, log
}

// send writes a raw request and returns the whole response.
func send(t *testing.T, socket, request string) string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := io.ReadAll(conn) // the server closes
	if err != nil {
		t.Fatal(err)
	}
	return string(res)
}

func TestServer(t *testing.T) {
	socket, log := serve(t)
	const rest = `{"service": "network-manager-mock", "status": "online", `
	for _, c := range []struct{ request, status, body string }{
		{"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n", "200", rest + `"role": "unknown", "client": "unknown"}`},
		{"GET /info HTTP/1.0\r\n\r\n", "200", rest + `"role": "unknown", "client": "unknown"}`},
		{"GET /info HTTP/1.1\r\nHost: x\r\nX-PV-Role: admin\r\nx-pv-client: pv-\"a\"\r\n\r\n", "200", rest + `"role": "admin", "client": "pv-\"a\""}`},
		{"GET /info HTTP/1.1\r\nHost: x\r\nX-PV-Role:\r\n\r\n", "200", rest + `"role": "", "client": "unknown"}`},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404", ""},
		{"GET /info?x HTTP/1.1\r\nHost: x\r\n\r\n", "404", ""},
		{"GET //info HTTP/1.1\r\nHost: x\r\n\r\n", "404", ""},
		{"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "501", ""},
	} {
		res := send(t, socket, c.request)
		head, body, _ := strings.Cut(res, "\r\n\r\n")
		if fields := strings.Fields(head); len(fields) < 2 || fields[1] != c.status || body != c.body {
			t.Errorf("%q: %s", c.request, res)
		}
		if c.status == "200" && (!json.Valid([]byte(body)) || !strings.Contains(head, "Content-Type: application/json")) {
			t.Errorf("%q: %s", c.request, res)
		}
		line := strings.SplitN(c.request, "\r\n", 2)[0]
		log.await(t, fmt.Sprintf("unix-client - - [02/Jan/2026 03:04:05] %q %s -\n", line, c.status))
	}
}

func TestClientAndServer(t *testing.T) {
	socket, _ := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errOut := &notes{}, &notes{}
	done := make(chan error, 1)
	c := info.Client{Socket: socket, Interval: time.Millisecond, Timeout: 5 * time.Second}
	go func() { done <- c.Run(ctx, out, errOut) }()
	round := "--- Requesting info from network-manager service via " + socket + " ---\n" +
		`{"service": "network-manager-mock", "status": "online", "role": "unknown", "client": "unknown"}` + "\n\n"
	out.await(t, round+round)
	cancel()
	if err := <-done; err != nil || errOut.String() != "" {
		t.Errorf("%v, stderr %q", err, errOut)
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
	errOut, done := &notes{}, make(chan error, 1)
	c := info.Client{Socket: socket, Interval: time.Millisecond, Timeout: 20 * time.Millisecond}
	go func() { done <- c.Run(ctx, io.Discard, errOut) }()
	errOut.await(t, `Get "http://localhost/info": `)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

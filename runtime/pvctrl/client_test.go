package pvctrl_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// serve answers every connection's request with the bytes, in pieces of size
// (0: one write), and closes.
func serve(t *testing.T, answer string, size int) *pvctrl.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ctrl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				for rest := answer; rest != ""; {
					n := len(rest)
					if size > 0 {
						n = min(n, size)
					}
					c.Write([]byte(rest[:n]))
					rest = rest[n:]
				}
			}
			c.Close()
		}
	}()
	return pvctrl.NewClient(path)
}

func TestAnswers(t *testing.T) {
	text := big(2000)
	head10 := "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
	for name, answer := range map[string]string{
		"HTTP/1.0, the end is the end": head10 + text,
		"HTTP/1.0 with a length":       fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text),
		"HTTP/1.1 with a length":       fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text),
		"HTTP/1.1 chunked":             fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(text), text),
	} {
		for _, size := range []int{0, 1000, 77} {
			r, err := serve(t, answer, size).Graph(t.Context(), "", time.Minute)
			if err != nil || len(r.Graph.Links) != 2000 || r.Tag != "" || r.Waits {
				t.Errorf("%s in pieces of %d: %v", name, size, err)
			}
		}
	}
}

func TestBadAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"":                 "EOF",
		"nonsense\r\n\r\n": "malformed",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n{\"Error\":\"no such\"}": `pv-ctrl answers 404: no such`,
		"HTTP/1.1 304 Not Modified\r\n\r\n":                                           "pv-ctrl answers 304",
		"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n":                   "pv-ctrl answers 302",
		"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[":                             "unexpected EOF",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20):                         "exceeded",
	} {
		r, err := serve(t, answer, 0).Graph(t.Context(), "", 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50q: %+v, %v; want %q", answer, r, err, want)
		}
	}
	if _, err := pvctrl.NewClient("/nowhere/at/all").Graph(t.Context(), "", 0); err == nil {
		t.Error("no server, and no error")
	}
	_, err := serve(t, "HTTP/1.1 503 Busy\r\n\r\n", 0).Graph(t.Context(), "", 0)
	if e, ok := errors.AsType[*pvctrl.StatusError](err); !ok || e.Status != 503 {
		t.Errorf("503: %v", err)
	}
}

// A server that knows tags and waiting.
func TestConditional(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctrl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Host + " " + r.Header.Get("If-None-Match") + " " + r.Header.Get("Prefer")
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Preference-Applied", "wait")
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write([]byte(example))
	})}
	go srv.Serve(l)
	defer srv.Close()
	c := pvctrl.NewClient(path)
	r, err := c.Graph(t.Context(), "", 30*time.Second)
	if err != nil || r.Graph == nil || r.Tag != `"1"` || !r.Waits {
		t.Fatalf("first: %+v, %v", r, err)
	}
	if got := <-seen; got != "localhost  " {
		t.Errorf("the first request: %q", got)
	}
	r, err = c.Graph(t.Context(), r.Tag, 30*time.Second)
	if err != nil || r.Graph != nil || r.Tag != `"1"` || !r.Waits {
		t.Errorf("second: %+v, %v", r, err)
	}
	if got := <-seen; got != `localhost "1" wait=30` {
		t.Errorf("the second request: %q", got)
	}
}

// A server that accepts and never answers is given up.
func TestNoAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctrl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pvctrl.NewClient(path).Graph(ctx, "", 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Graph = %v", err)
	}
}

package pvcurl_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/pvcurl"
)

// listen gives a path of a socket that serve handles each connection of.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
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
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return path
}

// server is net/http behind a socket.
func server(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return path
}

func run(t testing.TB, stdin io.Reader, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = pvcurl.Main(t.Context(), program.Env{Name: "pvcurl", Args: args, Stdin: stdin, Stdout: &o, Stderr: &e})
	return code, o.String(), e.String()
}

// Many at once keep apart, which the script's two fixed files do not.
func TestParallel(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			want := fmt.Sprintf("/%d body %d\n200", i, i)
			code, out, errs := run(t, nil, "--unix-socket", s, "-X", "PUT", "--data", fmt.Sprintf("body %d", i), "-w", `\n%{http_code}`, fmt.Sprintf("http://localhost/%d", i))
			if code != 0 || out != want {
				t.Errorf("%d: %d %q %q", i, code, out, errs)
			}
		})
	}
	wg.Wait()
}

// pattern is n bytes that are not stored anywhere.
func pattern(n int64) io.Reader {
	return io.LimitReader(readerFunc(func(p []byte) (int, error) {
		for i := range p {
			p[i] = byte(i * 7)
		}
		return len(p), nil
	}), n)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Bodies stream both ways: standard input of unknown length in chunks, a file
// with its length.
func TestStream(t *testing.T) {
	const size = 30 << 20
	h := sha256.New()
	io.Copy(h, pattern(size))
	want := fmt.Sprintf("%x", h.Sum(nil))
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			io.Copy(w, pattern(size))
			return
		}
		h := sha256.New()
		io.Copy(h, r.Body)
		fmt.Fprintf(w, "%s %d %x", r.Proto, r.ContentLength, h.Sum(nil))
	})
	code, out, errs := run(t, pattern(size), "--unix-socket", s, "-X", "PUT", "-T", "-", "/x")
	if code != 0 || out != "HTTP/1.1 -1 "+want {
		t.Errorf("stdin: %d %q %q", code, out, errs)
	}
	file := filepath.Join(t.TempDir(), "f")
	code, _, errs = run(t, nil, "--unix-socket", s, "-o", file, "/x")
	if code != 0 {
		t.Fatalf("download: %d %s", code, errs)
	}
	whole := "HTTP/1.0 " + strconv.Itoa(size) + " " + want
	if code, out, _ = run(t, nil, "--unix-socket", s, "-X", "PUT", "-T", file, "/x"); code != 0 || out != whole {
		t.Errorf("file: %d %q", code, out)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if code, out, _ = run(t, f, "--unix-socket", s, "-X", "PUT", "-T", "-", "/x"); code != 0 || out != whole {
		t.Errorf("stdin from a file: %d %q", code, out)
	}
}

// An answer that comes before the body was taken is the answer.
func TestEarlyAnswer(t *testing.T) {
	s := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 100))
		io.WriteString(c, "HTTP/1.0 507 Insufficient Storage\r\nContent-Length: 4\r\n\r\nfull")
		time.Sleep(50 * time.Millisecond)
	})
	for range 20 {
		code, out, errs := run(t, pattern(1<<20), "--unix-socket", s, "-X", "PUT", "-T", "-", "-w", " %{http_code}", "/x")
		if code != 0 || out != "full 507" {
			t.Fatalf("%d %q %q", code, out, errs)
		}
	}
}

func TestLimits(t *testing.T) {
	silent := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	slow := listen(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nabc")
		io.Copy(io.Discard, c)
	})
	long := listen(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.0 200 OK\r\nX: "+strings.Repeat("x", 1<<20))
	})
	dir := t.TempDir()
	for _, tt := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"--unix-socket", silent, "--max-time", "0.05", "/x"}, 1, "", "GET /x: not done after 50ms"},
		{[]string{"--unix-socket", slow, "--max-time", "0.05", "/x"}, 1, "abc", "not done after 50ms"},
		{[]string{"--unix-socket", slow, "--max-time", "0.05", "-o", dir + "/f", "/x"}, 1, "", "write "},
		{[]string{"--unix-socket", long, "/x"}, 1, "", "head is longer than 65536 bytes"},
		{[]string{"--unix-socket", silent, "--max-time", "soon", "/x"}, 1, "", "'soon'"},
		{[]string{"--unix-socket", silent, "/x", "-X"}, 1, "", "Error: Option '-X' needs a value"},
		{[]string{"--unix-socket", silent, "-X", "A B", "/x"}, 1, "", `"A B" is not an HTTP method`},
		{[]string{"--unix-socket", silent, "-H", "Content-Length: -1", "/x"}, 1, "", "not a length"},
		{[]string{"--unix-socket", silent, "-T", dir, "/x"}, 1, "", "it is a directory"},
		{[]string{"--unix-socket", dir, "/x"}, 1, "", "dial " + dir},
	} {
		code, out, errs := run(t, strings.NewReader(""), tt.args...)
		if code != tt.code || out != tt.out || !strings.Contains(strings.ReplaceAll(errs, `"`, "'"), strings.ReplaceAll(tt.err, `"`, "'")) {
			t.Errorf("%q: %d %q %q", tt.args[1:], code, out, errs)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a partial output is left: %v", left)
	}
}

// A body that cannot be read to its end ends the request, and the reason is told.
func TestBadBody(t *testing.T) {
	s := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	c := &pvcurl.Client{Socket: s}
	broken := io.MultiReader(strings.NewReader("abc"), readerFunc(func([]byte) (int, error) { return 0, errors.New("disk on fire") }))
	for _, size := range []int64{pvcurl.Unknown, 10} {
		_, err := c.Do(t.Context(), pvcurl.Request{Method: "PUT", Path: "/x", Body: broken, Size: size})
		if err == nil || !strings.Contains(err.Error(), "disk on fire") && !strings.Contains(err.Error(), "after 3 of 10") && !strings.Contains(err.Error(), "after 0 of 10") {
			t.Errorf("size %d: %v", size, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Do(ctx, pvcurl.Request{Path: "/x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever a server says, the client neither panics nor hangs.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.0 200 OK\r\n\r\nx", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		"HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.0 abc\r\n", "",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	var mu sync.Mutex
	var text []byte
	path := listen(f, func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		c.Write(text)
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		mu.Lock()
		text = b
		mu.Unlock()
		resp, err := (&pvcurl.Client{Socket: path}).Do(t.Context(), pvcurl.Request{Path: "/"})
		if err != nil {
			return
		}
		if resp.Status < 100 || resp.Status > 999 {
			t.Errorf("status %d", resp.Status)
		}
		got, _ := io.ReadAll(resp.Body)
		if len(got) > len(b) {
			t.Errorf("%d bytes of %d", len(got), len(b))
		}
		resp.Body.Close()
	})
}

func BenchmarkGet(b *testing.B) {
	s := server(b, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") })
	c := &pvcurl.Client{Socket: s}
	for b.Loop() {
		resp, err := c.Do(b.Context(), pvcurl.Request{Path: "/containers"})
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

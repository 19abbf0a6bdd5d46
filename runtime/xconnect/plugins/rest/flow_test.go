package rest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/rest"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

// raw is a link to a provider that is no HTTP server.
func raw(t *testing.T, f func(c *net.UnixConn)) *xconnecttest.Pair {
	t.Helper()
	p := xconnecttest.New(t, rest.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", f)
	p.Start()
	return p
}

// A provider that does not read stops the consumer, for a body of either kind.
func TestBackPressure(t *testing.T) {
	hold := make(chan struct{})
	p := raw(t, func(*net.UnixConn) { <-hold })
	defer close(hold)
	for _, head := range []string{"Content-Length: 1000000000", "Transfer-Encoding: chunked"} {
		c := p.Dial("unix")
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", head)
		chunk := append([]byte("10000\r\n"), make([]byte, 1<<16)...)
		if strings.HasPrefix(head, "Transfer") {
			chunk = append(chunk, "\r\n"...)
		}
		c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		sent := 0
		for {
			n, err := c.Write(chunk)
			sent += n
			if err != nil {
				break
			}
		}
		if sent > 4<<20 {
			t.Errorf("%s: %d bytes went to a provider that reads none", head, sent)
		}
	}
}

// Thousands of requests in one write, to a provider that reads them slowly.
func TestManyPipelined(t *testing.T) {
	const n = 3000
	got := make(chan int, 1)
	p := raw(t, func(c *net.UnixConn) {
		br := bufio.NewReaderSize(c, 64)
		for i := range n {
			req, err := http.ReadRequest(br)
			if err != nil || req.URL.Path != fmt.Sprintf("/%d", i) || req.Header.Get("X-PV-Role") != "any" {
				t.Errorf("request %d: %+v, %v", i, req, err)
				break
			}
			if i%1000 == 0 {
				time.Sleep(50 * time.Millisecond)
			}
		}
		_, err := br.ReadByte()
		if err == io.EOF {
			got <- n
		}
		close(got)
	})
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
	}
	c := p.Dial("unix")
	if _, err := c.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	if <-got != n {
		t.Error("not all requests came, or the end did not")
	}
}

// What a consumer says after its Upgrade waits for the provider's answer, and
// is then HTTP or not.
func TestSpeaksBeforeTheAnswer(t *testing.T) {
	const early = "GET /early HTTP/1.1\r\nX-PV-Role: root\r\n\r\n"
	for answer, want := range map[string]string{
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                                 early,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                             "GET /early HTTP/1.1\r\nX-PV-Client: consumer\r\nX-PV-Role: any\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n": early,
	} {
		p := raw(t, func(c *net.UnixConn) {
			br := bufio.NewReader(c)
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if b, err := br.Peek(1); err == nil {
				t.Errorf("the provider read %q before it answered", b)
			}
			c.SetReadDeadline(time.Time{})
			for _, b := range []byte(answer) { // byte by byte
				c.Write([]byte{b})
			}
			got := make([]byte, len(want))
			io.ReadFull(br, got)
			fmt.Fprintf(c, "%q", got)
		})
		c := p.Dial("unix")
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"+early)
		all, err := io.ReadAll(c)
		if want := answer + fmt.Sprintf("%q", want); string(all) != want || err != nil {
			t.Errorf("%q, %v, want %q", all, err, want)
		}
	}
}

// A provider that would change to HTTP/2, where nobody looks at the requests,
// is not asked to, and what follows is a request like all others.
func TestNoHTTP2(t *testing.T) {
	p := raw(t, func(c *net.UnixConn) {
		br := bufio.NewReader(c)
		for range 2 {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if req.Header.Get("Upgrade") != "" {
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")
				io.Copy(c, br)
				return
			}
			who := req.Header.Get("X-PV-Role") + " " + req.URL.Path
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(who), who)
		}
	})
	c := p.Dial("unix")
	io.WriteString(c, "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"+
		"GET /2 HTTP/1.1\r\nHost: x\r\nX-PV-Role: root\r\n\r\n")
	all, _ := io.ReadAll(c)
	if !strings.Contains(string(all), "any /1HTTP/1.1 200") || !strings.HasSuffix(string(all), "any /2") {
		t.Errorf("%q", all)
	}
	// Without asking there is no HTTP/2 at all.
	if got := p.Ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 505 ") {
		t.Errorf("%q", got)
	}
}

// Descriptors are no part of HTTP: they end here, and the request goes on.
func TestDescriptorsEnd(t *testing.T) {
	p := raw(t, func(c *net.UnixConn) {
		b, oob := make([]byte, 1<<10), make([]byte, 1<<10)
		n, oobn, _, _, _ := c.ReadMsgUnix(b, oob)
		fmt.Fprintf(c, "%d %t", oobn, bytes.HasPrefix(b[:n], []byte("GET / HTTP/1.0\r\nX-PV-Client: consumer\r\n")))
	})
	before := descriptors(t)
	for range 20 {
		c := p.Dial("unix")
		if _, _, err := c.WriteMsgUnix([]byte("GET / HTTP/1.0\r\n\r\n"), unix.UnixRights(0, 1, 2), nil); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); string(b) != "0 true" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
		c.Close()
	}
	settle(t, "descriptors", before, descriptors)
}

// A connection that nobody uses is a few hundred bytes and no goroutine.
func TestIdleCostsLittle(t *testing.T) {
	p := raw(t, func(c *net.UnixConn) {
		br := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	once := p.Dial("unix")
	ask(t, once)
	goroutines := runtime.NumGoroutine()
	const n = 100
	for range n {
		ask(t, p.Dial("unix"))
	}
	// The provider of this test has one for each.
	if more := runtime.NumGoroutine() - goroutines; more > n+5 {
		t.Errorf("%d goroutines for %d connections", more-n, n)
	}
	if s := p.Mesh.Status()[0]; s.Active != n+1 {
		t.Errorf("%d connections are open, not %d", s.Active, n+1)
	}
}

func ask(t *testing.T, c net.Conn) {
	t.Helper()
	const want = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("%q, %v", b, err)
	}
}

// A consumer that opens all the connections it can, each with most of a head,
// takes neither memory nor threads; one that asks properly has its turn when
// they are gone.
func TestManyHalfHeads(t *testing.T) {
	p := raw(t, func(c *net.UnixConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	var before, with runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	head := "GET / HTTP/1.1\r\nA: " + strings.Repeat("x", 4000)
	var conns []net.Conn
	for range 3000 {
		c, err := net.Dial("unix", p.Consumer.Path(p.Link.Target))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, head)
		conns = append(conns, c)
	}
	for end := time.Now().Add(10 * time.Second); p.Mesh.Status()[0].Active < 1024; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections at once", p.Mesh.Status()[0].Active)
		}
	}
	runtime.ReadMemStats(&with)
	if grown := int64(with.HeapInuse+with.StackInuse) - int64(before.HeapInuse+before.StackInuse); grown > 24<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	for _, c := range conns {
		c.Close()
	}
	ask(t, p.Dial("unix"))
}

// Every way in which a connection ends leaves nothing.
func TestNothingLeaks(t *testing.T) {
	p := raw(t, func(c *net.UnixConn) {
		c.Read(make([]byte, 1<<10))
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nx")
	})
	round := func() {
		for _, in := range []string{
			"", "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no request\r\n\r\n",
			"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf",
			"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
			"GET / HTTP/1.1\r\n\r\nbad again\r\n\r\n",
			"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nrest",
		} {
			for _, half := range []bool{true, false} {
				c := p.Dial("unix")
				io.WriteString(c, in)
				if half {
					c.CloseWrite()
					io.Copy(io.Discard, c)
				}
				c.Close()
			}
		}
	}
	round()
	p.WaitIdle()
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	for range 5 {
		round()
	}
	p.WaitIdle()
	settle(t, "descriptors", files, descriptors)
	settle(t, "goroutines", goroutines, func(*testing.T) int { return runtime.NumGoroutine() })
}

// A link that is revoked while its consumers are in every state cuts them.
func TestRevoked(t *testing.T) {
	p := raw(t, func(c *net.UnixConn) { io.Copy(io.Discard, c) })
	var open []net.Conn
	for _, in := range []string{"", "GET", "GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf", "bad\r\n\r\n"} {
		c := p.Dial("unix")
		io.WriteString(c, in)
		open = append(open, c)
	}
	start := time.Now()
	p.Mesh.Apply([]xconnect.Link{})
	for i, c := range open {
		if b, err := io.ReadAll(c); err != nil && len(b) == 0 && os.IsTimeout(err) {
			t.Errorf("connection %d goes on", i)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// settle waits for a count to be what it was.
func settle(t *testing.T, what string, want int, count func(*testing.T) int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := count(t)
		if got <= want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d %s, %d before", got, what, want)
		}
	}
}

package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/rest"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

// serve runs a provider with net/http and returns the consumer's client.
func serve(t *testing.T, h http.HandlerFunc) (*xconnecttest.Pair, *http.Client) {
	t.Helper()
	p := xconnecttest.New(t, rest.Plugin{Loops: xconnecttest.Loops(t)})
	p.Link.Role = "admin"
	srv := &http.Server{Handler: h}
	l := p.Listen("unix")
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	p.Start()
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", p.Consumer.Path(p.Link.Target))
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return p, &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func who(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	fmt.Fprintf(w, "%v %v %s", r.Header["X-Pv-Client"], r.Header["X-Pv-Role"], r.URL.Path)
}

func TestIdentityOnEveryRequest(t *testing.T) {
	_, c := serve(t, who)
	for i := range 5 {
		req, _ := http.NewRequest("POST", fmt.Sprintf("http://x/%d", i), strings.NewReader("body"))
		req.Header["x-pv-role"] = []string{"root", "root"}
		req.Header.Set("X-PV-Client", "forged")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprintf("[consumer] [admin] /%d", i); string(b) != want {
			t.Errorf("request %d: %q, want %q", i, b, want)
		}
	}
}

func TestPipelined(t *testing.T) {
	p, _ := serve(t, who)
	c := p.Dial("unix")
	io.WriteString(c, strings.Repeat("GET /p HTTP/1.1\r\nHost: x\r\nX-PV-Role: root\r\n\r\n", 50))
	br := bufio.NewReader(c)
	for i := range 50 {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != "[consumer] [admin] /p" {
			t.Fatalf("response %d: %q", i, b)
		}
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	const size = 64 << 20
	_, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		w.Header().Set("Trailer", "Sum")
		fmt.Fprintf(w, "%d %x\n", n, h.Sum(nil))
		io.CopyN(w, zeros{}, size)
		w.Header().Set("Sum", "done")
	})
	h := sha256.New()
	io.CopyN(h, zeros{}, size)
	for _, chunked := range []bool{false, true} {
		req, _ := http.NewRequest("PUT", "http://x/", io.LimitReader(zeros{}, size))
		if !chunked {
			req.ContentLength = size
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(resp.Body)
		l, _ := br.ReadString('\n')
		n, err := io.Copy(io.Discard, br)
		resp.Body.Close()
		if want := fmt.Sprintf("%d %x\n", size, h.Sum(nil)); l != want || n != size || err != nil || resp.Trailer.Get("Sum") != "done" {
			t.Errorf("chunked %v: %q, then %d bytes, %v, trailer %v", chunked, l, n, err, resp.Trailer)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestExpectContinue(t *testing.T) {
	p, _ := serve(t, who)
	c := p.Dial("unix")
	io.WriteString(c, "POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	br := bufio.NewReader(c)
	l, err := br.ReadString('\n')
	if err != nil || l != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", l, err)
	}
	br.ReadString('\n')
	io.WriteString(c, "body")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%+v, %v", resp, err)
	}
}

func TestEventsArriveAsTheyAreSent(t *testing.T) {
	next := make(chan bool)
	_, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	})
	resp, err := c.Get("http://x/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	for i := range 3 {
		if l, err := br.ReadString('\n'); err != nil || l != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q, %v", l, err)
		}
		br.ReadString('\n')
		next <- true
	}
}

func TestUpgrade(t *testing.T) {
	p, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" || r.URL.Path == "/no" {
			who(w, r)
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst:"+r.Header.Get("X-PV-Role")+";")
		io.Copy(c, rw)
	})
	ask := "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	c := p.Dial("unix")
	fmt.Fprintf(c, ask+"early", "yes")
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%+v, %v", resp, err)
	}
	io.WriteString(c, " and \x00 not HTTP\r\n\r\n")
	c.CloseWrite()
	if b, err := io.ReadAll(br); err != nil || string(b) != "first:admin;early and \x00 not HTTP\r\n\r\n" {
		t.Errorf("%q, %v", b, err)
	}

	// A provider that declines: HTTP goes on, with the identity.
	c = p.Dial("unix")
	fmt.Fprintf(c, ask, "no")
	br = bufio.NewReader(c)
	for i := range 3 {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); !strings.HasPrefix(string(b), "[consumer] [admin]") {
			t.Errorf("response %d: %q", i, b)
		}
		io.WriteString(c, "GET /more HTTP/1.1\r\nHost: x\r\nX-PV-Role: root\r\n\r\n")
	}
}

// A provider of HTTP/1.0, and a consumer that ends its side with the request.
func TestHalfClose(t *testing.T) {
	p := xconnecttest.New(t, rest.Plugin{Loops: xconnecttest.Loops(t)})
	p.Serve("unix", func(c *net.UnixConn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s", req.Header.Get("X-PV-Client"))
	})
	p.Start()
	if got := p.Ask("GET /info HTTP/1.0\r\n\r\n"); got != "HTTP/1.0 200 OK\r\n\r\nconsumer" {
		t.Errorf("%q", got)
	}
}

// A request that is refused never reaches the provider, and says why.
func TestRefusalIsAnswered(t *testing.T) {
	var asked atomic.Int32
	p, _ := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for in, want := range map[string]string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "HTTP/1.1 400 Bad Request",
		"GET / HTTP/1.1\r\nA: " + strings.Repeat("x", 1<<20):                                             "HTTP/1.1 431 Request Header Fields Too Large",
	} {
		c := p.Dial("unix")
		io.WriteString(c, in)
		b, _ := io.ReadAll(c)
		if !bytes.HasPrefix(b, []byte(want)) {
			t.Errorf("%.60q: %.200q", in, b)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("the provider was asked %d times", asked.Load())
	}
	if s := p.Mesh.Status()[0]; s.Refused != 2 {
		t.Errorf("counted %d refusals", s.Refused)
	}
}

func TestNoProvider(t *testing.T) {
	p := xconnecttest.New(t, rest.Plugin{Loops: xconnecttest.Loops(t)})
	p.Start()
	if got := p.Ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 Bad Gateway") {
		t.Errorf("%q", got)
	}
}

func TestCurl(t *testing.T) {
	testreq.Tool(t, "curl")
	p, _ := serve(t, who)
	for _, args := range [][]string{{}, {"-0"}, {"-H", "X-PV-Role: root"}, {"-d", "data", "-H", "Transfer-Encoding: chunked"}} {
		out, err := p.Consumer.Command("curl", append([]string{"-s", "--unix-socket", p.Link.Target, "http://localhost/c"}, args...)...).CombinedOutput()
		if err != nil || string(out) != "[consumer] [admin] /c" {
			t.Errorf("curl %v: %q, %v", args, out, err)
		}
	}
}

func TestNetcat(t *testing.T) {
	testreq.Tool(t, "nc.openbsd")
	p, _ := serve(t, who)
	nc := p.Consumer.Command("nc.openbsd", "-N", "-U", p.Link.Target)
	nc.Stdin = strings.NewReader("GET /n HTTP/1.0\r\nX-PV-Role: root\r\n\r\n")
	out, err := nc.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\r\n\r\n[consumer] [admin] /n") {
		t.Errorf("%q, %v", out, err)
	}
}

// A client that sends its first head a byte at a time is told and cut, one that
// does so later is cut; one that is quiet between two requests is not.
func TestSlowHead(t *testing.T) {
	p := xconnecttest.New(t, rest.Plugin{Loops: xconnecttest.Loops(t), HeadTime: 200 * time.Millisecond})
	srv := &http.Server{Handler: http.HandlerFunc(who)}
	go srv.Serve(p.Listen("unix"))
	t.Cleanup(func() { srv.Close() })
	p.Start()
	slow := func(c net.Conn) {
		for _, b := range []byte("GET /slow HTTP/1.1\r\nHost: x\r\n") {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}

	c := p.Dial("unix")
	go slow(c)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), "longer than 200ms") || err != nil {
		t.Errorf("%s: %q, %v", resp.Status, b, err)
	}

	c = p.Dial("unix")
	br := bufio.NewReader(c)
	for range 2 {
		io.WriteString(c, "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		time.Sleep(400 * time.Millisecond)
	}
	go slow(c)
	start := time.Now()
	if rest, err := io.ReadAll(br); len(rest) > 0 || time.Since(start) > 5*time.Second {
		t.Errorf("a slow later head: %q, %v after %v", rest, err, time.Since(start))
	}
}

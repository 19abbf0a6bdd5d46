package ctrl_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// alive checks that the server still answers, and soon.
func alive(t testing.TB, socket string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := pvctrl.NewClient(socket).Containers(ctx); err != nil {
		t.Errorf("the server does not answer: %v", err)
	}
}

// What upstream's server dies of, and what else is too much.
func TestTooMuch(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(ctrltest.Norole)})
	const tooLarge = "HTTP/1.1 413 Request Entity Too Large" + page
	for _, c := range []struct{ name, request, want string }{
		{"6000 characters", "GET /" + strings.Repeat("A", 6000) + " HTTP/1.0\r\n\r\n", unknown10("/" + strings.Repeat("A", 6000))},
		{"a path of 100 KB", "GET /" + strings.Repeat("A", 100<<10) + " HTTP/1.0\r\n\r\n", tooLarge},
		{"a path of 100 KB in segments", "GET " + strings.Repeat("/A", 50<<10) + " HTTP/1.0\r\n\r\n", tooLarge},
		{"a path of 60 KB in segments", "GET " + strings.Repeat("/A", 30<<10) + " HTTP/1.0\r\n\r\n", unknown10(strings.Repeat("/A", 30<<10))},
		{"a line without an end", strings.Repeat("G", 1<<20), tooLarge},
		{"a field without an end", "GET /daemons HTTP/1.0\r\nA: " + strings.Repeat("x", 1<<20), tooLarge},
		{"fields without an end", "GET /daemons HTTP/1.0\r\n" + strings.Repeat("A: b\r\n", 1<<18), tooLarge},
		{"many fields", "GET /daemons HTTP/1.0\r\n" + strings.Repeat("A: b\r\n", 129) + "\r\n", tooLarge},
		{"not too many", "GET /nope HTTP/1.0\r\n" + strings.Repeat("A: b\r\n", 128) + "\r\n", unknown10("/nope")},
		{"a trailer without an end", "POST /signal HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 1<<18), tooLarge},
		{"zeros", strings.Repeat("\x00", 1<<20), tooLarge},
		{"a body of 2 MB for 4 KB", "POST /signal HTTP/1.0\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("x", 2000000),
			"HTTP/1.0 507 Insufficient Storage" + json10 + `{"Error":"Not enough disk space available"}`},
		{"the same in chunks", "POST /signal HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 488) + "0\r\n\r\n",
			"HTTP/1.0 507 Insufficient Storage" + json10 + `{"Error":"Not enough disk space available"}`},
	} {
		if got := talk(t, socket, c.request); got != c.want {
			t.Errorf("%s:\n got %.300q\nwant %.300q", c.name, got, c.want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		garbage := make([]byte, rng.IntN(4096))
		for i := range garbage {
			garbage[i] = byte(rng.Uint32())
		}
		if got := talk(t, socket, string(garbage)); len(garbage) > 0 && got != "HTTP/1.1 400 Bad Request"+page {
			t.Fatalf("garbage of %d bytes: %.200q", len(garbage), got)
		}
	}
}

// ends waits until the server closes the connection and gives what it said.
func ends(t *testing.T, c net.Conn, within time.Duration) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(within))
	text, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is still open after %v", within)
	}
	return date.ReplaceAllString(string(text), "Date: D\r\n")
}

// Nothing that stands still, or nearly, is kept.
func TestTooSlow(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	big := bytes.Repeat([]byte("big "), 4<<20)
	sum := sha256.Sum256(big)
	name := hex.EncodeToString(sum[:])
	if err := m.PutObject(t.Context(), name, -1, bytes.NewReader(big)); err != nil {
		t.Fatal(err)
	}
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName),
		IdleTime: 500 * time.Millisecond, HeadTime: 300 * time.Millisecond, PaceTime: 500 * time.Millisecond})
	timeout := "HTTP/1.1 408 Request Timeout" + page
	drip := func(c net.Conn, text string, pause time.Duration) { // until the server has enough
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
	for _, c := range []struct {
		name, text string // sent at once
		drip       string // sent in single bytes after it
		want       string
	}{
		{"nothing", "", "", ""},
		{"a head that stops", "GET /daemons HTTP/1.1\r\nHost:", "", timeout},
		{"a head in single bytes", "GET /daemons HTTP/1.1\r\n", strings.Repeat("A: b\r\n", 100), timeout},
		{"nothing after a request", "GET /daemons HTTP/1.1\r\n\r\n", "", ok11},
		{"a body that stops", "PUT /user-meta/a HTTP/1.1\r\nContent-Length: 4000\r\n\r\nabc", "", timeout},
		{"a body in single bytes", "PUT /user-meta/a HTTP/1.1\r\nContent-Length: 4000\r\n\r\n", strings.Repeat("x", 1000), timeout},
		{"an object in single bytes", "PUT /objects/" + strings.Repeat("a", 64) + " HTTP/1.1\r\nContent-Length: 4000\r\n\r\n", strings.Repeat("x", 1000), timeout},
		{"a trailer that stops in a line", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nA", "", timeout},
		{"a trailer that stops", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "", timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, socket)
			io.WriteString(conn, c.text)
			go drip(conn, c.drip, 5*time.Millisecond)
			if got := ends(t, conn, 15*time.Second); got != c.want && got != c.want+timeout {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("a reader that stops", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, socket)
		io.WriteString(conn, "GET /objects/"+name+" HTTP/1.1\r\n\r\n")
		time.Sleep(1500 * time.Millisecond)
		if got := ends(t, conn, 15*time.Second); len(got) >= len(big) {
			t.Errorf("all %d bytes came", len(got))
		}
	})
	t.Run("a steady one", func(t *testing.T) { // longer than all the times, and never standing still
		t.Parallel()
		conn := dial(t, socket)
		fmt.Fprintf(conn, "PUT /objects/%s HTTP/1.0\r\nContent-Length: %d\r\n\r\n", name, 1<<20)
		for range 16 {
			conn.Write(make([]byte, 1<<16))
			time.Sleep(40 * time.Millisecond)
		}
		if got := ends(t, conn, 15*time.Second); got != "HTTP/1.0 200 OK"+json10 {
			t.Errorf("got %q", got)
		}
	})
}

// slowStore takes its time before it reads.
type slowStore struct {
	*ctrltest.Machine
	delay time.Duration
}

func (s slowStore) PutObject(ctx context.Context, sum string, size int64, r io.Reader) error {
	time.Sleep(s.delay)
	return s.Machine.PutObject(ctx, sum, size, r)
}

// What takes the server its time is not the client's fault.
func TestSlowBackend(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	b := m.Backend()
	b.Objects = slowStore{m, 500 * time.Millisecond}
	socket := serve(t, ctrl.Options{Backend: b, Owner: as(pvctrl.HostName), PaceTime: 200 * time.Millisecond})
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	sum := sha256.Sum256(text)
	if err := pvctrl.NewClient(socket).PutObject(t.Context(), hex.EncodeToString(sum[:]), int64(len(text)), bytes.NewReader(text)); err != nil {
		t.Error(err)
	}
}

// A simple client sends all of its body before it reads, and can: also when the
// object is there already, or is refused.
func TestSendsFirst(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	text := make([]byte, 40<<20)
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	if err := m.PutObject(t.Context(), name, -1, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName)})
	tooLarge := "HTTP/1.0 507 Insufficient Storage" + json10 + `{"Error":"Not enough disk space available"}`
	for target, want := range map[string]string{
		"/objects/" + name:      "HTTP/1.0 200 OK" + json10,
		"/user-meta/k":          tooLarge,
		"/steps/locals/k":       tooLarge,
		"/daemons/pv-xconnect":  tooLarge,
		"/steps/0/commitmsg":    tooLarge,
		"/drivers/load":         "HTTP/1.0 200 OK" + json10,
		"/objects/" + name[:63]: "HTTP/1.0 400 Bad Request" + json10 + `{"Error":"Request has bad object name"}`,
	} {
		c := dial(t, socket)
		if _, err := fmt.Fprintf(c, "PUT %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", target, len(text), text); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if got := ends(t, c, 5*time.Second); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// An upload whose client goes leaves nothing behind.
func TestBrokenUpload(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName)})
	text := []byte("half of this")
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	for _, half := range []bool{false, true} {
		c := dial(t, socket)
		fmt.Fprintf(c, "PUT /objects/%s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", name, len(text)+5, text)
		if half {
			c.CloseWrite()
			if got := ends(t, c, 5*time.Second); got != "HTTP/1.1 400 Bad Request"+page {
				t.Errorf("got %q", got)
			}
		}
		c.Close()
	}
	time.Sleep(50 * time.Millisecond)
	if list, _ := m.Objects(t.Context()); len(list) != 0 {
		t.Errorf("stored: %v", list)
	}
	alive(t, socket)
}

// Of large states only a few are in memory at a time; small ones do not wait.
func TestManyStates(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName), PaceTime: time.Second})
	const size = 8 << 20
	piece := make([]byte, 64<<10)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		c := dial(t, socket)
		fmt.Fprintf(c, "PUT /steps/locals/s%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n", i, size)
		if _, err := c.Write(piece); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { // slowly, but without a stop
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					c.Write(piece)
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // until they all have their places
	big := fmt.Sprintf("PUT /steps/locals/big HTTP/1.0\r\nContent-Length: %d\r\n\r\n", size)
	if got, want := talk(t, socket, big), "HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1"+json10+`{"Error":"Too many uploads. Try again"}`; got != want {
		t.Errorf("one more: %q, want %q", got, want)
	}
	small := "PUT /steps/locals/small HTTP/1.0\r\nContent-Length: 39\r\n\r\n" + `{"#spec":"pantavisor-service-system@1"}`
	if got := talk(t, socket, small); got != "HTTP/1.0 200 OK"+json10 {
		t.Errorf("a small one: %q", got)
	}
	if got := talk(t, socket, strings.Replace(big, fmt.Sprint(size), fmt.Sprint(16<<20+1), 1)); !strings.HasPrefix(got, "HTTP/1.0 507 ") {
		t.Errorf("one that is too large: %q", got)
	}
	close(stop)
	wg.Wait()
}

// A client that closes its sending side, or goes, is served.
func TestClientGoes(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName)})
	c := dial(t, socket)
	io.WriteString(c, "PUT /user-meta/gone HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")
	c.Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if all, _ := m.Backend().UserMeta.Meta(t.Context()); len(all) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the request of a client that went was not done")
		}
	}
}

// A thousand clients of one container, slow, half-open, or asking for more
// and more, do not keep the others out, and go away without a trace.
func TestThousandClients(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	var mu sync.Mutex
	owner := ctrltest.Norole
	s, err := ctrl.New(ctrl.Options{Backend: m.Backend(), MaxPerContainer: 1000, Owner: func(int) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		return owner, true
	}})
	if err != nil {
		t.Fatal(err)
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if files.Cur < 4500 { // both sides are in this process
		t.Skipf("testreq: only %d descriptors", files.Cur)
	}
	socket := serveOn(t, s)
	before := runtime.NumGoroutine()
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	heap := memory.HeapInuse + memory.StackInuse
	var conns []*net.UnixConn
	for i := range 1000 {
		c, err := unixsock.Dial(t.Context(), "unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		switch i % 4 {
		case 0: // nothing
		case 1:
			io.WriteString(c, "POST /signal HTTP/1.1\r\nContent-")
		case 2:
			io.WriteString(c, "POST /signal HTTP/1.1\r\nContent-Length: 4000\r\n\r\n{")
		case 3:
			io.WriteString(c, "GET /containers HTTP/1.1\r\n\r\n")
		}
	}
	// One more of the same container is told so.
	const many = "HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json\r\n\r\n{\"Error\":\"Too many connections. Try again\"}"
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) { // they may not all be counted yet
		if got := talk(t, socket, ""); got == many {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("one more: %q", got)
		}
	}
	runtime.ReadMemStats(&memory)
	t.Logf("1000 clients: %d KiB each", (memory.HeapInuse+memory.StackInuse-heap)/1000>>10)
	mu.Lock()
	owner = pvctrl.HostName
	mu.Unlock()
	start := time.Now()
	for range 100 {
		alive(t, socket)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("100 requests of the host took %v", took)
	}
	for _, c := range conns {
		c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines stay, of %d before", runtime.NumGoroutine(), before)
		}
	}
}

// Containers cannot take all connections, not even together; the host can.
func TestPlaces(t *testing.T) {
	var owner atomic.Value
	owner.Store("")
	s, err := ctrl.New(ctrl.Options{Backend: ctrltest.NewMachine(nil).Backend(), MaxConns: 8, MaxPerContainer: 2,
		Owner: func(int) (string, bool) { return owner.Load().(string), true }})
	if err != nil {
		t.Fatal(err)
	}
	socket := serveOn(t, s)
	// connects tells whether there is a place, which stays taken.
	connects := func(name string) bool {
		t.Helper()
		owner.Store(name)
		c := dial(t, socket)
		io.WriteString(c, "GET /nope HTTP/1.1\r\n\r\n")
		buf := make([]byte, 512)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(string(buf[:n]), "HTTP/1.1 400 ")
	}
	for i, want := range []struct {
		name string
		ok   bool
	}{
		{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"", true}, {"", true}, {"", false}, {"c", true}, {"d", false},
		{pvctrl.HostName, true}, {pvctrl.HostName, true}, {pvctrl.HostName, false},
	} {
		if got := connects(want.name); got != want.ok {
			t.Errorf("connection %d, of %q: %t", i, want.name, got)
		}
	}
}

// A thousand clients at once, each with a connection for each request.
func TestThousandAtOnce(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName)})
	c := pvctrl.NewClient(socket)
	var wg sync.WaitGroup
	errs := make(chan error, 2000)
	for i := range 1000 {
		wg.Go(func() {
			key := fmt.Sprintf("k%d", i%50)
			errs <- c.PutMeta(t.Context(), pvctrl.UserMeta, key, "v")
			if _, err := c.Meta(t.Context(), pvctrl.UserMeta); err != nil {
				errs <- err
			}
		})
	}
	go func() { wg.Wait(); close(errs) }()
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

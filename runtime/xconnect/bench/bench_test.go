// Package bench measures pv-xconnect beside a direct socket and socat, in one
// run: only ratios of one run on one machine mean something.
//
//	go test -bench . ./runtime/xconnect/bench
//
// PVX_DAEMON names another program that speaks the graph protocol, on the
// socket that PVX_CTRL names, to be measured in the same run.
package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/internal/testreq"
)

// The first byte of a connection says what the provider does: 'S' and a length
// sink that many bytes and answer, 'E' echo until the end, 'C' echo one byte
// and close first.
func provide(c net.Conn) {
	defer c.Close()
	var h [9]byte
	if _, err := io.ReadFull(c, h[:1]); err != nil {
		return
	}
	switch h[0] {
	case 'S':
		if _, err := io.ReadFull(c, h[1:]); err != nil {
			return
		}
		buf := make([]byte, 64<<10)
		for n := int64(binary.BigEndian.Uint64(h[1:])); n > 0; {
			k, err := c.Read(buf)
			if err != nil {
				return
			}
			n -= int64(k)
		}
		c.Write([]byte("K"))
		c.Read(h[:1])
	case 'E':
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	case 'C':
		if _, err := io.ReadFull(c, h[:1]); err == nil {
			c.Write(h[:1])
		}
	}
}

// route is one way from a consumer to the provider.
type route struct {
	name      string
	raw, http string // paths as the host sees them
	pid       int    // of the process between; 0: none
}

// routes starts everything once and returns the ways that this machine has.
func routes(b *testing.B) []route {
	b.Helper()
	provider, consumer := testns.Start(b), testns.Start(b)
	consumer.Mkdir("/run/pv")
	serve(b, provider.Path("/run/raw.sock"), provide)
	l := listen(b, provider.Path("/run/http.sock"))
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-PV-Client")+" "+r.Header.Get("X-PV-Role"))
	})}
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	all := []route{{name: "direct", raw: provider.Path("/run/raw.sock"), http: provider.Path("/run/http.sock")}}

	if path, err := exec.LookPath("socat"); err == nil {
		r := route{name: "socat", raw: consumer.Path("/run/pv/socat-raw.sock"), http: consumer.Path("/run/pv/socat-http.sock")}
		for to, from := range map[string]string{r.raw: all[0].raw, r.http: all[0].http} {
			r.pid = start(b, exec.Command(path, "UNIX-LISTEN:"+to+",fork,backlog=128", "UNIX-CONNECT:"+from))
			wait(b, to)
		}
		all = append(all, r)
	}
	bin := filepath.Join(b.TempDir(), "pv-xconnect")
	if out, err := exec.Command("go", "build", "-o", bin, "../../../cmd/pv-xconnect").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	ctrl := filepath.Join(b.TempDir(), "ctrl")
	graphAt(b, ctrl, consumer.PID, provider.PID, "ours")
	ours := exec.Command(bin, "--socket", ctrl, "--log-level", "error")
	all = append(all, daemonRoute(b, consumer, "pv-xconnect", "ours", ours))
	if other := os.Getenv("PVX_DAEMON"); other != "" {
		graphAt(b, os.Getenv("PVX_CTRL"), consumer.PID, provider.PID, "other")
		all = append(all, daemonRoute(b, consumer, "other", "other", exec.Command(other)))
	}
	return all
}

func daemonRoute(b *testing.B, c *testns.Container, name, dir string, cmd *exec.Cmd) route {
	r := route{name: name, raw: c.Path("/run/pv/" + dir + "-raw.sock"), http: c.Path("/run/pv/" + dir + "-http.sock"), pid: start(b, cmd)}
	wait(b, r.raw)
	wait(b, r.http)
	return r
}

func start(b *testing.B, cmd *exec.Cmd) int {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

func listen(b *testing.B, path string) net.Listener {
	b.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

func serve(b *testing.B, path string, f func(net.Conn)) {
	l := listen(b, path)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
}

// graphAt is a pv-ctrl that answers as the runtime does.
func graphAt(b *testing.B, path string, consumer, provider int, dir string) {
	var entries []string
	for _, l := range [][2]string{{"unix", "raw"}, {"rest", "http"}} {
		entries = append(entries, fmt.Sprintf(`{"consumer":"c","consumer_pid":%d,"provider":"p","provider_pid":%d,"name":%q,"type":%q,"role":"admin","interface":%q,"target":"/run/pv/%s-%s.sock","socket":"/run/%s.sock"}`,
			consumer, provider, l[1], l[0], l[0], dir, l[1], l[1]))
	}
	answer := "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[" + strings.Join(entries, ",") + "]"
	serve(b, path, func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, answer)
		}
	})
}

func wait(b *testing.B, path string) {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

func dial(b *testing.B, path string) net.Conn {
	c, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkRoutes(b *testing.B) {
	testreq.Root(b)
	for _, r := range routes(b) {
		b.Run(r.name, func(b *testing.B) {
			for _, n := range []int{1, 16} {
				b.Run(fmt.Sprintf("stream-%d", n), func(b *testing.B) { throughput(b, r, n) })
			}
			for _, n := range []int{1, 64} {
				b.Run(fmt.Sprintf("roundtrip-%d", n), func(b *testing.B) { roundTrips(b, r, n) })
			}
			b.Run("connect-provider-closes", func(b *testing.B) { connects(b, r, 'C') })
			b.Run("connect-consumer-closes", func(b *testing.B) { connects(b, r, 'E') })
			b.Run("http-16", func(b *testing.B) { requests(b, r, 16) })
			b.Run("idle-1000", func(b *testing.B) { idle(b, r, 1000) })
		})
	}
}

// throughput sends 64 KiB an operation, shared by the streams.
func throughput(b *testing.B, r route, streams int) {
	const size = 64 << 10
	b.SetBytes(size)
	each := (b.N + streams - 1) / streams
	parallel(b, streams, func() error {
		c := dial(b, r.raw)
		defer c.Close()
		var h [9]byte
		h[0] = 'S'
		binary.BigEndian.PutUint64(h[1:], uint64(each*size))
		c.Write(h[:])
		buf := make([]byte, size)
		for range each {
			if _, err := c.Write(buf); err != nil {
				return err
			}
		}
		_, err := io.ReadFull(c, h[:1])
		return err
	})
	report(b, r)
}

func roundTrips(b *testing.B, r route, conns int) {
	parallel(b, conns, func() error {
		c := dial(b, r.raw)
		defer c.Close()
		c.Write([]byte("E"))
		buf := make([]byte, 64)
		for range (b.N + conns - 1) / conns {
			if _, err := c.Write(buf); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				return err
			}
		}
		return nil
	})
}

func connects(b *testing.B, r route, kind byte) {
	const workers = 16
	parallel(b, workers, func() error {
		buf := []byte{kind, 'x'}
		for range (b.N + workers - 1) / workers {
			c, err := net.Dial("unix", r.raw)
			for err != nil && strings.Contains(err.Error(), "temporarily unavailable") { // a full queue
				time.Sleep(time.Millisecond)
				c, err = net.Dial("unix", r.raw)
			}
			if err != nil {
				return err
			}
			c.Write(buf)
			_, err = io.ReadFull(c, buf[1:])
			c.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func requests(b *testing.B, r route, conns int) {
	want := "c admin"
	if r.name != "pv-xconnect" {
		want = "" // nobody else says who asks
	}
	parallel(b, conns, func() error {
		c := dial(b, r.http)
		defer c.Close()
		br := bufio.NewReader(c)
		for range (b.N + conns - 1) / conns {
			io.WriteString(c, "GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n")
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || !strings.HasPrefix(string(got), want) {
				return fmt.Errorf("answer %q, %w", got, err)
			}
		}
		return nil
	})
}

// idle holds connections open and reports what each costs the process between:
// at once, and when they have been quiet for a while.
func idle(b *testing.B, r route, n int) {
	if r.pid == 0 || r.name == "socat" { // a process for each connection
		b.Skip("no process whose memory would tell")
	}
	for first := true; b.Loop(); first = false { // later rounds use what the first has taken
		before := memory(b, r.pid, "VmRSS")
		perConn := func() float64 { return float64(memory(b, r.pid, "VmRSS")-before) * 1024 / float64(n) }
		var conns []net.Conn
		for range n {
			c := dial(b, r.raw)
			c.Write([]byte("Ex"))
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
			conns = append(conns, c)
		}
		if first {
			b.ReportMetric(perConn(), "bytes/conn")
			time.Sleep(restTime)
			b.ReportMetric(perConn(), "rested-bytes/conn")
			b.ReportMetric(float64(memory(b, r.pid, "VmRSS"))/1024, "rested-total-MiB")
		}
		for _, c := range conns {
			c.Close()
		}
	}
}

// restTime is longer than pv-xconnect takes to notice that nothing passes and
// to give the memory back.
const restTime = 20 * time.Second

func parallel(b *testing.B, n int, f func() error) {
	b.Helper()
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			if err := f(); err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

// report adds the most memory that the process between has needed so far.
func report(b *testing.B, r route) {
	if r.pid != 0 {
		b.ReportMetric(float64(memory(b, r.pid, "VmHWM"))/1024, "peak-MiB")
	}
}

func memory(b *testing.B, pid int, key string) int {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == key+":" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

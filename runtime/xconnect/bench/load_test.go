package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
)

// load is something to do on every route.
type load struct {
	name string
	run  func(b *testing.B, r route, t *table)
}

var loads = []load{
	{"stream-1", func(b *testing.B, r route, t *table) { throughput(b, r, t, 1) }},
	{"stream-16", func(b *testing.B, r route, t *table) { throughput(b, r, t, 16) }},
	{"roundtrip-1", func(b *testing.B, r route, t *table) { roundTrips(b, r, t, 1) }},
	{"roundtrip-64", func(b *testing.B, r route, t *table) { roundTrips(b, r, t, 64) }},
	{"connect-provider-closes", func(b *testing.B, r route, t *table) { connects(b, r, t, 'C') }},
	{"http-16", func(b *testing.B, r route, t *table) { requests(b, r, t, 16) }},
	{"http-connect-16", func(b *testing.B, r route, t *table) { singleRequests(b, r, t, 16) }},
	{"idle-1000-unix", func(b *testing.B, r route, t *table) {
		idle(b, r, t, 1000, r.raw, func(path string) net.Conn { return spoken(b, path, "Ex", 1) })
	}},
	{"idle-1000-rest", func(b *testing.B, r route, t *table) {
		idle(b, r, t, 1000, r.http, func(path string) net.Conn { return spoken(b, path, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 16) })
	}},
	{"idle-1000-dbus", func(b *testing.B, r route, t *table) {
		idle(b, r, t, 1000, r.bus, func(path string) net.Conn { return busClient(b, path) })
	}},
	{"idle-1000-dbus-name", func(b *testing.B, r route, t *table) {
		idle(b, r, t, 1000, r.name, func(path string) net.Conn { return busClient(b, path) })
	}},
	{"connect-consumer-closes", func(b *testing.B, r route, t *table) { connects(b, r, t, 'E') }},
}

func BenchmarkRoutes(b *testing.B) {
	testreq.Root(b)
	all := routes(b)
	var results table
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			for _, r := range all {
				b.Run(r.way, func(b *testing.B) { l.run(b, r, &results) })
			}
		})
	}
	b.Log(results.String())
}

// throughput sends 64 KiB an operation, shared by the streams.
func throughput(b *testing.B, r route, t *table, streams int) {
	const size = 64 << 10
	b.SetBytes(size)
	each := (b.N + streams - 1) / streams
	m := measure(b, r, t)
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
	m.rate("MB/s", float64(each*streams*size)/1e6)
	m.memory()
}

func roundTrips(b *testing.B, r route, t *table, conns int) {
	var lat latencies
	m := measure(b, r, t)
	parallel(b, conns, func() error {
		c := dial(b, r.raw)
		defer c.Close()
		c.Write([]byte("E"))
		buf := make([]byte, 64)
		mine := make([]time.Duration, (b.N+conns-1)/conns)
		for i := range mine {
			start := time.Now()
			if _, err := c.Write(buf); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				return err
			}
			mine[i] = time.Since(start)
		}
		lat.add(mine)
		return nil
	})
	m.rate("trips/s", float64(len(lat.all)))
	m.latency(&lat)
	m.processor(len(lat.all))
}

func connects(b *testing.B, r route, t *table, kind byte) {
	const workers = 16
	each := (b.N + workers - 1) / workers
	m := measure(b, r, t)
	parallel(b, workers, func() error {
		buf := []byte{kind, 'x'}
		for range each {
			c, err := net.Dial("unix", r.raw)
			for err != nil && strings.Contains(err.Error(), "temporarily unavailable") { // a full queue
				time.Sleep(time.Millisecond)
				c, err = net.Dial("unix", r.raw)
			}
			if err != nil {
				return err
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			c.Write(buf)
			_, err = io.ReadFull(c, buf[1:])
			c.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	m.rate("conns/s", float64(each*workers))
	m.processor(each * workers)
}

func requests(b *testing.B, r route, t *table, conns int) {
	want := "c admin"
	if r.way != "pv-xconnect" {
		want = "" // nobody else says who asks
	}
	var lat latencies
	m := measure(b, r, t)
	parallel(b, conns, func() error {
		c := dial(b, r.http)
		defer c.Close()
		br := bufio.NewReader(c)
		mine := make([]time.Duration, (b.N+conns-1)/conns)
		for i := range mine {
			start := time.Now()
			io.WriteString(c, "GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n")
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || !strings.HasPrefix(string(got), want) {
				return fmt.Errorf("answer %q, %w", got, err)
			}
			mine[i] = time.Since(start)
		}
		lat.add(mine)
		return nil
	})
	m.rate("requests/s", float64(len(lat.all)))
	m.latency(&lat)
	m.processor(len(lat.all))
}

// singleRequests has a connection for each request, as curl does.
func singleRequests(b *testing.B, r route, t *table, workers int) {
	each := (b.N + workers - 1) / workers
	m := measure(b, r, t)
	parallel(b, workers, func() error {
		for range each {
			c, err := net.Dial("unix", r.http)
			if err != nil {
				return err
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(c, "GET /info HTTP/1.0\r\n\r\n")
			answer, err := io.ReadAll(c)
			c.Close()
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 ") {
				return fmt.Errorf("answer %q, %w", answer, err)
			}
		}
		return nil
	})
	m.rate("requests/s", float64(each*workers))
	m.processor(each * workers)
}

// idle holds connections open and notes what all of them cost the process
// between: at once, and when they have been quiet for a while.
func idle(b *testing.B, r route, t *table, n int, path string, open func(path string) net.Conn) {
	if r.pid == 0 || r.way == "other" && path != r.raw {
		b.Skip("no process whose memory would tell")
	}
	if _, err := os.Stat(path); err != nil {
		b.Skip("there is no such link")
	}
	open(path).Close()
	for first := true; b.Loop(); first = false { // later rounds use what the first has taken
		before := memory(b, r.pid, "VmRSS")
		var conns []net.Conn
		for range n {
			conns = append(conns, open(path))
		}
		if first {
			m := measure(b, r, t)
			more := func() float64 { return float64(memory(b, r.pid, "VmRSS")-before) / 1024 }
			m.put("MiB", more())
			time.Sleep(restTime)
			m.put("MiB-rested", more())
		}
		for _, c := range conns {
			c.Close()
		}
	}
	time.Sleep(time.Second)
}

// restTime is longer than pv-xconnect takes to notice that nothing passes and
// to give the memory back.
const restTime = 25 * time.Second

// spoken is a connection on which there was one exchange.
func spoken(b *testing.B, path, say string, answer int) net.Conn {
	b.Helper()
	c := dial(b, path)
	io.WriteString(c, say)
	if _, err := io.ReadFull(c, make([]byte, answer)); err != nil {
		b.Fatal(err)
	}
	return c
}

func dial(b *testing.B, path string) net.Conn {
	c, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

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

// latencies are those of many clients.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(some []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, some...)
}

// measurement is one run of a load on a route.
type measurement struct {
	b     *testing.B
	r     route
	t     *table
	load  string
	ticks int
}

func measure(b *testing.B, r route, t *table) measurement {
	m := measurement{b: b, r: r, t: t, load: strings.Split(b.Name(), "/")[1]}
	t.forget(m.load, r.way)
	if r.pid != 0 {
		m.ticks = ticks(b, r.pid)
	}
	return m
}

func (m measurement) put(unit string, v float64) {
	m.b.ReportMetric(v, unit)
	m.t.put(m.load+" "+unit, m.r.way, v)
}

func (m measurement) rate(unit string, n float64) { m.put(unit, n/m.b.Elapsed().Seconds()) }

func (m measurement) latency(l *latencies) {
	slices.Sort(l.all)
	for _, p := range []int{50, 99} {
		m.put(fmt.Sprintf("p%d-µs", p), float64(l.all[(len(l.all)-1)*p/100].Nanoseconds())/1e3)
	}
}

// processor notes the time that the process between has used for each of n.
func (m measurement) processor(n int) {
	if m.r.pid != 0 {
		m.put("cpu-µs", float64(ticks(m.b, m.r.pid)-m.ticks)*10_000/float64(n))
	}
}

// memory notes the most that the process between has needed so far.
func (m measurement) memory() {
	if m.r.pid != 0 {
		m.put("peak-MiB", float64(memory(m.b, m.r.pid, "VmHWM"))/1024)
	}
}

// ticks is the processor time of a process, in hundredths of a second: fields 14
// and 15 of /proc/pid/stat, proc(5).
func ticks(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	user, uerr := strconv.Atoi(f[11])
	system, serr := strconv.Atoi(f[12])
	if uerr != nil || serr != nil {
		b.Fatalf("%q", text)
	}
	return user + system
}

func memory(b *testing.B, pid int, key string) int {
	b.Helper()
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

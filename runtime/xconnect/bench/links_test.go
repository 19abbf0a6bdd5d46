package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/internal/testreq"
)

// BenchmarkTenThousandLinks asks the daemon to fetch a graph of 10,000 links of
// one consumer, waits for their sockets, and has it take them away.
func BenchmarkTenThousandLinks(b *testing.B) {
	testreq.Root(b)
	const n = 10_000
	provider, consumer := testns.Start(b), testns.Start(b)
	consumer.Mkdir("/run/pv")
	serve(b, provider.Path("/run/raw.sock"), provide)
	var body atomic.Pointer[string]
	set := func(entries ...string) {
		text := "[" + strings.Join(entries, ",") + "]"
		body.Store(&text)
	}
	var entries []string
	for i := range n {
		entries = append(entries, fmt.Sprintf(`{"consumer":"c","consumer_pid":%d,"provider":"p","provider_pid":%d,"name":"n%d","type":"unix","role":"any","interface":"unix","target":"/run/pv/%d.sock","socket":"/run/raw.sock"}`,
			consumer.PID, provider.PID, i, i))
	}
	set()
	ctrl := filepath.Join(b.TempDir(), "ctrl")
	graphAt(b, ctrl, func() string { return *body.Load() })
	cmd := exec.Command(program(b), "--socket", ctrl, "--log-level", "error")
	pid := start(b, cmd)
	time.Sleep(500 * time.Millisecond)
	until := func(want int) time.Duration {
		b.Helper()
		began := time.Now()
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			b.Fatal(err)
		}
		for {
			// Counting them takes time from the daemon: one tells when it is worth it.
			if _, err := os.Lstat(consumer.Path("/run/pv/9999.sock")); (err == nil) != (want > 0) {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			left, err := os.ReadDir(consumer.Path("/run/pv"))
			if err != nil {
				b.Fatal(err)
			}
			took := time.Since(began)
			if len(left) == want {
				return took
			}
			if took > time.Minute {
				b.Fatalf("%d sockets, not %d", len(left), want)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	var up, down time.Duration
	var work int
	for b.Loop() {
		set(entries...)
		before := ticks(b, pid)
		up += until(n)
		work += ticks(b, pid) - before
		set()
		down += until(0)
	}
	b.ReportMetric(up.Seconds()/float64(b.N), "s/made")
	b.ReportMetric(float64(work)/100/float64(b.N), "cpu-s/made")
	b.ReportMetric(down.Seconds()/float64(b.N), "s/taken-away")
	b.ReportMetric(float64(memory(b, pid, "VmHWM"))/1024, "peak-MiB")
}

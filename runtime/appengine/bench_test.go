package appengine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// defs25 are 25 containers.
func defs25() (defs []string) {
	for i := range 25 {
		defs = append(defs, actor(fmt.Sprintf("c%02d", i), does("wait"), app))
	}
	return defs
}

// BenchmarkCold25 is the time from the start of pv-appengine without a storage,
// the exports included, until 25 containers run.
func BenchmarkCold25(b *testing.B) {
	r := newRig(b, defs25()...)
	if _, err := pvengine(); err != nil {
		b.Fatal(err)
	}
	if _, err := xconnect(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cmd, out := r.daemon(nil)
		eventuallyIn(b, time.Minute, "READY", func() bool {
			s, err := os.ReadFile(filepath.Join(r.opts.RunDir, "device-meta", "pantavisor.status"))
			return err == nil && string(s) == "READY"
		})
		b.StopTimer()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err, out)
		}
		if err := os.RemoveAll(r.opts.Storage); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkReady25 is the time from the start of the engine, with a storage
// that is filled, until 25 containers are READY and until all is down again.
func BenchmarkReady25(b *testing.B) {
	r := newRig(b, defs25()...)
	r.start().ready().stop()
	var up, down time.Duration
	for b.Loop() {
		began := time.Now()
		r.start().ready()
		up += time.Since(began)
		began = time.Now()
		r.stop()
		down += time.Since(began)
		if r.err != nil {
			b.Fatal(r.err)
		}
	}
	b.ReportMetric(up.Seconds()/float64(b.N), "s/ready")
	b.ReportMetric(down.Seconds()/float64(b.N), "s/down")
}

// BenchmarkRestart is one container, stopped and started by a user.
func BenchmarkRestart(b *testing.B) {
	r := newRig(b, actor("calm", does("wait"), app))
	r.start().ready()
	for b.Loop() {
		pid := r.pid("calm")
		if err := r.ctrl.ContainerAction(b.Context(), "calm", "restart"); err != nil {
			b.Fatal(err)
		}
		eventually(b, "another process", func() bool { p := r.pid("calm"); return p != 0 && p != pid })
	}
}

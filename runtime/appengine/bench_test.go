package appengine_test

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkReady25 is the time from the start of the engine, with a storage
// that is filled, until 25 containers are READY and until all is down again.
func BenchmarkReady25(b *testing.B) {
	var defs []string
	for i := range 25 {
		defs = append(defs, actor(fmt.Sprintf("c%02d", i), does("wait"), app))
	}
	r := newRig(b, defs...)
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
		time.Sleep(20 * time.Millisecond) // until it waits for the signal
		if err := r.ctrl.ContainerAction(b.Context(), "calm", "restart"); err != nil {
			b.Fatal(err)
		}
		eventually(b, "another process", func() bool { p := r.pid("calm"); return p != 0 && p != pid })
	}
}

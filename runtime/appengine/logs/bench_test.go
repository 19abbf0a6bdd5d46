package logs_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

func benchLine(n int) []byte {
	return append(bytes.Repeat([]byte("x"), n-1), '\n')
}

// BenchmarkConsole is a container that prints lines of 100 bytes, each with a
// write of its own, and never faster than they are stored.
func BenchmarkConsole(b *testing.B) {
	s := serve(b, b.TempDir(), logs.DefaultConfig(), logs.Options{})
	src := s.Source("web", logs.Console, logs.Info)
	line := benchLine(100)
	b.SetBytes(int64(len(line)))
	for i := 0; b.Loop(); i++ {
		_, _ = src.Write(line)
		if i%1000 == 999 {
			flush(b, s)
		}
	}
	flush(b, s)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkLogger is the runtime's own slog.
func BenchmarkLogger(b *testing.B) {
	s := serve(b, b.TempDir(), logs.DefaultConfig(), logs.Options{})
	log := s.Logger("state")
	for i := 0; b.Loop(); i++ {
		log.Info("status is now READY", "container", "web", "pid", 123)
		if i%1000 == 999 {
			flush(b, s)
		}
	}
	flush(b, s)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkDatagrams is syslog over /dev/log.
func BenchmarkDatagrams(b *testing.B) {
	dir := b.TempDir()
	s := serve(b, dir, logs.DefaultConfig(), logs.Options{})
	file := serveDatagrams(b, s, logs.Identity{Platform: "web"})
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: file}); err != nil {
		b.Fatal(err)
	}
	msg := []byte("<134>May 15 16:48:18 app[77]: the answer is 42 and a little more text")
	for b.Loop() {
		if _, err := unix.Write(fd, msg); err != nil {
			b.Fatal(err)
		}
	}
	flush(b, s)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkRead reads and merges two containers of 50,000 lines each.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	s := serve(b, dir, logs.DefaultConfig(), logs.Options{})
	line := benchLine(100)
	for _, name := range []string{"web", "db"} {
		src := s.Source(name, logs.Console, logs.Info)
		for i := range 50000 {
			_, _ = src.Write(line)
			if i%1000 == 999 {
				flush(b, s)
			}
		}
	}
	n := 0
	for b.Loop() {
		if err := logs.Read(b.Context(), dir, logs.ReadOptions{}, func(logs.Entry) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
}

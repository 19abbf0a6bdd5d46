package logs_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

// stored reads a log with all its parts, in their order.
func stored(t testing.TB, dir, log string) string {
	t.Helper()
	var all strings.Builder
	for n := 1; ; n++ {
		name := filepath.Join(dir, log) + "." + strconv.Itoa(n)
		if b, err := os.ReadFile(name); err == nil {
			all.Write(b)
			continue
		}
		f, err := os.Open(name + ".gz")
		if err != nil {
			break
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&all, z); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	all.WriteString(read(t, dir, log))
	return all.String()
}

var dropNote = regexp.MustCompile(`dropped (\d+) bytes of web/lxc/console.log`)

func dropped(t testing.TB, dir string) (n int) {
	t.Helper()
	for _, m := range dropNote.FindAllStringSubmatch(stored(t, dir, "0/pantavisor/pantavisor.log"), -1) {
		one, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}

// TestFloodIsBounded lets a container print as fast as it can. Every byte is
// stored or counted as dropped, stored lines are whole, and memory stays where
// it was.
func TestFloodIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	src := s.Source("web", logs.Console, logs.Info)
	line := strings.Repeat("x", 99) + "\n"
	chunk := []byte(strings.Repeat(line, 320)) // as a console reader's buffer

	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak, longest atomic.Int64
	total := 0
	for i := range 6000 { // 190 MB
		began := time.Now()
		_, _ = src.Write(chunk) // which never fails
		longest.Store(max(longest.Load(), int64(time.Since(began))))
		total += len(chunk)
		if i%500 == 0 {
			runtime.ReadMemStats(&during)
			peak.Store(max(peak.Load(), int64(during.HeapInuse)-int64(before.HeapInuse)))
		}
	}
	flush(t, s)
	time.Sleep(1100 * time.Millisecond) // a second between two notes
	flush(t, s)
	got := read(t, dir, "0/web/lxc/console.log")
	if lost := dropped(t, dir); len(got)+lost != total {
		t.Errorf("%d stored and %d dropped of %d", len(got), lost, total)
	}
	if strings.ReplaceAll(got, line, "") != "" {
		t.Error("a stored line is not whole")
	}
	if peak.Load() > 8<<20 {
		t.Errorf("%d bytes of memory more", peak.Load())
	}
	t.Logf("stored %d of %d MB; %d KB of memory more; longest write %v", len(got)>>20, total>>20, peak.Load()>>10, time.Duration(longest.Load()))
}

// TestFloodDoesNotDrownOthers: a container's flood costs the runtime's own log
// and another container nothing.
func TestFloodDoesNotDrownOthers(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		src := s.Source("web", fmt.Sprint("flood", i), logs.Info)
		wg.Go(func() {
			junk := []byte(strings.Repeat("y\n", 8<<10))
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = src.Write(junk)
				}
			}
		})
	}
	db, log := s.Source("db", "app", logs.Info), s.Logger("state")
	const n = 300
	for i := range n {
		write(t, db, fmt.Sprintf("db %d\n", i))
		log.Info("state", "n", i)
		if i%50 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	close(stop)
	wg.Wait()
	flush(t, s)
	if got := strings.Count(read(t, dir, "0/db/app"), "\n"); got != n {
		t.Errorf("%d of %d lines of the other container", got, n)
	}
	if got := strings.Count(read(t, dir, "0/pantavisor/pantavisor.log"), "[state]"); got != n {
		t.Errorf("%d of %d lines of the runtime", got, n)
	}
}

// TestRotation writes what does not compress well, far beyond the limit.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	cfg := logs.DefaultConfig()
	cfg.MaxSize = 1 << 20 // rotated at 52 KB, deleted from 943 KB to 786 KB
	s := serve(t, dir, cfg, logs.Options{})
	src := s.Source("web", logs.Console, logs.Info)
	rnd := rand.New(rand.NewPCG(1, 2))
	last := ""
	var peak int64
	for i := range 4000 { // 4 MB
		last = fmt.Sprintf("%d ", i)
		for len(last) < 1000 {
			last += strconv.FormatUint(rnd.Uint64(), 36)
		}
		write(t, src, last+"\n")
		if i%20 == 0 {
			flush(t, s)
			peak = max(peak, size(t, filepath.Join(dir, "0")))
		}
	}
	flush(t, s)
	if peak > cfg.MaxSize*11/10 {
		t.Errorf("the logs had %d bytes, the limit is %d", peak, cfg.MaxSize)
	}
	eventually(t, "everything compressed", func() bool {
		plain, _ := filepath.Glob(filepath.Join(dir, "0/web/lxc/console.log.*[0-9]"))
		return len(plain) == 0
	})
	files, err := filepath.Glob(filepath.Join(dir, "0/web/lxc/console.log.*.gz"))
	if err != nil || len(files) < 3 {
		t.Fatalf("archives %v, %v", files, err)
	}
	first, biggest := 1<<30, 0
	for _, f := range files {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "console.log."), ".gz"))
		if err != nil {
			t.Fatal(err)
		}
		first, biggest = min(first, n), max(biggest, n)
	}
	if first == 1 || biggest-first+1 != len(files) {
		t.Errorf("archives %d to %d, %d files: the oldest should have gone, and no other", first, biggest, len(files))
	}
	// What is left is the end, without a gap.
	var texts []string
	if err := logs.Read(t.Context(), dir, logs.ReadOptions{Containers: []string{"web"}}, func(e logs.Entry) error {
		texts = append(texts, e.Text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if texts[len(texts)-1] != last {
		t.Errorf("the last line is %.40q", texts[len(texts)-1])
	}
	for i := len(texts) - 1; i > 0; i-- { // the first may be the rest of a line
		n, _, _ := strings.Cut(texts[i], " ")
		if want := strconv.Itoa(4000 - len(texts) + i); n != want {
			t.Fatalf("line %s where %s should be", n, want)
		}
	}
}

func size(t testing.TB, dir string) (n int64) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// TestLeftOverRotation finds what a killed server has not finished.
func TestLeftOverRotation(t *testing.T) {
	dir := t.TempDir()
	lxc := filepath.Join(dir, "0/web/lxc")
	if err := os.MkdirAll(lxc, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"console.log.1": "one\n", "console.log.2": "two\n", "console.log.2.gz": "half of an archive",
		".console.log.1.gz.tmp": "torn", "console.log": "three\n",
	} {
		appendTo(t, filepath.Join(lxc, name), text)
	}
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	write(t, s.Source("web", logs.Console, logs.Info), "four\n")
	flush(t, s)
	eventually(t, "two archives", func() bool {
		names, _ := filepath.Glob(filepath.Join(lxc, "*"))
		hidden, _ := filepath.Glob(filepath.Join(lxc, ".*"))
		return len(names) == 3 && len(hidden) == 0
	})
	if got := stored(t, dir, "0/web/lxc/console.log"); got != "one\ntwo\nthree\nfour\n" {
		t.Errorf("%q", got)
	}
}

// TestDiskFull fills a small file system, and makes room again.
func TestDiskFull(t *testing.T) {
	testreq.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		testreq.Feature(t, "mount", false, err.Error())
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 768<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var notes syncBuffer
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{Note: func(text string) { fmt.Fprintln(&notes, text) }})
	src := s.Source("web", logs.Console, logs.Info)
	line := strings.Repeat("z", 127) + "\n"
	total := 0
	for range 40 {
		for range 256 {
			write(t, src, line)
			total += len(line)
		}
		time.Sleep(2 * time.Millisecond)
	}
	flush(t, s)
	if n := strings.Count(notes.String(), "\n"); n != 1 || !strings.Contains(notes.String(), "no space left on device") {
		t.Errorf("%d notes: %s", n, notes.String())
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "written again", func() bool {
		return strings.Contains(read(t, dir, "0/pantavisor/pantavisor.log"), "logs are written again")
	})
	write(t, src, "after\n")
	time.Sleep(1100 * time.Millisecond) // a second between two notes
	flush(t, s)
	got := read(t, dir, "0/web/lxc/console.log")
	if !strings.HasSuffix(got, line+"after\n") {
		t.Errorf("ends with %q", got[max(0, len(got)-200):])
	}
	if rest := strings.ReplaceAll(got, line, ""); rest != "after\n" {
		t.Errorf("torn lines: %.200q", rest)
	}
	if lost := dropped(t, dir); len(got)-len("after\n")+lost != total {
		t.Errorf("%d stored and %d dropped of %d", len(got)-len("after\n"), lost, total)
	}
}

// stuck is an output that nobody reads.
type stuck struct{ until chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.until; return len(p), nil }

func TestStuckStdoutDoesNotStopTheFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := logs.DefaultConfig()
	cfg.Outputs |= logs.OutputStdout
	out := stuck{make(chan struct{})}
	defer close(out.until)
	s, err := logs.New(dir, cfg, logs.Options{Stdout: out})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if err := s.SetRevision("0"); err != nil {
		t.Fatal(err)
	}
	write(t, s.Source("web", logs.Console, logs.Info), "one\n")
	flush(t, s)
	if got := read(t, dir, "0/web/lxc/console.log"); got != "one\n" {
		t.Errorf("%q", got)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Run does not end")
	}
}

// TestNothingIsLostAtTheEnd: what was written before Run is told to end is in
// the files when it has ended.
func TestNothingIsLostAtTheEnd(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		s, err := logs.New(dir, logs.DefaultConfig(), logs.Options{Uptime: func() time.Duration { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		if err := s.SetRevision("0"); err != nil {
			t.Fatal(err)
		}
		s.Logger("init").Info("one")
		write(t, s.Source(logs.Pantavisor, "d-out", logs.Info), "no end")
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := "[pantavisor] 0 INFO\t -- [init]: one\n[pantavisor] 0 INFO\t -- [d-out]: no end\n"
		if got := read(t, dir, "0/pantavisor/pantavisor.log"); got != want {
			t.Fatalf("got %q", got)
		}
	}
}

// TestManyFiles has more sources than may be open at once, and little room.
func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := logs.DefaultConfig()
	cfg.MaxSize = 4096 // far less than the files in use have
	s := serve(t, dir, cfg, logs.Options{})
	var sources []*logs.Source
	for i := range 300 {
		sources = append(sources, s.Source(fmt.Sprint("c", i%10), fmt.Sprint("app", i), logs.Info))
	}
	for round := range 3 {
		for _, src := range sources {
			write(t, src, fmt.Sprint("round ", round, "\n"))
		}
		flush(t, s)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir) {
			ours++
		}
	}
	if ours > 140 {
		t.Errorf("%d open files", ours)
	}
	for i := range sources {
		if got := read(t, dir, fmt.Sprintf("0/c%d/app%d", i%10, i)); got != "round 0\nround 1\nround 2\n" {
			t.Fatalf("app%d: %q", i, got)
		}
	}
}

// TestRotationThatFails: the note about it must not lead to the next.
func TestRotationThatFails(t *testing.T) {
	dir := t.TempDir()
	cfg := logs.DefaultConfig()
	cfg.MaxSize, cfg.Hysteresis, cfg.Rotate = 1<<40, 1<<30, 64 // a file is rotated at 16 bytes
	s := serve(t, dir, cfg, logs.Options{})
	own := filepath.Join(dir, "0/pantavisor/pantavisor.log.1")
	if err := os.MkdirAll(filepath.Join(own, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		s.Logger("init").Info("a line", "n", i)
		flush(t, s)
	}
	got := read(t, dir, "0/pantavisor/pantavisor.log")
	if n := strings.Count(got, "rotate 0/pantavisor"); n != 1 || strings.Count(got, "a line") != 20 {
		t.Errorf("%d notes: %s", n, got)
	}
}

// TestNextServerBeginsALine where the last one was killed within one.
func TestNextServerBeginsALine(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"web/lxc", "pantavisor"} {
		if err := os.MkdirAll(filepath.Join(dir, "0", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, filepath.Join(dir, "0/web/lxc/console.log"), "killed wi")
	appendTo(t, filepath.Join(dir, "0/pantavisor/pantavisor.log"), "whole\n")
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	src := s.Source("web", logs.Console, logs.Info)
	for _, text := range []string{"new, and in ", "one line\n"} {
		write(t, src, text)
		flush(t, s)
	}
	s.Logger("init").Info("x")
	flush(t, s)
	if got := read(t, dir, "0/web/lxc/console.log"); got != "killed wi\nnew, and in one line\n" {
		t.Errorf("%q", got)
	}
	if got := read(t, dir, "0/pantavisor/pantavisor.log"); got != "whole\n[pantavisor] 7 INFO\t -- [init]: x\n" {
		t.Errorf("%q", got)
	}
}

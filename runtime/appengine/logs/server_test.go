package logs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

var noon = time.Date(2026, 5, 15, 12, 0, 0, 0, time.UTC)

// serve makes a server of revision 0 that runs until the test ends.
func serve(t testing.TB, dir string, cfg logs.Config, o logs.Options) *logs.Server {
	t.Helper()
	if o.Uptime == nil {
		o.Uptime = func() time.Duration { return 7500 * time.Millisecond }
	}
	s, err := logs.New(dir, cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if err := s.SetRevision("0"); err != nil {
		t.Fatal(err)
	}
	return s
}

func flush(t testing.TB, s *logs.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, src *logs.Source, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if n, err := src.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
}

func TestFileTree(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	write(t, s.Source("web", logs.Console, logs.Info), "par", "tial\r\n", "\x1b[1mraw\x1b[0m")
	write(t, s.Source("web", "../../../etc/.hidden/x", logs.Info), "kept below\n")
	write(t, s.Source("../evil", "x", logs.Info), "named by nobody\n")
	write(t, s.Source(logs.Pantavisor, "pv-xconnect-out", logs.Info), "two\nli", "nes\n")
	s.Logger("state").Info("platform 'web' status is now READY", "pid", 12, slog.Group("g", "k", "a b\nc"))
	s.Logger("state").Log(context.Background(), logs.SlogTrace, "not at this level")
	s.Logger("state").With("unit", "u").WithGroup("h").Error("bad", "x", "")
	flush(t, s)
	for name, want := range map[string]string{
		"0/web/lxc/console.log":   "partial\r\n\x1b[1mraw\x1b[0m",
		"0/web/etc/_.hidden/x":    "kept below\n",
		"0/unknown-platform/x":    "named by nobody\n",
		"current/web/etc/missing": "",
		"current/pantavisor/pantavisor.log": "[pantavisor] 7 INFO\t -- [pv-xconnect-out]: two\n" +
			"[pantavisor] 7 INFO\t -- [pv-xconnect-out]: lines\n" +
			"[pantavisor] 7 INFO\t -- [state]: platform 'web' status is now READY pid=12 g.k=\"a b\\nc\"\n" +
			"[pantavisor] 7 ERROR\t -- [state]: bad unit=u h.x=\"\"\n",
	} {
		if got := read(t, dir, name); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, want)
		}
	}
}

func TestLevelFilter(t *testing.T) {
	dir := t.TempDir()
	cfg := logs.DefaultConfig()
	cfg.Level = logs.Warn
	s := serve(t, dir, cfg, logs.Options{})
	write(t, s.Source("web", logs.Console, logs.Info), "no\n")
	write(t, s.Source(logs.Pantavisor, "d-err", logs.Warn), "yes\n")
	cfg.Level = logs.Info
	s.Configure(cfg)
	write(t, s.Source("web", logs.Console, logs.Info), "now\n")
	flush(t, s)
	if got := read(t, dir, "0/web/lxc/console.log"); got != "now\n" {
		t.Errorf("console %q", got)
	}
	if got := read(t, dir, "0/pantavisor/pantavisor.log"); got != "[pantavisor] 7 WARN\t -- [d-err]: yes\n" {
		t.Errorf("pantavisor.log %q", got)
	}
}

func TestUnfinishedLine(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	write(t, s.Source(logs.Pantavisor, "d-out", logs.Info), "login: ")
	deadline := time.Now().Add(10 * time.Second)
	for read(t, dir, "0/pantavisor/pantavisor.log") == "" && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if got := read(t, dir, "0/pantavisor/pantavisor.log"); got != "[pantavisor] 7 INFO\t -- [d-out]: login: \n" {
		t.Errorf("%q", got)
	}
}

func TestLongLinesAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	src := s.Source(logs.Pantavisor, "d-out", logs.Info)
	write(t, src, strings.Repeat("x", 40<<10), "end\n")
	flush(t, s)
	total := 0
	for l := range strings.Lines(read(t, dir, "0/pantavisor/pantavisor.log")) {
		if len(l) > 17<<10 {
			t.Errorf("a line of %d bytes", len(l))
		}
		total += strings.Count(l, "x") - strings.Count("[pantavisor] 7 INFO\t -- [d-out]: ", "x")
	}
	if total != 40<<10 {
		t.Errorf("%d bytes of %d", total, 40<<10)
	}
}

func TestOutputs(t *testing.T) {
	var out syncBuffer
	run := func(o logs.Outputs) (dir string) {
		out.Reset()
		dir = t.TempDir()
		c := &clock{t: noon}
		cfg := logs.DefaultConfig()
		cfg.Outputs, cfg.SingleFileTime, cfg.StdoutTime, cfg.Absolute = o, "strftime:%F %T", "golang:RFC822Z", true
		s := serve(t, dir, cfg, logs.Options{Stdout: &out, Clock: c.now})
		write(t, s.Source("web", logs.Console, logs.Info), "con <sole>\r\n")
		write(t, s.Source("web", "app", logs.Warn), "ap\xffp\n")
		s.Logger("init").Info("hello")
		flush(t, s)
		deadline := time.Now().Add(5 * time.Second)
		for o&(logs.OutputStdout|logs.OutputStdoutContainers|logs.OutputStdoutDirect|logs.OutputStdoutPantavisor) != 0 &&
			!strings.Contains(out.String(), "app") && !strings.Contains(out.String(), "hello") && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		return dir
	}
	const secs = "1778846400"
	stamp := "[15 May 26 12:00 +0000] " + secs
	console := "[web] " + stamp + " INFO\t -- [lxc/console.log]: con <sole>\n"
	app := "[web] " + stamp + " WARN\t -- [app]: ap\xffp\n"
	hello := "[pantavisor] " + stamp + " INFO\t -- [init]: hello\n"
	for _, c := range []struct {
		o    logs.Outputs
		want string
	}{
		{logs.OutputStdout, console + app + hello},
		{logs.OutputStdoutContainers, console + app},
		{logs.OutputStdoutPantavisor, hello},
		{logs.OutputStdoutDirect, console + hello},
		{logs.OutputNull, ""},
	} {
		dir := run(c.o)
		deadline := time.Now().Add(5 * time.Second)
		for out.String() != c.want && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if got := out.String(); got != c.want {
			t.Errorf("outputs %d:\ngot  %q\nwant %q", c.o, got, c.want)
		}
		if got := read(t, dir, "0/web/lxc/console.log"); got != "" {
			t.Errorf("outputs %d wrote a file: %q", c.o, got)
		}
	}
	dir := run(logs.OutputSingleFile)
	want := `{"tsec":` + secs + `,"tnano":0,"ts":"2026-05-15 12:00:00","platform":"web","lvl":"INFO","src":"lxc/console.log","msg":"con <sole>"}` + "\n" +
		`{"tsec":` + secs + `,"tnano":0,"ts":"2026-05-15 12:00:00","platform":"web","lvl":"WARN","src":"app","msg":"ap` + `\ufffd` + `p"}` + "\n" +
		`{"tsec":` + secs + `,"tnano":0,"ts":"2026-05-15 12:00:00","platform":"pantavisor","lvl":"INFO","src":"init","msg":"hello"}` + "\n"
	if got := read(t, dir, "0/pv.log"); got != want {
		t.Errorf("pv.log:\ngot  %s\nwant %s", got, want)
	}
	for l := range strings.Lines(read(t, dir, "0/pv.log")) {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %s", l)
		}
	}
}

// syncBuffer is a bytes.Buffer for two goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *syncBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

func TestFileTreeStamps(t *testing.T) {
	dir := t.TempDir()
	cfg := logs.DefaultConfig()
	cfg.FileTreeTime = "strftime:%H:%M:%S"
	c := &clock{t: noon}
	s := serve(t, dir, cfg, logs.Options{Clock: c.now})
	src := s.Source("web", logs.Console, logs.Info)
	write(t, src, "one", "\r\n", "two\nth", "ree\n")
	s.Logger("init").Info("x")
	flush(t, s)
	if got, want := read(t, dir, "0/web/lxc/console.log"), "[12:00:00] one\r\n[12:00:00] two\n[12:00:00] three\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := read(t, dir, "0/pantavisor/pantavisor.log"), "[pantavisor] [12:00:00] 7 INFO\t -- [init]: x\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRevisions(t *testing.T) {
	dir := t.TempDir()
	s, err := logs.New(dir, logs.DefaultConfig(), logs.Options{Uptime: func() time.Duration { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	s.Logger("init").Info("before the first revision")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	src := s.Source("web", logs.Console, logs.Info)
	for _, rev := range []string{"0", "locals/test"} {
		if err := s.SetRevision(rev); err != nil {
			t.Fatal(err)
		}
		write(t, src, "in "+rev+"\n")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	write(t, src, "after the end: nobody writes it, and nobody waits for it\n")
	flush(t, s)
	if got := read(t, dir, "0/pantavisor/pantavisor.log"); got != "[pantavisor] 0 INFO\t -- [init]: before the first revision\n" {
		t.Errorf("%q", got)
	}
	if got := read(t, dir, "0/web/lxc/console.log") + read(t, dir, "current/web/lxc/console.log"); got != "in 0\nin locals/test\n" {
		t.Errorf("%q", got)
	}
	if to, _ := os.Readlink(filepath.Join(dir, "current")); to != "locals/test" {
		t.Errorf("current leads to %q", to)
	}
	for _, bad := range []string{"", ".", "..", "../x", "/x", "a/../b", "current"} {
		if err := s.SetRevision(bad); err == nil {
			t.Errorf("revision %q: no error", bad)
		}
	}
}

func TestUpdateLog(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	file := filepath.Join(dir, "trails", "1", ".pv", "logs.tmp")
	l := s.Logger("updater")
	l.Error("before")
	stop := s.StartUpdate(file)
	l.Error("goals not reached")
	l.Warn("not this")
	write(t, s.Source("web", "app", logs.Fatal), "dead\n")
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.Error("after")
	flush(t, s)
	want := `{"tsec":7,"tnano":0,"platform":"pantavisor","lvl":"ERROR","src":"updater","msg":"goals not reached"}` + "\n" +
		`{"tsec":7,"tnano":0,"platform":"web","lvl":"FATAL","src":"app","msg":"dead"}` + "\n"
	if got := read(t, file); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRemovedFileComesBack(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	src := s.Source("web", logs.Console, logs.Info)
	write(t, src, "one\n")
	flush(t, s)
	if err := os.RemoveAll(filepath.Join(dir, "0", "web")); err != nil {
		t.Fatal(err)
	}
	write(t, src, "two\n")
	flush(t, s)
	if got := read(t, dir, "0/web/lxc/console.log"); got != "two\n" {
		t.Errorf("%q", got)
	}
}

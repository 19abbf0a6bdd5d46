package logs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

// entries reads a directory to its end.
func entries(t *testing.T, dir string, o logs.ReadOptions) []string {
	t.Helper()
	var got []string
	err := logs.Read(t.Context(), dir, o, func(e logs.Entry) error {
		got = append(got, show(e))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func show(e logs.Entry) string {
	return strings.Join([]string{e.Time.UTC().Format("15:04:05"), e.Revision, e.Container, e.Source, e.Level, e.Text}, "|")
}

func TestReadMergesByTime(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: noon}
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{Clock: c.now})
	web, db := s.Source("web", logs.Console, logs.Info), s.Source("db", "var/log/messages", logs.Info)
	for i := range 3 {
		write(t, web, fmt.Sprintf("web %d\r\n", i))
		flush(t, s)
		c.add(time.Second)
		write(t, db, fmt.Sprintf("db %d\n", i))
		s.Logger("state").Warn("step", "n", i)
		flush(t, s)
		c.add(time.Second)
	}
	want := []string{
		"12:00:00|0|web|lxc/console.log||web 0",
		"12:00:01|0|db|var/log/messages||db 0",
		"12:00:01|0|pantavisor|state|WARN|step n=0",
		"12:00:02|0|web|lxc/console.log||web 1",
		"12:00:03|0|db|var/log/messages||db 1",
		"12:00:03|0|pantavisor|state|WARN|step n=1",
		"12:00:04|0|web|lxc/console.log||web 2",
		"12:00:05|0|db|var/log/messages||db 2",
		"12:00:05|0|pantavisor|state|WARN|step n=2",
	}
	for _, q := range []struct {
		o    logs.ReadOptions
		want []string
	}{
		{logs.ReadOptions{}, want},
		{logs.ReadOptions{Containers: []string{"web"}}, []string{want[0], want[3], want[6]}},
		{logs.ReadOptions{Since: noon.Add(4 * time.Second)}, want[6:]},
		{logs.ReadOptions{Last: 2}, want[7:]},
		{logs.ReadOptions{Revision: "0", Containers: []string{"nobody"}}, nil},
	} {
		if got := entries(t, dir, q.o); !slices.Equal(got, q.want) {
			t.Errorf("%+v:\ngot  %s\nwant %s", q.o, strings.Join(got, "\n     "), strings.Join(q.want, "\n     "))
		}
	}
	names, err := logs.Containers(dir)
	if err != nil || !slices.Equal(names, []string{"db", "pantavisor", "web"}) {
		t.Errorf("%v %v", names, err)
	}
}

func TestReadNothing(t *testing.T) {
	dir := t.TempDir()
	emit := func(logs.Entry) error { return nil }
	if err := logs.Read(t.Context(), dir, logs.ReadOptions{}, emit); !errors.Is(err, logs.ErrNoLogs) {
		t.Error(err)
	}
	if err := logs.Read(t.Context(), dir, logs.ReadOptions{Revision: "7"}, emit); !errors.Is(err, logs.ErrNoLogs) {
		t.Error(err)
	}
	if err := logs.Read(t.Context(), dir, logs.ReadOptions{Revision: "../x"}, emit); err == nil {
		t.Error("no error")
	}
	if err := logs.Read(t.Context(), filepath.Join(dir, "gone"), logs.ReadOptions{}, emit); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestReadWithoutIndex reads what the real program leaves behind.
func TestReadWithoutIndex(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"3/pantavisor/pantavisor.log": "[pantavisor] 12 INFO\t -- [platforms]: (f:1) platform 'x' status is now READY\n",
		"3/x/lxc/console.log":         "hello\r\nunfinished",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		appendTo(t, file, text)
		if err := os.Chtimes(file, noon, noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "3"), filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"12:00:00|3|pantavisor|platforms|INFO|(f:1) platform 'x' status is now READY",
		"12:00:00|3|x|lxc/console.log||hello",
		"12:00:00|3|x|lxc/console.log||unfinished",
	}
	if got := entries(t, dir, logs.ReadOptions{}); !slices.Equal(got, want) {
		t.Errorf("got  %s", strings.Join(got, "\n     "))
	}
}

func TestReadSingleFile(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: noon}
	cfg := logs.DefaultConfig()
	cfg.Outputs = logs.OutputSingleFile
	s := serve(t, dir, cfg, logs.Options{Clock: c.now})
	write(t, s.Source("web", "app", logs.Info), "one\n")
	s.Logger("init").Error("two")
	flush(t, s)
	want := []string{"12:00:00|0|web|app|INFO|one", "12:00:00|0|pantavisor|init|ERROR|two"}
	if got := entries(t, dir, logs.ReadOptions{}); !slices.Equal(got, want) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

// TestFollow follows through rotations and a change of the revision, and loses
// and repeats nothing.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	cfg := logs.DefaultConfig()
	cfg.MaxSize, cfg.Hysteresis, cfg.Rotate = 1<<40, 1<<20, 1<<10 // a file is rotated at 1 KiB
	s := serve(t, dir, cfg, logs.Options{})
	src := s.Source("web", logs.Console, logs.Info)

	var mu sync.Mutex
	var got []string
	running(t, func(ctx context.Context) error {
		return logs.Read(ctx, dir, logs.ReadOptions{Follow: true, Every: 3 * time.Millisecond, Containers: []string{"web"}}, func(e logs.Entry) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, e.Revision+" "+e.Text)
			return nil
		})
	})
	var want []string
	for _, rev := range []string{"0", "1", "locals/x"} {
		if err := s.SetRevision(rev); err != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			text := fmt.Sprintf("line %d %s", i, strings.Repeat("x", 40))
			want = append(want, rev+" "+text)
			write(t, src, text+"\n")
			if i%10 == 0 {
				flush(t, s)
			}
		}
		flush(t, s)
		// The reader is not faster than the writer by law.
		eventually(t, "revision "+rev, func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= len(want) })
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, want) {
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("line %d of %d (got %d): %q, want %q", i, len(want), len(got), got[min(i, len(got)-1)], want[i])
			}
		}
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	if found, err := filepath.Glob(filepath.Join(dir, "0/web/lxc/console.log.*")); err != nil || len(found) < 10 {
		t.Errorf("rotated only %v, %v", found, err)
	}
	// And the same from the archives.
	if all := entries(t, dir, logs.ReadOptions{Revision: "1", Containers: []string{"web"}}); len(all) != 400 {
		t.Errorf("%d lines from the archives", len(all))
	}
}

func TestFollowPrompt(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	got := make(chan string, 10)
	running(t, func(ctx context.Context) error {
		return logs.Read(ctx, dir, logs.ReadOptions{Follow: true, Every: time.Millisecond}, func(e logs.Entry) error {
			got <- e.Text
			return nil
		})
	})
	write(t, s.Source("web", logs.Console, logs.Info), "login: ")
	select {
	case text := <-got:
		if text != "login: " {
			t.Errorf("%q", text)
		}
	case <-time.After(10 * time.Second):
		t.Error("the prompt is not shown")
	}
}

// FuzzRead reads a directory in which every file is anything.
func FuzzRead(f *testing.F) {
	f.Add("[pantavisor] 12 INFO\t -- [state]: x\n", "1 1 0 web/lxc/console.log\n", "a\r\nb", "\x1f\x8b\x08")
	f.Add("[x\t -- [", "9999999999999 1 5 web/lxc/console.log\n1 1 0 web/lxc/console.log\n", strings.Repeat("x", 70<<10), "")
	f.Fuzz(func(t *testing.T, own, times, console, gz string) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "0/web/lxc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "0/pantavisor"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"pantavisor/pantavisor.log": own, ".times": times, "web/lxc/console.log": console, "web/lxc/console.log.1.gz": gz} {
			if err := os.WriteFile(filepath.Join(dir, "0", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var got strings.Builder
		err := logs.Read(t.Context(), dir, logs.ReadOptions{Revision: "0", Containers: []string{"web"}}, func(e logs.Entry) error {
			if e.Container != "web" || e.Source != "lxc/console.log" {
				t.Errorf("%+v", e)
			}
			got.WriteString(e.Text)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		drop := strings.NewReplacer("\n", "", "\r", "")
		if !strings.HasSuffix(drop.Replace(got.String()), drop.Replace(console)) {
			t.Errorf("read %q, the file has %q", got.String(), console)
		}
		if err := logs.Read(t.Context(), dir, logs.ReadOptions{Revision: "0"}, func(logs.Entry) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFollowBeforeThereAreLogs(t *testing.T) {
	dir := t.TempDir()
	got := make(chan string, 10)
	running(t, func(ctx context.Context) error {
		return logs.Read(ctx, dir, logs.ReadOptions{Follow: true, Every: time.Millisecond}, func(e logs.Entry) error {
			got <- e.Text
			return nil
		})
	})
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	write(t, s.Source("web", logs.Console, logs.Info), "here\n")
	select {
	case text := <-got:
		if text != "here" {
			t.Errorf("%q", text)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing came")
	}
}

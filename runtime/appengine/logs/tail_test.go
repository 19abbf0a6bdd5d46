package logs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

func TestContainerLogs(t *testing.T) {
	usual := []logs.TailSpec{{Path: "/var/log/syslog", MaxSize: 2 << 20}, {Path: "/var/log/messages", MaxSize: 2 << 20}}
	for _, c := range []struct {
		in   []map[string]string
		want []logs.TailSpec
		bad  bool
	}{
		{nil, usual, false},
		{[]map[string]string{{"lxc": "enable"}, {"console": "enable"}}, usual, false},
		{[]map[string]string{{"file": "/var/log/x"}}, []logs.TailSpec{{Path: "/var/log/x"}}, false},
		{[]map[string]string{{"file": "/x", "truncate": "true", "maxsize": "100"}, {"truncate": "true"}},
			[]logs.TailSpec{{"/x", 100}, {"/var/log/messages", 2 << 20}}, false},
		{[]map[string]string{{"file": "x"}, {"file": "/y"}}, []logs.TailSpec{{Path: "/y"}}, true},
	} {
		got, err := logs.ContainerLogs(c.in)
		if !slices.Equal(got, c.want) || (err != nil) != c.bad {
			t.Errorf("%v: %v, %v", c.in, got, err)
		}
	}
}

// tailing follows a file below a fresh root until the test ends.
func tailing(t *testing.T, s *logs.Server, root string, spec logs.TailSpec) {
	t.Helper()
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error {
		s.Tail(ctx, dir, "web", spec)
		return dir.Close()
	})
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTail(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	tailing(t, s, root, logs.TailSpec{Path: "/var/log/syslog", MaxSize: 200})
	got := func() string { return read(t, dir, "0/web/var/log/syslog") }
	if err := os.MkdirAll(filepath.Join(root, "var/log"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "var/log/syslog")

	appendTo(t, file, "one\ntwo\rpart")
	eventually(t, "two lines", func() bool { return got() == "one\ntwo\n" })
	appendTo(t, file, "ial\n\n\n")
	eventually(t, "the third", func() bool { return got() == "one\ntwo\npartial\n" })

	// Replaced: the end of the old file comes before the new one.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, file+".1", "last of the old\n")
	appendTo(t, file, "first of the new\n")
	eventually(t, "both", func() bool { return strings.HasSuffix(got(), "last of the old\nfirst of the new\n") })

	// Too large: it is emptied, and goes on.
	appendTo(t, file, strings.Repeat("x", 300)+"\n")
	eventually(t, "emptied", func() bool { info, err := os.Stat(file); return err == nil && info.Size() == 0 })
	appendTo(t, file, "after\n")
	eventually(t, "goes on", func() bool { return strings.HasSuffix(got(), "xxx\nafter\n") })
}

func TestTailGoesOnAfterARestart(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	file := filepath.Join(root, "log")
	appendTo(t, file, "before\n")
	err := unix.Setxattr(file, "trusted.pv.logger.pos", []byte("0"), 0)
	testreq.Feature(t, "trusted-xattr", err == nil, fmt.Sprint(err))
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	for _, text := range []string{"one\n", "two\n"} {
		ctx, cancel := context.WithCancel(context.Background())
		f, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, file, text)
		done := make(chan struct{})
		go func() { defer close(done); s.Tail(ctx, f, "web", logs.TailSpec{Path: "/log"}) }()
		eventually(t, text, func() bool { return strings.HasSuffix(read(t, dir, "0/web/log"), text) })
		cancel()
		<-done
		f.Close()
	}
	if got := read(t, dir, "0/web/log"); got != "before\none\ntwo\n" {
		t.Errorf("%q", got)
	}
}

// TestTailStaysBelowTheRoot has what a container may put in the way.
func TestTailStaysBelowTheRoot(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	appendTo(t, outside, "secret\n")
	for name, prepare := range map[string]func(root string) error{
		"absolute link":  func(r string) error { return os.Symlink(outside, filepath.Join(r, "log")) },
		"relative link":  func(r string) error { return os.Symlink("../../../../../../../.."+outside, filepath.Join(r, "log")) },
		"magic link":     func(r string) error { return os.Symlink("/proc/self/root"+outside, filepath.Join(r, "log")) },
		"pipe":           func(r string) error { return unix.Mkfifo(filepath.Join(r, "log"), 0o644) },
		"directory":      func(r string) error { return os.Mkdir(filepath.Join(r, "log"), 0o755) },
		"linked to self": func(r string) error { return os.Symlink("log", filepath.Join(r, "log")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, root := t.TempDir(), t.TempDir()
			if err := prepare(root); err != nil {
				t.Fatal(err)
			}
			s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
			f, err := os.Open(root)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); s.Tail(ctx, f, "web", logs.TailSpec{Path: "/log", MaxSize: 1}) }()
			cancel() // Tail looks once more before it ends
			<-done
			flush(t, s)
			if got := read(t, dir, "0/web/log"); got != "" {
				t.Errorf("logged %q", got)
			}
		})
	}
	if got := read(t, outside); got != "secret\n" {
		t.Errorf("the file outside is %q now", got)
	}
	// A link that stays inside is followed, from the container's own root.
	dir, root := t.TempDir(), t.TempDir()
	appendTo(t, filepath.Join(root, "real"), "inside\n")
	if err := os.Symlink("/real", filepath.Join(root, "log")); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, logs.DefaultConfig(), logs.Options{})
	tailing(t, s, root, logs.TailSpec{Path: "/log"})
	eventually(t, "inside", func() bool { return read(t, dir, "0/web/log") == "inside\n" })
}

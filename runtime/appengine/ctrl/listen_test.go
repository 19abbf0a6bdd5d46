package ctrl_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

func TestListen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 150)) // longer than sun_path
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pv-ctrl")
	l, err := ctrl.Listen(path, 0o620)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o620 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := ctrl.Listen(path, 0o600); !errors.Is(err, ctrl.ErrInUse) {
		t.Errorf("where a server listens: %v", err)
	}
	if c, err := unixsock.Dial(t.Context(), "unix", path); err != nil {
		t.Errorf("the first server is not there any more: %v", err)
	} else {
		c.Close()
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}

	// One that a killed server left behind.
	old, err := ctrl.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	old.UnixListener.Close()
	l, err = ctrl.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	old.Close() // does not take the other one's file
	if c, err := unixsock.Dial(t.Context(), "unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	l.Close()

	for name, make := range map[string]func(string) error{
		"a file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"a directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"a link":      func(p string) error { return os.Symlink("elsewhere", p) },
	} {
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if _, err := ctrl.Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Errorf("%s was taken away: %v", name, err)
		}
	}
	if _, err := ctrl.Listen("/nowhere/at/all", 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// Of servers that start at the same time, over an old socket, one wins.
func TestListenRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pv-ctrl")
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close()
	var wg sync.WaitGroup
	won := make(chan *ctrl.Listener, 8)
	for range 8 {
		wg.Go(func() {
			l, err := ctrl.Listen(path, 0o600)
			if err == nil {
				won <- l
			} else if !errors.Is(err, ctrl.ErrInUse) {
				t.Errorf("Listen = %v", err)
			}
		})
	}
	wg.Wait()
	close(won)
	n := 0
	for l := range won {
		n++
		l.Close()
	}
	if n != 1 {
		t.Errorf("%d servers listen", n)
	}
}

// slowGC takes its time.
type slowGC struct{ started, end chan struct{} }

func (g slowGC) CollectGarbage(ctx context.Context) (int64, error) {
	close(g.started)
	select {
	case <-g.end:
		return 7, nil
	case <-time.After(20 * time.Second):
		return 0, ctx.Err()
	}
}

// A server that stops finishes what it does, but not for ever, and closes the
// connections that wait.
func TestStop(t *testing.T) {
	for stopTime, patient := range map[time.Duration]bool{20 * time.Second: true, 200 * time.Millisecond: false} {
		m := ctrltest.NewMachine(nil)
		gc := slowGC{make(chan struct{}), make(chan struct{})}
		b := m.Backend()
		b.GC = gc
		s, err := ctrl.New(ctrl.Options{Backend: b, Owner: as(pvctrl.HostName), StopTime: stopTime})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "pv-ctrl")
		l, err := ctrl.Listen(path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, l) }()
		idle := dial(t, path)
		answer := make(chan string, 1)
		go func() { answer <- talk(t, path, "POST /storage/gc HTTP/1.0\r\n\r\n") }()
		<-gc.started
		cancel()
		if got := ends(t, idle, 5*time.Second); got != "" {
			t.Errorf("an idle connection: %q", got)
		}
		if patient {
			close(gc.end)
			if got := <-answer; got != "HTTP/1.0 200 OK"+json10+`{"reclaimed": 7}` {
				t.Errorf("the request in progress: %q", got)
			}
		} else {
			if got := <-answer; got != "" {
				t.Errorf("a request that takes too long: %q", got)
			}
			close(gc.end)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket's file: %v", err)
		}
	}
}

// One server may listen in two places, and stop in one of them.
func TestTwoListeners(t *testing.T) {
	s, err := ctrl.New(ctrl.Options{Backend: ctrltest.NewMachine(nil).Backend(), Owner: as(pvctrl.HostName)})
	if err != nil {
		t.Fatal(err)
	}
	stays := serveOn(t, s)
	path := filepath.Join(t.TempDir(), "other")
	l, err := ctrl.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	kept := dial(t, stays)
	if err := ask(kept); err != nil {
		t.Fatal(err)
	}
	alive(t, path)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := ask(kept); err != nil {
		t.Errorf("the other listener's connection: %v", err)
	}
	alive(t, stays)
}

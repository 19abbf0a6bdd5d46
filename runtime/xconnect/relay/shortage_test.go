package relay_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// lines is a log that counts.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// poor is a listener in a machine without memory.
type poor struct {
	net.Listener
	calls  int
	closed chan struct{}
}

func (p *poor) Accept() (net.Conn, error) {
	select {
	case <-p.closed:
		return nil, net.ErrClosed
	default:
	}
	p.calls++
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.ENOMEM)}
}

func (p *poor) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// Accepting without memory pauses longer and longer, and at most a second.
func TestServePausesWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ln := &poor{closed: make(chan struct{})}
		stats := new(xconnect.Stats)
		env := xconnect.Env{Log: slog.New(slog.DiscardHandler), Stats: stats, MaxConns: 1}
		if err := relay.Serve(ctx, env, ln, nil); err != nil {
			t.Errorf("Serve = %v", err)
		}
		// 10, 20, … 640 ms are 1.27 s together; then one a second.
		if ln.calls < 15 || ln.calls > 17 {
			t.Errorf("%d attempts in ten seconds", ln.calls)
		}
		if got := stats.Read().Errors; got < 15 {
			t.Errorf("%d errors were counted", got)
		}
	})
}

// Without descriptors a forwarder waits, does not spin, and goes on by itself.
func TestForwardPausesWithoutDescriptors(t *testing.T) {
	log := new(lines)
	l := forwardWith(t, slog.New(slog.NewTextHandler(log, nil)), echo)
	c := l.dial(t)
	ask(t, c, "before")

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	late := l.dialAfter(t, func() {
		// The consumer's own socket is the last one that there is.
		next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(next)
		low := unix.Rlimit{Cur: uint64(next) + 1, Max: limit.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	})
	time.Sleep(300 * time.Millisecond)
	pauses := log.count("Accepting pauses")
	ask(t, c, "meanwhile")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if pauses < 2 || pauses > 6 { // after 10, 20, 40, 80, 160 ms
		t.Errorf("%d pauses in 300 ms", pauses)
	}
	ask(t, late, "after")
}

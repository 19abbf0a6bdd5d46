package unixsocket_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pvkit/pvkit/examples/internal/unixsocket"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run/example/s")
	first, err := unixsocket.Listen(t.Context(), path)
	if err != nil || !unixsocket.Exists(path) {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := unixsocket.Listen(t.Context(), path) // as after a crash
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil || unixsocket.Exists(path) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := unixsocket.Listen(t.Context(), path); err == nil {
		l.Close()
		t.Error("a file was replaced")
	}
}

func TestPollSleepsBetweenTries(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		var out, errOut bytes.Buffer
		err := unixsocket.Poll(ctx, &out, &errOut, "--- head ---", socket, 5*time.Second, func(context.Context) error {
			t.Error("called without a socket")
			return nil
		})
		want := strings.Repeat("--- head ---\nSocket "+socket+" not found!\n\n\n", 3) // after 0, 5 and 10 seconds
		if err != nil || out.String() != want || errOut.Len() > 0 {
			t.Errorf("%v, printed %q and %q", err, out.String(), errOut.String())
		}
	})
}

func TestPollGoesOnAfterErrors(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := unixsocket.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut bytes.Buffer
	calls := 0
	err = unixsocket.Poll(ctx, &out, &errOut, "head", socket, time.Millisecond, func(context.Context) error {
		if calls++; calls == 3 {
			cancel()
		}
		return errors.New("broken")
	})
	if err != nil || calls != 3 || errOut.String() != "broken\nbroken\n" {
		t.Errorf("%v after %d calls, printed %q", err, calls, errOut.String())
	}
}

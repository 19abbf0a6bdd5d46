package program_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/internal/program"
)

func TestOutput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	gone := 0
	out, err := program.Output(w, func() { gone++ })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("x")); err != nil || gone != 0 {
		t.Errorf("with a reader: %v, gone %d times", err, gone)
	}

	// Nothing else counts: a socket that breaks is not our output.
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(pair[1])
	if _, err := syscall.Write(pair[0], []byte("x")); !errors.Is(err, syscall.EPIPE) || gone != 0 {
		t.Errorf("a broken socket: %v, gone %d times", err, gone)
	}
	syscall.Close(pair[0])

	r.Close()
	if _, err := out.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) || gone != 1 {
		t.Errorf("without a reader: %v, gone %d times", err, gone)
	}

	var b bytes.Buffer
	if same, err := program.Output(&b, nil); err != nil || same != &b {
		t.Errorf("no file: %v, %v", same, err)
	}
}

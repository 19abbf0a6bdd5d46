package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In a terminal a command writes its result and nothing else. A library that
// asks the terminal for its colours when the program starts would wait for the
// answer, for seconds where there is none, and eat what is typed ahead.
func TestTerminalIsNotAsked(t *testing.T) {
	pvkit := filepath.Join(t.TempDir(), "pvkit")
	if out, err := exec.Command("go", "build", "-o", pvkit, "../../cmd/pvkit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pvkit, "version")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "CI=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	tty.Close()
	text, _ := io.ReadAll(master) // it ends with EIO
	if strings.ContainsRune(string(text), '\x1b') || !strings.HasPrefix(string(text), "pvkit ") {
		t.Errorf("the terminal got %q", text)
	}
	if took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

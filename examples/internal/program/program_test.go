package program_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/examples/internal/program"
)

// TestMain lets the test binary stand for a program.
func TestMain(m *testing.M) {
	switch os.Getenv("PROGRAM") {
	case "wait":
		os.Exit(program.Main(func(ctx context.Context, io program.IO) error {
			fmt.Fprintln(io.Stdout, "waiting", strings.Join(io.Args, ","))
			<-ctx.Done()
			fmt.Fprintln(io.Stdout, "stopped")
			return nil
		}))
	case "fail":
		os.Exit(program.Main(func(context.Context, program.IO) error { return errors.New("no socket") }))
	}
	os.Exit(m.Run())
}

func TestSignalsEndAProgramCleanly(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR} {
		t.Run(sig.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "a", "b")
			cmd.Env = []string{"PROGRAM=wait"}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "waiting a,b" {
				t.Errorf("first line %q", lines.Text())
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if !lines.Scan() || lines.Text() != "stopped" {
				t.Errorf("last line %q", lines.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnErrorIsExitCodeOne(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"PROGRAM=fail"}
	out, err := cmd.CombinedOutput()
	if ee, ok := errors.AsType[*exec.ExitError](err); !ok || ee.ExitCode() != 1 || !strings.HasSuffix(string(out), ": no socket\n") {
		t.Errorf("%v, %q", err, out)
	}
}

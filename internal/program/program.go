// Package program lets a command be a function: what a process gets from
// outside goes in as an [Env], an exit code comes out. The commands of the
// device tools differ in that function alone, so a test calls it, and a binary
// that is several programs picks one by its name.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// Env is what a process gets from outside.
type Env struct {
	Name           string   // what the program was called as, without directories
	Args           []string // without the name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // for programs that it starts
}

// Main is a program.
type Main func(ctx context.Context, env Env) int

// Getenv looks a variable up; "" for none.
func (e Env) Getenv(name string) string {
	value := ""
	for _, kv := range e.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v // the last one counts, as in os/exec
		}
	}
	return value
}

// Errorf writes a line to standard error that begins with the program's name.
func (e Env) Errorf(format string, args ...any) {
	fmt.Fprintf(e.Stderr, "%s: %s\n", e.Name, fmt.Sprintf(format, args...))
}

// Run is the whole of a main function: it gathers the process, runs the program
// and exits. A second signal ends the process at once.
func Run(main Main) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := main(ctx, Env{
		Name:    filepath.Base(os.Args[0]),
		Args:    os.Args[1:],
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Environ: os.Environ(),
	})
	stop()
	os.Exit(code)
}

// ForwardVar names a command that runs a program elsewhere, such as "ssh -p 8222
// root@device" or "docker exec pva-test". Upstream's test framework sets it.
const ForwardVar = "PVTEST_EXEC"

// Forward runs the program of this name elsewhere, with the same arguments and
// streams, where ForwardVar says so; done tells that it did. The variable's
// words are separated by white space and not quoted, as the shell reads an
// unquoted $PVTEST_EXEC. The started command does not inherit the variable:
// with a prefix that stays on this machine it would forward forever.
func Forward(ctx context.Context, env Env, program string) (code int, done bool) {
	prefix := strings.Fields(env.Getenv(ForwardVar))
	if len(prefix) == 0 {
		return 0, false
	}
	argv := append(append(prefix, program), env.Args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr
	for _, kv := range env.Environ {
		if !strings.HasPrefix(kv, ForwardVar+"=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	return env.Exit(cmd.Run(), argv[0]), true
}

// Exit turns the end of a started command into an exit code, as a shell does:
// 127 for a command that is not there, 126 for one that cannot run, 128 and the
// number for a signal.
func (e Env) Exit(err error, command string) int {
	if err == nil {
		return 0
	}
	if end, ok := errors.AsType[*exec.ExitError](err); ok {
		if ws, ok := end.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return end.ExitCode()
	}
	e.Errorf("run %s: %v", command, err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return 127
	}
	return 126
}

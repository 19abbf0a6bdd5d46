// Package pventer is the program pventer: a command, or a shell, inside a
// container that runs. It is a work-alike of Pantavisor's tools/pventer and
// fallbear-cmd, two shell scripts around nsenter(1).
//
// Which process the container is says the runtime's run directory (package
// rundir); how it is entered is package sandbox's business. The command runs as
// root in the login shell that the container's passwd has for PVUSER, and sees
// the environment of the caller and, above it, that of the container.
package pventer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/rundir"
)

const help = `Usage: pventer -c CONTAINER [COMMAND ...]
Run a command inside a running container, or a login shell without one.

  -c, --container  the container's name; / or _pv_ is the runtime's own side
  --help           this text

The words of the command are joined with blanks and read by the container's
shell, as ssh does: pipes and variables are the container's. In a container
without a shell the words are a program and its arguments.

The exit code is the command's; 1 when there is no such container.

Environment: PVUSER is whose shell, home and name are used (root);
PV_SYSTEM_RUNDIR is the runtime's run directory (` + rundir.Default + `, or
below the user's state); PVTEST_EXEC is a command to run pventer elsewhere with,
such as "docker exec pva-test"; PVDEBUG tells what is run.

Examples:
  pventer -c my-app
  pventer -c my-app 'ps | grep server'
`

// The names of the runtime's own side.
const hostSlash, hostName = "/", "_pv_"

// Main is the program.
func Main(ctx context.Context, env program.Env) int {
	if code, done := program.Forward(ctx, env, "pventer"); done {
		return code
	}
	name, words, err := parse(env.Args)
	switch {
	case errors.Is(err, errHelp):
		io.WriteString(env.Stdout, help)
		return 0
	case err != nil:
		env.Errorf("%v; see --help", err)
		return 1
	}
	if tty, container, ok := strings.Cut(name, "@"); ok {
		env.Errorf("%s of %s: there are no consoles to attach to; pvkit logs -f %s shows what it prints", tty, container, container)
		return 1
	}
	code, err := run(ctx, env, name, words)
	if err != nil {
		env.Errorf("%v", err)
	}
	return code
}

var errHelp = errors.New("help")

// parse reads the options; the first other word begins the command.
func parse(args []string) (name string, words []string, err error) {
	for len(args) > 0 && args[0] != "" {
		switch args[0] {
		case "--help":
			return "", nil, errHelp
		case "-c", "--container":
			if len(args) < 2 {
				return "", nil, fmt.Errorf("option %s needs a container's name", args[0])
			}
			name, args = args[1], args[2:]
			continue
		}
		break
	}
	if name == "" {
		return "", nil, errors.New("no container is given")
	}
	return name, args, nil
}

// run enters the container with the name and runs the command.
func run(ctx context.Context, env program.Env, name string, words []string) (int, error) {
	pid := 0
	if name != hostSlash && name != hostName {
		c, err := find(env, name)
		if err != nil {
			return 1, err
		}
		pid = c.PID
	}
	user := env.Getenv("PVUSER")
	if user == "" {
		user = "root"
	}
	acc, err := lookUp(rootOf(pid), user)
	if err != nil {
		return 1, fmt.Errorf("enter %s: %w", name, err)
	}
	args, err := acc.command(words)
	if err != nil {
		return 1, fmt.Errorf("enter %s: %w", name, err)
	}
	vars := environment(env.Environ, containerEnv(pid), user, acc)
	if env.Getenv("PVDEBUG") != "" {
		env.Errorf("process %d: %q in %s", pid, args, acc.dir)
	}
	if pid == 0 {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = vars, acc.dir, env.Stdin, env.Stdout, env.Stderr
		return env.Exit(cmd.Run(), args[0]), nil
	}
	return enter(ctx, env, pid, sandbox.Process{Args: args, Env: vars, Dir: acc.dir})
}

// command is what to run for the words: the shell with them, the shell alone, or
// in a container without one the words themselves.
func (a account) command(words []string) ([]string, error) {
	switch {
	case a.shell == "" && len(words) == 0:
		return nil, errors.New("it has no shell: say which of its programs to run")
	case a.shell == "":
		return words, nil
	case len(words) == 0:
		return []string{a.shell, "-l"}, nil
	}
	return []string{a.shell, "-c", strings.Join(words, " ")}, nil
}

// find is the running container with the name.
func find(env program.Env, name string) (rundir.Container, error) {
	dir := rundir.Dir(env.Getenv)
	if d := env.Getenv("LXC_PATH"); d != "" {
		if _, err := os.Stat(filepath.Join(d, rundir.File)); err == nil {
			dir = d
		}
	}
	list, err := rundir.Read(dir)
	if err != nil {
		return rundir.Container{}, err
	}
	c, ok := rundir.Find(list, name)
	switch {
	case !ok:
		return c, fmt.Errorf("no container found: %s", name)
	case !c.Alive():
		return c, fmt.Errorf("container %s does not run: it is %s", name, c.Status)
	}
	return c, nil
}

// enter runs the program with our streams. What is no file is copied.
func enter(ctx context.Context, env program.Env, pid int, p sandbox.Process) (int, error) {
	var s streams
	p.Stdin = s.in(env.Stdin)
	p.Stdout = s.out(env.Stdout)
	p.Stderr = s.out(env.Stderr)
	if s.err != nil {
		s.close()
		return 1, s.err
	}
	p.TTY = terminal(p.Stdin) && terminal(p.Stdout) && hasPTYs(pid)
	exit, err := sandbox.Enter(ctx, pid, p)
	s.close()
	if err != nil {
		return 1, err
	}
	if exit.Signal != 0 {
		return 128 + int(exit.Signal), nil
	}
	return exit.Code, nil
}

func terminal(f *os.File) bool {
	if f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// hasPTYs: the container can give a program a terminal of its own.
func hasPTYs(pid int) bool {
	_, err := os.Stat(rootOf(pid) + "/dev/pts/ptmx")
	return err == nil
}

// streams are files for readers and writers that may be none.
type streams struct {
	ours []*os.File // to close when the program has ended
	outs sync.WaitGroup
	err  error
}

func (s *streams) in(r io.Reader) *os.File {
	if f, ok := r.(*os.File); ok || r == nil {
		return f
	}
	read, write, err := os.Pipe()
	if err != nil {
		s.err = err
		return nil
	}
	s.ours = append(s.ours, read)
	go func() { // ends when r does, or when nobody reads any more
		io.Copy(write, r)
		write.Close()
	}()
	return read
}

func (s *streams) out(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok || w == nil {
		return f
	}
	read, write, err := os.Pipe()
	if err != nil {
		s.err = err
		return nil
	}
	s.ours = append(s.ours, write)
	s.outs.Go(func() {
		io.Copy(w, read)
		read.Close()
	})
	return write
}

// close ends the copying and waits for the rest of the output.
func (s *streams) close() {
	for _, f := range s.ours {
		f.Close()
	}
	s.outs.Wait()
}

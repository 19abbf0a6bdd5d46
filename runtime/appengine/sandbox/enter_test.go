package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// enter runs a program in a container and returns its output.
func enter(t *testing.T, pid int, stdin string, p sandbox.Process) (string, sandbox.Exit, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	io.WriteString(feed, stdin)
	feed.Close()
	p.Stdin, p.Stdout, p.Stderr = in, w, w
	type result struct {
		exit sandbox.Exit
		err  error
	}
	done := make(chan result)
	go func() {
		exit, err := sandbox.Enter(t.Context(), pid, p)
		w.Close()
		done <- result{exit, err}
	}()
	out, _ := io.ReadAll(r)
	res := <-done
	return strings.ReplaceAll(string(out), "\r\n", "\n"), res.exit, res.err
}

func TestEnter(t *testing.T) {
	b := open(t)
	c, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Volumes: b.volumes("app"),
		Config: conf(t, "/prog stubborn", "lxc.namespace.keep = user", "lxc.cap.drop = sys_admin mknod", "lxc.no_new_privs = 1")})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		p     sandbox.Process
		stdin string
		want  string
		code  int
	}{
		"sees the container":   {p: sandbox.Process{Args: []string{"/prog", "hostname", "pwd", "readlink:/proc/1/exe"}}, want: "app\n/\n/prog\n"},
		"exit status":          {p: sandbox.Process{Args: []string{"/prog", "exit:42"}}, code: 42},
		"killed":               {p: sandbox.Process{Args: []string{"/prog", "die"}}, code: 128 + 9},
		"in the cgroup":        {p: sandbox.Process{Args: []string{"/prog", "grep:/proc/self/cgroup=0::"}}, want: "0::/\n"},
		"user, directory, env": {p: sandbox.Process{Args: []string{"prog", "pwd", "env"}, Dir: "/tmp", UID: 5, GID: 6, Env: []string{"PATH=/"}}, want: "/tmp\nPATH=/\n"},
		"its capabilities":     {p: sandbox.Process{Args: []string{"/prog", "mknod:/tmp/n", "grep:/proc/self/status=NoNewPrivs"}}, want: "error: operation not permitted\nNoNewPrivs:\t1\n"},
		"no descriptors":       {p: sandbox.Process{Args: []string{"/prog", "fds"}}, want: "pipes"},
		"a terminal":           {p: sandbox.Process{Args: []string{"/prog", "tty", "stat:/dev/pts/1"}, TTY: true}, want: "tty true\n/dev/pts/1 20620 0:5 136:1\n"},
		"input to a terminal":  {p: sandbox.Process{Args: []string{"/prog", "read:"}, TTY: true}, stdin: "typed\n", want: "typed\nread typed\n"},
		"input":                {p: sandbox.Process{Args: []string{"/prog", "read:"}}, stdin: "piped\n", want: "read piped\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out, exit, err := enter(t, c.PID(), x.stdin, x.p)
			if x.want == "pipes" {
				if strings.Count(out, "pipe:") != 3 || strings.Count(out, "\n") != 3 {
					t.Errorf("got %q", out)
				}
				return
			}
			if out != x.want || exit.Code != x.code || err != nil {
				t.Errorf("got %q %v %v, want %q %d", out, exit, err, x.want, x.code)
			}
		})
	}
	for name, x := range map[string]struct {
		pid  int
		p    sandbox.Process
		want string
	}{
		"no program": {c.PID(), sandbox.Process{}, "start /bin/sh: no such file or directory"},
		"nobody":     {1 << 22, sandbox.Process{}, "no such file or directory"},
	} {
		if _, _, err := enter(t, x.pid, "", x.p); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: got %v, want %s", name, err, x.want)
		}
	}
}

// The process that is entered belongs to the container, is no larger than it,
// and ends with the context.
func TestEnterEnds(t *testing.T) {
	b := open(t)
	c, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog stubborn"), Volumes: b.volumes("app")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := sandbox.Enter(ctx, c.PID(), sandbox.Process{Args: []string{"/prog", "stubborn"}})
		done <- err
	}()
	waitFor(t, func() bool { return len(c.PIDs()) >= 3 }) // its own, the child of Enter, the entered one
	for _, pid := range c.PIDs() {
		if name, ok := b.Owner(pid); name != "app" || !ok {
			t.Errorf("owner of %d: %q %v", pid, name, ok)
		}
	}
	why := errors.New("enough")
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	waitFor(t, func() bool { return len(c.PIDs()) == 1 })
}

// A user's terminal gets its settings back.
func TestEnterFromATerminal(t *testing.T) {
	script := testreq.Tool(t, "script") // makes a terminal
	b := open(t)
	c, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog stubborn"), Volumes: b.volumes("app")})
	if err != nil {
		t.Fatal(err)
	}
	self, _ := os.Readlink("/proc/self/exe")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, script, "-qec", fmt.Sprintf("stty rows 30 cols 90; exec -a %s %s %d", enterTestName, self, c.PID()), "/dev/null")
	cmd.Env = append(os.Environ(), "SHELL=/bin/bash")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "size 30 90") {
		t.Errorf("%v: %s", err, out)
	}
}

// enterFromTerminal is the program of that test.
func enterFromTerminal(pid int) int {
	before, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	exit, err := sandbox.Enter(context.Background(), pid, sandbox.Process{Args: []string{"/prog", "size"}, TTY: true,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	after, _ := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil || *before != *after {
		fmt.Println("settings or error:", err)
		return 1
	}
	return exit.Code
}

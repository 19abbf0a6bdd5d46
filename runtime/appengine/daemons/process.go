package daemons

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running daemon with its process group and its output.
type process struct {
	cmd   *exec.Cmd
	pipes []*os.File
	out   sync.WaitGroup

	mu   sync.Mutex
	gone bool // the pid is no longer ours to signal
}

// start starts the program in a process group of its own, with a kernel's
// promise that it dies with us.
func (u *unit) start() (*process, error) {
	if u.Path == "" {
		return nil, fmt.Errorf("start daemon %s: %w", u.Name, exec.ErrNotFound)
	}
	p := &process{cmd: exec.Command(u.Path, u.Args...)}
	p.cmd.Env, p.cmd.Dir = u.Env, u.Dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, stderr := u.opts.Output(u.Name)
	var theirs []*os.File
	for _, w := range []struct {
		to *io.Writer
		w  io.Writer
	}{{&p.cmd.Stdout, stdout}, {&p.cmd.Stderr, stderr}} {
		r, pw, err := os.Pipe()
		if err != nil {
			p.close(theirs)
			return nil, fmt.Errorf("start daemon %s: %w", u.Name, err)
		}
		p.pipes, theirs = append(p.pipes, r), append(theirs, pw)
		*w.to = pw
		p.out.Go(func() { drain(w.w, r) })
	}
	if err := p.cmd.Start(); err != nil {
		p.close(theirs)
		return nil, fmt.Errorf("start daemon %s: %w", u.Name, err)
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	return p, nil
}

// drain copies until the other side ends. A writer's error does not stop it:
// the daemon must never block on its output.
func drain(w io.Writer, r io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			_, _ = w.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *process) close(more []*os.File) {
	for _, f := range append(more, p.pipes...) {
		_ = f.Close()
	}
	p.out.Wait()
}

// signal reaches the whole group, and the process itself where it has left it.
func (p *process) signal(sig unix.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	_ = unix.Kill(-p.cmd.Process.Pid, sig)
	_ = p.cmd.Process.Signal(sig)
}

// wait waits for the process, ends what is left of its group, and collects the
// rest of the output. A child that has left the group may hold the pipes open;
// it does not hold us.
func (p *process) wait() error {
	// As long as the process is not reaped, its pid is no other's.
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	p.signal(unix.SIGKILL)
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	err := p.cmd.Wait()
	rest := time.AfterFunc(time.Second, func() {
		for _, f := range p.pipes {
			_ = f.SetReadDeadline(time.Now())
		}
	})
	p.out.Wait()
	rest.Stop()
	for _, f := range p.pipes {
		_ = f.Close()
	}
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

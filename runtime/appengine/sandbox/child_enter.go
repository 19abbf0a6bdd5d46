package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bounds reads the bounding set and no_new_privs of a process
// (proc_pid_status(5)).
func bounds(pid int) (caps uint64, noNew bool, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		key, value, _ := strings.Cut(s.Text(), ":")
		switch value = strings.TrimSpace(value); key {
		case "CapBnd":
			if caps, err = strconv.ParseUint(value, 16, 64); err != nil {
				return 0, false, err
			}
		case "NoNewPrivs":
			noNew = value == "1"
		}
	}
	return caps, noNew, s.Err()
}

// enterChild is the child of Enter. Its own thread joins the namespaces; the
// program is a child of that thread, because a process never changes its own pid
// namespace. It returns the status to exit with.
func enterChild() int {
	code, err := func() (int, error) {
		in := os.NewFile(jobFD, "job")
		var j enterJob
		if err := json.NewDecoder(in).Decode(&j); err != nil {
			return 0, errors.New("the caller is gone")
		}
		in.Close()
		// Also what our own caller has left open.
		if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
			return 0, fmt.Errorf("close descriptors: %w", err)
		}
		if err := j.join(); err != nil {
			return 0, err
		}
		return j.run()
	}()
	if err != nil {
		send(report{Error: err.Error()})
		return 1
	}
	return code
}

// join enters the namespaces of the process.
func (j *enterJob) join() error {
	pidfd, err := unix.PidfdOpen(j.PID, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", j.PID, err)
	}
	defer unix.Close(pidfd)
	// A mount namespace can only be joined by who shares root and working
	// directory with nobody, which threads of a process do.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the working directory: %w", err)
	}
	if j.Flags != 0 {
		if err := unix.Setns(pidfd, j.Flags); err != nil {
			return fmt.Errorf("join its namespaces: %w", err)
		}
	}
	if err := dropBounding(^j.Caps); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if j.NoNew {
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	return nil
}

// run runs the program and gives what its status is for a shell.
func (j *enterJob) run() (int, error) {
	program, err := findProgram(j.Process.Args[0], j.Process.Env)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", j.Process.Args[0], err)
	}
	attr := &os.ProcAttr{Dir: j.Process.Dir, Env: j.Process.Env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: j.Process.UID, Gid: j.Process.GID}}}
	if attr.Env == nil {
		attr.Env = []string{}
	}
	var t *terminal
	if j.Process.TTY {
		if t, err = newTerminal(attr); err != nil {
			return 0, err
		}
		defer t.restore()
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGWINCH)
	p, err := os.StartProcess(program, j.Process.Args, attr)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", program, explainExec(program, errors.Unwrap(err)))
	}
	if t != nil {
		t.start()
	}
	go func() {
		for s := range signals {
			switch {
			case s == syscall.SIGWINCH && t != nil:
				t.resize()
			case s == syscall.SIGTERM || s == syscall.SIGHUP:
				p.Kill()
			}
		}
	}()
	state, err := p.Wait()
	if err != nil {
		return 0, err
	}
	if t != nil {
		t.finish()
	}
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return state.ExitCode(), nil
}

// terminal is a pseudo terminal of the container's between its program and our
// standard streams.
type terminal struct {
	fd            int // of master
	master, slave *os.File
	saved         *unix.Termios // of our own terminal
	copied        chan struct{}
}

func newTerminal(attr *os.ProcAttr) (*terminal, error) {
	dir, err := unix.Open("/dev/pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's /dev/pts: %w", err)
	}
	defer unix.Close(dir)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(dir, &fs); err != nil || fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return nil, errors.New("the container's /dev/pts has no pseudo terminals")
	}
	p, err := openPTY(dir)
	if err != nil {
		return nil, err
	}
	unix.SetNonblock(p.master, true)
	t := &terminal{fd: p.master, master: os.NewFile(uintptr(p.master), "pty"), slave: os.NewFile(uintptr(p.slave), "pty"), copied: make(chan struct{})}
	attr.Files = []*os.File{t.slave, t.slave, t.slave}
	attr.Sys.Setsid, attr.Sys.Setctty, attr.Sys.Ctty = true, true, 0
	t.resize()
	t.saved, _ = unix.IoctlGetTermios(0, unix.TCGETS)
	if t.saved != nil {
		raw := *t.saved // cfmakeraw(3)
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag &^= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		unix.IoctlSetTermios(0, unix.TCSETS, &raw)
	}
	return t, nil
}

func (t *terminal) restore() {
	if t.saved != nil {
		unix.IoctlSetTermios(0, unix.TCSETS, t.saved)
	}
}

// resize gives the program our terminal's size.
func (t *terminal) resize() {
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		unix.IoctlSetWinsize(t.fd, unix.TIOCSWINSZ, size)
	}
}

func (t *terminal) start() {
	t.slave.Close()
	go func() {
		defer close(t.copied)
		io.Copy(os.Stdout, t.master)
	}()
	go func() { // ends with the process: nobody can end a read from a terminal
		io.Copy(t.master, os.Stdin)
		t.master.Write([]byte{4}) // the end of our input is the end of its
	}()
}

// finish waits for the rest of the output.
func (t *terminal) finish() {
	<-t.copied
	t.master.Close()
}

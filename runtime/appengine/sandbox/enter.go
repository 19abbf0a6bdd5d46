package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/cgroup"
)

// Process is a program to run inside a container that runs.
type Process struct {
	Args []string // /bin/sh by default
	Env  []string // NAME=value
	Dir  string   // "/" by default
	UID  uint32
	GID  uint32
	// TTY gives the program a terminal of the container's; what is written to
	// Stdin goes there, and Stdout gets its output. If Stdin is a terminal, it is
	// raw meanwhile and its size is handed on.
	TTY                   bool
	Stdin, Stdout, Stderr *os.File // nil is /dev/null
	// Program is the one that does it, this process's own by default. It must
	// call Child.
	Program string
}

// enterJob is what the child of Enter does.
type enterJob struct {
	Process struct {
		Args, Env []string
		Dir       string
		UID, GID  uint32
		TTY       bool
	}
	PID   int
	Flags int    // the namespaces to join
	Caps  uint64 // the bounding set to have
	NoNew bool   // no_new_privs
}

// Enter runs a program in the namespaces, the cgroup and with the capabilities
// of a container's process, and waits for it. It is all that pventer and
// lxc-attach do and needs no Host. When ctx ends, so does the program.
//
// A container with a user namespace (rootless) is entered with nsenter(1): Go
// programs have threads, and setns(2) into a user namespace takes a process
// without. Where there is no nsenter the error is ErrUserNamespace.
func Enter(ctx context.Context, pid int, p Process) (Exit, error) {
	exit, err := enter(ctx, pid, p)
	if err != nil {
		return exit, fmt.Errorf("enter the container of process %d: %w", pid, err)
	}
	return exit, nil
}

// ErrUserNamespace is a container that only a program without threads can enter.
var ErrUserNamespace = errors.New("it is in a user namespace of its own, which needs the program nsenter (util-linux)")

func enter(ctx context.Context, pid int, p Process) (Exit, error) {
	if isChild() {
		return Exit{}, errNoChild
	}
	j, err := newEnterJob(pid, p)
	if errors.Is(err, ErrUserNamespace) {
		if tool, lerr := findProgram("nsenter", nil); lerr == nil {
			return enterWith(ctx, tool, pid, p, j)
		}
	}
	if err != nil {
		return Exit{}, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Exit{}, err
	}
	defer unix.Close(pair[0])
	state, err := p.child(ctx, pid, j, os.NewFile(uintptr(pair[1]), "reports"))
	if err != nil {
		return Exit{}, err
	}
	if r, _, ok, err := receive(pair[0]); err != nil || ok && r.Error != "" {
		return Exit{}, errors.Join(err, errors.New(r.Error))
	}
	return exitOf(state), context.Cause(ctx)
}

func exitOf(state *os.ProcessState) Exit {
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return Exit{-1, ws.Signal()}
	}
	return Exit{Code: state.ExitCode()}
}

// child starts the child, gives it its job and waits for it. It closes reports.
func (p Process) child(ctx context.Context, pid int, j *enterJob, reports *os.File) (*os.ProcessState, error) {
	defer reports.Close()
	program, err := sealedCopy(p.Program)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	jobs, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	defer jobs.Close()
	files := []*os.File{p.Stdin, p.Stdout, p.Stderr, reports, jobs}
	for i, f := range files {
		if f == nil {
			files[i] = null
		}
	}
	// The kernel is to end the child with us, which means with this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), []string{enterName},
		&os.ProcAttr{Files: files, Env: []string{"GOMAXPROCS=2"}, Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}})
	if err != nil {
		return nil, err
	}
	jobs.Close()
	defer context.AfterFunc(ctx, func() { child.Signal(syscall.SIGTERM) })()
	err = cgroup.Join(pid, child.Pid)
	if err == nil {
		err = json.NewEncoder(in).Encode(j)
	}
	in.Close()
	state, werr := child.Wait()
	return state, errors.Join(err, werr)
}

// enterWith enters with nsenter. A terminal is the caller's own.
func enterWith(ctx context.Context, tool string, pid int, p Process, j *enterJob) (Exit, error) {
	args := []string{"--target", strconv.Itoa(pid), "--wd=" + fmt.Sprintf("/proc/%d/root%s", pid, j.Process.Dir)}
	for _, n := range joined {
		if j.Flags&n.flag != 0 { // --all would also try those that are the host's
			args = append(args, n.option)
		}
	}
	if p.UID == 0 && p.GID == 0 {
		args = append(args, "--preserve-credentials") // who runs us is root there
	} else {
		args = append(args, "--setuid", strconv.FormatUint(uint64(p.UID), 10), "--setgid", strconv.FormatUint(uint64(p.GID), 10))
	}
	cmd := exec.CommandContext(ctx, tool, append(append(args, "--"), j.Process.Args...)...)
	cmd.Env = append([]string{}, p.Env...)
	for _, f := range []struct {
		file *os.File
		set  func(*os.File)
	}{{p.Stdin, func(f *os.File) { cmd.Stdin = f }}, {p.Stdout, func(f *os.File) { cmd.Stdout = f }}, {p.Stderr, func(f *os.File) { cmd.Stderr = f }}} {
		if f.file != nil {
			f.set(f.file)
		}
	}
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return Exit{}, err
	}
	return exitOf(cmd.ProcessState), context.Cause(ctx)
}

// joined are the namespaces of a container that a program joins, with the
// options of nsenter(1).
var joined = []struct {
	name, option string
	flag         int
}{
	{"user", "--user", unix.CLONE_NEWUSER}, {"mnt", "--mount", unix.CLONE_NEWNS}, {"pid", "--pid", unix.CLONE_NEWPID},
	{"uts", "--uts", unix.CLONE_NEWUTS}, {"ipc", "--ipc", unix.CLONE_NEWIPC}, {"net", "--net", unix.CLONE_NEWNET},
	{"cgroup", "--cgroup", unix.CLONE_NEWCGROUP},
}

// newEnterJob looks at the process before anything is joined.
func newEnterJob(pid int, p Process) (*enterJob, error) {
	j := &enterJob{PID: pid}
	j.Process.Args, j.Process.Env, j.Process.Dir = p.Args, p.Env, p.Dir
	j.Process.UID, j.Process.GID, j.Process.TTY = p.UID, p.GID, p.TTY
	if len(p.Args) == 0 {
		j.Process.Args = []string{"/bin/sh"}
	}
	if p.Dir == "" {
		j.Process.Dir = "/"
	}
	for _, n := range joined {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, n.name))
		if err != nil {
			return nil, err
		}
		ours, err := os.Readlink("/proc/self/ns/" + n.name)
		if err != nil {
			return nil, err
		}
		if theirs != ours {
			j.Flags |= n.flag
		}
	}
	if j.Flags&unix.CLONE_NEWUSER != 0 {
		return j, ErrUserNamespace
	}
	var err error
	j.Caps, j.NoNew, err = bounds(pid)
	return j, err
}

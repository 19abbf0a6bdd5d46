package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/cgroup"
)

// Host is one runtime's place on the machine. Its methods may be called by
// several goroutines at once.
type Host struct {
	opts     Options
	log      *slog.Logger
	groups   *cgroup.Tree
	lock     *os.File // of RunDir
	program  *os.File // what a child executes
	stage    string
	rootless bool
	pidMax   bool // each pid namespace has its own kernel.pid_max
	maps     *idMaps
	notes    []string

	starts chan func()
	done   chan struct{}   // the starter has ended
	life   context.Context // ends with Close
	end    context.CancelCauseFunc

	mu      sync.Mutex // guards what follows
	closed  bool
	begun   sync.WaitGroup // calls of Start; no Add once closed
	running map[*Container]bool
	images  map[string]*sync.Mutex // by digest: who makes a copy
}

// ErrClosed is the reason why a Start ended that was under way when the Host was
// closed, or came later.
var ErrClosed = errors.New("the sandbox is closed")

// ErrBusy means that another runtime uses the directory.
var ErrBusy = errors.New("another runtime uses it")

// cleanup bounds how long the end of a container may take after SIGKILL.
const cleanup = 10 * time.Second

// Open takes the place. What a runtime that was killed has left there
// (containers, mounts, groups) is ended and taken away first. Notes says what
// this machine cannot do.
func Open(ctx context.Context, o Options) (_ *Host, err error) {
	if isChild() {
		return nil, errNoChild
	}
	if o.RunDir == "" || !filepath.IsAbs(o.RunDir) {
		return nil, fmt.Errorf("open the sandbox: RunDir %q is not an absolute path", o.RunDir)
	}
	if o.VolDir == "" {
		o.VolDir = filepath.Join(o.RunDir, "volumes")
	}
	if o.ImageDir == "" {
		o.ImageDir = filepath.Join(o.RunDir, "images")
	}
	if o.Cgroup == "" {
		o.Cgroup = "pantavisor"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Host{opts: o, log: o.Log, stage: filepath.Join(o.RunDir, "root"),
		starts: make(chan func()), done: make(chan struct{}),
		running: map[*Container]bool{}, images: map[string]*sync.Mutex{}}
	h.life, h.end = context.WithCancelCause(context.Background())
	go h.starter()
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the sandbox at %s: %w", o.RunDir, err), h.Close(ctx))
		}
	}()
	if err := checkKernel(); err != nil {
		return nil, err
	}
	for _, dir := range []string{o.RunDir, h.stage, o.VolDir, h.ExportDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if h.lock, err = lockDir(o.RunDir); err != nil {
		return nil, err
	}
	h.privileges()
	if h.groups, err = cgroup.Open(o.Cgroup); err != nil {
		return nil, err
	}
	h.notes = append(h.notes, h.groups.Notes()...)
	h.pidMax = kernelAtLeast(6, 14)
	if !h.groups.Limits() && h.pidMax && !h.rootless {
		h.notes = append(h.notes, fmt.Sprintf("a container's pid namespace limits its processes instead, to no less than %d", leastPidMax-1))
	}
	if err := h.sweep(ctx); err != nil {
		return nil, err
	}
	if h.program, err = sealedCopy(o.Executable); err != nil {
		return nil, err
	}
	if !isSealed(h.program) {
		h.notes = append(h.notes, "children run from the program's file, because this kernel lets no program run from sealed memory")
	}
	if h.rootless {
		h.probe()
	}
	for _, n := range h.notes {
		h.log.Warn(n)
	}
	return h, nil
}

// checkKernel looks for the newest system call that everything needs.
func checkKernel() error {
	if err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}); err == unix.ENOSYS {
		return fmt.Errorf("mount_setattr(2): Linux 5.12 or newer is needed: %w", err)
	}
	return nil
}

// kernelAtLeast compares the kernel's version. What is asked here cannot be
// tried: before 6.14 the setting is one for the whole machine.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	var a, b int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// probe finds out whether a user may make namespaces here.
func (h *Host) probe() {
	attr := &os.ProcAttr{Files: []*os.File{nil, nil, nil}, Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}}
	h.maps.prepare(attr.Sys)
	p, err := os.StartProcess(h.programPath(), []string{initName}, attr) // it has no job, so it ends
	if err != nil {
		h.notes = append(h.notes, fmt.Sprintf("rootless: no container can start, because this machine lets a user make no user namespace: %v", err))
		return
	}
	p.Wait()
}

// programPath names the sealed copy for exec.
func (h *Host) programPath() string { return fmt.Sprintf("/proc/self/fd/%d", h.program.Fd()) }

// Notes says what this machine cannot do, one thing each.
func (h *Host) Notes() []string { return slices.Clone(h.notes) }

// Rootless reports whether containers run in user namespaces, because this
// process may not do more.
func (h *Host) Rootless() bool { return h.rootless }

// starter runs on one thread for as long as the Host lives: the kernel ends a
// container when the thread that started it ends (PR_SET_PDEATHSIG).
func (h *Host) starter() {
	runtime.LockOSThread()
	defer close(h.done)
	for f := range h.starts {
		f()
	}
}

// onStarter runs f on the starter's thread.
func (h *Host) onStarter(f func()) {
	ended := make(chan struct{})
	h.starts <- func() { defer close(ended); f() }
	<-ended
}

// lockDir holds a directory until the file is closed.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, err
	}
	return f, nil
}

// sweep takes away what an earlier runtime left: RunDir is locked, so it is
// gone.
func (h *Host) sweep(ctx context.Context) error {
	names, err := h.groups.Sweep(ctx)
	if len(names) > 0 {
		h.log.Info("containers of an earlier run are ended", "names", names)
	}
	return errors.Join(err, unmountBelow(h.opts.VolDir), unmountBelow(h.ExportDir()))
}

func (h *Host) containers() []*Container {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.running))
}

// Close ends all containers and takes everything away, except for copies of
// images.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.end(ErrClosed)
	h.begun.Wait()
	all := h.containers()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { errs[i] = c.Close(ctx) })
	}
	wg.Wait()
	close(h.starts)
	<-h.done
	if h.lock != nil {
		errs = append(errs, unmountBelow(h.opts.VolDir), unmountBelow(h.ExportDir()))
	}
	if h.groups != nil {
		errs = append(errs, h.groups.Close())
	}
	if h.lock != nil {
		// Explicitly: a process that is just being made, by somebody else in this
		// program, may have a copy of the descriptor (flock(2)).
		errs = append(errs, unix.Flock(int(h.lock.Fd()), unix.LOCK_UN))
	}
	for _, f := range []*os.File{h.program, h.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

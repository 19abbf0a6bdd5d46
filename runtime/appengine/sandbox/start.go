package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/cgroup"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mdev"
)

// pidsDefault is how many processes a container may have when nobody says.
const pidsDefault = 4096

// leastPidMax is the smallest kernel.pid_max (RESERVED_PIDS of kernel/pid.c,
// and one).
const leastPidMax = 301

// StartError is a container that did not start. The cause says which step of
// the start failed and on what; where a system call did, it is its error, such as
// ENOEXEC for a program that this machine never runs.
type StartError struct {
	Name string
	Err  error
}

func (e *StartError) Error() string { return fmt.Sprintf("start container %s: %v", e.Name, e.Err) }

// Unwrap gives the cause.
func (e *StartError) Unwrap() error { return e.Err }

// Start runs a container and returns when its program runs. An error is a
// *StartError, and then nothing of the container is left. ctx ends the start,
// not the container.
func (h *Host) Start(ctx context.Context, s Spec) (*Container, error) {
	c, err := h.start(ctx, s)
	if err != nil {
		return nil, &StartError{s.Name, err}
	}
	return c, nil
}

func (h *Host) start(ctx context.Context, s Spec) (_ *Container, err error) {
	if s.Config == nil {
		return nil, errors.New("it has no configuration")
	}
	j, err := h.job(s)
	if err != nil {
		return nil, err
	}
	c := &Container{name: s.Name, host: h, log: h.log.With("container", s.Name),
		halt: s.Config.Halt, stop: s.Config.Stop, settled: make(chan struct{}), done: make(chan struct{})}
	if err := h.enlist(c); err != nil {
		return nil, err
	}
	defer h.begun.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.life, func() { cancel(context.Cause(h.life)) })()
	for _, w := range s.Config.Warnings {
		c.log.Warn("lxc.container.conf: " + w.String())
	}
	if c.group, err = h.groups.Create(ctx, s.Name, h.pids(s), settings(s.Config)); err != nil {
		h.dismiss(c)
		return nil, err
	}
	if err := c.launch(ctx, j, s); err != nil {
		if c.process == nil {
			h.abandon(c)
		}
		return nil, err
	}
	return c, nil
}

// enlist takes the name: two containers of one name at once would share a group.
func (h *Host) enlist(c *Container) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	for other := range h.running {
		if other.name == c.name {
			return errors.New("it runs already")
		}
	}
	h.running[c] = true
	h.begun.Add(1)
	return nil
}

func (h *Host) dismiss(c *Container) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, c)
}

// abandon is dismiss for a container that has a group and no process.
func (h *Host) abandon(c *Container) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	if err := c.group.Close(ctx); err != nil {
		c.log.Error("the cgroup stays", "error", err)
	}
	h.dismiss(c)
}

func (h *Host) pids(s Spec) int {
	switch {
	case s.PidsMax < 0:
		return 0
	case s.PidsMax == 0:
		return pidsDefault
	}
	return s.PidsMax
}

func settings(c *lxcconf.Config) []cgroup.Setting {
	var out []cgroup.Setting
	for _, s := range c.Cgroup {
		out = append(out, cgroup.Setting{Version: s.Version, Key: s.Key, Value: s.Value})
	}
	return out
}

// job works out what the child is to do.
func (h *Host) job(s Spec) (*job, error) {
	j := &job{
		Config: s.Config, Volumes: s.Volumes, Overlay: s.Overlay, Mounts: s.Mounts,
		Hostname: s.Config.Hostname, Stage: h.stage, Rootless: h.rootless, MaxID: ^uint32(0) - 1,
		CgroupFS: h.groups.Unified(),
		Exports:  s.Exports,
	}
	if s.Config.Hostname == "" {
		j.Hostname = s.Hostname
	}
	if j.Hostname == "" {
		j.Hostname = s.Name
	}
	j.Env = environment(s)
	for _, n := range []lxcconf.Namespace{lxcconf.Mnt, lxcconf.PID, lxcconf.UTS, lxcconf.IPC, lxcconf.Net, lxcconf.Cgroup} {
		if s.Config.Own(n) || n == lxcconf.Net && s.OwnNet {
			j.Own = append(j.Own, string(n))
		}
	}
	for name, dir := range s.Volumes {
		if !path.IsAbs(name) || path.Clean(name) != name || !path.IsAbs(dir) {
			return nil, fmt.Errorf("volume %q at %q: want clean absolute paths", name, dir)
		}
	}
	if h.rootless {
		j.MaxID = h.maps.maxID()
	}
	if limit := h.pids(s); limit > 0 && !h.groups.Limits() {
		switch {
		case h.rootless:
			j.ProcLimit = limit
		case h.pidMax && slices.Contains(j.Own, string(lxcconf.PID)):
			j.PidMax = max(limit, leastPidMax)
		}
	}
	if len(s.Mdev) > 0 {
		if err := j.devices(s.Mdev); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// environment is that of the file and, as under lxc last, the variable that
// tells programs what they run in. Of two values the later counts.
func environment(s Spec) []string {
	group := s.Group
	if group == "" {
		group = "unknown" // what pv_lxc.c says without a group
	}
	var out []string
	for _, e := range append(slices.Clone(s.Config.Env), "container=pv-"+group) {
		name, _, _ := strings.Cut(e, "=")
		if i := slices.IndexFunc(out, func(o string) bool { return strings.HasPrefix(o, name+"=") }); i >= 0 {
			out[i] = e
			continue
		}
		out = append(out, e)
	}
	return out
}

// CheckMdev says what is wrong with the first rule of Spec.Mdev that would end a
// start.
func CheckMdev(rules []string) error {
	_, err := mdev.Parse(rules)
	return err
}

func (j *job) devices(rules []string) error {
	parsed, err := mdev.Parse(rules)
	if err != nil {
		return err
	}
	found, err := mdev.Scan("/sys")
	if err != nil {
		return fmt.Errorf("mdev: look for devices: %w", err)
	}
	for _, n := range parsed.Apply(found) {
		j.Devices = append(j.Devices, device{n.Path, n.Block, n.Major, n.Minor, n.UID, n.GID, n.Mode})
	}
	return nil
}

// flags are the namespaces that clone makes.
func (j *job) flags() uintptr {
	flags := map[string]uintptr{"mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "uts": unix.CLONE_NEWUTS,
		"ipc": unix.CLONE_NEWIPC, "net": unix.CLONE_NEWNET}
	var out uintptr
	for _, n := range j.Own {
		out |= flags[n]
	}
	return out
}

// launch starts the child, gives it its group, users and network, and then its
// job, and follows its reports until its program runs. When it fails after the
// process was made, it has waited for its end.
func (c *Container) launch(ctx context.Context, j *job, s Spec) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "reports")
	defer theirs.Close()
	jobs, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	defer jobs.Close()
	if err := c.fork(j.flags(), theirs, jobs); err != nil {
		return err
	}
	theirs.Close()
	jobs.Close()
	defer context.AfterFunc(ctx, func() { c.process.Kill() })()
	err = c.prepare(j, s)
	if err == nil {
		err = writeJob(in, j)
	}
	if err == nil {
		err = c.follow(pair[0], j, s)
	}
	close(c.settled)
	if err != nil {
		c.process.Kill()
		<-c.done
		if errors.Is(err, errEnded) {
			err = fmt.Errorf("%w: %v", err, c.exit)
		}
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// errEnded is a child that went without a word.
var errEnded = errors.New("it ended while it was being set up")

// childError is what a child said.
type childError struct {
	text  string
	errno unix.Errno // 0 if it was no system call
}

func (e *childError) Error() string { return e.text }

// Unwrap gives the system call's error.
func (e *childError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

func writeJob(in *os.File, j *job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = in.Write(data)
	if errors.Is(err, syscall.EPIPE) {
		err = nil // the child's report says why
	}
	return errors.Join(err, in.Close())
}

// fork makes the child's process, in its group if the kernel can do that at
// once.
func (c *Container) fork(flags uintptr, reports, jobs *os.File) error {
	h := c.host
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	attr := &os.ProcAttr{Dir: "/", Env: []string{"GOMAXPROCS=1", "GOGC=off"},
		Files: []*os.File{null, null, null, reports, jobs},
		Sys:   &syscall.SysProcAttr{Cloneflags: flags, UseCgroupFD: c.group.FD() >= 0, CgroupFD: c.group.FD()}}
	if h.rootless {
		h.maps.prepare(attr.Sys)
	}
	h.onStarter(func() {
		c.process, err = os.StartProcess(h.programPath(), []string{initName}, attr)
		if err != nil && attr.Sys.UseCgroupFD { // an older kernel, or a group that may only be joined later
			attr.Sys.UseCgroupFD = false
			c.process, err = os.StartProcess(h.programPath(), []string{initName}, attr)
		}
	})
	if err != nil {
		return fmt.Errorf("make its namespaces (%s): %w", strings.Join(names(flags), ", "), err)
	}
	go c.reap()
	return nil
}

func names(flags uintptr) []string {
	var out []string
	for _, n := range []struct {
		flag uintptr
		name string
	}{{unix.CLONE_NEWNS, "mnt"}, {unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWUTS, "uts"}, {unix.CLONE_NEWIPC, "ipc"}, {unix.CLONE_NEWNET, "net"}, {unix.CLONE_NEWUSER, "user"}} {
		if flags&n.flag != 0 {
			out = append(out, n.name)
		}
	}
	return out
}

// prepare does what has to be done from outside before the child goes on.
func (c *Container) prepare(j *job, s Spec) error {
	if err := c.group.Add(c.PID()); err != nil {
		return err
	}
	for _, w := range c.group.Warnings {
		c.log.Warn(w)
	}
	if m := c.host.maps; m != nil {
		if err := m.apply(c.PID()); err != nil {
			return fmt.Errorf("map users: %w", err)
		}
	}
	j.Hold = c.group.HasDevices()
	c.setNamespaces(j)
	if s.Prestart != nil {
		if err := s.Prestart(c.PID()); err != nil {
			return err
		}
	}
	return nil
}

// follow reads the child's reports until its program runs.
func (c *Container) follow(reports int, j *job, s Spec) error {
	for ready := false; ; {
		r, files, ok, err := receive(reports)
		if err != nil {
			return err
		}
		if !ok && !ready {
			return errEnded
		}
		if !ok {
			return nil
		}
		switch {
		case r.Error != "":
			return &childError{r.Error, unix.Errno(r.Errno)}
		case r.Warning != "":
			c.log.Warn(r.Warning)
		case r.Console && len(files) == 1:
			c.console.start(files[0], s.Console)
		case r.Export != "":
			if err := c.exported(r, files); err != nil {
				return err
			}
		case r.TTYs > 0:
			c.keep(files)
		case r.Ready:
			ready = true
			if !j.Hold {
				continue
			}
			if err := c.group.LimitDevices(); err != nil {
				return err
			}
			if err := unix.Send(reports, []byte{1}, unix.MSG_NOSIGNAL); err != nil {
				return err
			}
		}
	}
}

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/devcgroup"
)

// Setting is a file of a group and what goes into it. Version 1 settings are
// for the v1 hierarchy of their controller, version 2 settings for the unified
// one.
type Setting struct {
	Version    int
	Key, Value string
}

// Group is one container's.
type Group struct {
	Name     string
	Warnings []string           // settings that this machine has no place for
	devices  []Setting          // for v1's controller
	program  *devcgroup.Program // for v2, nil if nothing is forbidden
	tree     *Tree

	mu  sync.Mutex // guards what follows
	dir *os.File   // of the unified hierarchy, nil if there is none
	in  []*hierarchy
}

// member lists the hierarchies that the group is in.
func (g *Group) member() []*hierarchy {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.in)
}

// Create makes a container's group with its limits. What an earlier container
// of the same name left there is killed and taken away first. pids is the most
// processes, 0 for no limit.
func (t *Tree) Create(ctx context.Context, name string, pids int, settings []Setting) (_ *Group, err error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("cgroup for %q: a container's name has letters, digits, \".\", \"_\", \"-\" and \"+\"", name)
	}
	g := &Group{Name: name, tree: t}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cgroup of %s: %w", name, err), g.Close(ctx))
		}
	}()
	if err := t.group(name).Close(ctx); err != nil {
		return nil, fmt.Errorf("left from before: %w", err)
	}
	for _, h := range t.hierarchies() {
		if !h.unified && !t.needed(h, pids, settings) {
			continue
		}
		g.in = append(g.in, h)
		if err := h.mkdir(g.rel(h)); err != nil {
			return nil, err
		}
		if g.home(h) == g.rel(h) {
			continue
		}
		if err := h.mkdir(g.home(h)); err != nil {
			return nil, err
		}
		if h.unified {
			h.delegate(g.rel(h)) // for what manages groups inside, such as systemd
		}
	}
	if u := t.unified; u != nil {
		if g.dir, err = os.Open(u.path(g.home(u))); err != nil {
			return nil, err
		}
	}
	return g, g.limit(pids, settings)
}

// needed says whether a container joins a v1 hierarchy: only where it has a
// limit, and in the freezer, which Kill needs where there is no v2.
func (t *Tree) needed(h *hierarchy, pids int, settings []Setting) bool {
	return pids > 0 && slices.Contains(h.controllers, "pids") ||
		t.unified == nil && slices.Contains(h.controllers, "freezer") ||
		slices.ContainsFunc(settings, func(s Setting) bool { return s.Version == 1 && !isDefault(s) && h.serves(s.Key) })
}

// isDefault is what pvr writes into every file: all devices are allowed, as
// they are in a new group.
func isDefault(s Setting) bool {
	return strings.HasPrefix(s.Key, "devices.") && s.Key == "devices.allow" && s.Value == "a"
}

func (h *hierarchy) serves(key string) bool {
	controller, _, _ := strings.Cut(key, ".")
	return slices.Contains(h.controllers, controller)
}

// group is a handle on what may be there under a name.
func (t *Tree) group(name string) *Group {
	return &Group{Name: name, tree: t, in: t.hierarchies()}
}

func (g *Group) rel(h *hierarchy) string { return path.Join(h.base, g.Name) }

// home is where the processes are: one below the group with the limits. To the
// container it is the root of its cgroup namespace, whose files it may write to,
// and so it cannot lift its own limits. A devices or cpuset group of v1 does
// not hand on what it is given later, so there the two are the same.
func (g *Group) home(h *hierarchy) string {
	if h.unified || slices.Contains(h.controllers, "pids") || slices.Contains(h.controllers, "memory") {
		return path.Join(g.rel(h), "init")
	}
	return g.rel(h)
}

func (g *Group) limit(pids int, settings []Setting) error {
	t := g.tree
	var rules []Setting // on devices, for the unified hierarchy
	if pids > 0 && t.Limits() {
		h := t.controller("pids")
		if h == nil {
			h = t.unified
		}
		if err := h.write(g.rel(h), "pids.max", strconv.Itoa(pids)); err != nil {
			return err
		}
	}
	for _, s := range settings {
		if s.Version == 1 && strings.HasPrefix(s.Key, "devices.") && t.controller("devices") != nil {
			g.devices = append(g.devices, s)
			continue
		}
		h := t.unified
		if s.Version == 1 {
			controller, _, _ := strings.Cut(s.Key, ".")
			h = t.controller(controller)
		}
		if t.unified != nil && strings.HasPrefix(s.Key, "devices.") {
			rules = append(rules, s)
			continue
		}
		if h == nil {
			g.warn(s, "this machine has no such cgroup controller")
			continue
		}
		if err := h.write(g.rel(h), s.Key, s.Value); err != nil {
			return err
		}
	}
	return g.prepare(rules)
}

func (g *Group) warn(s Setting, why string) {
	if !isDefault(s) {
		g.Warnings = append(g.Warnings, fmt.Sprintf("lxc.cgroup%s.%s = %s has no effect: %s", map[int]string{2: "2"}[s.Version], s.Key, s.Value, why))
	}
}

// HasDevices reports whether LimitDevices has something to do.
func (g *Group) HasDevices() bool { return g.program != nil || g.v1Devices() }

func (g *Group) v1Devices() bool {
	return slices.ContainsFunc(g.devices, func(s Setting) bool { return !isDefault(s) })
}

// LimitDevices puts the limits on devices into effect. It comes late: making the
// container's /dev needs more rights than its programs are to have.
func (g *Group) LimitDevices() error {
	if g.v1Devices() {
		h := g.tree.controller("devices")
		for _, s := range g.devices {
			if err := h.write(g.rel(h), s.Key, s.Value); err != nil {
				return err
			}
		}
	}
	return g.attach()
}

func (h *hierarchy) write(rel, file, value string) error {
	f, err := os.OpenFile(h.path(path.Join(rel, file)), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: this machine's kernel has no such setting", file)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set %s to %q: %w", file, value, err)
	}
	return nil
}

// FD is the directory of the processes' unified group for clone3(2), -1 if there is none.
func (g *Group) FD() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dir == nil {
		return -1
	}
	return int(g.dir.Fd())
}

// Add moves a process into all hierarchies' groups. A user may be allowed to
// make a group and not to move processes there: then the group goes, with a
// warning.
func (g *Group) Add(pid int) error {
	for _, h := range g.member() {
		err := h.write(g.home(h), "cgroup.procs", strconv.Itoa(pid))
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			unix.Rmdir(h.path(g.home(h)))
			unix.Rmdir(h.path(g.rel(h)))
			g.mu.Lock()
			g.in = slices.DeleteFunc(g.in, func(x *hierarchy) bool { return x == h })
			g.mu.Unlock()
			g.Warnings = append(g.Warnings, fmt.Sprintf("it has no cgroup in %s, and no limits from there: %v", h.mount, err))
			continue
		}
		if err != nil {
			return fmt.Errorf("put process %d into the cgroup of %s: %w", pid, g.Name, err)
		}
	}
	return nil
}

// PIDs are the processes of the group and of those below it, as this process
// numbers them.
func (g *Group) PIDs() []int {
	var out []int
	for _, h := range g.member() {
		h.walk(g.rel(h), func(dir string) {
			for _, f := range fields(path.Join(dir, "cgroup.procs")) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
					out = append(out, pid)
				}
			}
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// walk calls f for the group and those below it, the deepest first.
func (h *hierarchy) walk(rel string, f func(dir string)) {
	var dirs []string
	filepath.WalkDir(h.path(rel), func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, name)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		f(d)
	}
}

// Kill ends every process of the group and waits until they are gone.
// cgroup.kill (Linux 5.14) ends them at one instant. Without it the group is
// frozen, so that nothing can fork while its processes get SIGKILL one by one,
// again and again until none is left.
func (g *Group) Kill(ctx context.Context) error {
	atOnce := false
	if u := g.tree.unified; u != nil && slices.Contains(g.member(), u) {
		atOnce = os.WriteFile(u.path(path.Join(g.rel(u), "cgroup.kill")), []byte("1"), 0) == nil
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		left := len(g.PIDs())
		if left == 0 {
			return nil
		}
		if !atOnce {
			g.freeze(true)
			for _, pid := range g.PIDs() {
				g.end(pid)
			}
			g.freeze(false)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill the processes of %s: %d are left: %w", g.Name, left, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

// end kills one process, if it still is of the group: its number may be
// another's by now.
func (g *Group) end(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	// Any thread tells: v1 shows one that has exited in the root.
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if slices.ContainsFunc(threads, func(dir string) bool {
		name, err := g.tree.owner(strings.TrimPrefix(dir, "/proc/"))
		return err == nil && name == g.Name
	}) {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// freeze is best effort: a kill loop works without, only longer.
func (g *Group) freeze(on bool) {
	if h := g.tree.controller("freezer"); h != nil && slices.Contains(g.member(), h) {
		os.WriteFile(h.path(path.Join(g.rel(h), "freezer.state")), []byte(map[bool]string{true: "FROZEN", false: "THAWED"}[on]), 0)
	} else if u := g.tree.unified; u != nil && slices.Contains(g.member(), u) {
		os.WriteFile(u.path(path.Join(g.rel(u), "cgroup.freeze")), []byte(map[bool]string{true: "1", false: "0"}[on]), 0)
	}
}

// Close kills what is left and removes the group. It may be called twice.
func (g *Group) Close(ctx context.Context) error {
	var errs []error
	g.mu.Lock()
	if g.dir != nil {
		errs = append(errs, g.dir.Close())
		g.dir = nil
	}
	if g.program != nil {
		errs = append(errs, g.program.Close())
	}
	g.mu.Unlock()
	in := g.member()
	if slices.ContainsFunc(in, func(h *hierarchy) bool { return exists(h.path(g.rel(h))) }) {
		errs = append(errs, g.Kill(ctx))
		for _, h := range in {
			errs = append(errs, h.remove(ctx, g.rel(h)))
		}
	}
	return errors.Join(errs...)
}

// remove waits for processes that are dead but not gone: their group is busy.
func (h *hierarchy) remove(ctx context.Context, rel string) error {
	wait := time.Millisecond
	for {
		var busy error
		h.walk(rel, func(dir string) {
			if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
				busy = fmt.Errorf("remove %s: %w", dir, err)
			}
		})
		if busy == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return busy
		case <-time.After(wait):
		}
		wait = min(2*wait, 50*time.Millisecond)
	}
}

// Names are the containers that have a group now.
func (t *Tree) Names() []string {
	var out []string
	for _, h := range t.hierarchies() {
		entries, _ := os.ReadDir(h.path(h.base))
		for _, e := range entries {
			if e.IsDir() {
				out = append(out, e.Name())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Sweep kills and removes the groups that a runtime that ended without warning
// has left, and returns their names.
func (t *Tree) Sweep(ctx context.Context) ([]string, error) {
	names := t.Names()
	var errs []error
	for _, name := range names {
		errs = append(errs, t.group(name).Close(ctx))
	}
	return names, errors.Join(errs...)
}

// Close removes the groups above the containers' if nothing is in them.
func (t *Tree) Close() error {
	var errs []error
	if t.lock != nil {
		// Explicitly: a process that is just being made may have a copy of the
		// descriptor (flock(2)).
		errs = append(errs, unix.Flock(int(t.lock.Fd()), unix.LOCK_UN), t.lock.Close())
		t.lock = nil
	}
	for _, h := range t.hierarchies() {
		for _, rel := range h.made {
			if err := unix.Rmdir(h.path(rel)); err != nil && err != unix.ENOENT && err != unix.EBUSY && err != unix.ENOTEMPTY {
				errs = append(errs, fmt.Errorf("remove %s: %w", h.path(rel), err))
			}
		}
	}
	return errors.Join(errs...)
}

// Owner returns the container whose group a process is in, also when it is in
// a group below it, and "" when it is in none.
func (t *Tree) Owner(pid int) (string, error) { return t.owner(strconv.Itoa(pid)) }

// owner is Owner for a process or a thread, by its name below /proc.
func (t *Tree) owner(task string) (string, error) {
	in, err := membership(task)
	if err != nil {
		return "", err
	}
	for _, h := range t.hierarchies() {
		prefix := path.Join(h.root, h.base) + "/"
		if rest, ok := strings.CutPrefix(in[h.id()], prefix); ok {
			name, _, _ := strings.Cut(rest, "/")
			return strings.TrimSuffix(name, " (deleted)"), nil
		}
	}
	return "", nil
}

// Join moves a process into the groups that another one is in, as far as they
// can be found and written to.
func Join(target, pid int) error {
	in, err := membership(strconv.Itoa(target))
	if err != nil {
		return err
	}
	all, err := mounted()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range all {
		rel, ok := h.relative(in[h.id()])
		if !ok {
			continue
		}
		err := h.write(rel, "cgroup.procs", strconv.Itoa(pid))
		if h.unified && err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Package cgroup gives each container a control group of its own, at
// NAME/lxc/<container>: for limits, to find all of its processes and kill them,
// and to tell whose a process is. It works with cgroup v2, with v1, with both
// at once (hybrid: v1 controllers beside a unified hierarchy without any), and
// says what it cannot do where there is none. The formats are those of the
// kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1, and of
// proc_pid_cgroup(5).
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted tree of control groups.
type hierarchy struct {
	mount       string   // where it is mounted
	root        string   // which group is there, as /proc/PID/cgroup names it
	controllers []string // v1 only: pids, or name=systemd
	unified     bool
	base        string // our group NAME/lxc, relative to the mount; "" when it cannot be used
	made        []string
}

// Tree is one runtime's part of the machine's hierarchies.
type Tree struct {
	name    string
	unified *hierarchy
	v1      []*hierarchy
	notes   []string
	lock    *os.File // of one of our groups
}

// ErrBusy means that another runtime uses groups of that name.
var ErrBusy = errors.New("another runtime uses the cgroup")

// v1 controllers that are used. Others, such as net_cls, say nothing about a
// container here.
var wanted = []string{"pids", "memory", "devices", "freezer", "cpu", "cpuset", "blkio"}

// Open finds the hierarchies and makes the group NAME/lxc where it may. Having
// none is not an error: Notes then says what is missing.
func Open(name string) (*Tree, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("cgroup name %q: want letters, digits, \".\", \"_\" and \"-\"", name)
	}
	all, err := mounted()
	if err != nil {
		return nil, fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	t := &Tree{name: name}
	own, err := membership("self")
	if err != nil {
		return nil, fmt.Errorf("find this process's cgroup: %w", err)
	}
	var failed []string
	for _, h := range all {
		useful := slices.ContainsFunc(h.controllers, func(c string) bool { return slices.Contains(wanted, c) })
		if h.unified && t.unified != nil || !h.unified && !useful {
			continue
		}
		if err := t.place(h, own); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", h.mount, err))
			continue
		}
		if h.unified {
			t.unified = h
		} else {
			t.v1 = append(t.v1, h)
		}
	}
	if len(failed) > 0 {
		t.note("%d of this machine's %d cgroup hierarchies cannot be used; the first is %s", len(failed), len(all), failed[0])
	}
	if err := t.take(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t.control()
	return t, nil
}

// take locks our group, so that a second runtime of that name does not end this
// one's containers as left over from before.
func (t *Tree) take() error {
	all := t.hierarchies()
	if len(all) == 0 {
		return nil
	}
	f, err := os.Open(all[0].path(all[0].base))
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return err
	}
	t.lock = f
	return nil
}

// ValidName reports whether a name can be that of a group.
func ValidName(name string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+", r)
	}
	return name != "" && len(name) <= 200 && name[0] != '.' && strings.IndexFunc(name, func(r rune) bool { return !ok(r) }) < 0
}

func (t *Tree) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// Notes says what this machine's control groups cannot do for a container.
func (t *Tree) Notes() []string { return slices.Clone(t.notes) }

// place makes NAME/lxc in a hierarchy. v1 groups stay below this process's own,
// so that a limit on the runtime holds for its containers. In v2 a group with
// processes cannot hand on controllers, so the root comes first.
func (t *Tree) place(h *hierarchy, own map[string]string) error {
	mine, ok := h.relative(own[h.id()])
	if !ok {
		mine = "/"
	}
	parents := []string{mine}
	if h.unified {
		parents = []string{"/", mine, path.Dir(mine)}
	}
	var errs []error
	for _, parent := range slices.Compact(parents) {
		top := path.Join(parent, t.name)
		err := h.mkdir(top)
		if err == nil {
			err = h.mkdir(path.Join(top, "lxc"))
		}
		if err == nil {
			h.base = path.Join(top, "lxc")
			h.made = []string{h.base, top}
			return nil
		}
		errs = append(errs, err)
	}
	return errs[0]
}

func (h *hierarchy) mkdir(rel string) error {
	err := os.Mkdir(h.path(rel), 0o755)
	if errors.Is(err, os.ErrExist) {
		return unix.Access(h.path(rel), unix.W_OK)
	}
	if err == nil && slices.Contains(h.controllers, "cpuset") {
		h.inherit(rel)
	}
	return err
}

// inherit gives a v1 cpuset group its parent's processors and memory nodes: an
// empty one takes no process.
func (h *hierarchy) inherit(rel string) {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		if v, err := os.ReadFile(h.path(path.Join(path.Dir(rel), f))); err == nil {
			os.WriteFile(h.path(path.Join(rel, f)), v, 0)
		}
	}
}

func (h *hierarchy) path(rel string) string { return path.Join(h.mount, rel) }

// id is how /proc/PID/cgroup names the hierarchy.
func (h *hierarchy) id() string {
	if h.unified {
		return ""
	}
	return strings.Join(h.controllers, ",")
}

// relative turns a path of /proc/PID/cgroup into one below the mount.
func (h *hierarchy) relative(p string) (string, bool) {
	if h.root == "/" {
		return p, strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "/..")
	}
	rest, ok := strings.CutPrefix(p, h.root)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return path.Join("/", rest), true
}

// control turns on v2's controllers for the containers' groups.
func (t *Tree) control() {
	if t.unified == nil && len(t.v1) == 0 {
		t.note("no cgroup can be written: no limits; a container's processes are found by their namespaces")
		return
	}
	if h := t.unified; h != nil {
		for dir := range ancestors(h.base) {
			h.delegate(dir)
		}
	}
	if !t.Limits() {
		t.note("the pids controller is not available: the number of a container's processes is not limited")
	}
}

// delegate turns on the controllers for the groups below one of v2, as far as
// that can be done.
func (h *hierarchy) delegate(rel string) {
	available := fields(h.path(path.Join(rel, "cgroup.controllers")))
	for _, c := range []string{"pids", "memory", "cpu", "io", "cpuset"} {
		if slices.Contains(available, c) {
			os.WriteFile(h.path(path.Join(rel, "cgroup.subtree_control")), []byte("+"+c), 0)
		}
	}
}

// Limits reports whether the number of processes can be limited.
func (t *Tree) Limits() bool {
	if t.controller("pids") != nil {
		return true
	}
	return t.unified != nil && slices.Contains(fields(t.unified.path(path.Join(t.unified.base, "cgroup.subtree_control"))), "pids")
}

// Usable reports whether processes can be grouped at all.
func (t *Tree) Usable() bool { return t.unified != nil || len(t.v1) > 0 }

func (t *Tree) controller(name string) *hierarchy {
	for _, h := range t.v1 {
		if slices.Contains(h.controllers, name) {
			return h
		}
	}
	return nil
}

func (t *Tree) hierarchies() []*hierarchy {
	if t.unified != nil {
		return append([]*hierarchy{t.unified}, t.v1...)
	}
	return t.v1
}

// ancestors yields "/", "/a", "/a/b" for "/a/b".
func ancestors(rel string) func(func(string) bool) {
	return func(yield func(string) bool) {
		at := "/"
		if !yield(at) {
			return
		}
		for part := range strings.SplitSeq(strings.Trim(rel, "/"), "/") {
			if at = path.Join(at, part); !yield(at) {
				return
			}
		}
	}
}

func fields(file string) []string {
	data, _ := os.ReadFile(file)
	return strings.Fields(string(data))
}

// mounted lists the hierarchies (proc_pid_mountinfo(5)).
func mounted() ([]*hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []*hierarchy
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		left, right, ok := strings.Cut(s.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 3 || r[0] != "cgroup" && r[0] != "cgroup2" {
			continue
		}
		h := &hierarchy{root: unescape(l[3]), mount: unescape(l[4]), unified: r[0] == "cgroup2"}
		for _, o := range strings.Split(r[2], ",") {
			if !h.unified && !slices.Contains([]string{"rw", "ro", "xattr", "clone_children", "noprefix"}, o) && !strings.HasPrefix(o, "release_agent=") {
				h.controllers = append(h.controllers, o)
			}
		}
		out = append(out, h)
	}
	return out, s.Err()
}

func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// membership reads /proc/PID/cgroup: the group by hierarchy, "" for v2.
func membership(pid string) (map[string]string, error) {
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 {
			out[f[1]] = f[2]
		}
	}
	return out, nil
}

// Unified reports whether there is a unified hierarchy, which a container can
// see.
func (t *Tree) Unified() bool { return t.unified != nil }

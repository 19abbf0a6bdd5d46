package drm

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/devcgroup"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

// cgroup is what limits a process's devices. In the device hierarchy of cgroups
// v1 the rules are files (Documentation/admin-guide/cgroup-v1/devices.rst). In
// cgroups v2 the rule is a program that the container's runtime has loaded; our
// own runtime's has a map for what is added from outside, to any other nothing
// can be added, so there the container's own configuration has to allow the
// device.
type cgroup struct {
	dir      *os.Root // v1; nil: none
	programs []*devcgroup.Program
	foreign  int // programs of others
}

func findCgroup(pid int) (_ *cgroup, err error) {
	c := &cgroup{}
	if pid <= 0 {
		return c, nil // the host
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find the device cgroups: %w", err)
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return nil, xconnect.ErrPeerGone
	case err != nil:
		return nil, fmt.Errorf("find the consumer's cgroup: %w", err)
	}
	if name := groupPath(string(mounts), string(groups), "cgroup", "devices"); name != "" {
		if c.dir, err = os.OpenRoot(name); err != nil {
			return nil, ended("open the consumer's cgroup", err)
		}
	}
	if name := groupPath(string(mounts), string(groups), "cgroup2", ""); name != "" {
		if err := c.findPrograms(name); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// findPrograms does without where the kernel has no such programs, or we no
// right to look at them.
func (c *cgroup) findPrograms(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return ended("open the consumer's cgroup", err)
	}
	defer dir.Close()
	c.programs, c.foreign, err = devcgroup.Find(dir)
	if errors.Is(err, devcgroup.ErrUnavailable) {
		return nil
	}
	return err
}

// ended: a group goes when its processes have.
func ended(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return xconnect.ErrPeerGone
	}
	return fmt.Errorf("%s: %w", what, err)
}

// groupPath finds a process's directory in a hierarchy from proc_pid_mountinfo(5)
// and its cgroups(7) file, or "" if there is no such hierarchy or the process is
// outside what is mounted. The kind is cgroup2, or cgroup with a controller.
func groupPath(mountinfo, cgroups, kind, controller string) string {
	group, found := "", false
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && has(f[1], controller) {
			group, found = f[2], true
		}
	}
	if !found || slices.Contains(strings.Split(group, "/"), "..") {
		return "" // ".." is a group above the root of our cgroup namespace
	}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 || right[0] != kind || controller != "" && !has(right[2], controller) {
			continue
		}
		rel, err := filepath.Rel(left[3], group)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		return filepath.Join(left[4], rel)
	}
	return ""
}

func has(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

func (c *cgroup) close() {
	if c.dir != nil {
		c.dir.Close()
	}
	for _, p := range c.programs {
		p.Close()
	}
}

// allow adds the device to all rules that do not have it. revoke, to be called
// before close, takes it out again.
func (c *cgroup) allow(n xconnect.Node) (revoke func() error, err error) {
	var undo []func() error
	revoke = func() (err error) {
		for _, f := range undo {
			err = errors.Join(err, f())
		}
		return err
	}
	add := func(f func() error, err error) error {
		if f != nil {
			undo = append(undo, f)
		}
		return err
	}
	if c.dir != nil {
		err = add(c.allowV1(n))
	}
	for _, p := range c.programs {
		if err == nil {
			err = add(p.Grant(devcgroup.Device{Kind: 'c', Major: n.Major, Minor: n.Minor}, devcgroup.Read|devcgroup.Write))
		}
	}
	if err != nil {
		return nil, errors.Join(err, revoke())
	}
	return revoke, nil
}

func (c *cgroup) allowV1(n xconnect.Node) (revoke func() error, err error) {
	allowed, err := c.allows(n)
	if err != nil || allowed {
		return nil, err
	}
	rule := fmt.Sprintf("c %d:%d rw", n.Major, n.Minor)
	if err := c.write("devices.allow", rule); err != nil {
		return nil, err
	}
	return func() error {
		err := c.write("devices.deny", rule)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil // the group has ended
		}
		return err
	}, nil
}

// allows reads devices.list: lines such as "a *:* rwm" or "c 226:* rw".
func (c *cgroup) allows(n xconnect.Node) (bool, error) {
	f, err := c.dir.Open("devices.list")
	if err != nil {
		return false, fmt.Errorf("read the consumer's device rules: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if covers(lines.Text(), n) {
			return true, nil
		}
	}
	return false, lines.Err()
}

func covers(rule string, n xconnect.Node) bool {
	f := strings.Fields(rule)
	if len(f) != 3 {
		return false
	}
	major, minor, _ := strings.Cut(f[1], ":")
	fits := func(text string, n uint32) bool { return text == "*" || text == fmt.Sprint(n) }
	return (f[0] == "a" || f[0] == "c") && fits(major, n.Major) && fits(minor, n.Minor) &&
		strings.Contains(f[2], "r") && strings.Contains(f[2], "w")
}

func (c *cgroup) write(name, rule string) error {
	f, err := c.dir.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("change the consumer's device rules: %w", err)
	}
	_, err = f.WriteString(rule)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q to %s of the consumer's cgroup: %w", rule, name, err)
	}
	return nil
}

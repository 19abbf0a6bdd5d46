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

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// cgroup is a process's group in the device hierarchy of cgroups v1, whose
// rules are files (Documentation/admin-guide/cgroup-v1/devices.rst). nil is a
// process without one. In cgroups v2 the rule is a program that the container's
// runtime has loaded; to that nothing can be added from outside, so there the
// container's own configuration has to allow the device.
type cgroup struct{ dir *os.Root }

func findCgroup(pid int) (*cgroup, error) {
	if pid <= 0 {
		return nil, nil // the host
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
	name := devicesPath(string(mounts), string(groups))
	if name == "" {
		return nil, nil
	}
	dir, err := os.OpenRoot(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, xconnect.ErrPeerGone
	}
	if err != nil {
		return nil, fmt.Errorf("open the consumer's cgroup: %w", err)
	}
	return &cgroup{dir}, nil
}

// devicesPath finds a process's directory from proc_pid_mountinfo(5) and its
// cgroups(7) file, or "" if there is no device hierarchy or the process is
// outside what is mounted.
func devicesPath(mountinfo, cgroups string) string {
	group, found := "", false
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && has(f[1], "devices") {
			group, found = f[2], true
		}
	}
	if !found || slices.Contains(strings.Split(group, "/"), "..") {
		return "" // ".." is a group above the root of our cgroup namespace
	}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 || right[0] != "cgroup" || !has(right[2], "devices") {
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
	if c != nil {
		c.dir.Close()
	}
}

// allow adds the device to the group's rules, unless they have it. revoke, to
// be called before close, takes it out again.
func (c *cgroup) allow(n xconnect.Node) (revoke func() error, err error) {
	nothing := func() error { return nil }
	if c == nil {
		return nothing, nil
	}
	allowed, err := c.allows(n)
	if err != nil || allowed {
		return nothing, err
	}
	rule := fmt.Sprintf("c %d:%d rw", n.Major, n.Minor)
	if err := c.write("devices.allow", rule); err != nil {
		return nothing, err
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

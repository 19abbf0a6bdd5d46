package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/inroot"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mnt"
)

// lxcOptions are options of a mount entry that are lxc's and not the kernel's.
var lxcOptions = []string{"create=dir", "create=file", "optional", "relative", "defaults", "origin=mkdir"}

// mountEntries makes the configuration's mounts and then the caller's.
func (c *child) mountEntries() error {
	for _, m := range slices.Concat(c.Config.Mounts, c.Mounts) {
		err := c.mountEntry(m)
		if err != nil && m.Has("optional") {
			c.warn("%s: %v (it is optional: left out)", m, err)
			continue
		}
		if err != nil && m.Line > 0 {
			return fmt.Errorf("lxc.mount.entry of line %d: %s: %w", m.Line, m, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}

func (c *child) mountEntry(m lxcconf.Mount) error {
	o := mnt.ParseOptions(m.Options, lxcOptions...)
	fd, dir, err := c.openMount(m, o)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return c.attach(fd, m, dir)
}

// openMount makes the mount, attached to nowhere, and says whether it is a
// directory.
func (c *child) openMount(m lxcconf.Mount, o mnt.Options) (fd int, dir bool, err error) {
	if o.Bind {
		return c.openBind(m, o)
	}
	if m.Type == "overlay" || m.Type == "overlayfs" {
		if o.Data, err = c.overlayEntry(o.Data); err != nil {
			return -1, true, err
		}
		fd, err = c.mountOverlay(o)
		return fd, true, err
	}
	fd, err = mnt.FS(m.Type, m.Source, o)
	return fd, true, err
}

func (c *child) openBind(m lxcconf.Mount, o mnt.Options) (int, bool, error) {
	var src *inroot.File
	var err error
	if m.Has("relative") {
		src, err = c.root.Lookup(m.Source)
	} else {
		src, err = c.source(m.Source)
	}
	if err != nil {
		return -1, false, err
	}
	defer src.Close()
	fd, err := mnt.Clone(src.FD, o.Recursive)
	if errors.Is(err, unix.EINVAL) && c.Rootless && !o.Recursive {
		// A user namespace may not see what the host's mounts cover, so it must
		// take them along.
		o.Recursive = true
		fd, err = mnt.Clone(src.FD, true)
	}
	if err != nil {
		return -1, false, err
	}
	if err := mnt.Change(fd, o); err != nil {
		unix.Close(fd)
		return -1, false, fmt.Errorf("set its options: %w", err)
	}
	return fd, src.IsDir(), nil
}

// overlayEntry finds the directories of an overlay's options.
func (c *child) overlayEntry(options []string) ([]string, error) {
	var rest, lower []string
	var upper, work string
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "lowerdir":
			lower = strings.Split(value, ":")
		case "upperdir":
			upper = value
		case "workdir":
			work = value
		default:
			rest = append(rest, o)
		}
	}
	if len(lower) == 0 {
		return nil, errors.New("the overlay has no lowerdir")
	}
	if upper != "" && work == "" {
		work = workFor(upper)
	}
	data, err := c.overlay(lower, upper, work)
	return append(data, rest...), err
}

// attach puts a mount on its target in the root, which it makes when asked to.
func (c *child) attach(fd int, m lxcconf.Mount, dir bool) error {
	var at *inroot.File
	var err error
	switch {
	case m.Has("create=dir"):
		at, err = c.root.Mkdir(m.Target, 0o755)
	case m.Has("create=file"):
		at, err = c.root.Create(m.Target, 0o644)
	default:
		at, err = c.root.Lookup(m.Target)
	}
	if err != nil {
		return fmt.Errorf("its target: %w", err)
	}
	defer at.Close()
	if at.IsDir() != dir {
		return fmt.Errorf("its source is %s and its target is %s", kind(dir), kind(!dir))
	}
	return mnt.Attach(fd, at.FD)
}

func kind(dir bool) string {
	if dir {
		return "a directory"
	}
	return "a file"
}

// mountAuto makes /proc and /sys as lxc.mount.auto asks.
func (c *child) mountAuto() error {
	if m := c.Config.Auto.Proc; m != lxcconf.Absent {
		if err := c.mountProc(m); err != nil {
			return fmt.Errorf("mount /proc: %w", err)
		}
	}
	if m := c.Config.Auto.Sys; m != lxcconf.Absent {
		if err := c.mountSys(m); err != nil {
			return fmt.Errorf("mount /sys: %w", err)
		}
	}
	return nil
}

const quiet = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// system mounts one of the kernel's own file systems, or binds the host's where
// a user namespace may not have one.
func (c *child) system(kind, target string, attr uint64) (int, error) {
	fd, err := mnt.FS(kind, kind, mnt.Options{Set: attr})
	if err != nil && (c.Rootless || errors.Is(err, unix.EPERM)) {
		var src *inroot.File
		if src, err = c.source(target); err != nil {
			return -1, err
		}
		defer src.Close()
		if fd, err = mnt.Clone(src.FD, true); err != nil {
			return -1, err
		}
		c.warn("%s is the host's: this user namespace may not mount its own", target)
	}
	if err != nil {
		return -1, err
	}
	at, err := c.root.Mkdir(target, 0o755)
	if err == nil {
		defer at.Close()
		err = mnt.Attach(fd, at.FD)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// mountProc mounts /proc. Mixed is read-only in /proc/sys, except for the
// network where the container has its own, and for sysrq-trigger.
func (c *child) mountProc(mode lxcconf.Mode) error {
	proc, err := c.system("proc", "/proc", quiet)
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	if mode != lxcconf.Mixed {
		return nil
	}
	net := -1
	if c.owns("net") {
		if net, err = mnt.CloneAt(proc, "sys/net", false); err == nil {
			defer unix.Close(net)
		}
	}
	for _, name := range []string{"sys", "sysrq-trigger"} {
		err := c.readOnly(proc, name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", name, err)
		}
	}
	if net >= 0 {
		return c.over(net, proc, "sys/net")
	}
	return nil
}

// limitPids sets how many processes the pid namespace can have. It uses a /proc
// of its own, because the container may have none, or one that is read-only.
func (c *child) limitPids() error {
	if c.PidMax == 0 {
		return nil
	}
	proc, err := mnt.FS("proc", "proc", mnt.Options{})
	if err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	defer unix.Close(proc)
	fd, err := unix.Openat(proc, "sys/kernel/pid_max", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open kernel.pid_max: %w", err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(strconv.Itoa(c.PidMax)))
	return err
}

// readOnly covers a name below a mount with itself, read-only.
func (c *child) readOnly(dir int, name string) error {
	fd, err := mnt.CloneAt(dir, name, c.Rootless)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := mnt.Change(fd, mnt.Options{Set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return err
	}
	return c.over(fd, dir, name)
}

// over attaches a mount to a name below a directory of the kernel's own.
func (c *child) over(fd, dir int, name string) error {
	at, err := unix.Openat(dir, name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return mnt.Attach(fd, at)
}

// mountSys mounts /sys. Mixed is read-only except for the virtual network
// devices.
func (c *child) mountSys(mode lxcconf.Mode) error {
	mixed := mode == lxcconf.Mixed && c.owns("net") && !c.Rootless
	attr := uint64(quiet)
	if mode != lxcconf.ReadWrite && !mixed {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	sys, err := c.system("sysfs", "/sys", attr)
	if err != nil {
		return err
	}
	defer unix.Close(sys)
	if !mixed {
		return nil
	}
	// A part that can be written is copied before the whole cannot be. Only
	// recent kernels copy from a mount that is attached to nowhere.
	const net = "devices/virtual/net"
	sub, err := mnt.CloneAt(sys, net, false)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("copy the mount of /sys/%s: %w", net, err)
	}
	if err == nil {
		defer unix.Close(sub)
	}
	if err := mnt.Change(sys, mnt.Options{Set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make /sys read-only: %w", err)
	}
	if sub < 0 {
		return nil // sysfs has no virtual network devices
	}
	return c.over(sub, sys, net)
}

// mountCgroup mounts the unified hierarchy at /sys/fs/cgroup. With a namespace
// of its own the container sees its own group as the root and may write; if it
// sees all, it may only read.
func (c *child) mountCgroup() error {
	mode := c.Config.Auto.Cgroup
	if mode == lxcconf.Absent || !c.CgroupFS {
		return nil
	}
	at, err := c.root.Lookup("/sys/fs/cgroup")
	if err != nil {
		return nil // there is no /sys
	}
	defer at.Close()
	o := mnt.Options{Set: quiet}
	if mode == lxcconf.ReadOnly || !c.owns("cgroup") {
		o.Set |= unix.MOUNT_ATTR_RDONLY
	}
	fd, err := mnt.FS("cgroup2", "cgroup2", o)
	if err != nil {
		c.warn("/sys/fs/cgroup is not mounted: %v", err)
		return nil
	}
	defer unix.Close(fd)
	if err := mnt.Attach(fd, at.FD); err != nil {
		return fmt.Errorf("mount /sys/fs/cgroup: %w", err)
	}
	return nil
}

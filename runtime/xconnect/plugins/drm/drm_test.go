package drm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/devcgroup"
	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/drm"
)

// run starts the plugin for a link. It returns Run's error if that comes before
// the link is ready, or what ends the link.
func run(t *testing.T, p drm.Plugin, from, to *testns.Container, socket, target string) (stop func() error, err error) {
	t.Helper()
	in := nsinject.New(nsinject.Options{})
	l := xconnect.Link{
		Consumer: xconnect.Peer{Name: "consumer", PID: to.PID}, Provider: xconnect.Peer{Name: "provider", PID: from.PID},
		Name: "gpu", Type: "drm", Target: target, Socket: socket,
	}
	consumer, err := in.Enter(t.Context(), l.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := in.Enter(t.Context(), l.Provider)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consumer.Close(); provider.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ready, done := make(chan struct{}), make(chan error, 1)
	env := xconnect.Env{
		Consumer: consumer, Provider: provider, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Stats: &xconnect.Stats{}, Ready: func() { close(ready) }, MaxConns: 1,
	}
	go func() { done <- p.Run(ctx, l, env) }()
	wait := func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			t.Fatal("Run does not return")
			return nil
		}
	}
	select {
	case <-ready:
		return func() error { cancel(); return wait() }, nil
	case err := <-done:
		return nil, err
	}
}

func mknod(t *testing.T, c *testns.Container, path string, kind uint32, mode uint32, major, minor uint32) {
	t.Helper()
	c.Mkdir(filepath.Dir(path))
	at := c.Path(path)
	if err := unix.Mknod(at, kind, int(unix.Mkdev(major, minor))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(at, 3, 44), os.Chmod(at, os.FileMode(mode))); err != nil {
		t.Fatal(err)
	}
}

func TestDevicePassedOn(t *testing.T) {
	from, to := testns.Start(t), testns.Start(t)
	mknod(t, from, "/dev/dri/card0", unix.S_IFCHR, 0o640, 226, 0)
	from.Symlink("../dev/dri/card0", "/run/card")
	for _, socket := range []string{"/dev/dri/card0", "/run/card"} {
		stop, err := run(t, drm.Plugin{}, from, to, socket, "/dev/dri/card7")
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(to.Path("/dev/dri/card7"), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode != unix.S_IFCHR|0o640 || uint64(st.Rdev) != unix.Mkdev(226, 0) || st.Uid != 3 || st.Gid != 44 {
			t.Errorf("%s: mode %#o, device %#x, owner %d:%d", socket, st.Mode, st.Rdev, st.Uid, st.Gid)
		}
		if fi, err := os.Stat(to.Path("/dev/dri")); err != nil || fi.Mode() != fs.ModeDir|0o755 {
			t.Errorf("the directory: %v, %v", fi, err)
		}
		if err := stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if _, err := os.Lstat(to.Path("/dev/dri/card7")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the node after the link: %v", err)
		}
	}
}

func TestRefused(t *testing.T) {
	from, to := testns.Start(t), testns.Start(t)
	mknod(t, from, "/dev/dri/disk", unix.S_IFBLK, 0o660, 226, 0)
	mknod(t, from, "/dev/dri/mem", unix.S_IFCHR, 0o666, 1, 1)
	mknod(t, from, "/dev/sda", unix.S_IFBLK, 0o660, 8, 0)
	mknod(t, from, "/dev/null", unix.S_IFCHR, 0o666, 1, 3)
	mknod(t, from, "/run/card0", unix.S_IFCHR, 0o666, 226, 0)
	mknod(t, from, "/dev/dri/by/card0", unix.S_IFCHR, 0o666, 226, 0)
	from.Symlink("/dev/sda", "/dev/dri/card0")
	from.Symlink("/dev/null", "/dev/dri/card1")
	if err := os.WriteFile(from.Path("/dev/dri/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		socket, want string
		permanent    bool
	}{
		{"/dev/dri/disk", "not a character device", true},
		{"/dev/dri/mem", "not a graphics device", true},
		{"/dev/dri/card0", "/dev/sda (8:0) is not a character device", true},
		{"/dev/dri/card1", "/dev/null (1:3) is not in /dev/dri", true},
		{"/run/card0", "not in /dev/dri", true},
		{"/dev/dri/by/card0", "not in /dev/dri", true},
		{"/dev/dri/../sda", "not a character device", true},
		{"/dev/dri/file", "not a device", false},
		{"/dev/dri/none", "no such file", false},
	} {
		stop, err := run(t, drm.Plugin{}, from, to, c.socket, "/dev/dri/card0")
		if err == nil {
			stop()
			t.Errorf("%s was passed on", c.socket)
			continue
		}
		if errors.Is(err, xconnect.ErrPermanent) != c.permanent || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.socket, err)
		}
	}
	if _, err := os.Lstat(to.Path("/dev/dri")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made in the consumer: %v", err)
	}
}

func TestAllowed(t *testing.T) {
	from, to := testns.Start(t), testns.Start(t)
	mknod(t, from, "/dev/null", unix.S_IFCHR, 0o666, 1, 3)
	mknod(t, from, "/dev/sda", unix.S_IFBLK, 0o660, 8, 0)
	p := drm.Plugin{Allow: []string{"/dev/nul?", "/dev/sda"}}
	stop, err := run(t, p, from, to, "/dev/null", "/dev/mine")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := to.Command("sh", "-c", "echo x >/dev/mine").CombinedOutput(); err != nil {
		t.Errorf("the consumer cannot use it: %v %s", err, out)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := run(t, p, from, to, "/dev/sda", "/dev/mine"); !errors.Is(err, xconnect.ErrPermanent) {
		t.Errorf("a block device: %v", err)
	}
	if _, err := run(t, drm.Plugin{Allow: []string{"["}}, from, to, "/dev/null", "/dev/mine"); !errors.Is(err, xconnect.ErrPermanent) {
		t.Errorf("a bad pattern: %v", err)
	}
}

// What is in the consumer's way stays.
func TestInTheWay(t *testing.T) {
	from, to := testns.Start(t), testns.Start(t)
	mknod(t, from, "/dev/dri/card0", unix.S_IFCHR, 0o640, 226, 0)
	if err := os.WriteFile(to.Path("/dev/x"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, drm.Plugin{}, from, to, "/dev/dri/card0", "/dev/x"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(to.Path("/dev/x")); err != nil || string(b) != "mine" {
		t.Errorf("the file: %q, %v", b, err)
	}
}

func TestConsumerEnds(t *testing.T) {
	from, to := testns.Start(t), testns.Start(t)
	mknod(t, from, "/dev/dri/card0", unix.S_IFCHR, 0o640, 226, 0)
	stop, err := run(t, drm.Plugin{}, from, to, "/dev/dri/card0", "/dev/dri/card0")
	if err != nil {
		t.Fatal(err)
	}
	to.Stop()
	if err := stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// confined is a group for a consumer.
type confined struct {
	t     *testing.T
	group string
	to    *testns.Container
}

// confine puts a container into a group of its own, below the root of a
// hierarchy.
func confine(t *testing.T, to *testns.Container, kind, controller, cgroups string) *confined {
	t.Helper()
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	top := drm.GroupPath(string(mountinfo), cgroups, kind, controller)
	c := &confined{t, filepath.Join(top, fmt.Sprintf("pvkit-test-%d", os.Getpid())), to}
	if top == "" || os.Mkdir(c.group, 0o755) != nil {
		t.Skipf("testreq: optional: there is no hierarchy %s to write to", kind)
	}
	t.Cleanup(func() {
		to.Stop()
		for range 100 { // until the kernel has let go of the processes
			if os.Remove(c.group) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s stays behind", c.group)
	})
	c.put("cgroup.procs", fmt.Sprint(to.PID))
	return c
}

func (c *confined) put(file, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.group, file), []byte(text), 0); err != nil {
		c.t.Fatal(err)
	}
}

// forbid has a program of our runtime's forbid everything.
func (c *confined) forbid() {
	c.t.Helper()
	p, err := devcgroup.New(false).Load()
	if errors.Is(err, devcgroup.ErrUnavailable) {
		c.t.Skipf("testreq: optional: %v", err)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer p.Close()
	dir, err := os.Open(c.group)
	if err != nil {
		c.t.Fatal(err)
	}
	defer dir.Close()
	if err := p.Attach(dir); err != nil {
		c.t.Fatal(err)
	}
}

// can tells whether a process of the group can open a node. The shell goes into
// the group itself: nsenter leaves it where it was.
func (c *confined) can(node string) bool {
	cmd := exec.Command("sh", "-c", `echo $$ >"$1/cgroup.procs" && exec nsenter -t "$2" -m -- sh -c ": <>$3"`, "sh", c.group, fmt.Sprint(c.to.PID), node)
	return cmd.Run() == nil
}

// In a device cgroup that forbids everything, the consumer may use the device
// for as long as the link is there, and nothing else.
func TestCgroup(t *testing.T) {
	for name, c := range map[string]struct {
		kind, controller, cgroups string
		forbid                    func(*confined)
	}{
		"v1": {"cgroup", "devices", "1:devices:/\n", func(c *confined) { c.put("devices.deny", "a") }},
		"v2": {"cgroup2", "", "0::/\n", (*confined).forbid},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := testns.Start(t), testns.Start(t)
			in := confine(t, to, c.kind, c.controller, c.cgroups)
			c.forbid(in)
			mknod(t, from, "/dev/null", unix.S_IFCHR, 0o666, 1, 3)
			mknod(t, to, "/dev/held", unix.S_IFCHR, 0o666, 1, 3)
			mknod(t, to, "/dev/zero", unix.S_IFCHR, 0o666, 1, 5)
			if in.can("/dev/held") {
				t.Fatal("the cgroup does not hold")
			}
			stop, err := run(t, drm.Plugin{Allow: []string{"/dev/null"}}, from, to, "/dev/null", "/dev/given")
			if err != nil {
				t.Fatal(err)
			}
			if !in.can("/dev/given") {
				t.Error("the consumer may not use the device")
			}
			if in.can("/dev/zero") {
				t.Error("the consumer may use another device")
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if in.can("/dev/held") {
				t.Error("the consumer may use the device after the link's end")
			}
			if name == "v2" {
				return
			}
			// A rule that was there before stays.
			in.put("devices.allow", "c 1:* rwm")
			if stop, err = run(t, drm.Plugin{Allow: []string{"/dev/null"}}, from, to, "/dev/null", "/dev/given"); err != nil {
				t.Fatal(err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if !in.can("/dev/held") {
				t.Error("the container's own rule is gone")
			}
		})
	}
}

// The machine's own graphics device, by default rules. The module vgem makes one.
func TestCard(t *testing.T) {
	var st unix.Stat_t
	if err := unix.Stat("/dev/dri/card0", &st); err != nil {
		t.Skipf("testreq: optional: no graphics device here: %v", err)
	}
	from, to := testns.Start(t), testns.Start(t)
	in := confine(t, to, "cgroup2", "", "0::/\n")
	in.forbid()
	mknod(t, from, "/dev/dri/card0", unix.S_IFCHR, 0o660, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	mknod(t, to, "/dev/held", unix.S_IFCHR, 0o660, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	if in.can("/dev/held") {
		t.Fatal("the cgroup does not hold")
	}
	stop, err := run(t, drm.Plugin{}, from, to, "/dev/dri/card0", "/dev/dri/card0")
	if err != nil {
		t.Fatal(err)
	}
	if !in.can("/dev/dri/card0") {
		t.Error("the consumer may not use the device")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if in.can("/dev/held") {
		t.Error("the consumer may use the device after the link's end")
	}
}

func TestGroupPath(t *testing.T) {
	const v1 = "30 25 0:26 / /sys/fs/cgroup/devices rw,relatime shared:9 - cgroup cgroup rw,devices\n" +
		"31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	const nested = "30 25 0:26 /outer /cg rw - cgroup none rw,devices\n"
	const v2 = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	for _, c := range []struct{ name, mountinfo, cgroups, want string }{
		{"v1", v1, "4:devices:/lxc/c\n3:cpu,cpuacct:/x\n", "/sys/fs/cgroup/devices/lxc/c"},
		{"colon in the name", v1, "4:devices:/lxc/a:b\n", "/sys/fs/cgroup/devices/lxc/a:b"},
		{"with other controllers", v1, "4:freezer,devices:/x\n", "/sys/fs/cgroup/devices/x"},
		{"part of the hierarchy", nested, "4:devices:/outer/c\n", "/cg/c"},
		{"outside of it", nested, "4:devices:/other\n", ""},
		{"above our namespace", v1, "4:devices:/../../c\n", ""},
		{"v2", v2, "0::/lxc/c\n", ""},
		{"v1 beside v2", v1 + v2, "4:devices:/lxc/c\n0::/other\n", "/sys/fs/cgroup/devices/lxc/c"},
		{"not mounted", v2, "4:devices:/lxc/c\n", ""},
		{"broken", "- cgroup\n30 - cgroup x devices\n", "4:devices:/x\nx\n", ""},
	} {
		if got := drm.GroupPath(c.mountinfo, c.cgroups, "cgroup", "devices"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for name, c := range map[string]struct{ mountinfo, cgroups, want string }{
		"v2":                  {v2, "0::/lxc/c\n", "/sys/fs/cgroup/lxc/c"},
		"beside v1":           {v1 + v2, "4:devices:/x\n0::/lxc/c\n", "/sys/fs/cgroup/lxc/c"},
		"only v1":             {v1, "4:devices:/x\n0::/lxc/c\n", ""},
		"above our namespace": {v2, "0::/../c\n", ""},
		"not in it":           {v2, "4:devices:/x\n", ""},
	} {
		if got := drm.GroupPath(c.mountinfo, c.cgroups, "cgroup2", ""); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

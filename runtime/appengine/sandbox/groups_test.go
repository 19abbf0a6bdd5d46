package sandbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

// groups is a runtime that sees only some of the machine's cgroups: it starts a
// container that forks without end, or up to 150 processes, and kills it.
func groups(dir, group, img string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := func() error {
		h, err := sandbox.Open(ctx, sandbox.Options{RunDir: dir, Cgroup: group, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			return err
		}
		defer h.Close(ctx)
		for _, n := range h.Notes() {
			fmt.Println("note:", n)
		}
		m, err := h.Mount(ctx, "app", []sandbox.Volume{{Name: "root.squashfs", Image: img}, {Name: "lxc-overlay", Tmpfs: true}})
		if err != nil {
			return err
		}
		defer m.Unmount(ctx)
		for _, keep := range []string{"user net ipc", "user net ipc pid cgroup"} {
			c, err := lxcconf.Parse(strings.NewReader(confText("/prog bomb:150", "lxc.namespace.keep = "+keep)))
			if err != nil {
				return err
			}
			out := &buffer{}
			run, err := h.Start(ctx, sandbox.Spec{Name: "app", Config: c, Volumes: m.Volumes(), Console: out, PidsMax: 40})
			if err != nil {
				return err
			}
			for !strings.Contains(out.String(), "stopped") && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			name, ok := h.Owner(run.PID())
			pids := run.PIDs()
			err = run.Kill(ctx)
			left := 0
			for _, pid := range pids {
				if alive(pid) {
					left++
				}
			}
			fmt.Printf("owner %q %v limited %v left %d %v\n", name, ok, strings.Contains(out.String(), "stopped true"), left, err)
		}
		return nil
	}()
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// The same with all of the machine's hierarchies, with v1 alone, with v2 alone
// (which has no controllers here when v1 has them), and with none; and on a
// machine without loop devices.
func TestMachines(t *testing.T) {
	testreq.Root(t)
	testreq.Tool(t, "unshare")
	b := open(t)
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	v2 := v2Mount()
	const known, unlimited = `owner "app" true limited true left 0 <nil>`, `owner "app" true limited false left 0 <nil>`
	// Since Linux 6.14 a pid namespace limits its processes.
	var major, minor int
	fmt.Sscanf(string(must(os.ReadFile("/proc/sys/kernel/osrelease"))), "%d.%d", &major, &minor)
	fallback, first := []string{}, unlimited
	if major > 6 || major == 6 && minor >= 14 {
		fallback, first = []string{"note: a container's pid namespace limits its processes instead, to no less than 300"}, known
	}
	before := string(must(os.ReadFile("/proc/sys/kernel/pid_max")))
	for name, c := range map[string]struct {
		hybrid bool // only where v1 and v2 are there
		hide   string
		want   []string
	}{
		"as it is":        {false, "", []string{known, known}},
		"no loop devices": {false, "mount --bind /dev/null /dev/loop-control", []string{known, known}},
		"v1":              {true, "umount " + v2, []string{known, known}},
		"v2": {true, "for d in $(awk '$3==\"cgroup\"{print $2}' /proc/mounts); do umount $d; done",
			slices.Concat([]string{"note: the pids controller is not available"}, fallback, []string{first, unlimited})},
		"none": {false, "for d in $(awk '$3==\"cgroup\"||$3==\"cgroup2\"{print $2}' /proc/mounts | sort -r); do umount $d; done",
			slices.Concat([]string{"note: no cgroup can be written"}, fallback, []string{first, unlimited})},
	} {
		t.Run(name, func(t *testing.T) {
			if c.hybrid {
				if v2 == "" || v2 == "/sys/fs/cgroup" {
					t.Skip("testreq: optional: cgroup v1 and v2 are not both mounted here")
				}
			}
			if !c.hybrid && name != "none" && !limits(b) {
				t.Skip("testreq: optional: the number of processes cannot be limited here")
			}
			dir := t.TempDir()
			if c.hide == "" {
				c.hide = "true"
			}
			self, _ := os.Readlink("/proc/self/exe")
			cmd := exec.Command("unshare", "-m", "bash", "-c", c.hide+` && exec -a "$@"`, "x", groupsName, self,
				filepath.Join(dir, "run"), fmt.Sprintf("pvkit-test-%d-modes", os.Getpid()), img)
			var log strings.Builder
			cmd.Stderr = &log
			out, err := cmd.Output()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			ok := err == nil && len(lines) == len(c.want)
			for i := 0; ok && i < len(lines); i++ {
				ok = strings.HasPrefix(lines[i], c.want[i])
			}
			if !ok {
				t.Errorf("%v: got\n%s\nwant\n%s\nlog: %s", err, out, strings.Join(c.want, "\n"), &log)
			}
			if unpacked := strings.Contains(log.String(), "its files are unpacked"); unpacked != (name == "no loop devices") {
				t.Errorf("unpacked %v: %s", unpacked, &log)
			}
		})
	}
	if after := string(must(os.ReadFile("/proc/sys/kernel/pid_max"))); after != before {
		t.Errorf("the machine's pid_max was %s and is %s", before, after)
	}
}

// limits reports whether the machine can limit the number of processes.
func limits(b *bench) bool {
	return !slices.ContainsFunc(b.Notes(), func(s string) bool { return strings.Contains(s, "not limited") || strings.Contains(s, "no limits") })
}

// v2Mount is where cgroup v2 is mounted, "" if it is not.
func v2Mount() string {
	data, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
}

// Limits of the file are in effect, and those that cannot be are named.
func TestCgroupSettings(t *testing.T) {
	b := open(t)
	limit, v1 := "lxc.cgroup.memory.limit_in_bytes", exists("/sys/fs/cgroup/memory")
	if !v1 {
		limit = "lxc.cgroup2.memory.max"
		if data, _ := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control"); !strings.Contains(string(data), "memory") {
			t.Skip("testreq: optional: no memory controller for us")
		}
	}
	volumes := b.volumes("app")
	for name, c := range map[string]struct {
		cmd  string
		conf []string
		want string
	}{
		"memory":     {"alloc:64 echo:survived", []string{limit + " = 32M"}, ""},
		"enough":     {"alloc:8 echo:survived", []string{limit + " = 128M"}, "survived\n"},
		"devices":    {"open:/dev/null open:/dev/full", []string{"lxc.cgroup.devices.deny = a", "lxc.cgroup.devices.allow = c 1:3 rwm", "lxc.cgroup.devices.allow = c 136:* rwm"}, "opened /dev/null\nerror: open /dev/full: operation not permitted\n"},
		"no rule":    {"open:/dev/null open:/dev/full", []string{"lxc.cgroup.devices.allow = a", "lxc.cgroup2.devices.allow = a"}, "opened /dev/null\nopened /dev/full\n"},
		"devices v2": {"open:/dev/null open:/dev/full", []string{"lxc.cgroup2.devices.deny = a", "lxc.cgroup2.devices.allow = c 1:3 rwm", "lxc.cgroup2.devices.allow = c 136:* rwm"}, "opened /dev/null\nerror: open /dev/full: operation not permitted\n"},
		"as lxc":     {"open:/dev/null open:/dev/full", []string{"lxc.cgroup2.devices.allow = c 1:3 rwm", "lxc.cgroup2.devices.allow = c 136:* rwm"}, "opened /dev/null\nerror: open /dev/full: operation not permitted\n"},
		"forbidden":  {"open:/dev/null open:/dev/full", []string{"lxc.cgroup2.devices.allow = a", "lxc.cgroup2.devices.deny = c 1:7 w"}, "opened /dev/null\nerror: open /dev/full: operation not permitted\n"},
		"not here":   {"echo:ok", []string{"lxc.cgroup.nosuch.limit = 1"}, "ok\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			out, exit := b.run(sandbox.Spec{Config: conf(t, "/prog "+c.cmd, c.conf...), Volumes: volumes})
			if strings.Contains(b.log.String(), "BPF programs for devices cannot be used here") {
				t.Skip("testreq: optional: no BPF programs for devices here")
			}
			if out != c.want {
				t.Errorf("got %q %v, want %q", out, exit, c.want)
			}
		})
	}
	if want := "lxc.cgroup.nosuch.limit = 1 has no effect"; !strings.Contains(b.log.String(), want) {
		t.Errorf("the log does not say %q: %s", want, b.log)
	}
}

// pidsMax is the key of a container's configuration for the number of processes.
func pidsMax() string {
	if exists("/sys/fs/cgroup/pids") {
		return "lxc.cgroup.pids.max"
	}
	return "lxc.cgroup2.pids.max"
}

// A container may limit what it runs in groups of its own, and lifts none of its
// own limits with that.
func TestNestedLimits(t *testing.T) {
	b := open(t)
	if data, _ := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control"); !strings.Contains(string(data), "pids") {
		t.Skip("testreq: optional: the unified hierarchy has no pids controller here")
	}
	const to = "mkdir:/sys/fs/cgroup/leaf write:/sys/fs/cgroup/leaf/cgroup.procs=0 write:/sys/fs/cgroup/cgroup.subtree_control=+pids "
	volumes := b.volumes("app")
	for name, c := range map[string]struct {
		cmd     string
		most    int
		limited bool
	}{
		"its own":   {to + "write:/sys/fs/cgroup/leaf/pids.max=30 bomb:100", 0, true},
		"the outer": {to + "write:/sys/fs/cgroup/pids.max=max bomb:100", 40, true},
		"none":      {to + "bomb:10", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			out := &buffer{}
			run, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog "+c.cmd), Volumes: volumes, Console: out, PidsMax: c.most})
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close(context.Background())
			waitFor(t, func() bool {
				return strings.Contains(out.String(), "stopped") || strings.Contains(out.String(), "error")
			})
			if want := fmt.Sprint("stopped ", c.limited); !strings.HasPrefix(out.String(), want) {
				t.Errorf("got %q, want %q", out, want)
			}
		})
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

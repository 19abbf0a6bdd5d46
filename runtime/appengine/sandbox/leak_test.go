package sandbox_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// traces is what of a Host can be seen on the machine: mounts, loop devices,
// groups, children, descriptors.
func traces(t *testing.T, dir, group string) []string {
	t.Helper()
	var out []string
	read := func(name string) string { data, _ := os.ReadFile(name); return string(data) }
	for line := range strings.Lines(read("/proc/self/mountinfo")) {
		if strings.Contains(line, dir) {
			out = append(out, "mount "+strings.Fields(line)[4])
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		if name := strings.TrimSpace(read(l)); strings.Contains(name, dir) || strings.Contains(name, "pvkit-sandbox-") {
			out = append(out, "loop "+name)
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + group)
	more, _ := filepath.Glob("/sys/fs/cgroup/*/*/*/" + group)
	at, _ := filepath.Glob("/sys/fs/cgroup/" + group)
	out = slices.Concat(out, at, groups, more)
	kids, _ := filepath.Glob("/proc/self/task/*/children")
	for _, k := range kids {
		for _, pid := range strings.Fields(read(k)) {
			out = append(out, "child "+strings.ReplaceAll(read("/proc/"+pid+"/cmdline"), "\x00", " "))
		}
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, f := range fds {
		to, _ := os.Readlink("/proc/self/fd/" + f.Name())
		if to != "" && !strings.Contains(to, "/proc/") && (!strings.HasPrefix(to, "anon_inode:") || strings.Contains(to, "bpf")) {
			out = append(out, fmt.Sprintf("descriptor %s %s", f.Name(), to))
		}
	}
	slices.Sort(out)
	return out
}

// After containers that end in every way nothing is left of them.
func TestNothingIsLeft(t *testing.T) {
	if _, err := image(); err != nil {
		t.Fatal(err)
	}
	dir, group := "", ""
	change := func(o *sandbox.Options) { dir, group = o.RunDir, o.Cgroup }
	open(t, change).Close(t.Context()) // what stays open for good is open now
	before := traces(t, dir, group)
	for range 3 {
		b := open(t, change)
		volumes := b.volumes("app")
		for _, cmd := range []string{"/prog exit:0", "/nothing", "/prog bomb:60", "/prog stubborn", "/prog die", "/prog spawn:stubborn exit:0"} {
			c, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, cmd, "lxc.namespace.keep = user ipc"), Volumes: volumes, PidsMax: 30})
			if err == nil {
				c.Close(t.Context())
			}
		}
		if _, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog stubborn"), Volumes: volumes}); err != nil {
			t.Fatal(err)
		}
		if err := b.Host.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var after []string
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if after = traces(t, dir, group); slices.Equal(after, before) {
				break
			}
		}
		if !slices.Equal(after, before) {
			t.Fatalf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}
}

// Two runtimes in one place are refused.
func TestOpenTwice(t *testing.T) {
	var o sandbox.Options
	open(t, func(x *sandbox.Options) { o = *x })
	if _, err := sandbox.Open(t.Context(), o); !errors.Is(err, sandbox.ErrBusy) {
		t.Errorf("got %v", err)
	}
}

// crash is a runtime of its own that starts a container and says its pid.
func crash(dir, group, img string) int {
	h, err := sandbox.Open(context.Background(), sandbox.Options{RunDir: dir, Cgroup: group})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m, err := h.Mount(context.Background(), "app", []sandbox.Volume{{Name: "root.squashfs", Image: img}, {Name: "lxc-overlay", Tmpfs: true}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	c, err := h.Start(context.Background(), sandbox.Spec{Name: "app", Config: crashConf, Volumes: m.Volumes()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(c.PID())
	time.Sleep(time.Hour)
	return 0
}

// A runtime that is killed takes its containers along; the mounts and groups
// that it leaves are taken away by the next.
func TestCrash(t *testing.T) {
	testreq.Root(t)
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	dir, group := filepath.Join(t.TempDir(), "run"), fmt.Sprintf("pvkit-test-%d-crash", os.Getpid())
	cmd := exec.Command("/proc/self/exe", dir, group, img)
	cmd.Args[0] = crashName
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(pid) {
		t.Fatalf("the other runtime said %q", line)
	}
	cmd.Process.Kill()
	cmd.Wait()
	waitFor(t, func() bool { return !alive(pid) })
	if left := traces(t, dir, group); !slices.ContainsFunc(left, func(s string) bool { return strings.HasPrefix(s, "mount ") }) {
		t.Errorf("nothing is left to sweep: %q", left)
	}
	h, err := sandbox.Open(t.Context(), sandbox.Options{RunDir: dir, Cgroup: group})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := h.Mount(t.Context(), "app", []sandbox.Volume{{Name: "root.squashfs", Image: img}}); err != nil {
		t.Error(err)
	} else if err := m.Unmount(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, s := range traces(t, dir, group) {
		if strings.HasPrefix(s, "mount ") || strings.Contains(s, group) {
			t.Errorf("left: %s", s)
		}
	}
}

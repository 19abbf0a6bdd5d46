package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// An image whose every mount target is a link to somewhere on the host.
func TestHostileImage(t *testing.T) {
	b := open(t)
	prey := t.TempDir() // would be reached by an absolute link
	os.WriteFile(filepath.Join(prey, "file"), []byte("untouched"), 0o644)
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	evil, err := writeEvil(filepath.Join(b.dir, "evil.squashfs"), prey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // a volume that another container has filled with links
	os.Symlink(prey, filepath.Join(dir, "sub"))
	os.Symlink("/", filepath.Join(dir, "root"))
	m, err := b.Mount(t.Context(), "evil", []sandbox.Volume{{Name: "root.squashfs", Image: evil},
		{Name: "base.squashfs", Image: img}, {Name: "lxc-overlay", Tmpfs: true}, {Name: "vol", Dir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Unmount(context.Background())
	root := "lxc.rootfs.path = overlayfs:/volumes/evil/root.squashfs:/volumes/evil/base.squashfs:/volumes/evil/lxc-overlay/upper"
	bind := func(source, target, how string) string {
		return fmt.Sprintf("lxc.mount.entry = %s %s none bind,%s 0 0", source, target, how)
	}
	for name, c := range map[string]struct {
		conf []string
		want string // of the output or the error
	}{
		"absolute link":            {[]string{bind("/etc", "abs", "create=dir")}, "a symbolic link there leads to nothing"},
		"links for our mounts":     {[]string{"lxc.init.cmd = /prog exists:/etc/null exists:/proc2/1 grep:/proc2/self/mountinfo=/var/lib"}, "null true\n1 true\n"},
		"climbing link":            {[]string{bind("/etc", "a", "create=dir")}, "a symbolic link there leads to nothing"},
		"file through a link":      {[]string{bind("/etc/hostname", "a/file", "create=file")}, "a symbolic link there leads to nothing"},
		"dangling link":            {[]string{bind("/etc/hostname", "b", "create=file")}, "a symbolic link there leads to nothing"},
		"link through proc":        {[]string{bind("/etc", "c", "create=dir")}, ""},
		"link to itself":           {[]string{bind("/etc", "loop/x", "create=dir")}, "too many levels of symbolic links"},
		"link in a volume":         {[]string{bind("/volumes/evil/vol/sub", "tmp", "rw")}, "no such file or directory"},
		"root link in a volume":    {[]string{bind("/volumes/evil/vol/root", "tmp", "rw"), "lxc.init.cmd = /prog ls:/tmp"}, "root\nsub\n"},
		"climb out of a volume":    {[]string{bind("/volumes/evil/vol/../../../etc", "tmp", "rw"), "lxc.init.cmd = /prog echo:host"}, "host"},
		"overlay on links":         {[]string{"lxc.mount.entry = x tmp overlay lowerdir=/volumes/evil/vol/sub,upperdir=/volumes/evil/vol/u,workdir=/volumes/evil/vol/w 0 0"}, "no such file or directory"},
		"working directory a link": {[]string{"lxc.init.cmd = /prog pwd", "lxc.init.cwd = /c"}, "lxc.init.cwd: chdir /c: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			out := &buffer{}
			text := ""
			cont, err := b.Start(t.Context(), sandbox.Spec{Name: "evil", Config: conf(t, "/prog echo:ran", append([]string{root}, c.conf...)...),
				Volumes: m.Volumes(), Console: out, PidsMax: 64})
			if err != nil {
				text = err.Error()
			} else {
				cont.Wait(t.Context())
				text = out.String()
			}
			if !strings.Contains(text, c.want) {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
		entries, _ := os.ReadDir(prey)
		if data, _ := os.ReadFile(filepath.Join(prey, "file")); len(entries) != 1 || string(data) != "untouched" {
			t.Fatalf("%s: the host was touched: %v %q", name, entries, data)
		}
	}
}

// writeEvil packs an image of links.
func writeEvil(name, prey string) (string, error) {
	tree := rootfs.New()
	for at, to := range map[string]string{
		"run": "/var/lib", "dev": "/etc", "proc": "../../../proc2", "pantavisor": prey,
		"abs": prey, "a": "../../../../../.." + prey, "b": prey + "/made", "c": "/proc/1/root" + prey, "loop": "loop",
	} {
		if err := tree.Put(at, &rootfs.Node{Kind: rootfs.Symlink, Target: to}); err != nil {
			return "", err
		}
	}
	if err := tree.Put("proc2", &rootfs.Node{Kind: rootfs.Dir, Mode: 0o755}); err != nil {
		return "", err
	}
	return pack(name, tree)
}

func TestForkBomb(t *testing.T) {
	b := open(t)
	out := &buffer{}
	c, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog unlimit bomb:200"), Volumes: b.volumes("app"), Console: out, PidsMax: 50})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return strings.Contains(out.String(), "stopped") })
	if !limits(b) {
		t.Skip("testreq: optional: the number of processes cannot be limited here")
	}
	if n := len(c.PIDs()); n < 2 || n > 50 || !strings.Contains(out.String(), "lifted true") {
		t.Errorf("%d processes, the limit is 50: %s", n, out)
	}
	start := time.Now()
	if err := c.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed in %v", time.Since(start))
	if pids := c.PIDs(); len(pids) > 0 {
		t.Errorf("left: %v", pids)
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestStop(t *testing.T) {
	b := open(t)
	volumes := b.volumes("app")
	for name, c := range map[string]struct {
		cmd  string
		conf []string
		want sandbox.Exit
	}{
		"halts":              {"on:30", nil, sandbox.Exit{}},
		"its own signal":     {"on:15", []string{"lxc.signal.halt = SIGTERM"}, sandbox.Exit{}},
		"ignores":            {"stubborn", nil, sandbox.Exit{Code: -1, Signal: syscall.SIGKILL}},
		"leaves a child":     {"spawn:stubborn on:30", nil, sandbox.Exit{}},
		"in the host's pids": {"spawn:stubborn on:30", []string{"lxc.namespace.keep = user net ipc pid"}, sandbox.Exit{}},
	} {
		t.Run(name, func(t *testing.T) {
			out := &buffer{}
			c2, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog "+c.cmd, c.conf...), Volumes: volumes, Console: out})
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return strings.Contains(out.String(), "ready") })
			pids := c2.PIDs()
			if err := c2.Stop(t.Context(), 300*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if exit, err := c2.Wait(t.Context()); exit != c.want || err != nil {
				t.Errorf("got %v %v, want %v; output %q", exit, err, c.want, out)
			}
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d is left", pid)
				}
			}
			if err := c2.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("a signal afterwards: %v", err)
			}
		})
	}
}

// alive is false for a process that has ended, also when nobody has asked how.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(data), "State:\tZ") && !strings.Contains(string(data), "State:\tX")
}

// stuck is a log that takes nothing for a while.
type stuck struct {
	buffer
	open chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) { <-s.open; return s.buffer.Write(p) }

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// A container that writes 4 MiB to a log that takes nothing goes on, and the
// log says what is missing.
func TestSlowConsole(t *testing.T) {
	b := open(t)
	volumes := b.volumes("app")
	s := &stuck{open: make(chan struct{})}
	out := &s.buffer
	c, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog spam:4096 exit:7"), Volumes: volumes, Console: s})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return !alive(c.PID()) })
	close(s.open)
	if exit, err := c.Wait(t.Context()); exit.Code != 7 || err != nil {
		t.Errorf("with a log that takes nothing: %v %v", exit, err)
	}
	text, missing := out.String(), 0
	for line := range strings.Lines(text) {
		var n int
		if _, err := fmt.Sscanf(line, "[%d bytes of output are missing here", &n); err == nil {
			missing += n
		}
	}
	const all = 4096 * 1025 // each line with the terminal's \r
	if got := len(text) + strings.Count(text, "\n") + missing; got < all || got > all+10000 || missing < 3<<20 {
		t.Errorf("%d bytes, %d missing", len(text), missing)
	}
	if _, exit := b.run(sandbox.Spec{Config: conf(t, "/prog spam:2048 exit:7"), Volumes: volumes}); exit.Code != 7 {
		t.Errorf("after a log that works: %v", exit)
	}
	c, err = b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog spam:2048 exit:7"), Volumes: volumes, Console: failing{}})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := c.Wait(t.Context()); exit.Code != 7 || err != nil {
		t.Errorf("with a log that fails: %v %v", exit, err)
	}
}

func TestDiesAtOnce(t *testing.T) {
	b := open(t)
	volumes := b.volumes("app")
	for range 20 {
		out, exit := b.run(sandbox.Spec{Config: conf(t, "/prog echo:last exit:5"), Volumes: volumes})
		if out != "last\n" || exit.Code != 5 {
			t.Fatalf("got %q %v", out, exit)
		}
	}
	// With its index on the kernel refuses an overlay whose directories are in use.
	strict := "lxc.mount.entry = x tmp overlay lowerdir=/volumes/app/root.squashfs/tmp,upperdir=/volumes/app/lxc-overlay/u,workdir=/volumes/app/lxc-overlay/w,index=on 0 0"
	for range 20 {
		if out, exit := b.run(sandbox.Spec{Config: conf(t, "/prog echo:last exit:5", strict), Volumes: volumes}); out != "last\n" || exit.Code != 5 {
			t.Fatalf("got %q %v", out, exit)
		}
	}
	_, exit := b.run(sandbox.Spec{Config: conf(t, "/prog die", "lxc.namespace.keep = user net ipc pid"), Volumes: volumes})
	if exit.Signal != syscall.SIGKILL || exit.String() != "killed by SIGKILL" {
		t.Errorf("got %v", exit)
	}
}

// The caller's ctx ends a start, and a hook that fails does.
func TestPrestart(t *testing.T) {
	b := open(t)
	s := sandbox.Spec{Name: "app", Config: conf(t, "/prog on:30", "lxc.namespace.keep = user ipc"), Volumes: b.volumes("app")}
	why := errors.New("no bridge")
	seen := ""
	s.Prestart = func(pid int) error {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
		seen = string(data)
		if name, ok := b.Owner(pid); name != "app" || !ok {
			t.Errorf("owner %q %v", name, ok)
		}
		return why
	}
	if _, err := b.Start(t.Context(), s); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(seen, "\n"); n != 3 { // two lines of heading, and lo
		t.Errorf("the network has %d lines: %s", n, seen)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s.Prestart = func(int) error { cancel(why); return nil }
	if c, err := b.Start(ctx, s); err == nil {
		c.Close(t.Context())
		t.Log("it was faster than the context")
	} else if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	s.Prestart = nil
	c, err := b.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "it runs already") {
		t.Errorf("a second one: %v", err)
	}
	c.Close(t.Context())
}

func TestOwner(t *testing.T) {
	b := open(t)
	volumes := b.volumes("app")
	for name, more := range map[string][]string{
		"":               nil,
		"host's pids":    {"lxc.namespace.keep = user net ipc pid"},
		"host's cgroups": {"lxc.namespace.keep = user net ipc cgroup"},
	} {
		t.Run(name, func(t *testing.T) {
			out := &buffer{}
			c, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Volumes: volumes, Console: out,
				Config: conf(t, "/prog mkdir:/sys/fs/cgroup/nested write:/sys/fs/cgroup/nested/cgroup.procs=0 spawn:on:30 on:30", more...)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(context.Background())
			waitFor(t, func() bool { return strings.Count(out.String(), "ready") == 2 })
			pids := c.PIDs()
			if len(pids) != 2 {
				t.Errorf("processes %v", pids)
			}
			for _, pid := range pids {
				if name, ok := b.Owner(pid); name != "app" || !ok {
					data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
					t.Errorf("owner of %d is %q %v: %s", pid, name, ok, data)
				}
			}
			if !slices.Contains(pids, c.PID()) {
				t.Errorf("%d is not in %v", c.PID(), pids)
			}
		})
	}
	if name, ok := b.Owner(os.Getpid()); name != "" || !ok {
		t.Errorf("we are %q %v", name, ok)
	}
	if name, ok := b.Owner(1 << 22); name != "" || ok {
		t.Errorf("nobody is %q %v", name, ok)
	}
}

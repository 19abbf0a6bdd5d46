package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

// The same file under lxc and here: what programs see is the same, except for
// what differences says.
func TestLikeLXC(t *testing.T) {
	testreq.Tool(t, "lxc-start")
	b := open(t)
	if _, err := image(); err != nil {
		t.Fatal(err)
	}
	keepPivots(t)
	version, _ := exec.Command("lxc-start", "--version").Output()
	older := len(version) > 1 && version[0] < '6' && version[1] == '.'
	const look = "id env pwd hostname fds ls:/dev stat:/dev/null stat:/dev/full stat:/run grep:/proc/self/status=Cap " +
		"grep:/proc/self/status=NoNewPrivs rlimit readlink:/proc/self/fd/0 tty ptys:40 open:/proc/sys/kernel/hostname " +
		"open:/sys/kernel/profiling mknod:/tmp/n write:/tmp/f=x stat:/tmp/f exists:/proc/1"
	file := filepath.Join(b.dir, "file")
	os.WriteFile(file, []byte("bound\n"), 0o644)
	for name, lines := range map[string][]string{
		"pvr's":         nil,
		"user":          {"lxc.init.uid = 12", "lxc.init.gid = 13", "lxc.init.cwd = /var/lib"},
		"caps dropped":  {"lxc.cap.drop = sys_admin mknod net_raw"},
		"caps kept":     {"lxc.cap.keep = chown setuid setgid"},
		"no caps":       {"lxc.cap.keep = none"},
		"environment":   {"lxc.environment = A=1", "lxc.environment = B=2", "lxc.environment = A=3", "lxc.environment = container=x"},
		"limits":        {"lxc.prlimit.core = 100:200", "lxc.no_new_privs = 1"},
		"read-only":     {"lxc.mount.auto = proc sys:ro"},
		"writable":      {"lxc.mount.auto = proc:rw"},
		"no ttys":       {"lxc.tty.max = 0", "lxc.pty.max = 5"},
		"words":         {`lxc.init.cmd = /prog "echo:a b" 'echo:c"d' echo:e"f "echo:h"'echo:i'`},
		"all in quotes": {`lxc.init.cmd = "/prog echo:a env"`},
		"a file":        {"lxc.mount.entry = " + file + " a/b none bind,ro,create=file 0 0", "lxc.init.cmd = /prog cat:/a/b open:/a/b stat:/a"},
		"a directory":   {"lxc.mount.entry = tmpfs x/y tmpfs rw,nosuid,create=dir,mode=711,size=64k 0 0", "lxc.init.cmd = /prog stat:/x stat:/x/y write:/x/y/f=1"},
		"optional":      {"lxc.mount.entry = /nothing x none bind,optional 0 0", "lxc.init.cmd = /prog exists:/x"},
		"relative":      {"lxc.mount.entry = proc/version x none bind,relative,create=file 0 0", "lxc.init.cmd = /prog grep:/x=Linux"},
		"new network":   {"lxc.namespace.keep = user", "lxc.net.0.type = empty", "lxc.init.cmd = /prog grep:/proc/net/dev=: open:/proc/sys/net/ipv4/ip_forward"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "words" && older {
				t.Skip("testreq: optional: lxc before 6 does not know quotes in lxc.init.cmd")
			}
			b.t = t
			root := filepath.Join(t.TempDir(), "root")
			text := confText("/prog "+look, slices.Concat([]string{"lxc.uts.name = app",
				fmt.Sprintf("lxc.rootfs.path = overlayfs:%s:%s/upper/upper", root, filepath.Dir(root))}, lines)...)
			theirs := underLXC(t, root, text)
			os.RemoveAll(filepath.Join(filepath.Dir(root), "upper"))
			c, err := lxcconf.Parse(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			ours, _ := b.run(sandbox.Spec{Config: c, Volumes: map[string]string{}})
			if theirs == "" || differences(ours) != differences(theirs) {
				t.Errorf("only here: %q\nonly under lxc: %q\nhere:\n%s\nunder lxc:\n%s", minus(ours, theirs), minus(theirs, ours), ours, theirs)
			}
		})
	}
}

// differences takes out what is not the same on purpose: the variable container
// has Pantavisor's value, /dev has shm and mqueue for images without a mount
// for them, and ptmx is a link into pts instead of a mount. lxc keeps a boot id
// in /dev, and joins all cgroups, where Go's runtime opens the limit of
// processors.
func differences(out string) string {
	var keep []string
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if !slices.Contains([]string{"shm", "mqueue", ".lxc-boot-id"}, line) && !strings.HasPrefix(line, "container=") && !strings.Contains(line, " /sys/fs/cgroup/cpu/") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "\n")
}

func minus(a, b string) []string {
	there := strings.Split(differences(b), "\n")
	return slices.DeleteFunc(strings.Split(differences(a), "\n"), func(s string) bool { return slices.Contains(there, s) })
}

// underLXC makes the root, runs it with the real lxc, and returns its output.
func underLXC(t *testing.T, root, text string) string {
	t.Helper()
	dir := filepath.Dir(root)
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "var/lib", "../upper/upper", "../lxc"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(filepath.Join(root, "tmp"), 0o777)
	if err := os.Link(filepath.Join(imageDir, "prog"), filepath.Join(root, "prog")); err != nil {
		os.WriteFile(filepath.Join(root, "prog"), must(os.ReadFile(filepath.Join(imageDir, "prog"))), 0o755)
	}
	log := filepath.Join(dir, "console")
	os.WriteFile(filepath.Join(dir, "conf"), []byte(text+"\nlxc.console.logfile = "+log+"\n"), 0o644)
	name := fmt.Sprintf("pvkit-test-%d", os.Getpid())
	out, err := exec.Command("lxc-start", "-d", "-n", name, "-f", filepath.Join(dir, "conf"), "-P", filepath.Join(dir, "lxc"), "-o", filepath.Join(dir, "log"), "-l", "ERROR").CombinedOutput()
	why, _ := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Skipf("testreq: optional: lxc-start does not work here: %v: %s%s", err, out, why)
	}
	exec.Command("lxc-wait", "-n", name, "-P", filepath.Join(dir, "lxc"), "-s", "STOPPED", "-t", "10").Run()
	data, _ := os.ReadFile(log)
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// keepPivots takes away the groups that lxc-start leaves.
func keepPivots(t *testing.T) {
	had, _ := filepath.Glob("/sys/fs/cgroup/*/lxc.pivot")
	t.Cleanup(func() {
		now, _ := filepath.Glob("/sys/fs/cgroup/*/lxc.pivot")
		for _, d := range append(now, "/sys/fs/cgroup/lxc.pivot") {
			if !slices.Contains(had, d) {
				os.Remove(d)
			}
		}
	})
}

package lxcconf_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

func parse(t *testing.T, lines ...string) *lxcconf.Config {
	t.Helper()
	c, err := lxcconf.Parse(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// testdata/pvr.conf is what the real pvr wrote.
func TestPvrFile(t *testing.T) {
	f, err := os.Open("testdata/pvr.conf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := lxcconf.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "rootfs", c.Rootfs, lxcconf.Rootfs{Lower: []string{"/volumes/app/root.squashfs"}, Upper: "/volumes/app/lxc-overlay/upper"})
	equal(t, "init", c.Init, lxcconf.Init{Args: []string{"/sbin/app.sh", "-x", "a b"}, Dir: "/"})
	equal(t, "env", c.Env, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
	equal(t, "auto", c.Auto, lxcconf.AutoMounts{Proc: lxcconf.Mixed, Sys: lxcconf.ReadWrite, Cgroup: lxcconf.Mixed})
	equal(t, "ttys", [2]int{c.TTYs, c.PTYs}, [2]int{12, 1024})
	equal(t, "cgroup", c.Cgroup, []lxcconf.Setting{{Version: 1, Key: "devices.allow", Value: "a", Line: 3}})
	equal(t, "first mount", c.Mounts[0], lxcconf.Mount{Source: "/etc/resolv.conf", Target: "etc/resolv.conf", Type: "none",
		Options: []string{"bind", "rw", "create=file"}, Line: 10})
	equal(t, "mounts", len(c.Mounts), 5)
	equal(t, "warnings", c.Warnings, []lxcconf.Warning(nil))
	equal(t, "signals", [2]syscall.Signal{c.Halt, c.Stop}, [2]syscall.Signal{0, syscall.SIGKILL})
	own := ""
	for _, n := range []lxcconf.Namespace{lxcconf.Mnt, lxcconf.PID, lxcconf.UTS, lxcconf.IPC, lxcconf.Net, lxcconf.Cgroup, lxcconf.User} {
		if c.Own(n) {
			own += string(n) + " "
		}
	}
	equal(t, "own namespaces", own, "mnt pid uts cgroup ")
}

func TestValues(t *testing.T) {
	for line, c := range map[string]struct {
		get  func(*lxcconf.Config) any
		want any
	}{
		"lxc.init.cmd = /a 'b c' d\"e":                 {func(c *lxcconf.Config) any { return c.Init.Args }, []string{"/a", "b c", "d\"e"}},
		`lxc.init.cmd = "/a b"`:                        {func(c *lxcconf.Config) any { return c.Init.Args }, []string{"/a", "b"}},
		"lxc.init.cmd =":                               {func(c *lxcconf.Config) any { return c.Init.Args }, []string{"/sbin/init"}},
		"lxc.init.cwd = /a/../b/":                      {func(c *lxcconf.Config) any { return c.Init.Dir }, "/b"},
		"lxc.init.groups = 1,2 3":                      {func(c *lxcconf.Config) any { return c.Init.Groups }, []uint32{1, 2, 3}},
		"  lxc.uts.name=x  ":                           {func(c *lxcconf.Config) any { return c.Hostname }, "x"},
		"lxc.rootfs.path = /x":                         {func(c *lxcconf.Config) any { return c.Rootfs }, lxcconf.Rootfs{Lower: []string{"/x"}}},
		"lxc.rootfs.path = dir:/x":                     {func(c *lxcconf.Config) any { return c.Rootfs }, lxcconf.Rootfs{Lower: []string{"/x"}}},
		"lxc.rootfs.path = overlay:/x:/y:/z":           {func(c *lxcconf.Config) any { return c.Rootfs }, lxcconf.Rootfs{Lower: []string{"/x", "/y"}, Upper: "/z"}},
		"lxc.signal.halt = SIGRTMIN+3":                 {func(c *lxcconf.Config) any { return c.Halt }, syscall.Signal(37)},
		"lxc.signal.halt = rtmax-1":                    {func(c *lxcconf.Config) any { return c.Halt }, syscall.Signal(63)},
		"lxc.signal.halt = term":                       {func(c *lxcconf.Config) any { return c.Halt }, syscall.SIGTERM},
		"lxc.signal.stop = 15":                         {func(c *lxcconf.Config) any { return c.Stop }, syscall.SIGTERM},
		"lxc.autodev = 0":                              {func(c *lxcconf.Config) any { return c.Autodev }, false},
		"lxc.console.path = none":                      {func(c *lxcconf.Config) any { return c.NoConsole }, true},
		"lxc.no_new_privs = 1":                         {func(c *lxcconf.Config) any { return c.NoNewPrivs }, true},
		"lxc.mount.auto = proc:rw sys cgroup:ro:force": {func(c *lxcconf.Config) any { return c.Auto }, lxcconf.AutoMounts{Proc: lxcconf.ReadWrite, Sys: lxcconf.Mixed, Cgroup: lxcconf.ReadOnly}},
		"lxc.cap.drop = sys_admin CAP_MKNOD":           {func(c *lxcconf.Config) any { return c.Caps }, lxcconf.Caps{Drop: []string{"sys_admin", "mknod"}}},
		"lxc.cap.keep = none":                          {func(c *lxcconf.Config) any { return c.Caps }, lxcconf.Caps{Keeps: true}},
		"lxc.prlimit.nofile = 10:unlimited":            {func(c *lxcconf.Config) any { return c.Rlimits }, []lxcconf.Rlimit{{Name: "nofile", Resource: 7, Soft: 10, Hard: lxcconf.Unlimited, Line: 1}}},
		"lxc.cgroup2.memory.max = 1M":                  {func(c *lxcconf.Config) any { return c.Cgroup }, []lxcconf.Setting{{Version: 2, Key: "memory.max", Value: "1M", Line: 1}}},
		"lxc.sysctl.net.ipv4.ip_forward = 1":           {func(c *lxcconf.Config) any { return c.Sysctl }, []lxcconf.Setting{{Key: "net.ipv4.ip_forward", Value: "1", Line: 1}}},
		`lxc.mount.entry = /a\040b x none bind`:        {func(c *lxcconf.Config) any { return c.Mounts[0].Source }, "/a b"},
		"lxc.namespace.clone = mount net":              {func(c *lxcconf.Config) any { return []bool{c.Own("mnt"), c.Own("net"), c.Own("pid")} }, []bool{true, true, false}},
		"# lxc.uts.name = x":                           {func(c *lxcconf.Config) any { return c.Hostname }, ""},
	} {
		t.Run(line, func(t *testing.T) {
			equal(t, "value", c.get(parse(t, line)), c.want)
		})
	}
}

// An empty value goes back to the start, as in lxc.
func TestEmptyValues(t *testing.T) {
	c := parse(t, "lxc.environment = A=1", "lxc.environment =", "lxc.environment = B=2",
		"lxc.cap.keep = kill", "lxc.cap.keep =", "lxc.cap.drop = mknod",
		"lxc.mount.auto = proc sys", "lxc.mount.auto =", "lxc.mount.entry = a b none bind", "lxc.mount.entry =")
	equal(t, "env", c.Env, []string{"B=2"})
	equal(t, "caps", c.Caps, lxcconf.Caps{Drop: []string{"mknod"}})
	equal(t, "auto", c.Auto, lxcconf.AutoMounts{})
	equal(t, "mounts", len(c.Mounts), 0)
	c = parse(t, "lxc.namespace.keep = net", "lxc.namespace.keep = ipc")
	equal(t, "namespaces of two lines", []bool{c.Own("net"), c.Own("ipc"), c.Own("pid")}, []bool{false, false, true})
	c = parse(t, "lxc.namespace.keep = net", "lxc.namespace.keep =", "lxc.namespace.keep = ipc")
	equal(t, "namespaces of the last line", []bool{c.Own("net"), c.Own("ipc")}, []bool{true, false})
}

func TestNet(t *testing.T) {
	c := parse(t, "lxc.net.1.type = empty", "lxc.net.0.type = veth", "lxc.net.0.link = lxcbr0", "lxc.net.0.flags = up",
		"lxc.net.0.ipv4.address = 10.0.3.2/24", "lxc.net.0.ipv4.gateway = auto", "lxc.net.0.script.up = /x", "lxc.net.0.mtu = 1400")
	equal(t, "net", c.Net, []lxcconf.Interface{
		{Index: 0, Type: "veth", Link: "lxcbr0", Up: true, IPv4: []string{"10.0.3.2/24"}, Gateway4: "auto", MTU: 1400, Line: 2},
		{Index: 1, Type: "empty", Line: 1}})
	equal(t, "warnings", fmt.Sprint(c.Warnings), "[line 7: lxc.net.0.script.up: is not supported: ignored]")
}

func TestWarnings(t *testing.T) {
	for line, want := range map[string]string{
		"hello":                             `line 1: hello: is no key of lxc's, which start with "lxc.": ignored`,
		"lxc.new.key = 1":                   "line 1: lxc.new.key: is not known here: ignored",
		"lxc.hook.mount = /x":               `line 1: lxc.hook.mount: hooks are not run: "/x" ignored`,
		"lxc.seccomp.profile = /x":          "line 1: lxc.seccomp.profile: seccomp is not set up: the container may use every system call: \"/x\" ignored",
		"lxc.apparmor.profile = lxc-a":      `line 1: lxc.apparmor.profile: AppArmor is not set up: "lxc-a" ignored`,
		"lxc.apparmor.profile = unconfined": "",
		"lxc.seccomp.profile =":             "",
		"lxc.hook.version = 1":              "",
		"lxc.environment = HOME":            `line 1: lxc.environment: "HOME" has no value, and the host's environment is not handed on: ignored`,
		"lxc.log.file = /pv/logs/a.log":     "line 1: lxc.log.file: the runtime has its own log: ignored",
		"lxc.cgroup.dir.container = x":      "line 1: lxc.cgroup.dir.container: the runtime names the cgroups: ignored",
		"lxc.include = /etc/lxc.conf":       "line 1: lxc.include: a file outside the export is not read: ignored",
		"lxc.namespace.share.net = 1":       "line 1: lxc.namespace.share.net: namespaces are not shared between containers: ignored",
		"lxc.cgroup.relative = 1":           "",
		"lxc.console.path = /dev/tty1":      `line 1: lxc.console.path: only "none" is supported: the console goes to the log`,
	} {
		got := ""
		for _, w := range parse(t, line).Warnings {
			got += w.String()
		}
		equal(t, line, got, want)
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"lxc.uts.name":                                        `line 1: lxc.uts.name: want "key = value"`,
		"\nlxc.init.cmd = 'a":                                 "line 2: lxc.init.cmd: split command \"'a\": a quote is not closed",
		"lxc.init.cwd = a":                                    `line 1: lxc.init.cwd: "a" is not an absolute path`,
		"lxc.init.uid = -1":                                   `line 1: lxc.init.uid: got "-1", want a number from 0 to 4294967294`,
		"lxc.rootfs.path = overlayfs:/a":                      `names one path, want overlayfs:lower:upper`,
		"lxc.rootfs.path = lvm:/a":                            `the type "lvm" is not supported`,
		"lxc.rootfs.path = overlayfs:a:/b":                    `"a" is not an absolute path`,
		"lxc.mount.entry = a b":                               `has 2 fields`,
		"lxc.mount.entry = a ../b none bind":                  `holds ".."`,
		"lxc.mount.entry = a / none bind":                     `is the root itself`,
		"lxc.mount.entry = a b none create=dir,create=file":   `it has create=dir and create=file`,
		"lxc.mount.auto = net":                                `"net" is no automatic mount`,
		"lxc.cap.drop = fly":                                  `"fly" is no capability`,
		"lxc.cap.drop = kill\nlxc.cap.keep = kill":            `line 2: lxc.cap.keep: it cannot stand beside lxc.cap.drop`,
		"lxc.namespace.keep = mnt":                            `mnt cannot be kept`,
		"lxc.namespace.keep = foo":                            `"foo" is no namespace`,
		"lxc.namespace.keep = net\nlxc.namespace.clone = pid": `cannot stand beside lxc.namespace.keep`,
		"lxc.signal.halt = SIGFOO":                            `"SIGFOO" is no signal`,
		"lxc.signal.halt = 0":                                 `"0" is no signal`,
		"lxc.signal.halt = RTMIN*2":                           `is no signal`,
		"lxc.prlimit.files = 1":                               `"files" is no resource`,
		"lxc.prlimit.nofile = 2:1":                            `soft not above hard`,
		"lxc.cgroup.../../x = 1":                              `is not the name of a cgroup's file`,
		"lxc.net.x.type = veth":                               `"x" is no interface's number`,
		"lxc.net.0.type = token-ring":                         `"token-ring" is no network type`,
		"lxc.net.0.link = br0":                                `lxc.net.0: it has no type`,
		"lxc.net.0.name = much-too-long-name":                 `is no interface's name`,
		"lxc.uts.name = " + strings.Repeat("x", 65):           `longer than the 64 bytes`,
		"lxc.no_new_privs = yes":                              `got "yes", want 0 or 1`,
		"lxc.environment = =x":                                `has no name before the "="`,
		"lxc.uts.name = a\x00b":                               "holds a NUL byte",
		"lxc.x = " + strings.Repeat("x", 1<<17):               "longer than 65536 bytes",
		strings.Repeat("#\n", 1<<20):                          "it is longer than 1048576 bytes",
		strings.Repeat("lxc.a\n", 100):                        "and more",
	} {
		_, err := lxcconf.Parse(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
}

// Whatever the text is: no panic, and what is accepted keeps its promises.
func FuzzParse(f *testing.F) {
	if data, err := os.ReadFile("testdata/pvr.conf"); err == nil {
		f.Add(string(data))
	}
	f.Add("lxc.net.0.type = veth\nlxc.signal.halt = RTMIN+4\nlxc.mount.entry = \\040 a\\000 none x,y=z 0 0")
	f.Add("lxc.cap.keep = none\nlxc.rootfs.path = dir:/a\nlxc.init.cmd = 'a' \"b\"")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := lxcconf.Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		if len(c.Init.Args) == 0 || c.Init.Args[0] == "" || !strings.HasPrefix(c.Init.Dir, "/") {
			t.Errorf("init %+v", c.Init)
		}
		for _, m := range c.Mounts {
			for part := range strings.SplitSeq(m.Target, "/") {
				if part == ".." {
					t.Errorf("target %q", m.Target)
				}
			}
		}
		for _, s := range c.Cgroup {
			if strings.Contains(s.Key, "/") {
				t.Errorf("setting %q", s.Key)
			}
		}
		if c.Halt < 0 || c.Halt > 64 || c.Stop < 1 || c.Stop > 64 || !c.Own(lxcconf.Mnt) {
			t.Errorf("signals %v %v", c.Halt, c.Stop)
		}
		for _, l := range c.Rlimits {
			if l.Soft > l.Hard {
				t.Errorf("limit %+v", l)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile("testdata/pvr.conf")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := lxcconf.Parse(strings.NewReader(string(data))); err != nil {
			b.Fatal(err)
		}
	}
}

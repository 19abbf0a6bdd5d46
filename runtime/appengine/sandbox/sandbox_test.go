package sandbox_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

func TestStart(t *testing.T) {
	b := open(t)
	out, exit := b.run(sandbox.Spec{Config: conf(t, `/prog echo:hello "echo:two words" exit:3`)})
	if want := "hello\ntwo words\n"; out != want || exit.Code != 3 {
		t.Errorf("got %q and %v, want %q and exit status 3", out, exit, want)
	}
}

// One container each: what a line of the file, or a part of the Spec, does.
func TestFeatures(t *testing.T) {
	b := open(t)
	host := t.TempDir()
	os.WriteFile(filepath.Join(host, "file"), []byte("from the host\n"), 0o644)
	os.Mkdir(filepath.Join(host, "overlay"), 0o755)
	os.WriteFile(filepath.Join(host, "overlay", "etc-file"), []byte("config\n"), 0o644)
	os.Mkdir(filepath.Join(host, "data"), 0o755)
	volumes := b.volumes("app", sandbox.Volume{Name: "docker--data", Dir: filepath.Join(host, "data")},
		sandbox.Volume{Name: "dockerovl--etc", Tmpfs: true})
	hostname, _ := os.Hostname()
	for name, c := range map[string]struct {
		cmd  string
		conf []string
		spec sandbox.Spec
		want string
	}{
		"is process 1":       {cmd: "id", want: "1 0 0 []\n"},
		"user and group":     {cmd: "id pwd", conf: []string{"lxc.init.uid = 33", "lxc.init.gid = 34", "lxc.init.groups = 5,6", "lxc.init.cwd = /var/lib"}, want: "1 33 34 [5 6]\n/var/lib\n"},
		"user has no rights": {cmd: "grep:/proc/self/status=CapPrm", conf: []string{"lxc.init.uid = 33"}, want: "CapPrm:\t0000000000000000\n"},
		"hostname":           {cmd: "hostname", want: "app\n"},
		"hostname of spec":   {cmd: "hostname", spec: sandbox.Spec{Hostname: "other"}, want: "other\n"},
		"hostname of file":   {cmd: "hostname", conf: []string{"lxc.uts.name = mine"}, spec: sandbox.Spec{Hostname: "other"}, want: "mine\n"},
		"hostname kept":      {cmd: "hostname", conf: []string{"lxc.namespace.keep = user net ipc uts"}, want: hostname + "\n"},
		"environment":        {cmd: "env", conf: []string{"lxc.environment = A=1", "lxc.environment = B=x y"}, spec: sandbox.Spec{Group: "root"}, want: "A=1\nB=x y\ncontainer=pv-root\n"},
		"from PATH":          {cmd: "echo:found", conf: []string{"lxc.init.cmd = prog echo:found", "lxc.environment = PATH=/x:/"}, want: "found\n"},
		"caps dropped":       {cmd: "grep:/proc/self/status=CapBnd mknod:/tmp/x", conf: []string{"lxc.cap.keep = chown kill"}, want: "CapBnd:\t0000000000000021\nerror: operation not permitted\n"},
		"no caps":            {cmd: "grep:/proc/self/status=CapEff", conf: []string{"lxc.cap.keep = none"}, want: "CapEff:\t0000000000000000\n"},
		"mknod dropped":      {cmd: "mknod:/tmp/x chroot:/tmp", conf: []string{"lxc.cap.drop = mknod"}, want: "error: operation not permitted\n"},
		"no_new_privs":       {cmd: "grep:/proc/self/status=NoNewPrivs", conf: []string{"lxc.no_new_privs = 1"}, want: "NoNewPrivs:\t1\n"},
		"rlimit":             {cmd: "rlimit", conf: []string{"lxc.prlimit.core = 4096:8192"}, want: "4096 8192\n"},
		"writes go up":       {cmd: "write:/etc/new=x cat:/etc/new", want: "x"},
		"overlay":            {cmd: "cat:/etc-file", spec: sandbox.Spec{Overlay: filepath.Join(host, "overlay")}, want: "config\n"},
		"volume":             {cmd: "write:/data/x=kept cat:/data/x", conf: []string{"lxc.mount.entry = /volumes/app/docker--data data none bind,rw,create=dir 0 0"}, want: "kept"},
		"volume with ovl": {cmd: "write:/etc/y=1 ls:/etc", conf: []string{"lxc.mount.entry = /volumes/app/dockerovl--etc etc overlay " +
			"lowerdir=/volumes/app/root.squashfs/etc,upperdir=/volumes/app/dockerovl--etc/upper,workdir=/volumes/app/dockerovl--etc/work,create=dir 0 0"}, want: "y\n"},
		"file, made": {cmd: "cat:/a/b/c open:/a/b/c", conf: []string{"lxc.mount.entry = " + host + "/file a/b/c none bind,ro,create=file 0 0"},
			want: "from the host\nerror: open /a/b/c: read-only file system\n"},
		"optional is not there": {cmd: "echo:ok", conf: []string{"lxc.mount.entry = /volumes/other/x y none bind,optional,create=dir 0 0"}, want: "ok\n"},
		"relative":              {cmd: "stat:/etc/zero", conf: []string{"lxc.mount.entry = proc/version etc/zero none bind,relative,create=file 0 0"}, want: "/etc/zero 100444 0:0 0:0\n"},
		"blank in a name":       {cmd: `"cat:/a b"`, conf: []string{`lxc.mount.entry = ` + host + `/file a\040b none bind,create=file 0 0`}, want: "from the host\n"},
		"of spec":               {cmd: "cat:/pantavisor/x", spec: sandbox.Spec{Mounts: []lxcconf.Mount{sandbox.Bind(filepath.Join(host, "file"), "/pantavisor/x", true, true)}}, want: "from the host\n"},
		"tmpfs run":             {cmd: "stat:/run grep:/proc/self/mountinfo=/run", want: "/run 40755 0:0 0:0\n"},
		"proc mixed":            {cmd: "open:/proc/sys/kernel/hostname", want: "error: open /proc/sys/kernel/hostname: read-only file system\n"},
		"proc rw":               {cmd: "open:/proc/sys/kernel/hostname", conf: []string{"lxc.mount.auto = proc:rw"}, want: "opened /proc/sys/kernel/hostname\n"},
		"proc own":              {cmd: "exists:/proc/2 exists:/proc/1", want: "2 false\n1 true\n"},
		"sysctl":                {cmd: "cat:/proc/sys/kernel/hostname", conf: []string{"lxc.mount.auto = proc:rw", "lxc.sysctl.kernel.hostname = fromctl"}, want: "fromctl\n"},
		"sys ro":                {cmd: "open:/sys/kernel/profiling", conf: []string{"lxc.mount.auto = sys:ro"}, want: "error: open /sys/kernel/profiling: read-only file system\n"},
		"sys mixed":             {cmd: "open:/sys/devices/virtual/net/lo/ifalias open:/sys/kernel/profiling", conf: []string{"lxc.mount.auto = sys:mixed"}, spec: sandbox.Spec{OwnNet: true}, want: "opened /sys/devices/virtual/net/lo/ifalias\nerror: open /sys/kernel/profiling: read-only file system\n"},
		"pty max":               {cmd: "ptys:20", conf: []string{"lxc.pty.max = 6", "lxc.tty.max = 2"}, want: "5 terminals\n"},
		"no console":            {cmd: "echo:unseen write:/data/x=kept", conf: []string{"lxc.console.path = none", "lxc.mount.entry = /volumes/app/docker--data data none bind,rw,create=dir 0 0"}, want: ""},
		"loop of none":          {cmd: "exists:/sys/class/net/lo", conf: []string{"lxc.namespace.keep = user ipc", "lxc.net.0.type = none"}, want: "lo true\n"},
		"dev":                   {cmd: "ls:/dev", want: "console\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\ntty1\ntty2\nurandom\nzero\n"},
		"dev nodes":             {cmd: "stat:/dev/null stat:/dev/zero readlink:/dev/ptmx", want: "/dev/null 20666 0:0 1:3\n/dev/zero 20666 0:0 1:5\npts/ptmx\n"},
		"no autodev":            {cmd: "ls:/dev", conf: []string{"lxc.autodev = 0", "lxc.tty.max = 0"}, want: "console\npts\n"},
		"console":               {cmd: "readlink:/proc/self/fd/1 tty stat:/dev/console", want: "/dev/pts/0\ntty false\n/dev/console 20620 0:5 136:0\n"},
		"mdev":                  {cmd: "stat:/dev/kmsg stat:/dev/null", spec: sandbox.Spec{Mdev: []string{"null 0:0 640", "@1,11 1:2 600"}}, want: "/dev/kmsg 20600 1:2 1:11\n/dev/null 20640 0:0 1:3\n"},
		"no descriptors":        {cmd: "fds", want: "0 /dev/pts/0\n1 /dev/pts/0\n2 /dev/pts/0\n"},
		"loopback":              {cmd: "cat:/sys/class/net/lo/carrier", conf: []string{"lxc.namespace.keep = user ipc"}, want: "1\n"},
		"cgroup is its root":    {cmd: "grep:/proc/self/cgroup=0::", want: "0::/\n"},
		"new privileges of net": {cmd: "open:/proc/sys/net/ipv4/ip_forward", spec: sandbox.Spec{OwnNet: true}, want: "opened /proc/sys/net/ipv4/ip_forward\n"},
		"umask":                 {cmd: "write:/tmp/f=1 stat:/tmp/f", want: "/tmp/f 100644 0:0 0:0\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			c.spec.Config = conf(t, "/prog "+c.cmd, c.conf...)
			c.spec.Volumes = volumes
			out, _ := b.run(c.spec)
			if name == "tmpfs run" {
				if !strings.HasPrefix(out, c.want) || !strings.Contains(out, " /run rw,nodev,relatime") {
					t.Errorf("got %s", out)
				}
				return
			}
			if out != c.want {
				t.Errorf("got\n%s\nwant\n%s\nlog: %s", out, c.want, b.log)
			}
		})
	}
	if data, err := os.ReadFile(filepath.Join(host, "data", "x")); string(data) != "kept" {
		t.Errorf("the volume has %q, %v", data, err)
	}
}

// What is wrong is named: the step, the path, the reason.
func TestStartErrors(t *testing.T) {
	b := open(t)
	volumes := b.volumes("app")
	for name, c := range map[string]struct {
		conf []string
		want string
	}{
		"no program":     {[]string{"lxc.init.cmd = /sbin/init"}, "start container app: start /sbin/init: no such file or directory"},
		"not in PATH":    {[]string{"lxc.init.cmd = nothing"}, "it is in no directory of PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)"},
		"a directory":    {[]string{"lxc.init.cmd = /etc"}, "start /etc: it is a directory: permission denied"},
		"no volume":      {[]string{"lxc.mount.entry = /volumes/app/nothing x none bind,create=dir 0 0"}, "lxc.mount.entry of line 9: mount /volumes/app/nothing on /x: the volume /volumes/app/nothing is not mounted"},
		"no target":      {[]string{"lxc.mount.entry = /etc x/y none bind 0 0"}, "mount /etc on /x/y: its target: open x/y: no such file or directory"},
		"dir on file":    {[]string{"lxc.mount.entry = /etc prog none bind 0 0"}, "its source is a directory and its target is a file"},
		"no file system": {[]string{"lxc.mount.entry = none tmp nosuchfs rw 0 0"}, "this kernel has no file system nosuchfs"},
		"bad option":     {[]string{"lxc.mount.entry = none tmp tmpfs size=many 0 0"}, "option size=many"},
		"no layer":       {[]string{"lxc.rootfs.path = overlayfs:/volumes/app/root.squashfs/nothing:/volumes/app/lxc-overlay/upper"}, "mount the root: layer /volumes/app/root.squashfs/nothing"},
		"the machine":    {[]string{"lxc.rootfs.path = dir:/"}, "lxc.rootfs.path: / is the machine's, want a directory in a volume"},
		"no cwd":         {[]string{"lxc.init.cwd = /nothing"}, "lxc.init.cwd: chdir /nothing: no such file or directory"},
		"bad sysctl":     {[]string{"lxc.sysctl.no.such = 1"}, "lxc.sysctl.no.such: open /proc/sys/no/such"},
		"bad limit":      {[]string{pidsMax() + " = many"}, "pids.max"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Config: conf(t, "/prog", c.conf...), Volumes: volumes})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if se, ok := errors.AsType[*sandbox.StartError](err); !ok || se.Name != "app" {
				t.Errorf("got %T", err)
			}
		})
	}
}

// What is written stays in a volume that lasts, and goes with one that does not.
func TestPersistence(t *testing.T) {
	b := open(t)
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "perm")
	for _, c := range []struct {
		upper sandbox.Volume
		want  string
	}{
		{sandbox.Volume{Name: "lxc-overlay", Dir: dir}, "1"}, {sandbox.Volume{Name: "lxc-overlay", Dir: dir}, "11"},
		{sandbox.Volume{Name: "lxc-overlay", Tmpfs: true}, "1"}, {sandbox.Volume{Name: "lxc-overlay", Tmpfs: true}, "1"},
	} {
		m, err := b.Mount(t.Context(), "app", []sandbox.Volume{{Name: "root.squashfs", Image: img}, c.upper})
		if err != nil {
			t.Fatal(err)
		}
		out, _ := b.run(sandbox.Spec{Config: conf(t, "/prog append:/var/lib/n=1 cat:/var/lib/n"), Volumes: m.Volumes()})
		if out != c.want {
			t.Errorf("%+v: got %q, want %q", c.upper, out, c.want)
		}
		if err := m.Unmount(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

// The test binary is two programs: the tests, and the child of Start.
func TestMain(m *testing.M) {
	if os.Getenv(noChild) != "" {
		_, err := sandbox.Open(context.Background(), sandbox.Options{RunDir: "/"})
		fmt.Println(err)
		os.Exit(0)
	}
	sandbox.Child()
	if os.Args[0] == crashName {
		os.Exit(crash(os.Args[1], os.Args[2], os.Args[3]))
	}
	if os.Args[0] == enterTestName {
		pid, _ := strconv.Atoi(os.Args[1])
		os.Exit(enterFromTerminal(pid))
	}
	if os.Args[0] == rootlessName {
		os.Exit(rootless(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]))
	}
	if os.Args[0] == groupsName {
		os.Exit(groups(os.Args[1], os.Args[2], os.Args[3]))
	}
	code := m.Run()
	if imageDir != "" {
		os.RemoveAll(imageDir)
	}
	os.Exit(code)
}

// crashName is argv[0] of a test binary that is a runtime to be killed.
const crashName = "pvkit-sandbox-crash"

// noChild is an environment variable for a program that has forgotten Child.
const noChild = "PVKIT_SANDBOX_NO_CHILD"

// groupsName is that of a runtime with other cgroups.
const groupsName = "pvkit-sandbox-groups"

// rootlessName is that of a runtime of a user's.
const rootlessName = "pvkit-sandbox-rootless"

// enterTestName is that of one that enters a container from a terminal.
const enterTestName = "pvkit-sandbox-enter-test"

var crashConf = must(lxcconf.Parse(strings.NewReader(confText("/prog stubborn"))))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var imageDir string // removed by TestMain

// image is a squashfs image with testdata/prog as /prog. It is made once.
var image = sync.OnceValues(func() (string, error) {
	var err error
	if imageDir, err = os.MkdirTemp("", "pvkit-sandbox-"); err != nil {
		return "", err
	}
	os.Chmod(imageDir, 0o755)
	cmd := exec.Command("go", "build", "-o", filepath.Join(imageDir, "prog"), "./testdata/prog")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	self, err := os.ReadFile(filepath.Join(imageDir, "prog"))
	if err != nil {
		return "", err
	}
	return writeImage(filepath.Join(imageDir, "root.squashfs"), map[string]*rootfs.Node{
		"prog": {Kind: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(self)},
	})
})

// writeImage packs a tree with the usual directories and more.
func writeImage(name string, more map[string]*rootfs.Node) (string, error) {
	t := rootfs.New()
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "var/lib"} {
		t.Put(dir, &rootfs.Node{Kind: rootfs.Dir, Mode: 0o755})
	}
	for path, n := range more {
		if err := t.Put(path, n); err != nil {
			return "", err
		}
	}
	return pack(name, t)
}

func pack(name string, t *rootfs.Tree) (string, error) {
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = squashfs.Write(context.Background(), f, t, squashfs.Options{Compression: squashfs.Zstd})
	return name, err
}

// buffer is a console's writer that can be read while it is written to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.ReplaceAll(b.b.String(), "\r\n", "\n")
}

// bench is a Host for one test, with what it logged.
type bench struct {
	*sandbox.Host
	t   testing.TB
	dir string
	log *buffer
}

func open(t testing.TB, change ...func(*sandbox.Options)) *bench {
	t.Helper()
	testreq.Root(t)
	b := &bench{t: t, dir: t.TempDir(), log: &buffer{}}
	o := sandbox.Options{RunDir: filepath.Join(b.dir, "run"), Cgroup: fmt.Sprintf("pvkit-test-%d", os.Getpid()),
		Log: slog.New(slog.NewTextHandler(b.log, nil))}
	o.Cgroup += "-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name())
	for _, f := range change {
		f(&o)
	}
	h, err := sandbox.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.Host = h
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", b.log)
		}
	})
	return b
}

// confText is a file as pvr writes it, and more lines.
func confText(cmd string, more ...string) string {
	if slices.ContainsFunc(more, func(s string) bool { return strings.HasPrefix(s, "lxc.namespace.keep") }) {
		more = append([]string{"lxc.namespace.keep ="}, more...) // instead of the one here
	}
	return strings.Join(append([]string{
		"lxc.tty.max = 2", "lxc.pty.max = 16", "lxc.cgroup.devices.allow = a",
		"lxc.rootfs.path = overlayfs:/volumes/app/root.squashfs:/volumes/app/lxc-overlay/upper",
		"lxc.init.cmd = " + cmd, "lxc.namespace.keep = user  net  ipc",
		"lxc.mount.auto = proc  sys:rw  cgroup",
		"lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0",
	}, more...), "\n")
}

// conf is confText, read.
func conf(t testing.TB, cmd string, more ...string) *lxcconf.Config {
	t.Helper()
	c, err := lxcconf.Parse(strings.NewReader(confText(cmd, more...)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// volumes mounts the usual ones for a container: the image, and a tmpfs for
// changes.
func (b *bench) volumes(name string, more ...sandbox.Volume) map[string]string {
	b.t.Helper()
	img, err := image()
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := b.Mount(b.t.Context(), name, append([]sandbox.Volume{
		{Name: "root.squashfs", Image: img}, {Name: "lxc-overlay", Tmpfs: true}}, more...))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := m.Unmount(context.Background()); err != nil {
			b.t.Error(err)
		}
	})
	out := m.Volumes()
	if name != "app" { // the configurations here are all app's
		for k, v := range m.Volumes() {
			out[strings.Replace(k, "/"+name+"/", "/app/", 1)] = v
		}
	}
	return out
}

// run starts a container, waits for its end and returns its output.
func (b *bench) run(s sandbox.Spec) (string, sandbox.Exit) {
	b.t.Helper()
	out := &buffer{}
	if s.Name == "" {
		s.Name = "app"
	}
	if s.Volumes == nil {
		s.Volumes = b.volumes(s.Name)
	}
	s.Console = out
	c, err := b.Start(b.t.Context(), s)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	exit, err := c.Wait(ctx)
	if err != nil {
		b.t.Fatalf("%v; output: %s", err, out)
	}
	return out.String(), exit
}

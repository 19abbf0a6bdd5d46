package nsinject_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

func enter(t *testing.T, c *testns.Container) xconnect.Root {
	t.Helper()
	r, err := nsinject.New(nsinject.Options{}).Enter(t.Context(), xconnect.Peer{Name: "c", PID: c.PID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// greet makes a listener whose connections get one line.
func greet(t *testing.T, l net.Listener, line string) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, line)
			c.Close()
		}
	}()
}

func hear(t *testing.T, c net.Conn) string {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestListenAndDial(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	long := "/run/" + strings.Repeat(strings.Repeat("d", 200)+"/", 4) + strings.Repeat("n", 250)
	for _, path := range []string{"/run/a/b/s.sock", "relative", "/run/../run/dots", long} {
		l, err := r.Listen(t.Context(), "unix", path, 0o666)
		if err != nil {
			t.Fatalf("listen at %.40s: %v", path, err)
		}
		greet(t, l, "hello")
		conn, err := r.Dial(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if got := hear(t, conn); got != "hello" {
			t.Errorf("%.40s: heard %q", path, got)
		}
		l.Close()
		if _, err := r.Dial(t.Context(), "unix", path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%.40s after Close: %v", path, err)
		}
	}
}

func TestModes(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	c := testns.Start(t)
	l, err := enter(t, c).Listen(t.Context(), "unix", "/run/new/dir/s", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]fs.FileMode{
		"/run/new":       fs.ModeDir | 0o755,
		"/run/new/dir":   fs.ModeDir | 0o755,
		"/run/new/dir/s": fs.ModeSocket | 0o666,
	} {
		fi, err := os.Lstat(c.Path(path))
		if err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, fi, err, want)
		}
	}
}

// What is at the path already stays, unless it is a socket that nobody serves.
func TestInTheWay(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	c.Mkdir("/run/w")
	at := c.Path("/run/w/s")
	for name, put := range map[string]func() error{
		"a file":          func() error { return os.WriteFile(at, []byte("mine"), 0o644) },
		"a directory":     func() error { return os.Mkdir(at, 0o755) },
		"a symbolic link": func() error { return os.Symlink("/run/elsewhere", at) },
		"a FIFO":          func() error { return unix.Mkfifo(at, 0o644) },
		"a device node":   func() error { return unix.Mknod(at, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))) },
		"a socket in use": func() error {
			l, err := net.Listen("unix", at)
			if err == nil {
				l.(*net.UnixListener).SetUnlinkOnClose(false)
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(at)
		l, err := r.Listen(t.Context(), "unix", "/run/w/s", 0o666)
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), name) {
			t.Errorf("listen where %s is: %v", name, err)
		}
		if err == nil {
			l.Close()
		}
		if after, err := os.Lstat(at); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was touched: %v", name, err)
		}
		os.Remove(at)
	}
	left, err := os.ReadDir(c.Path("/run/w"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	for _, network := range []string{"unix", "unixpacket"} {
		old, err := net.ListenUnix(network, &net.UnixAddr{Name: c.Path("/run/s"), Net: network})
		if err != nil {
			t.Fatal(err)
		}
		old.SetUnlinkOnClose(false)
		old.Close()
		l, err := r.Listen(t.Context(), "unix", "/run/s", 0o666)
		if err != nil {
			t.Fatalf("after a stale %s socket: %v", network, err)
		}
		l.Close()
	}
}

// Close takes away what Listen made, not what came after.
func TestCloseLeavesTheContainersOwn(t *testing.T) {
	c := testns.Start(t)
	l, err := enter(t, c).Listen(t.Context(), "unix", "/run/s", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(c.Path("/run/s"))
	os.WriteFile(c.Path("/run/s"), []byte("mine"), 0o600)
	l.Close()
	if b, err := os.ReadFile(c.Path("/run/s")); err != nil || string(b) != "mine" {
		t.Errorf("the container's file: %q, %v", b, err)
	}
}

// A container full of traps: each path leads to the host if it is followed the
// way the host would.
func TestNothingLeavesTheContainer(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	host := filepath.Join("/run", filepath.Base(t.TempDir())+"-pvtrap") // a path that both sides can name
	if err := os.MkdirAll(host, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(host) })
	secret := filepath.Join(host, "secret.sock")
	hl, err := net.Listen("unix", secret)
	if err != nil {
		t.Fatal(err)
	}
	greet(t, hl, "HOST")
	os.WriteFile(filepath.Join(host, "passwd"), []byte("HOST"), 0o644)

	c.Symlink(secret, "/run/abs")
	c.Symlink(host, "/run/absdir")
	c.Symlink("../../../../../.."+secret, "/run/dots")
	c.Symlink("/proc/self/root"+secret, "/run/magic")
	c.Symlink("/proc/1/root", "/run/magicroot")
	for _, path := range []string{
		"/run/abs", "/run/absdir/secret.sock", "/run/dots", "/run/magic", "/run/magicroot" + secret,
		"/../../../.." + secret, "/run/../../../.." + secret, "/proc/1/cwd" + secret,
		"/proc/self/root" + secret, secret,
	} {
		if conn, err := r.Dial(t.Context(), "unix", path); err == nil {
			t.Errorf("dial %s: heard %q", path, hear(t, conn))
		}
	}
	for _, path := range []string{"/run/absdir/passwd", "/run/magicroot" + host + "/passwd", "/../.." + host + "/passwd"} {
		if b, err := r.ReadFile(t.Context(), path, 100); err == nil {
			t.Errorf("read %s: %q", path, b)
		}
	}
	// A socket asked for behind a link is made where the container's tree has
	// that link's target, or not at all.
	for _, path := range []string{"/run/absdir/new.sock", "/../.." + host + "/new.sock", "/run/absdir/sub/new.sock"} {
		if l, err := r.Listen(t.Context(), "unix", path, 0o666); err == nil {
			defer l.Close()
		}
	}
	left, err := os.ReadDir(host)
	if err != nil || len(left) != 2 {
		t.Errorf("the host's directory changed: %v, %v", left, err)
	}
	if _, err := os.Lstat(c.Path(host + "/new.sock")); err != nil {
		t.Errorf("the container has its own %s: %v", host, err)
	}
}

// What a container takes away, replaces or hides is noticed, and nothing else.
func TestDisplaced(t *testing.T) {
	c := testns.Start(t)
	displaced := func(r xconnect.Root) string {
		path, sure := r.(xconnect.Minder).Displaced(true)
		if quick, known := r.(xconnect.Minder).Displaced(false); !sure || known && quick != path {
			t.Errorf("Displaced: %q, sure %v; at once %q, sure %v", path, sure, quick, known)
		}
		return path
	}
	const at = "/run/m/s.sock"
	for name, do := range map[string]func() error{
		"taken away": func() error { return os.Remove(c.Path(at)) },
		"moved":      func() error { return os.Rename(c.Path(at), c.Path(at+".old")) },
		"replaced": func() error {
			return errors.Join(os.Rename(c.Path(at), c.Path(at+".old")), os.WriteFile(c.Path(at), nil, 0o600))
		},
		"a link instead": func() error {
			return errors.Join(os.Rename(c.Path(at), c.Path(at+".old")), os.Symlink("s.sock.old", c.Path(at)))
		},
		"its directory gone": func() error { return os.RemoveAll(c.Path("/run/m")) },
		"under a mount":      func() error { return c.Command("mount", "-t", "tmpfs", "none", "/run/m").Run() },
	} {
		r := enter(t, c)
		l, err := r.Listen(t.Context(), "unix", at, 0o666)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := displaced(r); got != "" {
			t.Errorf("%s, before: %q", name, got)
		}
		if err := do(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := displaced(r); got != at {
			t.Errorf("%s: %q", name, got)
		}
		l.Close()
		if got := displaced(r); got != "" {
			t.Errorf("%s, after Close: %q", name, got)
		}
		c.Command("umount", "/run/m").Run() // if it is mounted
		os.RemoveAll(c.Path("/run/m"))
	}
}

// A container that has only changed its root is in the tree that it sees, not in
// its namespace's.
func TestChroot(t *testing.T) {
	testreq.Root(t)
	jail := t.TempDir()
	cmd := exec.Command("sh", "-c", `mount --make-rprivate / && mkdir "$0/usr" "$0/run" && mount --rbind /usr "$0/usr" &&
		for d in bin lib lib64; do ln -s usr/$d "$0/$d"; done && exec chroot "$0" /bin/sh -c 'echo ready; exec cat'`, jail)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	in, ierr := cmd.StdinPipe()
	out, oerr := cmd.StdoutPipe()
	if err := errors.Join(ierr, oerr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	host, err := net.Listen("unix", filepath.Join(t.TempDir(), "host.sock"))
	if err != nil {
		t.Fatal(err)
	}
	greet(t, host, "HOST")
	for name, to := range map[string]string{"abs": host.Addr().String(), "dots": "../../../../../../../.." + host.Addr().String()} {
		if err := os.Symlink(to, filepath.Join(jail, "run", name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := nsinject.New(nsinject.Options{}).Enter(t.Context(), xconnect.Peer{Name: "jailed", PID: cmd.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, path := range []string{"/run/abs", "/run/dots"} {
		if c, err := r.Dial(t.Context(), "unix", path); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				t.Errorf("%s: heard %q", path, hear(t, c))
			}
			t.Errorf("%s: %v", path, err)
		}
	}
	l, err := r.Listen(t.Context(), "unix", "/run/pv/s.sock", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if fi, err := os.Lstat(filepath.Join(jail, "run/pv/s.sock")); err != nil || fi.Mode().Type() != fs.ModeSocket {
		t.Errorf("in the jail: %v, %v", fi, err)
	}
}

// A container that swaps a directory for a link to the host as fast as it can.
func TestSwappedDirectories(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	host := filepath.Join("/run", filepath.Base(t.TempDir())+"-pvswap")
	if err := os.MkdirAll(host, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(host) })
	hl, err := net.Listen("unix", filepath.Join(host, "s"))
	if err != nil {
		t.Fatal(err)
	}
	greet(t, hl, "HOST")
	hl.(*net.UnixListener).SetUnlinkOnClose(false)
	c.Mkdir("/run/d")
	inner, err := net.Listen("unix", c.Path("/run/d/s"))
	if err != nil {
		t.Fatal(err)
	}
	greet(t, inner, "INSIDE")
	c.Symlink(host, "/run/link")

	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, c.Path("/run/d"), unix.AT_FDCWD, c.Path("/run/link"), unix.RENAME_EXCHANGE)
			}
		}
	})
	heard := 0
	for range 1000 {
		if conn, err := r.Dial(t.Context(), "unix", "/run/d/s"); err == nil {
			if got := hear(t, conn); got != "INSIDE" {
				t.Errorf("heard %q", got)
				break
			}
			heard++
		}
		if l, err := r.Listen(t.Context(), "unix", "/run/d/new/dir/s", 0o666); err == nil {
			l.Close()
		}
	}
	close(stop)
	swapper.Wait()
	if heard == 0 {
		t.Error("never got through")
	}
	left, err := os.ReadDir(host)
	if err != nil || len(left) != 1 {
		t.Errorf("the host's directory changed: %v, %v", left, err)
	}
}

func TestReadFile(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	os.WriteFile(c.Path("/etc/passwd"), []byte("root:x:0:0::/:\n"), 0o644)
	c.Symlink("/etc/passwd", "/run/link")
	for _, path := range []string{"/etc/passwd", "/run/link"} {
		if b, err := r.ReadFile(t.Context(), path, 100); err != nil || string(b) != "root:x:0:0::/:\n" {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	unix.Mkfifo(c.Path("/run/fifo"), 0o666)
	unix.Mknod(c.Path("/run/zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
	for _, path := range []string{"/run/fifo", "/run/zero", "/etc", "/none"} {
		if b, err := r.ReadFile(t.Context(), path, 100); err == nil {
			t.Errorf("%s: %q", path, b)
		}
	}
	if _, err := r.ReadFile(t.Context(), "/etc/passwd", 5); err == nil {
		t.Error("a file over the limit was read")
	}
}

// FindNow connects only where Dial has found that it cannot wait, and obeys the
// same rules for paths.
func TestFindNow(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	now := r.(xconnect.NowFinder)
	const path = "/run/now.sock"
	ln, err := net.Listen("unix", c.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if fd, err := now.FindNow(path); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("before Dial: %d, %v", fd, err)
	}
	conn, err := r.Dial(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	fd, err := now.FindNow(path)
	if err != nil {
		t.Fatalf("after Dial: %v", err)
	}
	unix.Close(fd)
	if fd, err := now.FindNow("/run/none.sock"); err == nil {
		unix.Close(fd)
		t.Errorf("of nothing: %d, %v", fd, err)
	}
	secret := filepath.Join(t.TempDir(), "host.sock")
	host, err := net.Listen("unix", secret)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	c.Symlink(secret, "/run/trap.sock")
	if fd, err := now.FindNow("/run/trap.sock"); err == nil {
		unix.Close(fd)
		t.Error("a link led out of the container")
	}
	c.Stop()
	<-r.Gone()
	if fd, err := now.FindNow(path); !errors.Is(err, xconnect.ErrPeerGone) {
		t.Errorf("of a container that has stopped: %d, %v", fd, err)
	}
}

func TestDialWhatIsNoSocket(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	unix.Mkfifo(c.Path("/run/fifo"), 0o666)
	for _, path := range []string{"/run/fifo", "/run", "/etc"} {
		if _, err := r.Dial(t.Context(), "unix", path); !errors.Is(err, syscall.ENOTSOCK) {
			t.Errorf("dial %s: %v", path, err)
		}
	}
}

func TestDialAs(t *testing.T) {
	c := testns.Start(t)
	r := enter(t, c)
	l, err := r.Listen(t.Context(), "unix", "/run/s", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, as := range []xconnect.Cred{{UID: 1001, GID: 1002}, {UID: 65534, GID: 65534}, {}} {
		conn, err := r.DialAs(t.Context(), "unix", "/run/s", as)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p, err := unixsock.PeerOf(s.(*net.UnixConn))
		if err != nil || p.UID != as.UID || p.GID != as.GID || p.PID != os.Getpid() {
			t.Errorf("as %+v the listener sees %+v, %v", as, p, err)
		}
		conn.Close()
		s.Close()
	}
	if os.Geteuid() != 0 {
		t.Error("the process changed its user")
	}
	// Root's own identity is back: this socket takes nobody else.
	os.Chmod(c.Path("/run/s"), 0o600)
	if _, err := r.DialAs(t.Context(), "unix", "/run/s", xconnect.Cred{UID: 1001, GID: 1002}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("dial a socket of mode 600 as 1001: %v", err)
	}
	conn, err := r.Dial(t.Context(), "unix", "/run/s")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestNodes(t *testing.T) {
	from, to := testns.Start(t), testns.Start(t)
	rf, rt := enter(t, from), enter(t, to)
	from.Mkdir("/dev/dri")
	unix.Mknod(from.Path("/dev/dri/card0"), unix.S_IFCHR, int(unix.Mkdev(1, 3)))
	os.Chown(from.Path("/dev/dri/card0"), 7, 44)
	os.Chmod(from.Path("/dev/dri/card0"), 0o640)
	from.Symlink("/dev/dri/card0", "/run/card")
	n, err := rf.Node(t.Context(), "/run/card")
	want := xconnect.Node{Path: "/dev/dri/card0", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o640, Major: 1, Minor: 3, UID: 7, GID: 44}
	if err != nil || n != want {
		t.Fatalf("node %+v, %v; want %+v", n, err, want)
	}
	remove, err := rt.PutNode(t.Context(), n, "/dev/dri/card0")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rt.Node(t.Context(), "/dev/dri/card0"); err != nil || got != want {
		t.Errorf("in the consumer: %+v, %v", got, err)
	}
	again, err := rt.PutNode(t.Context(), n, "/dev/dri/card0")
	if err != nil {
		t.Errorf("the same node again: %v", err)
	} else if err := again(); err != nil {
		t.Error(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(to.Path("/dev/dri/card0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the node is still there: %v", err)
	}
	os.WriteFile(to.Path("/dev/dri/card0"), nil, 0o644)
	if _, err := rt.PutNode(t.Context(), n, "/dev/dri/card0"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if _, err := rf.Node(t.Context(), "/etc"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a directory as a node: %v", err)
	}
}

func TestPeerGone(t *testing.T) {
	c := testns.Start(t)
	in := nsinject.New(nsinject.Options{})
	p := xconnect.Peer{Name: "c", PID: c.PID}
	r, err := in.Enter(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	select {
	case <-r.Gone():
		t.Fatal("gone already")
	default:
	}
	c.Stop()
	select {
	case <-r.Gone():
	case <-time.After(5 * time.Second):
		t.Fatal("nobody noticed the end")
	}
	if _, err := r.ReadFile(t.Context(), "/etc/passwd", 100); !errors.Is(err, xconnect.ErrPeerGone) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := in.Enter(t.Context(), p); !errors.Is(err, xconnect.ErrPeerGone) {
		t.Errorf("enter after the end: %v", err)
	}
	if _, err := in.Enter(t.Context(), xconnect.Peer{Name: "c"}); !errors.Is(err, xconnect.ErrPeerGone) {
		t.Errorf("enter without a pid: %v", err)
	}
}

// A pid that now belongs to a process of the host is refused.
func TestHostProcess(t *testing.T) {
	testreq.Root(t)
	_, err := nsinject.New(nsinject.Options{}).Enter(t.Context(), xconnect.Peer{Name: "c", PID: os.Getpid()})
	if !errors.Is(err, nsinject.ErrOwnRoot) {
		t.Errorf("enter ourselves: %v", err)
	}
}

func TestHost(t *testing.T) {
	r, err := nsinject.New(nsinject.Options{}).Enter(t.Context(), xconnect.Peer{Name: "_pv_"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(t.TempDir(), "s")
	l, err := r.Listen(t.Context(), "unix", path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	greet(t, l, "host")
	c, err := r.Dial(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if got := hear(t, c); got != "host" {
		t.Errorf("heard %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Dial(ctx, "unix", path); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestUserNamespace(t *testing.T) {
	c := testns.StartWith(t, func(a *syscall.SysProcAttr) {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
		a.GidMappings = a.UidMappings
		a.Credential = &syscall.Credential{NoSetGroups: true}
	})
	r := enter(t, c)
	l, err := r.Listen(t.Context(), "unix", "/run/a/s", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	greet(t, l, "hello")
	conn, err := r.Dial(t.Context(), "unix", "/run/a/s")
	if err != nil {
		t.Fatal(err)
	}
	if got := hear(t, conn); got != "hello" {
		t.Errorf("heard %q", got)
	}
	fi, err := os.Stat(c.Path("/run/a/s"))
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 100000 || fi.Mode().Perm() != 0o666 {
		t.Errorf("the socket is %v, %v", fi, err)
	}
	l.Close()
	if left, _ := os.ReadDir(c.Path("/run/a")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestNothingLeaks(t *testing.T) {
	c := testns.Start(t)
	count := func() int {
		e, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	in := nsinject.New(nsinject.Options{})
	before := count()
	for range 20 {
		r, err := in.Enter(t.Context(), xconnect.Peer{Name: "c", PID: c.PID})
		if err != nil {
			t.Fatal(err)
		}
		l, err := r.Listen(t.Context(), "unix", "/run/x/s", 0o666)
		if err != nil {
			t.Fatal(err)
		}
		r.Listen(t.Context(), "unix", "/run/x/s", 0o666) // in the way
		r.Listen(t.Context(), "unix", "/run/x", 0o666)
		r.Dial(t.Context(), "unix", "/none")
		r.ReadFile(t.Context(), "/none", 1)
		l.Close()
		l.Close()
		r.Close()
		r.Close()
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

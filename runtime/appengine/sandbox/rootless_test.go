package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

// rootless is a runtime of a user's: it runs one container and prints what that
// says and how it ends.
func rootless(dir, img, cmd string, more []string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out := &buffer{}
	err := func() error {
		h, err := sandbox.Open(ctx, sandbox.Options{RunDir: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			return err
		}
		defer h.Close(ctx)
		c, err := lxcconf.Parse(strings.NewReader(confText(cmd, more...)))
		if err != nil {
			return err
		}
		m, err := h.Mount(ctx, "app", []sandbox.Volume{{Name: "root.squashfs", Image: img}, {Name: "lxc-overlay", Tmpfs: true}})
		if err != nil {
			return err
		}
		defer m.Unmount(ctx)
		run, err := h.Start(ctx, sandbox.Spec{Name: "app", Config: c, Volumes: m.Volumes(), Console: out, PidsMax: 30,
			Prestart: func(pid int) error {
				if name, ok := h.Owner(pid); name != "app" || !ok {
					return fmt.Errorf("owner %q %v", name, ok)
				}
				return nil
			}})
		if err != nil {
			return err
		}
		if name, ok := h.Owner(os.Getpid()); name != "" || !ok {
			return fmt.Errorf("our own owner %q %v", name, ok)
		}
		if strings.Contains(cmd, "bomb") {
			for !strings.Contains(out.String(), "stopped") && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			err := run.Kill(ctx)
			fmt.Print(out.String())
			return err
		}
		if strings.Contains(cmd, "stubborn") {
			exit, err := sandbox.Enter(ctx, run.PID(), sandbox.Process{Args: []string{"/prog", "id", "hostname", "pwd", "exit:3"}, Dir: "/tmp", Stdout: os.Stdout, Stderr: os.Stderr})
			fmt.Println(exit, err)
			return errors.Join(err, run.Kill(ctx))
		}
		exit, err := run.Wait(ctx)
		fmt.Print(out.String())
		fmt.Println(exit)
		if err == nil {
			err = m.Unmount(ctx)
		}
		return err
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// With newuidmap and a range in /etc/subuid a rootless container has many users.
func TestRootlessSubIDs(t *testing.T) {
	testreq.Root(t)
	for _, tool := range []string{"newuidmap", "unshare", "setpriv"} {
		testreq.Tool(t, tool)
	}
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pvkit-rootless-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chown(dir, 65534, 65534)
	os.WriteFile(filepath.Join(dir, "ids"), []byte("65534:300000:1000\n"), 0o644)
	self := filepath.Join(dir, "runtime") // the test's own directory is root's
	if err := os.WriteFile(self, must(os.ReadFile("/proc/self/exe")), 0o755); err != nil {
		t.Fatal(err)
	}
	// The host's /etc stays as it is: the range is only in this mount namespace.
	script := `mount --bind "$1/ids" /etc/subuid && mount --bind "$1/ids" /etc/subgid && ` +
		`exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'exec -a "$@"' x ` + rootlessName + ` "$2" "$1/run" "$3" "/prog id write:/tmp/f=x stat:/tmp/f" "lxc.init.uid = 7" "lxc.init.gid = 8" "lxc.init.groups = 9" "lxc.mount.entry = none tmp tmpfs mode=1777 0 0"`
	for _, f := range []string{"/etc/subuid", "/etc/subgid"} {
		if _, err := os.Stat(f); err != nil {
			t.Skipf("testreq: needs %s: %v", f, err)
		}
	}
	out, err := exec.Command("unshare", "-m", "bash", "-c", script, "x", dir, self, img).CombinedOutput()
	want := "1 7 8 [9]\n/tmp/f 100644 7:8 0:0\nexit status 0\n"
	if strings.Contains(string(out), "make its namespaces") || strings.Contains(string(out), "a policy of this machine") {
		t.Skip("testreq: optional: users may make no user namespaces here")
	}
	if got := strings.ReplaceAll(string(out), "\r\n", "\n"); err != nil || !strings.HasSuffix(got, want) {
		t.Errorf("%v: got %q, want %q", err, got, want)
	}
}

func TestRootless(t *testing.T) {
	testreq.Root(t) // to become somebody else
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	run := func(t *testing.T, dir, cmd string, more ...string) (string, string) {
		t.Helper()
		c := exec.Command("/proc/self/exe", append([]string{filepath.Join(dir, "run"), img, cmd}, more...)...)
		c.Args[0] = rootlessName
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		var out, log strings.Builder
		c.Stdout, c.Stderr = &out, &log
		c.Run()
		return strings.ReplaceAll(out.String(), "\r\n", "\n"), log.String()
	}
	dir, err := os.MkdirTemp("", "pvkit-rootless-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chown(dir, nobody, nobody)
	os.WriteFile(filepath.Join(dir, "file"), []byte("bound\n"), 0o644)
	os.Chmod(filepath.Join(dir, "file"), 0o666)
	out, log := run(t, dir, "/prog echo:hello")
	if strings.Contains(out, "make its namespaces") || strings.Contains(out, "a policy of this machine") {
		t.Skip("testreq: optional: users may make no user namespaces here: " + out)
	}
	if out != "hello\nexit status 0\n" {
		t.Fatalf("got %q, log %s", out, log)
	}
	for _, want := range []string{"images are copied instead of mounted", "devices are the host's own nodes", "a container has one user"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q: %s", want, log)
		}
	}
	for cmd, want := range map[string]string{
		"/prog id hostname":                      "1 0 0 []\napp\nexit status 0\n",
		"/prog write:/etc/x=up cat:/etc/x":       "upexit status 0\n",
		"/prog stat:/dev/null write:/dev/null=x": "/dev/null 20666 65534:65534 1:3\nexit status 0\n",
		"/prog tty readlink:/proc/self/fd/0":     "tty false\n/dev/pts/0\nexit status 0\n",
		"/prog exists:/proc/2 exists:/proc/1":    "2 false\n1 true\nexit status 0\n",
		"/prog mknod:/tmp/x":                     "error: operation not permitted\nexit status 0\n",
		"/prog bomb:200":                         "stopped true fork/exec /prog: resource temporarily unavailable\n",
		"/nothing":                               "start container app: start /nothing: no such file or directory\n",
	} {
		t.Run(cmd, func(t *testing.T) {
			out, log := run(t, dir, cmd)
			if out != want {
				t.Errorf("got %q, want %q; log %s", out, want, log)
			}
		})
	}
	t.Run("another user", func(t *testing.T) {
		out, _ := run(t, dir, "/prog id", "lxc.init.uid = 5")
		if want := "user or group 5: this user namespace knows none above 0"; !strings.Contains(out, want) {
			t.Errorf("got %q, want %s", out, want)
		}
	})
	t.Run("mounts of the host", func(t *testing.T) {
		out, log := run(t, dir, "/prog cat:/a open:/a exists:/b/os-release cat:/v/x", "lxc.mount.entry = "+filepath.Join(dir, "file")+" a none bind,ro,create=file 0 0",
			"lxc.mount.entry = /usr/lib b none bind,ro,create=dir 0 0", "lxc.mount.entry = /volumes/app/lxc-overlay/v v none bind,create=dir,optional 0 0")
		if want := "bound\nerror: open /a: read-only file system\nos-release true\nerror: open /v/x: no such file or directory\nexit status 0\n"; out != want {
			t.Errorf("got %q, want %q; log %s", out, want, log)
		}
	})
	t.Run("enter", func(t *testing.T) {
		testreq.Tool(t, "nsenter")
		out, log := run(t, dir, "/prog stubborn")
		if _, rest, _ := strings.Cut(out, " "); rest != "0 0 []\napp\n/tmp\nexit status 3 <nil>\n" {
			t.Errorf("got %q; log %s", out, log)
		}
	})
	t.Run("network of its own", func(t *testing.T) {
		out, log := run(t, dir, "/prog cat:/sys/class/net/lo/carrier", "lxc.namespace.keep = user")
		if out != "1\nexit status 0\n" {
			t.Errorf("got %q; log %s", out, log)
		}
	})
}

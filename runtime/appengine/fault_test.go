package appengine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

// daemon runs the engine as a process of its own, on the rig's directories.
func (r *rig) daemon(change func(*exec.Cmd)) (*exec.Cmd, *bytes.Buffer) {
	r.t.Helper()
	path, err := pvengine()
	if err != nil {
		r.t.Fatal(err)
	}
	mesh, err := xconnect()
	if err != nil {
		r.t.Fatal(err)
	}
	out := &bytes.Buffer{}
	cmd := exec.Command(path, "--storage", r.opts.Storage, "--rundir", r.opts.RunDir, "--xconnect", mesh, "-d", "0", r.exports)
	cmd.Stdout, cmd.Stderr = out, out
	if change != nil {
		change(cmd)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Signal(syscall.SIGINT)
			cmd.Wait()
		}
		if r.t.Failed() {
			r.t.Log(out.String())
		}
	})
	return cmd, out
}

// up waits until the containers of a daemon run.
func (r *rig) up(names ...string) {
	r.t.Helper()
	for _, name := range names {
		eventually(r.t, name+" runs", func() bool { return r.status(name) == "STARTED" && r.pid(name) != 0 })
	}
}

// A killed engine takes its containers and its daemons with it, loses nothing,
// and the next one starts.
func TestKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", does("count=/data/runs", "wait"), app, "volumes: [\"/data:permanent\"]"), actor("stubborn", does("stubborn"), app))
	cmd, _ := r.daemon(nil)
	r.up("calm", "stubborn")
	eventually(t, "it has counted", func() bool { return strings.Contains(r.console("0", "calm"), "run 1") })
	calm, stubborn := r.pid("calm"), r.pid("stubborn")
	list, err := r.ctrl.Daemons(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	pids := map[string]int{"calm": calm, "stubborn": stubborn}
	for _, d := range list {
		if d.PID > 0 {
			pids[d.Name] = d.PID
		}
	}
	for name, pid := range pids {
		eventually(t, name+" has ended with it", func() bool { return ended(pid) })
	}
	next, _ := r.daemon(nil)
	r.up("calm", "stubborn")
	eventually(t, "the volume is the same", func() bool { return strings.Contains(r.console("0", "calm"), "run 2") })
	next.Process.Signal(syscall.SIGINT)
	if err := next.Wait(); next.ProcessState.ExitCode() != 3 {
		t.Errorf("after SIGINT it ended with %v, want 3", err)
	}
	nothingLeft(t, r)
}

// ended tells whether a process is gone or only waits to be waited for.
func ended(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

// A user without root runs containers in user namespaces, with their links.
func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	testreq.Root(t) // to become somebody else
	r := newRig(t, "../../examples/pv-example-unix-server", "../../examples/pv-example-unix-client")
	base := filepath.Dir(r.opts.Storage)
	for dir := base; dir != "/tmp" && len(dir) > 5; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755)
	}
	os.Chmod(shared(), 0o755)
	const user = 61234
	if err := os.Chown(base, user, user); err != nil {
		t.Fatal(err)
	}
	cmd, out := r.daemon(func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		c.Env = []string{"HOME=" + base, "PATH=/usr/bin:/bin"}
	})
	early := make(chan struct{})
	go func() { cmd.Wait(); close(early) }()
	eventuallyIn(t, 15*time.Second, "the greeting comes back", func() bool {
		select {
		case <-early:
			t.Skipf("this machine gives users no namespaces: %s", out)
		default:
		}
		return strings.Contains(r.console("0", "pv-example-unix-client"), "\nHello from client at")
	})
	cmd.Process.Signal(syscall.SIGTERM)
	<-early
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("after SIGTERM it ended with %d, want 0", code)
	}
}

// A container that forks without end, or prints without end, is stopped like
// any other, and the others do not notice.
func TestAbuse(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("forks", does("fork"), app), actor("floods", does("flood"), app), actor("calm", nil, app))
	r.opts.Settings.Environ = append(r.opts.Settings.Environ, "PV_LOG_DIR_MAXSIZE=4194304")
	r.start().ready()
	eventually(t, "no more processes", func() bool { return strings.Contains(r.console("0", "forks"), "no more") })
	pid := r.pid("calm")
	time.Sleep(time.Second)
	for _, name := range []string{"forks", "floods"} {
		if err := r.ctrl.ContainerAction(t.Context(), name, "stop"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"forks", "floods"} {
		eventuallyIn(t, 20*time.Second, name+" is stopped", func() bool { return r.status(name) == "STOPPED" })
	}
	if r.pid("calm") != pid {
		t.Error("the calm one was restarted")
	}
	var size int64
	filepath.WalkDir(filepath.Join(r.opts.Storage, "logs"), func(_ string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); err == nil && ierr == nil {
			size += info.Size()
		}
		return nil
	})
	if size > 6<<20 {
		t.Errorf("the logs have %d bytes, with a limit of 4 MiB", size)
	}
}

// damage changes a byte in the middle of a file, and keeps its links.
func damage(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	f.ReadAt(b, st.Size()/2)
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, st.Size()/2); err != nil {
		t.Fatal(err)
	}
}

// A damaged object is named with its key, and nothing runs of it. A revision
// that ran well before takes its place.
func TestDamagedObject(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", does("say=zero", "wait"), app))
	r.start().ready().stop()
	damage(t, r.objectOf("0", "calm/root.squashfs"))
	environ := r.opts.Settings.Environ
	r.opts.Settings.Environ = append(environ, "PV_SECUREBOOT_CHECKSUM=0") // is not heard, and that is told
	r.start().wait()
	r.opts.Settings.Environ = environ
	r.saw("the setting is told", func(e appengine.Event) bool {
		return e.Kind == appengine.EventNote && strings.Contains(e.Text, "PV_SECUREBOOT_CHECKSUM is off")
	})
	digest, ok := errors.AsType[*pvrexport.DigestError](r.err)
	if !ok || !strings.Contains(r.err.Error(), "calm/root.squashfs") || strings.Count(r.err.Error(), "does not run") != 1 {
		t.Fatalf("%v", r.err)
	}
	if _, ok := errors.AsType[*appengine.RevisionError](r.err); !ok {
		t.Errorf("%T", r.err)
	}
	damage(t, r.objectOf("0", "calm/root.squashfs")) // and back
	if strings.Contains(r.console("0", "calm"), digest.ID) {
		t.Error("it ran")
	}

	r.start().ready()
	r.put("locals/next", r.variant(actor("calm", does("say=next", "wait"), app, "env: {NEXT: \"1\"}")), r.variant(actor("base", does("say=next", "wait"), "group: root")))
	r.command("LOCAL_RUN", "locals/next")
	eventually(t, "DONE", func() bool { return strings.HasPrefix(r.progress("locals/next"), "DONE") })
	r.stop()
	damage(t, r.objectOf("locals/next", "base/lxc.container.conf"))
	r.start().ready()
	if got := r.boot(); got != "pv_rev=0" {
		t.Errorf("boot state %q", got)
	}
	r.saw("what is wrong is told", func(e appengine.Event) bool {
		return e.Kind == appengine.EventError && strings.Contains(e.Text, "base/lxc.container.conf") && strings.Contains(e.Text, "revision 0")
	})
}

// Another engine on the same storage is refused by name, and the first goes on.
func TestTwoEngines(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	r.start().ready()
	opts := r.opts
	opts.RunDir += "-2"
	_, err := appengine.Run(t.Context(), opts)
	if e, ok := errors.AsType[*storage.LockedError](err); !ok || !strings.Contains(e.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("%v", err)
	}
	if r.status("calm") != "STARTED" {
		t.Error("the first one was disturbed")
	}
}

// On a full disk uploads are refused, what runs goes on, and with room again
// all works.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	if err := os.Mkdir(r.opts.Storage, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", r.opts.Storage, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(r.opts.Storage, syscall.MNT_DETACH) })
	r.start().ready()
	filler := filepath.Join(r.opts.Storage, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("x"), 1<<20)
	err = r.ctrl.PutObject(t.Context(), pvrexport.ObjectID(content), int64(len(content)), bytes.NewReader(content))
	if httpStatus(err) != 507 {
		t.Errorf("an upload: %v", err)
	}
	first := r.pid("calm")
	if err := r.ctrl.ContainerAction(t.Context(), "calm", "restart"); err != nil {
		t.Error(err)
	}
	eventually(t, "a restart", func() bool { p := r.pid("calm"); return p != 0 && p != first })
	os.Remove(filler)
	if err := r.ctrl.PutObject(t.Context(), pvrexport.ObjectID(content), int64(len(content)), bytes.NewReader(content)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	r.stop()
	if r.err != nil {
		t.Error(r.err)
	}
}

// An export that is none names itself and leaves a storage that takes others.
func TestBadExport(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	bad := filepath.Join(r.exports, "a-bad.tgz")
	if err := os.WriteFile(bad, []byte("not an archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.start().wait()
	if e, ok := errors.AsType[*storage.ApplyError](r.err); !ok || e.File != bad {
		t.Fatalf("%v", r.err)
	}
	os.Remove(bad)
	r.start().ready()
}

// A run directory may hold what a killed runtime left, a half-written file too;
// anything else is somebody's, and stays.
func TestWhatLiesInTheRunDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	left := filepath.Join(r.opts.RunDir, ".containers.json.1.tmp")
	if err := os.MkdirAll(r.opts.RunDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.start().ready()
	r.stop()
	if _, err := os.Lstat(left); r.err != nil || err == nil {
		t.Errorf("%v; the file is there: %v", r.err, err == nil)
	}
	foreign := filepath.Join(r.opts.RunDir, "thesis.txt")
	if err := os.WriteFile(foreign, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := appengine.Run(t.Context(), r.opts)
	if _, stat := os.Lstat(foreign); err == nil || !strings.Contains(err.Error(), "thesis.txt") || stat != nil {
		t.Errorf("%v, %v", err, stat)
	}
}

// Package testns starts containers for tests: a process with mount and pid
// namespaces and a root filesystem of its own, which it pivoted into. The
// root is a tmpfs with the host's /usr read-only, an empty /run, /etc, /tmp and
// /dev, and its own /proc.
package testns

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
)

// initScript is the first process. It says "ready" and lives until its standard
// input ends, so also when the test process is killed.
const initScript = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir usr proc run etc tmp dev old
for d in bin sbin lib lib64; do if [ -e /$d ]; then ln -s usr/$d $d; fi; done
mount --rbind /usr usr
mount -o remount,bind,ro usr
pivot_root . old
cd /
mount -t proc proc /proc
umount -l /old
rmdir /old
echo ready
exec cat
`

// Container is a running one. It ends with the test.
type Container struct {
	PID int
	t   testing.TB
	cmd *exec.Cmd
}

// Start needs root, sh and util-linux.
func Start(t testing.TB) *Container {
	t.Helper()
	return StartWith(t, nil)
}

// StartWith lets the test change how the first process is made, to add a user
// namespace for instance.
func StartWith(t testing.TB, change func(*syscall.SysProcAttr)) *Container {
	t.Helper()
	testreq.Root(t)
	dir := t.TempDir()
	os.Chmod(filepath.Dir(dir), 0o755) // a user namespace's root must get through
	cmd := exec.Command("sh", "-c", initScript, "init", dir)
	// No Pdeathsig: it is about the thread that starts a child, and threads end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if change != nil {
		change(cmd.SysProcAttr)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		_, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("start a container: %v", err)
	}
	c := &Container{PID: cmd.Process.Pid, t: t, cmd: cmd}
	t.Cleanup(c.Stop)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the container did not come up: %v: %s", err, errs.String())
	}
	return c
}

// Stop kills the container and waits for it; it may be called twice.
func (c *Container) Stop() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

// Path is where the host sees a path of the container's. Only for paths whose
// links the test knows.
func (c *Container) Path(path string) string {
	return filepath.Join("/proc", strconv.Itoa(c.PID), "root", path)
}

// Command prepares a program inside the container's namespaces.
func (c *Container) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(c.PID), "-m", "-p", "--", name}, args...)...)
}

// Mkdir makes a directory and its parents in the container.
func (c *Container) Mkdir(path string) {
	c.t.Helper()
	if err := os.MkdirAll(c.Path(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
}

// Symlink makes a symbolic link in the container.
func (c *Container) Symlink(to, at string) {
	c.t.Helper()
	if err := os.Symlink(to, c.Path(at)); err != nil {
		c.t.Fatal(err)
	}
}

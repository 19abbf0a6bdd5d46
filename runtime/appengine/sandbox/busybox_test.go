package sandbox_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// A userland that we did not write: busybox's init runs an inittab on the
// console, scripts run, and what is missing for a script is named.
func TestBusybox(t *testing.T) {
	testreq.Root(t)
	busybox := testreq.Tool(t, "busybox")
	b := open(t)
	file := func(text string) *rootfs.Node {
		return &rootfs.Node{Kind: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(text)}
	}
	nodes := map[string]*rootfs.Node{
		"bin/busybox": {Kind: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(must(os.ReadFile(busybox)))},
		"bin/sh":      {Kind: rootfs.Symlink, Target: "busybox"},
		"sbin/init":   {Kind: rootfs.Symlink, Target: "../bin/busybox"},
		"etc/inittab": file("::sysinit:/bin/sh -c 'echo init is $(busybox cat /proc/1/comm), $(busybox tty)'\n::once:/run.sh\n"),
		"run.sh":      file("#!/bin/sh\necho args: \"$@\"\nbusybox mount | busybox grep -c ' /dev/pts '\nkill -USR2 1\n"),
		"bad.sh":      file("#!/bin/nothing -x\n"),
		"text":        file("no program\n"),
		"plain":       {Kind: rootfs.File, Mode: 0o644, Content: rootfs.Bytes("x")},
	}
	out, _ := exec.Command("ldd", busybox).Output() // fails for a static one
	for _, lib := range regexp.MustCompile(`/\S+`).FindAllString(string(out), -1) {
		nodes[lib] = file(string(must(os.ReadFile(lib))))
	}
	img, err := writeImage(filepath.Join(b.dir, "busybox.squashfs"), nodes)
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Mount(t.Context(), "app", []sandbox.Volume{{Name: "root.squashfs", Image: img}, {Name: "lxc-overlay", Tmpfs: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Unmount(context.Background())
	spec := func(cmd string) sandbox.Spec {
		return sandbox.Spec{Name: "app", Config: conf(t, cmd, "lxc.environment = PATH=/bin:/sbin", "lxc.environment = TERM=linux"), Volumes: m.Volumes()}
	}
	if out, exit := b.run(spec(`/run.sh "a b" c`)); out != "args: a b c\n1\n" || exit.Code != 0 {
		t.Errorf("script: got %q %v", out, exit)
	}
	if out, _ := b.run(spec(`sh -c 'test -w /dev/shm && echo $container'`)); out != "pv-unknown\n" {
		t.Errorf("shell: got %q", out)
	}
	// USR2 makes busybox's init power off.
	if out, exit := b.run(spec("/sbin/init")); !strings.Contains(out, "init is init, /dev/") || !strings.Contains(out, "args:\n") || exit.Signal != syscall.SIGINT {
		t.Errorf("init: got %q %v", out, exit)
	}
	for cmd, want := range map[string]string{
		"/bad.sh":  "start /bad.sh: /bad.sh needs /bin/nothing, which the image does not have",
		"/text":    `start /text: it is no program for this machine, and no script that starts with "#!"`,
		"/plain":   "start /plain: its mode 0644 has no x",
		"/etc/x/y": "start /etc/x/y: no such file or directory",
	} {
		if _, err := b.Start(t.Context(), spec(cmd)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", cmd, err, want)
		}
	}
}

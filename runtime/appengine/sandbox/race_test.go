package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// A Host that is closed while containers start ends the starts, and what has
// started.
func TestCloseWhileStarting(t *testing.T) {
	b := open(t)
	var wg sync.WaitGroup
	begun := make(chan struct{}, 8)
	for i := range 8 {
		volumes := b.volumes(fmt.Sprintf("c%d", i)) // no two overlays may share a directory for changes
		wg.Go(func() {
			for {
				c, err := b.Start(context.Background(), sandbox.Spec{Name: fmt.Sprintf("c%d", i), Config: conf(t, "/prog stubborn"), Volumes: volumes,
					Prestart: func(int) error { begun <- struct{}{}; return nil }})
				if err != nil {
					if !errors.Is(err, sandbox.ErrClosed) {
						t.Error(err)
					}
					return
				}
				c.Kill(context.Background())
			}
		})
	}
	for range 20 {
		<-begun
	}
	go func() {
		for range begun {
		}
	}()
	if err := b.Host.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	close(begun)
}

// While the child is still ours, /proc/PID/exe is not the runtime's file, and
// cannot be written to.
func TestProgramIsSealed(t *testing.T) {
	b := open(t)
	s := sandbox.Spec{Name: "app", Config: conf(t, "/prog exit:0"), Volumes: b.volumes("app")}
	s.Prestart = func(pid int) error {
		exe := fmt.Sprintf("/proc/%d/exe", pid)
		if to, err := os.Readlink(exe); err != nil || !strings.HasPrefix(to, "/memfd:") {
			t.Errorf("it runs %s %v", to, err)
		}
		f, err := os.OpenFile(exe, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write([]byte("x"))
			f.Close()
		}
		if err == nil {
			t.Error("it can be written to")
		}
		return nil
	}
	if _, exit := b.run(s); exit.Code != 0 {
		t.Errorf("got %v", exit)
	}
}

// With PV_SECURITY_FULLDEV the host's /dev is in the container, and stays as it
// is.
func TestFullDev(t *testing.T) {
	b := open(t)
	names := func() (out []string) {
		entries, _ := os.ReadDir("/dev")
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "loop") && !strings.HasPrefix(e.Name(), "fd") {
				out = append(out, e.Name())
			}
		}
		return out
	}
	before := fmt.Sprint(names())
	out, _ := b.run(sandbox.Spec{Config: conf(t, "/prog exists:/dev/kmsg tty stat:/dev/pts/0 exists:/dev/pts/1",
		"lxc.mount.entry = /dev/ dev none bind,rw,create=dir 0 0", "lxc.mount.entry = /proc/ host/proc none bind,rw,create=dir 0 0")})
	if want := "kmsg true\ntty false\n/dev/pts/0 20620 0:5 136:0\n1 false\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if after := fmt.Sprint(names()); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
}

// A program that forgets Child would start itself for ever.
func TestForgottenChild(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = "pv-sandbox-init"
	cmd.Env = append(os.Environ(), noChild+"=1")
	out, err := cmd.Output()
	if want := "its main must begin with sandbox.Child()"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: got %q, want %s", err, out, want)
	}
}

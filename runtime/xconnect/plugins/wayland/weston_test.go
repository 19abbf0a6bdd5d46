package wayland_test

import (
	"bufio"
	"errors"
	"image/color"
	"image/png"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/wayland"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

// westonLink has weston in the provider, drawing to memory. --debug lets any
// client take a screenshot.
func westonLink(t testing.TB) *xconnecttest.Pair {
	t.Helper()
	weston := testreq.Tool(t, "weston")
	p := xconnecttest.New(t, wayland.Plugin{Loops: xconnecttest.Loops(t)})
	for _, c := range []*testns.Container{p.Consumer, p.Provider} {
		for name, minor := range map[string]uint32{"null": 3, "urandom": 9} {
			at := c.Path("/dev/" + name)
			if err := errors.Join(unix.Mknod(at, unix.S_IFCHR, int(unix.Mkdev(1, minor))), os.Chmod(at, 0o666)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := p.Provider.Command(weston, "--backend=headless-backend.so", "--use-pixman", "--width=400", "--height=300",
		"--socket="+filepath.Base(p.Link.Socket), "--idle-time=0", "--no-config", "--debug")
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+filepath.Dir(p.Link.Socket))
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Provider.Stop() // nsenter's child outlives it
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("unix", p.Provider.Path(p.Link.Socket)); err == nil {
			c.Close()
			p.Start()
			return p
		}
		if time.Now().After(end) {
			t.Fatal("weston does not listen")
		}
	}
}

// client is a Wayland program of Debian's in the container.
func client(t testing.TB, in *testns.Container, socket, tool string) *exec.Cmd {
	t.Helper()
	cmd := in.Command("sh", "-c", `cd /tmp && exec timeout 30 "$1"`, "sh", testreq.Tool(t, tool))
	cmd.Env = append(os.Environ(), "WAYLAND_DISPLAY="+socket, "XDG_RUNTIME_DIR=/tmp")
	return cmd
}

func TestWaylandInfo(t *testing.T) {
	p := westonLink(t)
	globals := func(in *testns.Container, socket string) (all []string) {
		out, err := client(t, in, socket, "wayland-info").CombinedOutput()
		if err != nil {
			t.Fatalf("wayland-info: %v\n%s", err, out)
		}
		for l := range strings.Lines(string(out)) {
			if strings.HasPrefix(l, "interface:") {
				all = append(all, l)
			}
		}
		return all
	}
	want, got := globals(p.Provider, p.Link.Socket), globals(p.Consumer, p.Link.Target)
	if len(want) < 5 || !slices.Equal(got, want) {
		t.Errorf("through the link:\n%q\ndirect:\n%q", got, want)
	}
}

// Frames arrive: a client that draws into shared memory goes on drawing, which
// it only does when the compositor shows a frame and gives its buffer back, and
// its picture is on the screen.
func TestFramesArrive(t *testing.T) {
	p := westonLink(t)
	awaitShell(t, p)
	before := screenshot(t, p)
	cmd := client(t, p.Consumer, p.Link.Target, "weston-simple-shm")
	cmd.Env = append(cmd.Env, "WAYLAND_DEBUG=1")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pools, released := 0, 0
	lines := bufio.NewScanner(log)
	for released < 30 && lines.Scan() {
		if strings.Contains(lines.Text(), ".create_pool(") {
			pools++ // each carries a descriptor
		}
		if strings.Contains(lines.Text(), ".release()") {
			released++
		}
	}
	if released < 30 || pools == 0 {
		t.Fatalf("%d buffers came back, of %d pools", released, pools)
	}
	read := make(chan struct{})
	go func() { // the client must not stop for want of a reader
		defer close(read)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		p.Consumer.Stop()
		<-read
		cmd.Wait()
	})
	after := screenshot(t, p)
	fresh := 0
	for c := range after {
		if _, old := before[c]; !old {
			fresh++
		}
	}
	if fresh < 50 { // simple-shm draws a gradient
		t.Errorf("the screen has %d colours that it had not before", fresh)
	}
	if c := p.WaitFor(xconnect.Up).Counters; c.Errors != 0 || c.ToProvider == 0 || c.ToConsumer == 0 {
		t.Errorf("counters %+v", c)
	}
}

// awaitShell waits for weston's own desktop, without which nothing is shown.
func awaitShell(t testing.TB, p *xconnecttest.Pair) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); len(screenshot(t, p)) < 2; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("weston shows no desktop")
		}
	}
}

// screenshot returns the colours on the screen. It goes through the link too.
func screenshot(t testing.TB, p *xconnecttest.Pair) map[color.Color]int {
	t.Helper()
	if out, err := client(t, p.Consumer, p.Link.Target, "weston-screenshooter").CombinedOutput(); err != nil {
		t.Fatalf("weston-screenshooter: %v\n%s", err, out)
	}
	names, err := filepath.Glob(p.Consumer.Path("/tmp/*.png"))
	if err != nil || len(names) != 1 {
		t.Fatalf("screenshots: %q, %v", names, err)
	}
	defer os.Remove(names[0])
	f, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	colours := map[color.Color]int{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			colours[img.At(x, y)]++
		}
	}
	return colours
}

package wayland_test

import (
	"bufio"
	"context"
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

	"github.com/pvkit/pvkit/internal/testreq"
)

// startWeston starts a compositor that draws to memory. --debug lets any
// client take a screenshot.
func startWeston(t testing.TB) (dir string) {
	t.Helper()
	dir = tempDir(t)
	cmd := exec.Command(testreq.Tool(t, "weston"), "--backend=headless-backend.so", "--use-pixman",
		"--width=400", "--height=300", "--socket=display", "--idle-time=0", "--no-config", "--debug")
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("unix", filepath.Join(dir, "display")); err == nil {
			c.Close()
			return dir
		}
		if time.Now().After(end) {
			t.Fatal("weston does not listen")
		}
	}
}

// client is a Wayland program on the socket at path.
func client(t testing.TB, ctx context.Context, path, tool string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, testreq.Tool(t, tool))
	cmd.Dir = tempDir(t)
	cmd.Env = append(os.Environ(), "WAYLAND_DISPLAY="+path, "XDG_RUNTIME_DIR="+cmd.Dir)
	return cmd
}

func TestWaylandInfo(t *testing.T) {
	dir := startWeston(t)
	path, _ := link(t, dir, "/display")
	globals := func(path string) (all []string) {
		out, err := client(t, t.Context(), path, "wayland-info").CombinedOutput()
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
	want, got := globals(filepath.Join(dir, "display")), globals(path)
	if len(want) < 5 || !slices.Equal(got, want) {
		t.Errorf("through the link:\n%q\ndirect:\n%q", got, want)
	}
}

// Frames arrive: a client that draws into shared memory goes on drawing, which
// it only does when the compositor shows a frame and gives its buffer back, and
// its picture is on the screen.
func TestFramesArrive(t *testing.T) {
	dir := startWeston(t)
	path, stats := link(t, dir, "/display")
	awaitShell(t, path)
	before := screenshot(t, path)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := client(t, ctx, path, "weston-simple-shm")
	cmd.Env = append(cmd.Env, "WAYLAND_DEBUG=1")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		cmd.Wait()
	}()
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
		t.Fatalf("%d buffers came back, of %d pools; %v", released, pools, ctx.Err())
	}
	go func() { // the client must not stop for want of a reader
		for lines.Scan() {
		}
	}()
	after := screenshot(t, path)
	fresh := 0
	for c := range after {
		if _, old := before[c]; !old {
			fresh++
		}
	}
	if fresh < 50 { // simple-shm draws a gradient
		t.Errorf("the screen has %d colours that it had not before", fresh)
	}
	if c := stats.Read(); c.Errors != 0 || c.ToProvider == 0 || c.ToConsumer == 0 {
		t.Errorf("counters %+v", c)
	}
}

// awaitShell waits for weston's own desktop, without which nothing is shown.
func awaitShell(t testing.TB, path string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); len(screenshot(t, path)) < 2; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("weston shows no desktop")
		}
	}
}

// screenshot returns the colours on the screen. It goes through the link too.
func screenshot(t testing.TB, path string) map[color.Color]int {
	t.Helper()
	cmd := client(t, t.Context(), path, "weston-screenshooter")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("weston-screenshooter: %v\n%s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(cmd.Dir, "*.png"))
	if err != nil || len(names) != 1 {
		t.Fatalf("screenshots: %q, %v", names, err)
	}
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

package squashfs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/rootfs/rootfstest"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// BenchmarkWrite writes the same directory with Write and with mksquashfs, one
// after the other, each in a process of its own, and reports both and their
// ratios. PVKIT_BENCH_TREE names the directory; without it there is a made-up
// one, whose sizes say little.
//
//	PVKIT_BENCH_TREE=/tmp/debian go test -run '^$' -bench Write/ -benchtime 1x ./pvrexport/squashfs
func BenchmarkWrite(b *testing.B) {
	tool := testreq.Tool(b, "mksquashfs")
	dir := os.Getenv("PVKIT_BENCH_TREE")
	if dir == "" {
		dir = madeUpDir(b)
	}
	for _, c := range []struct {
		preset string
		peer   []string
	}{
		{"balanced", []string{"-comp", "xz"}}, // against what pvr calls
		{"fast", []string{"-comp", "xz"}},
		{"gzip", []string{"-comp", "gzip"}},
		{"zstd", []string{"-comp", "zstd"}},
		{"xz", []string{"-comp", "xz"}},
		{"lz4hc", []string{"-comp", "lz4", "-Xhc"}},
		{"lz4", []string{"-comp", "lz4"}},
		{"none", []string{"-noI", "-noD", "-noF", "-noX"}},
	} {
		b.Run(c.preset, func(b *testing.B) {
			var ours, theirs cost
			for b.Loop() {
				out := filepath.Join(b.TempDir(), "image")
				ours.add(b, out, writeInChild(dir, out, c.preset))
				out += ".peer"
				args := append([]string{dir, out, "-noappend", "-quiet", "-no-progress"}, c.peer...)
				theirs.add(b, out, exec.Command(tool, args...))
			}
			n := float64(b.N)
			b.ReportMetric(ours.cpu/n, "cpu-s")
			b.ReportMetric(ours.size/n, "bytes")
			b.ReportMetric(ours.rss/(1<<20), "rss-MiB")
			b.ReportMetric(ours.size/theirs.size, "size-ratio")
			b.ReportMetric(ours.cpu/theirs.cpu, "cpu-ratio")
			b.ReportMetric(ours.rss/theirs.rss, "rss-ratio")
		})
	}
}

// cost is what runs of a program took.
type cost struct{ size, cpu, rss float64 }

func (c *cost) add(b *testing.B, image string, cmd *exec.Cmd) {
	b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	st, err := os.Stat(image)
	if err != nil {
		b.Fatal(err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	c.size += float64(st.Size())
	c.cpu += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	c.rss = max(c.rss, float64(usage.Maxrss)*1024)
}

// The names by which the test binary knows itself as writeInChild's child.
const childDir, childImage, childPreset = "PVKIT_WRITE_DIR", "PVKIT_WRITE_IMAGE", "PVKIT_WRITE_PRESET"

// writeInChild is this test binary, set to run TestWriteInChild alone.
func writeInChild(dir, image, preset string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestWriteInChild$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childImage+"="+image, childPreset+"="+preset)
	return cmd
}

// TestWriteInChild is the work of BenchmarkWrite's child. Without its
// environment it starts such a child itself, so that the benchmark's way of
// measuring is tested too.
func TestWriteInChild(t *testing.T) {
	dir, image, preset := os.Getenv(childDir), os.Getenv(childImage), os.Getenv(childPreset)
	if dir == "" {
		src := t.TempDir()
		if err := os.WriteFile(filepath.Join(src, "file"), words(1, 1000), 0o644); err != nil {
			t.Fatal(err)
		}
		image = filepath.Join(t.TempDir(), "image")
		if out, err := writeInChild(src, image, "fast").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if st, err := os.Stat(image); err != nil || st.Size() == 0 {
			t.Fatalf("the child made no image: %v", err)
		}
		return
	}
	o, ok := squashfs.Preset(preset)
	if !ok {
		t.Fatalf("no preset %q", preset)
	}
	tree, err := rootfs.FromDir(context.Background(), dir, rootfs.DirOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := squashfs.Write(context.Background(), f, tree, o); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// madeUpDir has 1,000 small files and a few large ones.
func madeUpDir(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	for i := range 1010 {
		d := rootfstest.Data{Seed: uint64(i % 900), Length: int64(100 + i*i%20_000), Flavour: rootfstest.Text}
		if i >= 1000 {
			d.Length, d.Flavour = 2<<20, rootfstest.Mixed
		}
		content := make([]byte, d.Length)
		if _, err := d.ReadAt(content, 0); err != nil {
			b.Fatal(err)
		}
		name := filepath.Join(dir, strconv.Itoa(i%20), fmt.Sprintf("f%d.txt", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

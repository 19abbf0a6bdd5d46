// Package bench compares whole programs: pvkit with pvr, from a root
// filesystem to an export, in one run on one machine. The figures to quote are
// the ratios.
//
//	PVKIT_PVR=…/pvr PVKIT_BENCH_TREE=…/rootfs go test ./pvrexport/bench -bench Pipeline -benchtime 3x
//
// PVKIT_PVR names a pvr built from github.com/pantacor/pvr; it needs root and
// mksquashfs. PVKIT_BENCH_TREE is a list of directories, separated by colons.
package bench_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
)

// usage is what a sequence of commands took.
type usage struct {
	wall, cpu time.Duration
	rss       int64 // bytes, the largest process
	size      int64 // bytes of the export
}

func (u *usage) add(o usage) {
	u.wall += o.wall
	u.cpu += o.cpu
	u.rss = max(u.rss, o.rss)
	u.size = o.size
}

// measure runs a command in dir and adds what it took.
func (u *usage) measure(b *testing.B, dir, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(dir, ".home"), "PVR_DISABLE_SELF_UPGRADE=1")
	start := time.Now()
	out, err := cmd.CombinedOutput()
	u.wall += time.Since(start)
	if err != nil {
		b.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	u.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	u.rss = max(u.rss, ru.Maxrss<<10)
}

func size(b *testing.B, name string) int64 {
	b.Helper()
	st, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	return st.Size()
}

// pvrExport is the sequence of a build recipe, without the signature.
func pvrExport(b *testing.B, pvr, tree string) usage {
	dir := b.TempDir()
	var u usage
	for _, args := range [][]string{
		{"init"},
		{"app", "add", "--type", "rootfs", "--from", tree, "--group", "root", "app"},
		{"add", "."},
		{"commit", "-m", "app"},
		{"export", "app.tgz"},
	} {
		u.measure(b, dir, pvr, args...)
	}
	u.size = size(b, filepath.Join(dir, "app.tgz"))
	return u
}

func pvkitExport(b *testing.B, pvkit, tree string, args ...string) usage {
	dir := b.TempDir()
	out := filepath.Join(dir, "app.pvrexport.tgz")
	var u usage
	u.measure(b, dir, pvkit, append([]string{
		"add", "--quiet", "--from", tree, "--name", "app", "--group", "root", "-o", out,
	}, args...)...)
	u.size = size(b, out)
	return u
}

func BenchmarkPipeline(b *testing.B) {
	trees := testreq.Env(b, "PVKIT_BENCH_TREE", "root filesystems to package, separated by colons")
	pvr := testreq.Env(b, "PVKIT_PVR", "a pvr built from github.com/pantacor/pvr")
	testreq.Root(b)
	testreq.Tool(b, "mksquashfs")
	pvkit := filepath.Join(b.TempDir(), "pvkit")
	build := exec.Command("go", "build", "-trimpath", "-o", pvkit, "../../cmd/pvkit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build pvkit: %v\n%s", err, out)
	}
	for _, tree := range filepath.SplitList(trees) {
		b.Run(filepath.Base(tree), func(b *testing.B) {
			var theirs, ours usage
			n := 0
			for b.Loop() { // the two in turn, so that a drift of the machine hits both
				theirs.add(pvrExport(b, pvr, tree))
				ours.add(pvkitExport(b, pvkit, tree))
				n++
			}
			b.ReportMetric(float64(theirs.wall)/float64(ours.wall), "times-faster")
			b.ReportMetric(float64(ours.cpu)/float64(theirs.cpu), "cpu-ratio")
			b.ReportMetric(float64(ours.rss)/float64(theirs.rss), "memory-ratio")
			b.ReportMetric(float64(ours.size)/float64(theirs.size), "size-ratio")
			b.ReportMetric(float64(ours.rss)/(1<<20), "MiB-peak")
			b.ReportMetric(0, "ns/op")
		})
	}
}

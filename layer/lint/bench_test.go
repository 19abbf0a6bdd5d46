package lint_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/layer/lint"
)

// lintTree lints a real tree, read beside the project.
func lintTree(t testing.TB, o lint.OpenOptions) *lint.Result {
	t.Helper()
	p, err := lint.Open(context.Background(), os.DirFS("/"), o)
	if err != nil {
		t.Fatal(err)
	}
	res, err := lint.Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func tree(t testing.TB, name, what string) string {
	t.Helper()
	dir, err := filepath.Abs(testreq.Env(t, name, what))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// BenchmarkMetaPantavisor lints pantavisor/meta-pantavisor as a whole: its
// layers, kas files and Kconfig. The aim is 300 ms.
func BenchmarkMetaPantavisor(b *testing.B) {
	benchTree(b, lint.OpenOptions{Root: tree(b, "PVKIT_META_PANTAVISOR", "a checkout of pantavisor/meta-pantavisor")})
}

// BenchmarkMetaPantavisorOnPoky does the same with oe-core below.
func BenchmarkMetaPantavisorOnPoky(b *testing.B) {
	poky := tree(b, "PVKIT_POKY", "a checkout of yoctoproject/poky, branch scarthgap")
	benchTree(b, lint.OpenOptions{
		Root:  tree(b, "PVKIT_META_PANTAVISOR", "a checkout of pantavisor/meta-pantavisor"),
		Below: []string{poky + "/meta", poky + "/meta-poky"},
	})
}

// BenchmarkPokyMeta lints oe-core's layer. The aim is 3 s.
func BenchmarkPokyMeta(b *testing.B) {
	benchTree(b, lint.OpenOptions{Root: tree(b, "PVKIT_POKY", "a checkout of yoctoproject/poky, branch scarthgap") + "/meta"})
}

func benchTree(b *testing.B, o lint.OpenOptions) {
	var res *lint.Result
	for b.Loop() {
		res = lintTree(b, o)
	}
	b.ReportMetric(float64(res.Files), "files")
	b.ReportMetric(float64(res.Configs), "configs")
	b.ReportMetric(float64(res.Recipes), "recipes")
	runtime.GC()
	b.ReportMetric(peakMB(b), "peak-MB")
}

// peakMB is the most memory that the process ever had.
func peakMB(b *testing.B) float64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb := 0.0
			for _, r := range strings.TrimSpace(rest) {
				if r < '0' || r > '9' {
					break
				}
				kb = kb*10 + float64(r-'0')
			}
			return kb / 1024
		}
	}
	b.Log("no VmHWM in /proc/self/status")
	return 0
}

// TestRealTrees looks for what no tree should have: findings by rules that
// speak about files that BitBake cannot read, in trees that it reads.
func TestRealTrees(t *testing.T) {
	for _, tt := range []struct{ env, what, dir string }{
		{"PVKIT_META_PANTAVISOR", "a checkout of pantavisor/meta-pantavisor", ""},
		{"PVKIT_POKY", "a checkout of yoctoproject/poky, branch scarthgap", "/meta"},
		{"PVKIT_META_OE", "a checkout of openembedded/meta-openembedded, branch scarthgap", ""},
	} {
		t.Run(tt.env, func(t *testing.T) {
			res := lintTree(t, lint.OpenOptions{Root: tree(t, tt.env, tt.what) + tt.dir})
			byRule := map[string]int{}
			for _, d := range res.Findings {
				byRule[d.Rule]++
				switch d.Rule {
				case "bitbake-error", "missing-file", "yaml-error":
					t.Errorf("%s", d)
				}
			}
			t.Logf("%d files, %d configurations, %d recipes: %v", res.Files, res.Configs, res.Recipes, byRule)
		})
	}
}

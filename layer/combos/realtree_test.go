package combos_test

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
	"github.com/pvkit/pvkit/layer/combos"
)

// realTree evaluates everything that the menu of meta-pantavisor reaches.
func realTree(t testing.TB) *combos.Report {
	t.Helper()
	root := testreq.Env(t, "PVKIT_META_PANTAVISOR", "a checkout of github.com/pantavisor/meta-pantavisor")
	poky := testreq.Env(t, "PVKIT_POKY", "a checkout of poky (with bitbake, meta and meta-poky)")
	tree, err := kconfig.Load(os.DirFS(root), "Kconfig", kconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	machine := os.DirFS("/")
	rep, err := combos.Run(t.Context(), combos.Options{
		Tree: tree, Loader: bitbake.NewLoader(machine), Workers: runtime.GOMAXPROCS(0),
		Kas: kas.Options{Dialect: kas.Pantacor, FS: machine, Dir: root, Repos: map[string]string{"poky": poky}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestMetaPantavisor says what is known of upstream at any time: all
// combinations go through kas, and the features are known.
func TestMetaPantavisor(t *testing.T) {
	rep := realTree(t)
	if len(rep.Combos) < 100 {
		t.Errorf("%d combinations", len(rep.Combos))
	}
	for _, c := range rep.Combos {
		if c.Refused != "" || !c.Features.Known || !slices.Contains(c.Features.Words, "runc") || c.Machine == "" || len(c.Includes) < 3 {
			t.Fatalf("%+v", c)
		}
	}
	for _, d := range rep.Findings {
		if !strings.HasPrefix(d.Pos.File, "kas/") && d.Pos.File != "Kconfig" {
			t.Errorf("the place of %s", d)
		}
	}
	t.Logf("%d combinations, %d findings", len(rep.Combos), len(rep.Findings))
}

func BenchmarkMetaPantavisor(b *testing.B) {
	for b.Loop() {
		realTree(b)
	}
}

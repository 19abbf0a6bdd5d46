package combos_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
	"github.com/pvkit/pvkit/layer/combos"
)

// own evaluates the project's own menu.
func own(t *testing.T, d kas.Dialect, repos map[string]string) *combos.Report {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := kconfig.Load(os.DirFS(root), "kconfig/Kconfig", kconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := kconfig.Check(tree, kconfig.Project{FS: os.DirFS(root), Stock: d == kas.Stock})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("kconfig check: %s", f)
	}
	machine := os.DirFS("/")
	rep, err := combos.Run(t.Context(), combos.Options{
		Tree: tree, Loader: bitbake.NewLoader(machine), Workers: 2,
		Kas: kas.Options{Dialect: d, FS: machine, Dir: root, Repos: repos},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestOwnMenu holds the project's own Kconfig and kas files against every rule
// that other projects are held against.
func TestOwnMenu(t *testing.T) {
	for _, d := range []kas.Dialect{kas.Stock, kas.Pantacor} {
		rep := own(t, d, nil)
		for _, f := range rep.Findings {
			t.Errorf("%s: %s", d, f)
		}
		machines := map[string]bool{}
		for _, c := range rep.Combos {
			machines[c.Machine] = true
			if c.Refused != "" {
				t.Errorf("%s: %v is refused: %s", d, c.Choices, c.Refused)
			}
		}
		for _, m := range []string{"docker-x86_64", "raspberrypi-armv8", "bananapi-m2-berry", "qemux86-64"} {
			if !machines[m] {
				t.Errorf("%s: nothing leads to the machine %s", d, m)
			}
		}
	}
}

// TestOwnMenuOnMetaPantavisor evaluates it on the layers that it is for: no
// switch may be without effect, and none may add a feature twice.
func TestOwnMenuOnMetaPantavisor(t *testing.T) {
	meta := testreq.Env(t, "PVKIT_META_PANTAVISOR", "a checkout of github.com/pantavisor/meta-pantavisor")
	poky := testreq.Env(t, "PVKIT_POKY", "a checkout of poky (with bitbake, meta and meta-poky)")
	rep := own(t, kas.Stock, map[string]string{"meta-pantavisor": meta, "poky": poky})
	for _, f := range rep.Findings {
		t.Error(f)
	}
	for _, c := range rep.Combos {
		if !c.Features.Known || !slices.Contains(c.Features.Words, "xconnect") {
			t.Errorf("%v: %+v", c.Choices, c.Features)
		}
		for i, w := range c.Features.Words {
			if slices.Contains(c.Features.Words[:i], w) {
				t.Errorf("%v: %s is in PANTAVISOR_FEATURES twice", c.Choices, w)
			}
		}
	}
}

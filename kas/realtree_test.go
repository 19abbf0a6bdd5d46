package kas_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kas"
)

type machine struct{ Name, Config string }

// realMachines reads the machines.json of a checkout of meta-pantavisor.
func realMachines(t testing.TB) (root string, out []machine) {
	root = testreq.Env(t, "PVKIT_META_PANTAVISOR", "a checkout of github.com/pantavisor/meta-pantavisor")
	src, err := os.ReadFile(filepath.Join(root, ".github/machines.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Machines []machine }
	if err := json.Unmarshal(src, &doc); err != nil {
		t.Fatal(err)
	}
	return root, doc.Machines
}

// TestMetaPantavisor resolves what upstream builds. Its release files are
// dumps of the same chains at some earlier time: their machine must agree.
func TestMetaPantavisor(t *testing.T) {
	root, machines := realMachines(t)
	r := kas.New(kas.Options{Dialect: kas.Pantacor, FS: os.DirFS("/"), Dir: root})
	if len(machines) < 10 {
		t.Fatalf("%d machines", len(machines))
	}
	for _, m := range machines {
		c, err := r.Resolve(t.Context(), m.Config)
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		conf, err := c.LocalConf()
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(conf, "MACHINE ??= \""+c.Machine()+"\"\n") || c.Machine() == "qemux86-64" {
			t.Errorf("%s: the machine is %s", m.Name, c.Machine())
		}
		if _, err := c.BBLayersConf(); err != nil {
			t.Error(err)
		}
		if _, err := c.Dump(kas.DumpOptions{}); err != nil {
			t.Error(err)
		}
		released, err := r.Resolve(t.Context(), "kas/build-configs/release/"+m.Name+"-scarthgap.yaml")
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if released.Machine() != c.Machine() || released.Distro() != c.Distro() {
			t.Errorf("%s: %s, %s; released %s, %s", m.Name, c.Machine(), c.Distro(), released.Machine(), released.Distro())
		}
	}
}

// TestReleaseFiles makes upstream's release files again, from the chains and
// the commits in them: the fork's `kas dump --resolve-refs` wrote them, so the
// bytes must be the same.
func TestReleaseFiles(t *testing.T) {
	root, machines := realMachines(t)
	r := kas.New(kas.Options{Dialect: kas.Pantacor, FS: os.DirFS("/"), Dir: root})
	same := 0
	for _, m := range machines {
		name := "kas/build-configs/release/" + m.Name + "-scarthgap.yaml"
		want, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		released, err := r.Resolve(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		commits := map[string]string{}
		for id, repo := range released.Root.Get("repos").All() {
			if commit := repo.Get("commit"); commit != nil {
				commits[id] = commit.Text
			}
		}
		c, err := r.Resolve(t.Context(), "kas/sourcedir.yaml:"+m.Config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Dump(kas.DumpOptions{Commits: commits})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case got == string(want):
			same++
		case strings.ContainsFunc(string(want), func(r rune) bool { return r > 0x7e }):
			t.Logf("%s was edited by hand: kas writes ASCII only", name)
		default:
			t.Errorf("%s comes out differently", name)
		}
	}
	if t.Logf("%d release files are the same", same); same < 10 {
		t.Errorf("only %d release files are the same", same)
	}
}

// BenchmarkMachines resolves all machines from nothing, with the files that
// kas would write.
func BenchmarkMachines(b *testing.B) {
	root, machines := realMachines(b)
	for b.Loop() {
		r := kas.New(kas.Options{Dialect: kas.Pantacor, FS: os.DirFS("/"), Dir: root})
		for _, m := range machines {
			c, err := r.Resolve(b.Context(), m.Config)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.LocalConf(); err != nil {
				b.Fatal(err)
			}
			if _, err := c.BBLayersConf(); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Dump(kas.DumpOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

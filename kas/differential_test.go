package kas_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kas"
)

// configTree writes a tree of configurations that include each other.
type configTree struct {
	*rand.Rand
	locks bool // write lock files, too
}

func (g configTree) name(i int) string {
	return fmt.Sprintf("%sf%d.%s", []string{"", "sub/"}[i%2], i, []string{"yaml", "yml", "json"}[i%3])
}

func (g configTree) file(i, n int) map[string]any {
	header := map[string]any{"version": 1 + g.IntN(11)}
	var inc []any
	for j := i + 1; j < n; j++ {
		if g.IntN(3) == 0 {
			name := g.name(j)
			if g.IntN(12) == 0 {
				name = strings.TrimPrefix(name, "sub/") // found beside the file, or nowhere
			}
			inc = append(inc, name)
		}
	}
	if inc != nil {
		header["includes"] = inc
	}
	f := map[string]any{"header": header}
	word := func() string { return []string{"a", "b", "c", "x y", "é", "", "1", "yes", "${X}\n"}[g.IntN(9)] }
	for _, key := range []string{"machine", "distro", "task"} {
		if g.IntN(3) == 0 {
			f[key] = word()
		}
	}
	if g.IntN(3) == 0 {
		f["target"] = []any{word(), []any{word(), word()}, []any{}}[g.IntN(3)]
	}
	for _, key := range []string{"env", "local_conf_header", "bblayers_conf_header"} {
		if g.IntN(2) == 0 {
			m := map[string]any{}
			for range g.IntN(5) {
				m[fmt.Sprintf("k%d", g.IntN(6))] = word()
			}
			f[key] = m
		}
	}
	if g.IntN(2) == 0 {
		repos := map[string]any{}
		for range g.IntN(4) {
			repos[fmt.Sprintf("r%d", g.IntN(4))] = []any{nil, map[string]any{}, map[string]any{"url": word(), "refspec": word()},
				map[string]any{"layers": map[string]any{word(): nil, "l": "disabled", "n": 0}}, map[string]any{"path": word()}}[g.IntN(5)]
		}
		f["repos"] = repos
	}
	switch g.IntN(80) {
	case 0:
		f["env"] = map[string]any{"X": 1}
	case 1:
		f["unknown"] = "x"
	case 2:
		header["version"] = "0.10"
	case 3:
		delete(header, "version")
	}
	return f
}

// write puts the tree under dir and returns a chain.
func (g configTree) write(t *testing.T, dir string) string {
	n := 2 + g.IntN(7)
	for i := range n {
		src, err := json.Marshal(g.file(i, n)) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, g.name(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, src, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if !g.locks || g.IntN(3) > 0 {
			continue
		}
		lock := strings.Replace(g.name(i), ".", ".lock.", 1)
		src := fmt.Sprintf(`{"header": {"version": 14}, "overrides": {"repos": {"r%d": {"commit": "c%d"}, "r%d": {"commit": "d%d"}}}}`, g.IntN(4), i, g.IntN(4), i)
		if err := os.WriteFile(filepath.Join(dir, lock), []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	chain := g.name(0)
	for g.IntN(2) == 0 {
		chain += ":" + g.name(g.IntN(n))
	}
	return chain
}

// oracle starts a Python that has kas and returns its version. PVKIT_KAS names
// a checkout of another kas than Debian's.
func oracle(t *testing.T) (ask func(dir, chain string, update bool) (js, refused string), version string) {
	t.Helper()
	script, err := filepath.Abs("testdata/merge.py")
	if err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	if dir := os.Getenv("PVKIT_KAS"); dir != "" {
		env = append(env, "PYTHONPATH="+dir)
	}
	var cmd *exec.Cmd
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		probe := exec.Command(p, "-c", "import kas.includehandler")
		probe.Env = env
		if probe.Run() == nil {
			cmd = exec.Command(p, script)
			break
		}
	}
	testreq.Feature(t, "kas", cmd != nil, "no python3 with kas (Debian: kas)")
	cmd.Env = env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewReader(out)
	read := func() (a struct{ Version, JSON, Error string }) {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	return func(dir, chain string, update bool) (string, string) {
		q, _ := json.Marshal(map[string]any{"dir": dir, "chain": chain, "update": update})
		if _, err := in.Write(append(q, '\n')); err != nil {
			t.Fatal(err)
		}
		a := read()
		return a.JSON, a.Error
	}, read().Version
}

// TestInstalledKas compares merging with a real kas on random trees: Debian's
// kas 3.1, whose rules for includes and merging are those of the fork, or the
// kas 5 that PVKIT_KAS names, with lock files.
func TestInstalledKas(t *testing.T) {
	ask, version := oracle(t)
	dialect := kas.Pantacor
	if strings.HasPrefix(version, "5.") {
		dialect = kas.Stock
	}
	compared, refused := 0, 0
	for seed := range uint64(300) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
			t.Fatal(err)
		}
		g := configTree{rand.New(rand.NewPCG(seed, 3)), dialect == kas.Stock}
		chain := g.write(t, dir)
		update := seed%3 == 0
		want, refuses := ask(dir, chain, update)
		c, err := kas.New(kas.Options{Dialect: dialect, FS: os.DirFS("/"), Dir: dir, NoLocks: update}).Resolve(t.Context(), chain)
		if refuses != "" {
			if refused++; err == nil {
				t.Errorf("seed %d: kas refuses %s with %q", seed, chain, refuses)
			}
			continue
		}
		if err != nil {
			t.Errorf("seed %d: %s: %v", seed, chain, err)
			continue
		}
		compared++
		got, err := c.Dump(kas.DumpOptions{Format: kas.JSON, Indent: 4})
		if err != nil {
			t.Fatal(err)
		}
		if got != want+"\n" {
			t.Fatalf("seed %d: %s differs\n--- ours\n%s\n--- kas\n%s", seed, chain, got, want)
		}
	}
	t.Logf("kas %s: %d trees compared, %d refused by both", version, compared, refused)
	if compared < 100 {
		t.Errorf("only %d trees were compared", compared)
	}
}

package kas_test

import (
	"bufio"
	"encoding/json"
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
type configTree struct{ *rand.Rand }

func (g configTree) name(i int) string {
	return fmt.Sprintf("%sf%d.%s", []string{"", "sub/"}[i%2], i, []string{"yaml", "yml", "json"}[i%3])
}

func (g configTree) file(i, n int) map[string]any {
	header := map[string]any{"version": 1 + g.IntN(11)}
	var inc []any
	for j := i + 1; j < n; j++ {
		if g.IntN(3) == 0 {
			name := g.name(j)
			if g.IntN(4) == 0 {
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
	switch g.IntN(25) {
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
	chain := g.name(0)
	for g.IntN(2) == 0 {
		chain += ":" + g.name(g.IntN(n))
	}
	return chain
}

// TestInstalledKas compares merging with the kas that Debian packages, whose
// rules for includes and merging are those of the fork.
func TestInstalledKas(t *testing.T) {
	testreq.Tool(t, "kas")
	python := "/usr/bin/python3"
	out, err := exec.Command(python, "-c", "import kas; print(kas.__version__)").Output()
	testreq.Feature(t, "kas-3.1", err == nil && strings.HasPrefix(string(out), "3."), "no kas 3 among the modules of "+python)
	script, err := filepath.Abs("testdata/kas31.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(answers)
	compared, refused := 0, 0
	for seed := range uint64(300) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
			t.Fatal(err)
		}
		chain := configTree{rand.New(rand.NewPCG(seed, 3))}.write(t, dir)
		q, _ := json.Marshal(map[string]string{"dir": dir, "chain": chain})
		if _, err := in.Write(append(q, '\n')); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var a struct{ JSON, Error string }
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		c, err := kas.New(kas.Options{Dialect: kas.Pantacor, FS: os.DirFS("/"), Dir: dir}).Resolve(t.Context(), chain)
		if a.Error != "" {
			refused++
			if err == nil {
				t.Errorf("seed %d: kas refuses %s with %q", seed, chain, a.Error)
			}
			continue
		}
		if err != nil {
			t.Errorf("seed %d: %s: %v", seed, chain, err)
			continue
		}
		compared++
		got, err := c.Dump(kas.DumpOptions{Format: kas.JSON})
		if err != nil {
			t.Fatal(err)
		}
		if got != a.JSON+"\n" {
			t.Fatalf("seed %d: %s differs\n--- ours\n%s\n--- kas\n%s", seed, chain, got, a.JSON)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d trees compared, %d refused by both", compared, refused)
	if compared < 100 {
		t.Errorf("only %d trees were compared", compared)
	}
}

package manifest_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

// lxc asks the real lxc what it reads out of a configuration.
type lxc struct{ tool, dir string }

func newLxc(t *testing.T) lxc {
	t.Helper()
	tool, dir := testreq.Tool(t, "lxc-info"), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	return lxc{tool, dir}
}

func (l lxc) get(t *testing.T, conf []byte, key string) (string, error) {
	t.Helper()
	// Loading a configuration opens its log file.
	conf = bytes.ReplaceAll(conf, []byte("/pv/logs/"), []byte(l.dir+"/"))
	if err := os.WriteFile(filepath.Join(l.dir, "app", "config"), conf, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(l.tool, "-P", l.dir, "-n", "app", "-c", key)
	cmd.Env = append(os.Environ(), "HOME="+l.dir, "XDG_RUNTIME_DIR="+l.dir) // its lock files
	out, err := cmd.CombinedOutput()
	text, ok := strings.CutPrefix(string(out), key+" = ")
	if err == nil && !ok {
		t.Fatalf("lxc-info -c %s printed %q", key, out)
	}
	return strings.TrimSuffix(text, "\n"), err
}

// TestLxcAcceptsTheConfiguration lets lxc load every configuration that the
// other tests know.
func TestLxcAcceptsTheConfiguration(t *testing.T) {
	l := newLxc(t)
	if _, err := l.get(t, []byte("lxc.nonsense = 1\n"), "lxc.tty.max"); err == nil {
		t.Fatal("lxc-info does not mind a bad configuration, so this test shows nothing")
	}
	seen := map[string]bool{}
	for _, p := range readCases(t, "testdata/pvr/template-full.json") {
		s := p.source(t)
		delete(s.Args, "PV_LXC_EXTRA_CONF") // made-up keys
		m, _, err := manifest.Render(s)
		if err != nil || m == nil || m.File(manifest.ConfFile) == nil || seen[string(m.File(manifest.ConfFile))] {
			continue
		}
		conf := m.File(manifest.ConfFile)
		seen[string(conf)] = true
		if got, err := l.get(t, conf, "lxc.rootfs.path"); err != nil || !strings.HasPrefix(strings.TrimPrefix(got, "overlayfs:"), "/volumes/") {
			t.Errorf("%s: lxc reads %q (%v) out of\n%s", p.name(t), got, err, conf)
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d configurations", len(seen))
	}
}

// TestLxcReadsTheCommand compares commands, and a variable with blanks at its
// ends, with what lxc makes of them.
func TestLxcReadsTheCommand(t *testing.T) {
	l := newLxc(t)
	r := rand.New(rand.NewPCG(1, 2))
	commands := [][]string{{"/a"}, {"/a b"}, {"/a b", "c d"}, {"'", `"`}, {"/a", ""}, {`"x"`}, {"/a", `d"e`, "it's"}}
	for len(commands) < 100 {
		words := make([]string, 1+r.IntN(4))
		for i := range words {
			for range r.IntN(5) {
				words[i] += string("ab '\"="[r.IntN(6)])
			}
		}
		commands = append(commands, words)
	}
	n := 0
	for _, words := range commands {
		m, found, err := manifest.Render(manifest.Source{Name: "app", Config: map[string]any{"Cmd": words, "Env": []any{"A= x "}}})
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			if !hasError(found, "Cmd") {
				t.Errorf("%q: %v", words, found)
			}
			continue
		}
		if words[0] == "" {
			continue // no command at all
		}
		n++
		line, err := l.get(t, m.File(manifest.ConfFile), "lxc.init.cmd")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := manifest.SplitCommand(line); err != nil || !slices.Equal(got, words) {
			t.Errorf("%q: lxc reads %q, that is %q, %v", words, line, got, err)
		}
	}
	if n < 60 {
		t.Errorf("only %d commands", n)
	}
	m, _ := render(t, manifest.Source{Name: "app", Config: map[string]any{"Env": []any{"A= x "}}})
	if got, err := l.get(t, m.File(manifest.ConfFile), "lxc.environment"); err != nil || strings.TrimSuffix(got, "\n") != "A= x " {
		t.Errorf("lxc.environment: lxc reads %q, %v", got, err)
	}
}

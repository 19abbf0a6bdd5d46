package kas_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/kas"
)

// TestSymbolicLinks follows links as Python's resolve does: those that stay in
// the repository are fine, others are refused by kas 5 and not by the fork.
func TestSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("p/.git/HEAD", "")
	write("out.yaml", head+"machine: out\n")
	write("p/sub/in.yaml", head+"machine: in\n")
	link("sub/in.yaml", "p/inside.yaml")
	link("sub", "p/dir")
	link("../out.yaml", "p/outside.yaml")
	link(filepath.Join(dir, "out.yaml"), "p/absolute.yaml")
	link("loop.yaml", "p/loop.yaml")
	for inc, want := range map[string]string{
		"inside.yaml": "", "dir/in.yaml": "", "dir/../inside.yaml": "",
		"outside.yaml": "outside of the repository", "absolute.yaml": "outside of the repository",
		"dir/../../out.yaml": "outside of the repository", "loop.yaml": "too many symbolic links",
	} {
		write("p/a.yaml", head+"  includes: ["+inc+"]\n")
		c, err := kas.New(kas.Options{FS: os.DirFS("/"), Dir: filepath.Join(dir, "p")}).Resolve(t.Context(), "a.yaml")
		switch {
		case want == "" && (err != nil || c.Machine() != "in"):
			t.Errorf("%s: %v", inc, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", inc, err, want)
		}
	}
	write("p/a.yaml", head+"  includes: [outside.yaml]\n")
	c, err := kas.New(kas.Options{Dialect: kas.Pantacor, FS: os.DirFS("/"), Dir: filepath.Join(dir, "p")}).Resolve(t.Context(), "a.yaml")
	if err != nil || c.Machine() != "out" {
		t.Errorf("the fork: %v", err)
	}
}

// TestSubmodule counts a submodule to the project around it, so that a chain
// over both is one repository.
func TestSubmodule(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		".git/HEAD": "", "a.yaml": head + "machine: a\n",
		"sub/.git": "gitdir: ../.git/modules/sub\n", "sub/b.yaml": head + "distro: b\n",
		"tree/.git": "gitdir: /elsewhere/.git/worktrees/tree\n", "tree/c.yaml": head,
	} {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := kas.New(kas.Options{FS: os.DirFS("/"), Dir: dir})
	if c, err := r.Resolve(t.Context(), "a.yaml:sub/b.yaml"); err != nil || c.Distro() != "b" {
		t.Error(err)
	}
	if _, err := r.Resolve(t.Context(), "a.yaml:tree/c.yaml"); err == nil {
		t.Error("a worktree is a repository of its own")
	}
}

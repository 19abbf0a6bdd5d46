package container_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/container"
)

func TestGoLayer(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	opts := container.Options{Go: container.GoTool{Path: goTool, Env: append(os.Environ(), "GOFLAGS=-mod=mod", "GOARM=5")}}
	module := func() string {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"go.mod":         "module example.org/hello\n\ngo 1.24\n",
			"main.go":        "package main\n\nimport _ \"example.org/hello/lib\"\n\nvar name = \"nobody\"\n\nfunc main() { println(name) }\n",
			"lib/lib.go":     "package lib\n",
			"container.yaml": "name: hello\nrootfs:\n  - go: .\n    at: /bin/hello\n    ldflags: -X main.name=you\n  - go: ./.\n    at: /bin/again\n    ldflags: -X main.name=you\n",
		} {
			name = filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	one, _ := build(t, module(), "amd64", opts)
	two, _ := build(t, module(), "amd64", opts)
	if !bytes.Equal(one, two) {
		t.Error("two checkouts give different bytes")
	}
	_, _, tree := opened(t, one, "hello")
	program := text(t, tree, "bin/hello")
	if program != text(t, tree, "bin/again") {
		t.Error("two layers with one program differ")
	}
	file := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(file, []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(file).CombinedOutput(); string(out) != "you\n" {
		t.Errorf("the program says %q, %v", out, err)
	}
}

// TestGoLayersShareNoEnvironment: builds for several architectures run at the
// same time with the environment of the options. A build that appended its
// GOARCH in place would hand it to the others.
func TestGoLayersShareNoEnvironment(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	env := slices.Grow(os.Environ(), 32)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":         "module example.org/hello\n\ngo 1.24\n",
		"main.go":        "package main\n\nfunc main() {}\n",
		"container.yaml": "name: hello\nrootfs:\n  - go: .\n    at: /bin/hello\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build(t, dir, "amd64", container.Options{Go: container.GoTool{Path: goTool, Env: env}})
	for i, v := range env[len(env):cap(env)] {
		if v != "" {
			t.Errorf("%d places behind the environment stands %q", i+1, v)
		}
	}
}

// TestExamplesAreReproducible builds the examples where they are and in a copy
// that somebody else made: another path, umask and time, no version control.
func TestExamplesAreReproducible(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	const top = "../.."
	there := t.TempDir()
	if err := os.CopyFS(filepath.Join(there, "examples"), os.DirFS(filepath.Join(top, "examples"))); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err := errors.Join(err, os.WriteFile(filepath.Join(there, "go.mod"), mod, 0o600)); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(there, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(name, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(top, "examples", "*", container.DefinitionFile))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	opts := container.Options{Go: container.GoTool{Path: goTool, Env: os.Environ()}}
	for i, file := range files {
		dir := filepath.Dir(file)
		archs := []container.Arch{"amd64"}
		if i == len(files)-1 {
			archs = append(archs, "armv7") // one is enough: a cold build cache costs
		}
		for _, arch := range archs {
			opts.Workers = 1
			one, _ := build(t, dir, arch, opts)
			opts.Workers = 3
			two, _ := build(t, filepath.Join(there, "examples", filepath.Base(dir)), arch, opts)
			if !bytes.Equal(one, two) {
				t.Errorf("%s for %s: the bundles differ: %s and %s", dir, arch, pvrexport.ObjectID(one), pvrexport.ObjectID(two))
			}
		}
	}
}

func TestGoLayerErrors(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.org/m\n", "lib/l.go": "package lib\n", "bad/b.go": "package main\n\nfunc main() { undefined() }\n"} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ pkg, tool, want string }{
		{"./lib", goTool, "not a program"},
		{"./bad", goTool, "undefined"},
		{"./none", goTool, "none"},
		{"./bad", "", container.ErrNoGo.Error()},
	} {
		def, found := container.Parse("container.yaml", dir, []byte("name: m\nrootfs:\n  - go: "+c.pkg+"\n"))
		if def == nil {
			t.Fatal(found)
		}
		err := buildError(t, def, container.Options{Go: container.GoTool{Path: c.tool, Env: os.Environ()}})
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "container.yaml:3:5: layer go "+c.pkg) {
			t.Errorf("%s: %v", c.pkg, err)
		}
	}
}

package examples_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/examples/internal/echo"
	"github.com/pvkit/pvkit/examples/internal/info"
	"github.com/pvkit/pvkit/pvrexport/container"
)

func definitions(t *testing.T) map[string]*container.Definition {
	t.Helper()
	files, err := filepath.Glob("*/container.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defs := map[string]*container.Definition{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		def, found := container.Parse(file, filepath.Dir(file), src)
		for _, f := range found {
			t.Error(f)
		}
		if def != nil {
			defs[filepath.Dir(file)] = def
		}
	}
	return defs
}

func TestEveryExampleLoadsWithoutAFinding(t *testing.T) {
	defs := definitions(t)
	programs, err := filepath.Glob("*/main.go")
	if err != nil || len(programs) < 4 || len(programs) != len(defs) {
		t.Fatalf("%d definitions for %d programs, %v", len(defs), len(programs), err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for dir, def := range defs {
		if def.Name != dir || def.Group != "app" || len(def.Entrypoint) != 1 {
			t.Errorf("%s: name %s, group %s, entrypoint %q", dir, def.Name, def.Group, def.Entrypoint)
		}
		program := ""
		for _, l := range def.Rootfs {
			if l.Kind == "go" {
				program = l.At
			}
		}
		if program != def.Entrypoint[0] {
			t.Errorf("%s starts %s, the program is at %s", dir, def.Entrypoint[0], program)
		}
		if !strings.Contains(string(readme), "| `"+dir+"` |") {
			t.Errorf("README.md does not list %s", dir)
		}
	}
}

// TestServicesFitThePrograms compares what the definitions promise with where
// the programs listen and look.
func TestServicesFitThePrograms(t *testing.T) {
	defs := definitions(t)
	exports, needs := map[string]container.Export{}, map[string]container.Requirement{}
	for _, def := range defs {
		for _, e := range def.Services.Exports {
			exports[e.Name] = e
		}
		for _, r := range def.Services.Required {
			needs[r.Name] = r
		}
	}
	for _, c := range []struct{ name, kind, socket, target string }{
		{"raw-unix", "unix", echo.ServerSocket, echo.ClientSocket},
		{"network-manager", "rest", info.ServerSocket, info.ClientSocket},
	} {
		if e := exports[c.name]; e.Type != c.kind || e.Socket != c.socket {
			t.Errorf("%s is offered as %+v", c.name, e)
		}
		if r := needs[c.name]; r.Target != c.target {
			t.Errorf("%s is required as %+v", c.name, r)
		}
	}
	if cmd := defs["pv-example-rest-server"].Cmd; len(cmd) != 1 || cmd[0] != info.ServerSocket {
		t.Errorf("pv-example-rest-server gets %q", cmd)
	}
}

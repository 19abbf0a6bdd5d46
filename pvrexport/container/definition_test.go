package container_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/internal/golden"
	"github.com/pvkit/pvkit/pvrexport/container"
)

func TestDefinitionErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/err/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			def, found := container.Parse("container.yaml", ".", src)
			if def != nil {
				t.Error("the definition was accepted")
			}
			var out strings.Builder
			for _, d := range found {
				fmt.Fprintln(&out, d)
			}
			golden.Check(t, strings.TrimSuffix(file, ".yaml")+".out", []byte(out.String()))
		})
	}
}

func TestReadmeIsTrue(t *testing.T) {
	const from, to = "<!-- keys: made from the table, do not edit -->\n", "<!-- end of keys -->\n"
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	start, end := strings.Index(readme, from), strings.Index(readme, to)
	if start < 0 || end < start {
		t.Fatal("README.md has no place for the keys")
	}
	golden.Check(t, "README.md", []byte(readme[:start]+from+string(container.Reference())+readme[end:]))
	golden.Check(t, "schema.json", container.Schema())

	examples := 0
	for i, part := range strings.Split(readme, "```yaml\n")[1:] {
		src, _, _ := strings.Cut(part, "```")
		if def, found := container.Parse(fmt.Sprintf("example %d", i+1), ".", []byte(src)); def == nil || len(found) > 0 {
			t.Errorf("example %d: %v", i+1, found)
		}
		examples++
	}
	if examples == 0 {
		t.Error("README.md has no examples")
	}
}

func TestParseArchs(t *testing.T) {
	for in, want := range map[string]string{
		"all": "[] <nil>", "arm64, amd64,arm64": "[arm64 amd64] <nil>",
		"arm46": `[] unknown architecture "arm46": want amd64, arm64, armv7, riscv64 or all; did you mean "arm64"?`,
	} {
		got, err := container.ParseArchs(in)
		if s := fmt.Sprint(got, err); strings.TrimPrefix(s, " ") != want {
			t.Errorf("%s: %s, want %s", in, s, want)
		}
	}
}

func TestTargets(t *testing.T) {
	few := &container.Definition{Architectures: []container.Arch{"arm64", "amd64"}}
	for _, c := range []struct {
		def   *container.Definition
		asked []container.Arch
		want  string
	}{
		{&container.Definition{}, nil, "[amd64 arm64 armv7]"},
		{&container.Definition{}, []container.Arch{"riscv64"}, "[riscv64]"},
		{few, nil, "[arm64 amd64]"},
		{few, []container.Arch{"amd64", "armv7"}, "[amd64]"},
		{few, []container.Arch{"armv7"}, "[]"},
	} {
		if got := fmt.Sprint(c.def.Targets(c.asked)); got != c.want {
			t.Errorf("%v of %v: %s, want %s", c.asked, c.def.Architectures, got, c.want)
		}
	}
}

func TestParseVolume(t *testing.T) {
	for in, want := range map[string]string{
		"/var:permanent":        "/var permanent ",
		"ovl:/var:revision":     "ovl:/var revision ",
		"/data:permanent@usb":   "/data permanent usb",
		"lxc-overlay:permanent": "lxc-overlay permanent ",
		"/var":                  "error",
		"ovl:/var":              "error",
		"var:permanent":         "error",
		"/var:forever":          "error",
		"/a:b:permanent":        "error",
		"ovl:lxc-overlay:boot":  "error",
		"/var:permanent@":       "error",
		"/var:permanent\n:boot": "error",
	} {
		v, err := container.ParseVolume(in)
		got := fmt.Sprintf("%s %s %s", v.Path, v.Persistence, v.Disk)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestMissingFileIsAnError(t *testing.T) {
	if _, _, err := container.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "container.yaml") {
		t.Error(err)
	}
}

// FuzzParse looks for definitions that panic, or that take long. What is
// accepted must have been checked by the template as well.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/err/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(fmt.Sprintf(zoo, "xz")))
	f.Fuzz(func(t *testing.T, src []byte) {
		def, found := container.Parse("container.yaml", ".", src)
		worst, any := diag.Worst(found)
		if failed := any && worst == diag.Error; failed != (def == nil) {
			t.Fatalf("definition %v with findings %v", def, found)
		}
		for _, d := range found {
			if d.Pos.File == "" || d.Message == "" {
				t.Errorf("a finding without a place: %+v", d)
			}
		}
	})
}

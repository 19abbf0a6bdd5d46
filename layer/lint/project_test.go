package lint_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/layer/lint"
)

func mapFS(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const plainLayer = "BBFILE_COLLECTIONS += \"x\"\n"

// TestNestedCheckouts uses the layers of repositories inside of the project,
// those that kas names where it names any, and looks at none of them.
func TestNestedCheckouts(t *testing.T) {
	files := map[string]string{
		"w/demo/conf/layer.conf":                         lint.ExampleLayer,
		"w/demo/layers/poky/.git/HEAD":                   "ref",
		"w/demo/layers/poky/meta/conf/layer.conf":        plainLayer,
		"w/demo/layers/poky/meta/conf/bitbake.conf":      "A = \"1\"\n",
		"w/demo/layers/poky/meta/recipes-a/a/a_1.bb":     "A:append += \"x\"\n",
		"w/demo/layers/poky/meta-test/conf/layer.conf":   plainLayer,
		"w/demo/layers/other/.git/HEAD":                  "ref",
		"w/demo/layers/other/conf/layer.conf":            plainLayer,
		"w/demo/build/conf/bblayers.conf":                "",
		"w/demo/build/conf/layer.conf":                   "never read: this is a build directory",
		"w/demo/recipes-b/b/files/config.inc":            "<?php not BitBake ?>",
		"w/demo/recipes-b/b/files/daemon.conf":           "key value",
		"w/demo/kas/base.json":                           `{"header": {"version": 16}, "local_conf_header": {"a": "B:append += \"x\""}}`,
		"w/demo/kas/settings.yaml":                       "header: none\n",
		"w/demo/docs/example.yaml":                       "a: [unfinished\n",
		"w/demo/.github/workflows/build.yaml":            "jobs: {}\n",
		"w/demo/scripts/empty/.gitkeep":                  "",
		"w/demo/kas/list.yaml":                           "- header\n",
		"w/demo/recipes-b/b/Kconfig":                     "mainmenu \"not of kas: $(shell,x)\"\n",
		"w/demo/layers/poky/meta/classes/base.bbclass":   "",
		"w/demo/layers/poky/meta/classes/pvbase.bbclass": "",
	}
	open := func() *lint.Project {
		p, err := lint.Open(context.Background(), mapFS(files), lint.OpenOptions{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open()
	if want := []string{"/w/demo/layers/poky/meta", "/w/demo/layers/other", "/w/demo/layers/poky/meta-test"}; !slices.Equal(p.Below, want) || !slices.Equal(p.Layers, []string{root}) {
		t.Errorf("layers %q below %q, want %q", p.Layers, p.Below, want)
	}
	files["w/demo/kas/app.yaml"] = "header:\n  version: 16\nrepos:\n  poky:\n    path: layers/poky\n    layers:\n      meta:\n"
	if p, want := open(), []string{"/w/demo/layers/poky/meta", "/w/demo/layers/other"}; !slices.Equal(p.Below, want) {
		t.Errorf("below %q, want %q", p.Below, want)
	}
	res, err := lint.Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(p, res.Findings); !strings.HasPrefix(got, "kas/base.json:1:") || strings.Count(got, "[") != 1 {
		t.Errorf("got\n%s", got)
	}
}

func TestFind(t *testing.T) {
	m := mapFS(map[string]string{
		"w/demo/conf/layer.conf":           lint.ExampleLayer,
		"w/demo/conf/distro/panta.conf":    "A = \"1\"\n",
		"w/demo/recipes-a/app/app_1.9.bb":  "A = \"old\"\n",
		"w/demo/recipes-a/app/app_1.10.bb": "A = \"new\"\n",
		"w/demo/recipes-a/app/app_%.bbappend": `A .= " low"
`,
		"w/high/conf/layer.conf": `BBFILES += "${LAYERDIR}/*.bbappend"
BBFILE_COLLECTIONS += "high"
BBFILE_PATTERN_high = "^${LAYERDIR}/"
BBFILE_PRIORITY_high = "9"
`,
		"w/high/app_1.%.bbappend":        "A .= \" high\"\n",
		"w/high/unused/app_%.bbappend":   "A .= \" never\"\n",
		"w/demo/recipes-a/lib/lib_1.bb":  "A = \"lib\"\n",
		"w/demo/conf/machine/board.conf": "",
	})
	p, err := lint.Open(context.Background(), m, lint.OpenOptions{Root: root, Below: []string{"/w/high"}})
	if err != nil {
		t.Fatal(err)
	}
	file, err := p.FindRecipe("app")
	if err != nil || file != root+"/recipes-a/app/app_1.10.bb" {
		t.Fatalf("recipe %s, %v", file, err)
	}
	c, err := p.FindConfig("panta")
	if err != nil || c.Name != "distro panta" {
		t.Fatalf("configuration %+v, %v", c, err)
	}
	d, _, err := p.Load(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	appends := p.Appends(d, file)
	if want := []string{root + "/recipes-a/app/app_%.bbappend", "/w/high/app_1.%.bbappend"}; !slices.Equal(appends, want) {
		t.Errorf("appends %q, want %q", appends, want)
	}
	r, err := d.Recipe(file, appends...)
	if err != nil {
		t.Fatal(err)
	}
	if v, _, err := r.Get("A"); err != nil || v.Text != "new low high" {
		t.Errorf("A is %q, %v", v.Text, err)
	}
	_, err = p.FindRecipe("lob")
	if nf, ok := errors.AsType[*lint.NotFoundError](err); !ok || nf.Nearest != "lib" {
		t.Errorf("got %v", err)
	}
	if _, err := p.FindConfig("pantaa"); err == nil || !strings.Contains(err.Error(), "distro panta") {
		t.Errorf("got %v", err)
	}
}

// TestMissingRoot says what is missing.
func TestMissingRoot(t *testing.T) {
	if _, err := lint.Open(context.Background(), fstest.MapFS{}, lint.OpenOptions{Root: "/nowhere"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

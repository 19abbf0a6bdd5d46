package kconfig_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/kconfig"
)

// vector is a case whose answers are those of Kconfiglib 14.1.
type vector struct {
	Kconfig string
	Assign  [][2]string
	Files   map[string]string
	Env     map[string]string
	Result  struct {
		Error  string
		Values map[string]struct {
			Type, Value, Visibility string
			DirectDep               string `json:"direct_dep"`
		}
		Order   []string
		Choices []struct {
			Prompt    string
			Selection *string
		}
		Mainmenu string
		Warnings []string
		Help     map[string]string
	}
}

func vectors(t *testing.T) map[string]vector {
	t.Helper()
	f, err := os.Open("testdata/kconfig-micro.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]vector
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 66 {
		t.Fatalf("%d cases, want 66", len(all))
	}
	return all
}

func (v vector) load() (*kconfig.Tree, error) {
	fsys := fstest.MapFS{"Kconfig": {Data: []byte(v.Kconfig)}}
	for name, text := range v.Files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return kconfig.Load(fsys, "Kconfig", kconfig.Options{Env: func(name string) (string, bool) {
		s, ok := v.Env[name]
		return s, ok
	}})
}

func TestVectors(t *testing.T) {
	for name, v := range vectors(t) {
		t.Run(name, func(t *testing.T) { checkVector(t, v) })
	}
}

func checkVector(t *testing.T, v vector) {
	want := v.Result
	tree, err := v.load()
	if want.Error != "" {
		if err == nil {
			t.Fatalf("no error, want %s", want.Error)
		}
		var loop *kconfig.LoopError
		if got := err.Error(); got != want.Error && !asLoop(err, &loop) {
			t.Errorf("error\n got %s\nwant %s", got, want.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c := tree.New()
	for _, a := range v.Assign {
		if err := c.Set(a[0], a[1]); err != nil {
			t.Fatal(err)
		}
	}
	for name, w := range want.Values {
		s := tree.Lookup(name)
		if s == nil {
			t.Errorf("no symbol %s", name)
			continue
		}
		if s.Type.String() != w.Type || c.Str(s) != w.Value || c.Visibility(s).String() != w.Visibility || c.Eval(s.DirectDep()).String() != w.DirectDep {
			t.Errorf("%s: %s %q visibility %s deps %s, want %+v", name, s.Type, c.Str(s), c.Visibility(s), c.Eval(s.DirectDep()), w)
		}
	}
	var order []string
	for _, s := range tree.Symbols {
		order = append(order, s.Name)
	}
	if !slices.Equal(order, want.Order) {
		t.Errorf("order %v, want %v", order, want.Order)
	}
	if len(tree.Choices) != len(want.Choices) {
		t.Fatalf("%d choices, want %d", len(tree.Choices), len(want.Choices))
	}
	for i, w := range want.Choices {
		got := c.Selection(tree.Choices[i])
		if tree.Choices[i].Prompt() != w.Prompt || (got == nil) != (w.Selection == nil) || got != nil && got.Name != *w.Selection {
			t.Errorf("choice %d: %q selects %v, want %+v", i, tree.Choices[i].Prompt(), got, w)
		}
	}
	if tree.Title != want.Mainmenu {
		t.Errorf("title %q, want %q", tree.Title, want.Mainmenu)
	}
	for name, w := range want.Help {
		if got := tree.Lookup(name).Nodes[0].Help; got != w {
			t.Errorf("help of %s: %q, want %q", name, got, w)
		}
	}
	checkWarnings(t, tree, c, want.Warnings)
}

func checkWarnings(t *testing.T, tree *kconfig.Tree, c *kconfig.Config, want []string) {
	t.Helper()
	var got []string
	for _, d := range append(slices.Clone(tree.Warnings()), c.Warnings()...) {
		got = append(got, d.Message)
	}
	for i, w := range want {
		// Kconfiglib puts a place in front of what it finds while parsing.
		if rest, ok := cutPlace(w); ok {
			want[i] = rest
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("warnings\n got %q\nwant %q", got, want)
	}
}

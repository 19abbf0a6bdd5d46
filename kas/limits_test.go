package kas_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/kas"
)

const head = "header:\n  version: 16\n"

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func TestBadInput(t *testing.T) {
	deep := fstest.MapFS{}
	for i := range 10000 {
		deep[fmt.Sprintf("f%d.yaml", i)] = file(fmt.Sprintf("%s  includes: [f%d.yaml]\n", head, i+1))
	}
	wide := fstest.MapFS{}
	for i := range 40 {
		wide[fmt.Sprintf("f%d.yaml", i)] = file(fmt.Sprintf("%s  includes: [f%d.yaml, f%d.yaml]\n", head, i+1, i+1))
	}
	wide["f40.yaml"] = file(head)
	bomb := head + "local_conf_header:\n  a0: &a0 {x: y}\n"
	for i := range 30 {
		bomb += fmt.Sprintf("  a%d: &a%d [*a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i)
	}
	mergeBomb := "a0: &a0 {k0: v}\n"
	for i := range 30 {
		mergeBomb += fmt.Sprintf("a%d: &a%d {<<: [*a%d, *a%d, *a%d]}\n", i+1, i+1, i, i, i)
	}
	one := func(s string) fstest.MapFS { return fstest.MapFS{"f0.yaml": file(s)} }
	for name, c := range map[string]struct {
		files fs.FS
		want  string
	}{
		"100 MB":           {one(head + strings.Repeat("#", 100<<20)), "f0.yaml: the file is larger than"},
		"10,000 includes":  {deep, "f899.yaml:3:14: includes are nested deeper than 900 files"},
		"2^40 includes":    {wide, "more than 20000 files are read"},
		"alias bomb":       {one(bomb), "aliases expand to more than"},
		"merge key bomb":   {one(mergeBomb), "merge keys expand to more than"},
		"alias in itself":  {one("a: &a [*a]\n"), "f0.yaml:1:8: the alias *a contains itself"},
		"merge of itself":  {one("a: &a {<<: *a}\n"), "f0.yaml:1:4: a mapping is merged into itself"},
		"nested brackets":  {one("a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), "nested deeper than 250"},
		"malformed":        {one("header:\n  version: [16\n"), "f0.yaml:"},
		"control":          {one("header:\n  version: 16\n\x01"), "f0.yaml:3: not valid YAML: the character 0x01"},
		"equal keys":       {one(strings.Repeat("a: b\n", 50000)), `unknown key "a"`},
		"list as key":      {one("? [a]\n: b\n"), "f0.yaml:1:3: a list cannot be a key"},
		"two documents":    {one(head + "---\n" + head), "a second document"},
		"directory":        {fstest.MapFS{"f0.yaml/x": file("")}, "f0.yaml"},
		"empty name":       {one(head), "empty name"},
		"not there at all": {fstest.MapFS{}, "f0.yaml does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			chain := "f0.yaml"
			if name == "empty name" {
				chain += ":"
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := kas.New(kas.Options{FS: c.files}).Resolve(t.Context(), chain)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %.300v, want %q", err, c.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 300<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
		})
	}
}

func TestJSONPositions(t *testing.T) {
	for src, want := range map[string]string{
		"{\"a\": 1,\n  \"b\": x}":   "x.json:2:8: not valid JSON",
		"{\"a\": 1} 2":              "text behind the end",
		"{\"a\":":                   "ends too early",
		strings.Repeat("[", 100000): "nested deeper",
	} {
		_, err := kas.ParseJSON("x.json", []byte(src))
		var syntax *kas.SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", src, err, want)
		}
	}
	v, err := kas.ParseJSON("x.json", []byte("{\"a\": {\n  \"b\": [1,\n   true]}}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Get("a", "b").Items[1].Pos.String(); got != "x.json:3:4" {
		t.Errorf("the position of true is %s", got)
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range handwritten {
		f.Add([]byte(s))
	}
	f.Add([]byte(head + "machine: x\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := kas.ParseYAML("x.yaml", src)
		if err != nil {
			return
		}
		for _, d := range []kas.Dialect{kas.Stock, kas.Pantacor} {
			if _, err := kas.Render(v, d, kas.DumpOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"header": {"version": 16}, "target": ["a", 1.5, null]}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := kas.ParseJSON("x.json", src)
		if err != nil {
			return
		}
		out, err := kas.Render(v, kas.Stock, kas.DumpOptions{Format: kas.JSON})
		if err != nil {
			t.Fatal(err)
		}
		w, err := kas.ParseJSON("x.json", []byte(out))
		if err != nil {
			if bytes.Contains([]byte(out), []byte("Infinity")) {
				return // Python writes what JSON does not have
			}
			t.Fatalf("%v in %s", err, out)
		}
		if again, err := kas.Render(w, kas.Stock, kas.DumpOptions{Format: kas.JSON}); err != nil || again != out {
			t.Fatalf("%q becomes %q (%v)", out, again, err)
		}
	})
}

// FuzzResolve looks for panics in everything behind the parser.
func FuzzResolve(f *testing.F) {
	f.Add([]byte(head+"  includes: [b.yaml]\nrepos:\n  x: {url: u, branch: b, layers: {l: {prio: 3}}}\n"), []byte(head+"env: {A: null}\ntarget: [mc:a:b]\n"))
	f.Add([]byte(head+"defaults: {repos: {branch: m, patches: {repo: x}}}\nrepos: {x: {url: u, patches: {p: {path: q}}}}\n"), []byte("header: {version: 3}\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		fsys := fstest.MapFS{"a.yaml": {Data: a}, "b.yaml": {Data: b}}
		for _, d := range []kas.Dialect{kas.Stock, kas.Pantacor} {
			c, err := kas.New(kas.Options{FS: fsys, Dialect: d}).Resolve(t.Context(), "a.yaml:b.yaml")
			if err != nil {
				continue
			}
			if _, err := c.Dump(kas.DumpOptions{ResolveEnv: true, Commits: map[string]string{"x": "c"}}); err != nil {
				t.Fatal(err)
			}
			_, _ = c.LocalConf()
			_, _ = c.BBLayersConf()
			_, _ = c.Repos()
			for range c.Origins() {
			}
		}
	})
}

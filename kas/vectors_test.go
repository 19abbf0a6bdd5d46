package kas_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
)

// vector is a case that the real kas 5.4 has answered.
type vector struct {
	Files  map[string]string `json:"files"`
	Config string            `json:"config"`
	Args   []string          `json:"args"`
	Env    map[string]string `json:"env"`
	Mode   string            `json:"mode"`
	RC     int               `json:"rc"`
	Stdout string            `json:"stdout"`
	Log    []string          `json:"log"`
	Local  *string           `json:"local.conf"`
	Layers *string           `json:"bblayers.conf"`
}

func vectors(t *testing.T) map[string]vector {
	t.Helper()
	f, err := os.Open("testdata/kas-semantics.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]vector
	if err := json.NewDecoder(z).Decode(&out); err != nil {
		t.Fatal(err)
	}
	if len(out) != 55 {
		t.Fatalf("%d vectors, want 55", len(out))
	}
	return out
}

// errorText says what our error must hold where kas logs an error. The words
// of kas are its own (and where rc is 1 those of a Python exception), so what
// is compared is the place and the fact, not the text.
var errorText = map[string]string{
	"include-cycle":           "include cycle: a.yaml → b.yaml → a.yaml",
	"include-missing":         "a.yaml:4:7: nope.yaml does not exist",
	"include-outside":         "resolves to /x.yaml, outside of the repository",
	"include-abs":             "resolves to /etc/hostname, outside of the repository",
	"header-version-0":        "a.yaml:1:19: header.version must be 1 to 23, not 0",
	"header-version-24":       "a.yaml:1:19: header.version must be 1 to 23, not 24",
	"header-version-str":      `a.yaml:1:19: header.version must be an integer from 1 to 23, not "16"`,
	"header-version-0.10":     `a.yaml:1:19: header.version "0.10"`,
	"header-version-float":    "a.yaml:1:19: header.version must be an integer or a string, not the number 0.1",
	"header-missing":          `a.yaml:1:1: the file lacks "header"`,
	"unknown-key":             `a.yaml:3:1: the file has the unknown key "foo"`,
	"empty-file":              "a.yaml:1:1: the file must be a mapping, not null",
	"list-file":               "a.yaml:1:1: the file must be a mapping, not a list",
	"bad-ext":                 "a.txt: a configuration ends in .yml, .yaml or .json",
	"lch-null":                "local_conf_header.a must be a string, not null",
	"lch-int":                 "a.yaml:4:6: local_conf_header.a must be a string, not the integer 1",
	"env-bool":                "a.yaml:3:10: env.A must be a string or null, not the boolean true",
	"source-dir-nested":       "b.yaml:3:14: _source_dir is allowed in the first file of a chain only",
	"source-dir-second-chain": "b.yaml:3:14: _source_dir is allowed in the first file of a chain only",
	"chain-other-repo":        "all files of a chain must be in one repository",
	"missing-repo-include":    "repositories that no file defines: nope",
	"conf-sort":               "kas cannot sort ids of different types",
}

func TestVectors(t *testing.T) {
	all := vectors(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { runVector(t, name, all[name]) })
	}
}

// runVector puts the files into a repository "case", as the real run did, and
// "outside" beside it.
func runVector(t *testing.T, name string, v vector) {
	fsys := fstest.MapFS{"case/.git/HEAD": {}, "outside/other.yaml": {Data: []byte("header:\n  version: 16\n")}, "etc/hostname": {}}
	for file, content := range v.Files {
		fsys["case/"+file] = &fstest.MapFile{Data: []byte(content)}
	}
	r := kas.New(kas.Options{FS: fsys, Dir: "case", Env: func(k string) (string, bool) { s, ok := v.Env[k]; return s, ok }})
	out, warnings, err := answer(t, r, v)
	if want := errorText[name]; want != "" || v.RC != 0 {
		if err == nil || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("kas ends with %d (%q); error %v, want %q", v.RC, v.Log, err, want)
		}
		if len(kas.Findings(err)) == 0 {
			t.Errorf("no findings in %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if out[0] != v.Stdout {
		t.Errorf("dump:\n%s\nwant:\n%s", out[0], v.Stdout)
	}
	if v.Mode == "conf" && (out[1] != *v.Local || out[2] != *v.Layers) {
		t.Errorf("local.conf:\n%s\nwant:\n%s\nbblayers.conf:\n%s\nwant:\n%s", out[1], *v.Local, out[2], *v.Layers)
	}
	// kas logs two lines for each include that it finds beside its file.
	logged := 0
	for _, l := range v.Log {
		if strings.Contains(l, "Falling back to file-relative addressing") {
			logged++
		} else if !strings.Contains(l, "Update your layer to repo-relative") {
			t.Errorf("kas logs %q: nothing compares it", l)
		}
	}
	if logged != len(warnings) {
		t.Errorf("warnings %v, kas logs %q", warnings, v.Log)
	}
}

// answer gives the dump, or the two files.
func answer(t *testing.T, r *kas.Resolver, v vector) (out [3]string, warnings []diag.Diagnostic, err error) {
	c, err := r.Resolve(t.Context(), v.Config)
	if err != nil {
		return out, nil, err
	}
	var o kas.DumpOptions
	for i := 0; i < len(v.Args); i++ {
		switch v.Args[i] {
		case "--skip":
			i++
		case "--sort":
			o.Sort = true
		case "--resolve-env":
			o.ResolveEnv = true
		case "--indent":
			i++
			o.Indent, err = strconv.Atoi(v.Args[i])
		case "--format":
			i++
			if v.Args[i] != "json" {
				err = errors.New(v.Args[i])
			}
			o.Format = kas.JSON
		default:
			err = errors.New("unknown argument " + v.Args[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if v.Mode == "conf" {
		if out[1], err = c.LocalConf(); err == nil {
			out[2], err = c.BBLayersConf()
		}
		return out, c.Warnings, err
	}
	out[0], err = c.Dump(o)
	return out, c.Warnings, err
}

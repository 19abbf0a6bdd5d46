package kas_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/kas"
)

// TestCheck has a small tree for each finding; want lists all that Check says.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		dialect kas.Dialect
		files   map[string]string
		want    []string
	}{
		"nothing": {files: map[string]string{"a.yaml": head + "machine: m\n"}},
		"duplicate key": {files: map[string]string{"a.yaml": head + "machine: m\nmachine: n\n"},
			want: []string{"a.yaml:4:1: error: machine is set twice in one mapping: the first one is dropped [kas-duplicate-key]"}},
		"duplicate block": {files: map[string]string{"a.yaml": head + "local_conf_header:\n  a: x\n  a: y\n"},
			want: []string{"a.yaml:5:3: error: local_conf_header.a is set twice"}},
		"merge key is none": {files: map[string]string{"a.yaml": head + "repos:\n  a: &a {url: u, commit: 0123456789012345678901234567890123456789}\n  b: {<<: *a, url: v}\n"}},
		"null over a mapping": {files: map[string]string{"a.yaml": head + "  includes: [b.yaml]\nrepos:\n  self:\n", "b.yaml": head + "repos:\n  self:\n    layers: {}\n", "conf/layer.conf": ""},
			want: []string{"a.yaml:5:8: error: the empty repos.self deletes a mapping"}},
		"schema of every file": {files: map[string]string{"a.yaml": head + "  includes: [b.yaml, c.yaml, d.yaml]\nfoo: 1\n", "b.yaml": head + "bar: 1\n", "c.yaml": "header: {version: 99}\n"},
			want: []string{`a.yaml:4:1: error: the file has the unknown key "foo"`}},
		"schema of every include": {files: map[string]string{"a.yaml": head + "  includes: [b.yaml, c.yaml, d.yaml]\n", "b.yaml": head + "machne: 1\n", "c.yaml": "header: {version: 99}\n"},
			want: []string{
				"a.yaml:3:30: error: d.yaml does not exist [kas-include]",
				`b.yaml:3:1: error: the file has the unknown key "machne" (did you mean "machine"?) [kas-schema]`,
				"c.yaml:1:19: error: header.version must be 1 to 23, not 99 [kas-schema]",
			}},
		"cycle": {files: map[string]string{"a.yaml": head + "  includes: [b.yaml]\n", "b.yaml": head + "  includes: [a.yaml]\n"},
			want: []string{"b.yaml:3:14: error: include cycle: a.yaml → b.yaml → a.yaml [kas-include]"}},
		"beside the file": {files: map[string]string{"sub/b.yaml": head + "  includes: [c.yaml]\n", "sub/c.yaml": head, "a.yaml": head + "  includes: [sub/b.yaml]\n"},
			want: []string{`sub/b.yaml:3:14: warning: "c.yaml" is found beside the file, not below the root of the repository (write "sub/c.yaml") [kas-file-relative]`}},
		"block replaced": {files: map[string]string{"a.yaml": head + "  includes: [b.yaml]\nlocal_conf_header:\n  x: A = \"1\"\n", "b.yaml": head + "local_conf_header:\n  x: B = \"1\"\n"},
			want: []string{"a.yaml:5:6: warning: the block x of local_conf_header replaces the one of another file"}},
		"order of ids": {files: map[string]string{
			"a.yaml": head + "  includes: [b.yaml]\nlocal_conf_header:\n  board: |\n    # mine\n    AUTO = \"\"\n    AUTO:append = \"x\"\n", "b.yaml": head + "local_conf_header:\n  platform: |\n    AUTO = \"1\"\n"},
			want: []string{"a.yaml:7: warning: AUTO is set in the block board of a later file and loses: platform, of an earlier file, is written behind it"}},
		"order of ids that is right": {files: map[string]string{
			"a.yaml": head + "  includes: [b.yaml]\nlocal_conf_header:\n  z: AUTO = \"\"\n", "b.yaml": head + "local_conf_header:\n  platform: |\n    AUTO = \"1\"\n"}},
		"layers": {files: map[string]string{"a.yaml": head + "repos:\n  self:\n    layers: {there: , absent: }\n  other: {path: nowhere}\n", "there/conf/layer.conf": ""},
			want: []string{"a.yaml:5:23: error: the layer self/absent is not there: absent has no conf/layer.conf [kas-layer]",
				"a.yaml:6:3: error: the repository other has no url, and nowhere does not exist [kas-layer]"}},
		"patches": {files: map[string]string{"conf/layer.conf": "", "p.patch": "", "a.yaml": head + `repos:
  self:
  x:
    url: u
    commit: "0123456789012345678901234567890123456789"
    patches:
      a: {repo: self, path: p.patch}
      b: {repo: self, path: q.patch}
      c: {repo: nope, path: q.patch}
`}, want: []string{"a.yaml:10:7: error: the patch b does not exist: q.patch [kas-patch]", "a.yaml:11:7: error: the patch c is in the repository nope"}},
		"override": {files: map[string]string{"a.yaml": head + "overrides: {repos: {x: {commit: a}}}\n"},
			want: []string{"a.yaml:3:21: warning: overrides name the repository x, which no file defines [kas-override]"}},
		"inert in stock": {files: map[string]string{"a.yaml": head + "local_conf_header:\n  v: |\n    KAS_LOCAL_X = \"Y:append = \"z\"\"\n"},
			want: []string{"a.yaml:5: error: KAS_LOCAL_X in v is a variable without effect"}},
		"proxy": {files: map[string]string{"a.yaml": head + "proxy_config: {no_proxy: x}\nmenu_configuration: {A: true}\n"},
			want: []string{"a.yaml:3:1: warning: proxy_config has no effect", "a.yaml:4:1: note: menu_configuration is read in .config.yaml only"}},
		"newer than the version": {files: map[string]string{"a.yaml": "header: {version: 12}\nenv: {A: null}\n"},
			want: []string{"a.yaml:2:7: warning: null in env.* came with version 13 of the format, and header.version is 12 [kas-newer-key]"}},
		"fork refuses newer versions": {dialect: kas.Pantacor, files: map[string]string{"a.yaml": "header: {version: 18}\n"},
			want: []string{"a.yaml:1:19: error: header.version is 18: this kas reads 1 to 17 [kas-version]"}},
		"repository without a reference": {files: map[string]string{"a.yaml": head + "repos: {x: {url: u}}\n"},
			want: []string{"a.yaml:3:9: error: the repository x has a url and no commit, tag or branch [kas-repo]"}},
		"floating": {files: map[string]string{"a.yaml": head + "repos: {x: {url: u, branch: b}, y: {url: u, tag: t}, z: {url: u, refspec: t}, s: {url: u, commit: abc, layers: {l: n}}}\n"},
			want: []string{"a.yaml:3:9: warning: the repository x follows the branch b", "a.yaml:3:33: warning: the repository y has a tag",
				"a.yaml:3:54: warning: the repository z uses refspec", "a.yaml:3:99: warning: the commit abc of s is not a full hash", `a.yaml:3:116: warning: the layer l of s is left out with "n": write disabled`}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"p/.git/HEAD": {}}
			for n, s := range c.files {
				fsys["p/"+n] = file(s)
			}
			_, found, err := kas.New(kas.Options{FS: fsys, Dir: "p", Dialect: c.dialect}).Check(t.Context(), "a.yaml")
			if err != nil {
				t.Fatal(err)
			}
			for i, d := range found {
				if i >= len(c.want) || !strings.HasPrefix(d.String(), c.want[i]) {
					t.Errorf("found %s", d)
				}
			}
			if len(found) < len(c.want) {
				t.Errorf("%d findings, want %q", len(found), c.want)
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	fsys := fstest.MapFS{
		"a.yaml": file(head + "  includes: [b.yaml]\nmachine: a\nlocal_conf_header: {x.y: a}\n"),
		"b.yaml": file(head + "machine: b\ndistro: d\n"),
	}
	c, err := kas.New(kas.Options{FS: fsys}).Resolve(t.Context(), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for o := range c.Origins() {
		line := o.Path + " " + o.Value.Pos.String()
		for _, v := range o.Over {
			line += " over " + v.Pos.String()
		}
		got = append(got, line)
	}
	want := []string{
		"header.version a.yaml:2:12 over b.yaml:2:12", "machine a.yaml:4:10 over b.yaml:3:10", "distro b.yaml:4:9",
		"header.includes a.yaml:3:13", `local_conf_header."x.y" a.yaml:5:26`,
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n")+"\n", w+"\n") {
			t.Errorf("%q is not among\n%s", w, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d origins", len(got))
	}
}

package rootfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// excludeTree is what the patterns below are tried on.
var excludeTree = []string{
	".top.gz", "a/.h/x.gz", "a/[x]", "a/b/.d.gz", "a/b/f.gz", "a/f.gz", "c/f", "c/f2", "c/é", "f.gz", "c/a+b", "c/A", "c/a|b", "c/(x)", "c/]", "c/-", "c/\\",
	"lib/modules/6.1/kernel/x.ko", "lib/modules/5.4/x.ko", "lib/modules/5.4/xx.ko", "lib/firmware/a.bin", "c/sub/f",
}

var excludeCases = []struct {
	patterns  []string
	wildcards bool
}{
	{[]string{"a/b"}, false}, {[]string{"a/b/"}, false}, {[]string{"f.gz"}, false}, {[]string{"nope"}, false}, {[]string{"a/[x]", "c"}, false},
	{[]string{"*"}, false}, {[]string{"a//b/f.gz"}, false}, {[]string{"lib/modules", "lib/firmware"}, false},
	{[]string{"*.gz"}, true}, {[]string{"... *.gz"}, true}, {[]string{".*.gz"}, true}, {[]string{"a/*/f.gz"}, true}, {[]string{"*/f.gz"}, true},
	{[]string{"!(a)"}, true}, {[]string{"a/!(b)"}, true}, {[]string{"@(a|c)/f*"}, true},
	{[]string{"a/[[]x]"}, true}, {[]string{`a/\[x]`}, true}, {[]string{"c/f?"}, true}, {[]string{"c/[a-g]"}, true}, {[]string{"c/[!a-g]*"}, true},
	{[]string{"c"}, true}, {[]string{"a/**/f.gz"}, true}, {[]string{"... f"}, true}, {[]string{"c/?"}, true}, {[]string{"c/??"}, true},
	{[]string{"c/*[[:upper:]]"}, true}, {[]string{"c/[[:alpha:]]*"}, true}, {[]string{"c/[]]"}, true}, {[]string{"c/[a-]"}, true}, {[]string{`c/\\`}, true},
	{[]string{"c/a[+]b"}, true}, {[]string{"c/+(a|[+]|b)"}, true}, {[]string{"c/?(f)f"}, true}, {[]string{"c/*(f)2"}, true}, {[]string{"c/f*(2)"}, true},
	{[]string{"c/(x)"}, true}, {[]string{"c/f@("}, true}, {[]string{"c/[f"}, true}, {[]string{"c/!(*f*|A)"}, true}, {[]string{"... !(*.ko)"}, true},
	{[]string{"lib/modules/*/@(x|xx).ko", "lib/f*"}, true}, {[]string{"... x.ko", "... .*"}, true}, {[]string{"?top.gz"}, true}, {[]string{"[.]top.gz"}, true},
	{[]string{"@(.|x)top.gz"}, true}, {[]string{"*(.)top.gz"}, true}, {[]string{"*/*/*"}, true}, {[]string{"c/a@(|)b", `c/a\|b`}, true},
}

func kept(t *testing.T, patterns []string, wildcards bool) []string {
	t.Helper()
	ex, err := rootfs.ParseExcludes(patterns, wildcards)
	if err != nil {
		t.Fatalf("%q: %v", patterns, err)
	}
	var out []string
	for _, name := range excludeTree {
		for p := name; p != "."; p = filepath.Dir(p) {
			if !ex.Match(p) && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestExcludesAreThoseOfMksquashfs(t *testing.T) {
	mksquashfs, unsquashfs := testreq.Tool(t, "mksquashfs"), testreq.Tool(t, "unsquashfs")
	dir := t.TempDir()
	for _, name := range excludeTree {
		full := filepath.Join(dir, "r", name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range excludeCases {
		args := []string{filepath.Join(dir, "r"), filepath.Join(dir, "img"), "-noappend", "-no-progress", "-quiet", "-processors", "1"}
		if c.wildcards {
			args = append(args, "-wildcards")
		}
		cmd := exec.Command(mksquashfs, append(append(args, "-e"), c.patterns...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		out, err := exec.Command(unsquashfs, "-l", "-d", "", filepath.Join(dir, "img")).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(out)) {
			if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "/"); ok && name != "" {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if got := kept(t, c.patterns, c.wildcards); !slices.Equal(got, want) {
			t.Errorf("%q (wildcards %v) keeps\n%q, mksquashfs\n%q", c.patterns, c.wildcards, got, want)
		}
	}
}

func TestExcludesWithoutTools(t *testing.T) {
	for _, c := range []struct {
		pattern   string
		wildcards bool
		gone      []string
	}{
		{"/a/b", false, []string{"a/b", "a/b/.d.gz", "a/b/f.gz"}},
		{"./c/f", false, []string{"c/f"}},
		{"... *.ko", true, []string{"lib/modules/5.4/x.ko", "lib/modules/5.4/xx.ko", "lib/modules/6.1/kernel/x.ko"}},
		{"... b/f.gz", true, []string{"a/b/f.gz"}},
		{"... modules/[5]*", true, []string{"lib/modules/5.4", "lib/modules/5.4/x.ko", "lib/modules/5.4/xx.ko"}},
		{"... !(.*|??*|[!c])", true, []string{"c", "c/(x)", "c/-", "c/A", "c/\\", "c/]", "c/a+b", "c/a|b", "c/f", "c/f2", "c/sub", "c/sub/f", "c/é"}},
	} {
		all, got := kept(t, nil, false), kept(t, []string{c.pattern}, c.wildcards)
		gone := slices.DeleteFunc(all, func(s string) bool { return slices.Contains(got, s) })
		if !slices.Equal(gone, c.gone) {
			t.Errorf("%s: gone %q, want %q", c.pattern, gone, c.gone)
		}
	}
	for _, bad := range []struct {
		pattern   string
		wildcards bool
	}{{"/x", true}, {"./x", true}, {"../x", true}, {"a/../b", true}, {"a/../b", false}, {"", true}, {"", false}, {"/", false}, {"...  ", true}} {
		if _, err := rootfs.ParseExcludes([]string{bad.pattern}, bad.wildcards); err == nil {
			t.Errorf("%q (wildcards %v) was taken", bad.pattern, bad.wildcards)
		}
	}
}

func FuzzExcludes(f *testing.F) {
	for _, c := range excludeCases {
		f.Add(c.patterns[0], "a/b/f.gz")
	}
	f.Add("*(*(*(*(a)*)*)*)", strings.Repeat("a", 200))
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 100 || len(name) > 300 {
			return
		}
		ex, err := rootfs.ParseExcludes([]string{pattern}, true)
		if err != nil {
			return
		}
		if ex.Match(name) && !ex.Match(name+"/below") {
			t.Errorf("%q excludes %q but not what is below", pattern, name)
		}
	})
}

package kas_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/kas"
)

// answers is a remote that knows some references.
type answers map[string]string

func (a answers) Commit(_ context.Context, r *kas.Repo) (string, error) {
	if c := a[r.URL+" "+r.Tag+r.Branch]; c != "" {
		return c, nil
	}
	return "", errors.New("no such reference")
}

var (
	hashA = strings.Repeat("a", 40)
	hashB = strings.Repeat("b", 40)
	hashC = strings.Repeat("c", 40)
)

func lockTree() fstest.MapFS {
	return fstest.MapFS{
		".git/HEAD": {},
		"a.yaml":    file("header:\n  version: 16\n  includes: [b.yaml]\nrepos:\n  x: {url: u, branch: m}\n  y: {url: v, tag: t}\n  z: {url: w, commit: " + hashC + "}\n  self:\n"),
		"b.yaml":    file(head),
	}
}

var remote = answers{"u m": hashA, "v t": hashB}

func TestLock(t *testing.T) {
	fsys := lockTree()
	res, err := kas.New(kas.Options{FS: fsys}).Lock(t.Context(), "a.yaml", remote)
	if err != nil {
		t.Fatal(err)
	}
	want := "header:\n  version: 14\noverrides:\n  repos:\n    x:\n      commit: " + hashA + "\n    y:\n      commit: " + hashB + "\n"
	if len(res.Files) != 1 || res.Files[0].Name != "a.lock.yaml" || res.Files[0].Content != want {
		t.Fatalf("%+v", res)
	}
	// Locked, there is nothing to do, not even to ask.
	fsys["a.lock.yaml"] = file(res.Files[0].Content)
	if res, err = kas.New(kas.Options{FS: fsys}).Lock(t.Context(), "a.yaml", nil); err != nil || len(res.Files) != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	// An update goes where the pin is.
	fsys["b.lock.yaml"] = file("header: {version: 12}\nmachine: kept\noverrides: {repos: {y: {commit: " + hashC + "}, n: {commit: x}}}\n")
	delete(fsys, "a.lock.yaml")
	res, err = kas.New(kas.Options{FS: fsys, NoLocks: true}).Lock(t.Context(), "a.yaml", remote)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Files) != 2 || res.Files[0].Name != "b.lock.yaml" || res.Files[1].Name != "a.lock.yaml" {
		t.Fatalf("%+v", res)
	}
	want = "header:\n  version: 14\nmachine: kept\noverrides:\n  repos:\n    y:\n      commit: " + hashB + "\n    n:\n      commit: x\n"
	if res.Files[0].Content != want {
		t.Errorf("got\n%s\nwant\n%s", res.Files[0].Content, want)
	}
	if strings.Contains(res.Files[1].Content, "y:") {
		t.Errorf("y is pinned twice:\n%s", res.Files[1].Content)
	}
}

func TestLockOffline(t *testing.T) {
	_, err := kas.New(kas.Options{FS: lockTree()}).Lock(t.Context(), "a.yaml", nil)
	if !errors.Is(err, kas.ErrOffline) || err.Error() != "no commit is pinned for x (branch m), y (tag t)" {
		t.Errorf("%v", err)
	}
}

func TestPinKeeps(t *testing.T) {
	fsys := lockTree()
	r := kas.New(kas.Options{FS: fsys})
	fsys["release.yaml"] = file(head + "repos:\n  x: {url: u, branch: m, commit: " + hashC + "}\n  y: {url: elsewhere, tag: t, commit: " + hashC + "}\n")
	keep, err := r.Resolve(t.Context(), "release.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Resolve(t.Context(), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pins, kept, err := c.Pin(t.Context(), remote, keep)
	if err != nil {
		t.Fatal(err)
	}
	if kept != 1 || pins["x"] != hashC || pins["y"] != hashB || pins["z"] != hashC || len(pins) != 3 {
		t.Errorf("%d kept, %v", kept, pins)
	}
}

// TestGit asks a repository made here, by its mirror.
func TestGit(t *testing.T) {
	git := testreq.Tool(t, "git")
	dir := t.TempDir()
	run := func(args ...string) string {
		cmd := exec.Command(git, append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("init", "-q", "-b", "main", "p")
	dir = filepath.Join(dir, "p")
	run("commit", "-q", "--allow-empty", "-m", "one")
	run("tag", "-a", "-m", "a tag", "v1")
	one := run("rev-parse", "HEAD")
	run("commit", "-q", "--allow-empty", "-m", "two")
	two := run("rev-parse", "HEAD")
	mirrors, err := kas.ParseMirrors("not-a-mirror\nhttps://example\\.org/(.*)\\.git " + filepath.Dir(dir) + "/\\1\n")
	if err != nil {
		t.Fatal(err)
	}
	g := &kas.Git{Program: git, Mirrors: mirrors}
	const url = "https://example.org/p.git"
	for want, r := range map[string]*kas.Repo{
		one: {URL: url, Tag: "v1"}, two: {URL: url, Branch: "main"},
	} {
		got, err := g.Commit(t.Context(), r)
		if err != nil || got != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	for _, r := range []*kas.Repo{{URL: url, Refspec: "main"}, {URL: url, Refspec: "v1"}, {URL: url, Refspec: one}} {
		if got, err := g.Commit(t.Context(), r); err != nil || got != one && got != two {
			t.Errorf("%s: %s, %v", r.Refspec, got, err)
		}
	}
	for _, r := range []*kas.Repo{{URL: url, Branch: "nope"}, {URL: "--upload-pack=touch", Branch: "main"}} {
		if _, err := g.Commit(t.Context(), r); err == nil {
			t.Errorf("%+v has a commit", r)
		}
	}
}

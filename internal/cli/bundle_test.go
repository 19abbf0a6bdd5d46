package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// seekable is a file in memory for the image writer.
type seekable struct {
	buf []byte
	pos int64
}

func (s *seekable) Write(p []byte) (int, error) {
	if need := s.pos + int64(len(p)); need > int64(len(s.buf)) {
		s.buf = append(s.buf, make([]byte, need-int64(len(s.buf)))...)
	}
	copy(s.buf[s.pos:], p)
	s.pos += int64(len(p))
	return len(p), nil
}

func (s *seekable) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		s.pos = off
	case io.SeekCurrent:
		s.pos += off
	case io.SeekEnd:
		s.pos = int64(len(s.buf)) + off
	}
	return s.pos, nil
}

func put(t *testing.T, tree *rootfs.Tree, name string, n *rootfs.Node) {
	t.Helper()
	if err := tree.Put(name, n); err != nil {
		t.Fatal(err)
	}
}

func image(t *testing.T, tree *rootfs.Tree) []byte {
	t.Helper()
	var out seekable
	if _, err := squashfs.Write(context.Background(), &out, tree, squashfs.Options{}); err != nil {
		t.Fatal(err)
	}
	return out.buf
}

// exampleTree is a small root filesystem with a bit of everything.
func exampleTree(t *testing.T, motd string) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	put(t, tree, "bin/app", &rootfs.Node{Kind: rootfs.File, Mode: 0o4755, Content: rootfs.Bytes("#!/bin/sh\n")})
	put(t, tree, "bin/sh", &rootfs.Node{Kind: rootfs.Symlink, Mode: 0o777, Target: "/bin/app"})
	put(t, tree, "etc/motd", &rootfs.Node{Kind: rootfs.File, Mode: 0o644, UID: 1000, GID: 100, ModTime: 86400, Content: rootfs.Bytes(motd)})
	put(t, tree, "dev/null", &rootfs.Node{Kind: rootfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3})
	return tree
}

// writeExample makes a bundle of one container and returns its name.
func writeExample(t *testing.T, name, motd, run string) string {
	t.Helper()
	var mem pvrexport.Memory
	state := pvrexport.NewState()
	set := func(key string, v pvrexport.Value, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if err := state.Set(key, v); err != nil {
			t.Fatal(err)
		}
	}
	object := func(key string, content []byte) {
		t.Helper()
		id := pvrexport.ObjectID(content)
		mem.Put(id, content)
		v, err := pvrexport.ObjectValue(id)
		set(key, v, err)
	}
	inline := func(key, text string) {
		t.Helper()
		v, err := pvrexport.JSONValue([]byte(text))
		set(key, v, err)
	}
	object("app/root.squashfs", image(t, exampleTree(t, motd)))
	object("app/lxc.container.conf", []byte("lxc.init.cmd = /bin/app\n"))
	inline("app/run.json", run)
	inline("app/services.json", `{"#spec":"service-manifest-xconnect@1","services":[{"name":"raw","type":"unix","socket":"/run/raw.sock"}]}`)
	inline("_config/app/etc/app.json", `{"level":1}`)
	file := filepath.Join(t.TempDir(), name)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pvrexport.Write(context.Background(), f, state, &mem, pvrexport.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return file
}

const exampleRun = `{"#spec":"service-manifest-run@1","name":"app","config":"lxc.container.conf","type":"lxc",
"root-volume":"root.squashfs","group":"root","restart_policy":"container","volumes":[],
"drivers":{"manual":[],"required":[],"optional":[]},
"storage":{"lxc-overlay":{"persistence":"boot"}},
"services":{"required":[{"name":"db","type":"unix","target":"/run/db.sock"}]}}`

func TestInspect(t *testing.T) {
	file := writeExample(t, "app.pvrexport.tgz", "hello\n", exampleRun)
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"summary", []string{"inspect", file}, 0, []string{
			"app (not signed)", "group      root", "restart    container", "zstd in blocks of 1 MiB",
			"provides   raw (unix) at /run/raw.sock", "requires   db (unix) at /run/db.sock", "config     etc/app.json",
		}},
		{"state", []string{"inspect", "--state", file}, 0, []string{`{"#spec":"pantavisor-service-system@1","_config/app/etc/app.json":{"level":1},`}},
		{"tree", []string{"inspect", "--tree", file + ":app"}, 0, []string{"-rwsr-xr-x", "bin/sh -> /bin/app", "1, 3", "crw-rw-rw-"}},
		{"ls", []string{"ls", file, "/etc"}, 0, []string{"1000:100", "1970-01-02 00:00 etc/motd"}},
		{"ls a key", []string{"ls", file + ":app/root.squashfs", "bin"}, 0, []string{"bin/app"}},
		{"cat", []string{"cat", file, "/etc/motd"}, 0, []string{"hello"}},
		{"cat through a link", []string{"cat", file, "/bin/sh"}, 0, []string{"#!/bin/sh"}},
		{"cat a directory", []string{"cat", file, "/etc"}, 2, []string{"not a regular file"}},
		{"cat nothing", []string{"cat", file, "/nope"}, 2, []string{file + ": ", "nope"}},
		{"ls nothing", []string{"ls", file, "/nope"}, 2, []string{file + ": look up /nope"}},
		{"-- -:", []string{"ls", "--", "-:app"}, 2, []string{"read standard input"}},
		{"climb", []string{"cat", file, "../etc/passwd"}, 64, []string{`".."`}},
		{"no container", []string{"ls", file + ":nope"}, 64, []string{`no container "nope"`, "it has app"}},
		{"no file", []string{"inspect", "/no/such.tgz"}, 2, []string{"/no/such.tgz"}},
		{"no output", []string{"unpack", file}, 64, []string{"-o DIR"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := run(t, c.args...)
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(out+errs, w) {
					t.Errorf("no %q in\n%s%s", w, out, errs)
				}
			}
		})
	}
}

func TestInspectJSON(t *testing.T) {
	file := writeExample(t, "app.tgz", "hello\n", exampleRun)
	code, out, errs := run(t, "inspect", "--json", file)
	var s struct {
		Objects    int
		Canonical  bool
		Containers []struct {
			Name   string
			Images []struct {
				Key, Compression string
				Inodes           int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
		t.Fatalf("code %d: %v\n%s%s", code, err, out, errs)
	}
	if s.Objects != 2 || !s.Canonical || len(s.Containers) != 1 || len(s.Containers[0].Images) != 1 || s.Containers[0].Images[0].Inodes != 8 {
		t.Errorf("%+v", s)
	}
}

func TestUnpackAndExtract(t *testing.T) {
	file := writeExample(t, "app.tgz", "hello\n", exampleRun)
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		file string
		want string
	}{
		{[]string{"unpack", file, "-o", filepath.Join(dir, "named")}, "named/app/lxc.container.conf", "lxc.init.cmd = /bin/app\n"},
		{[]string{"unpack", "--raw", file, "-o", filepath.Join(dir, "raw")}, "raw/json", ""},
		{[]string{"extract", file, "/etc", "-o", filepath.Join(dir, "etc")}, "etc/motd", "hello\n"},
		{[]string{"extract", file, "/etc/motd", "-o", filepath.Join(dir, "motd")}, "motd", "hello\n"},
	} {
		if code, _, errs := run(t, c.args...); code != 0 {
			t.Fatalf("%v: %s", c.args, errs)
		}
		got, err := os.ReadFile(filepath.Join(dir, c.file))
		if err != nil || c.want != "" && string(got) != c.want {
			t.Errorf("%v: %q %v", c.args, got, err)
		}
	}
	code, _, errs := run(t, "unpack", file, "-o", filepath.Join(dir, "named"))
	if code != 2 || !strings.Contains(errs, "not empty") {
		t.Errorf("unpack over files: %d %s", code, errs)
	}
	for _, there := range []string{"etc", "motd"} {
		dest := filepath.Join(dir, there)
		for _, path := range []string{"/etc", "/etc/motd"} {
			code, _, errs := run(t, "extract", file, path, "-o", dest)
			if code != 2 || !strings.Contains(errs, dest+": file already exists") {
				t.Errorf("extract %s over %s: %d %s", path, there, code, errs)
			}
		}
	}
}

func TestUnpackOfDamageLeavesNothing(t *testing.T) {
	file := writeExample(t, "app.tgz", "hello\n", exampleRun)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)-20], 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if code, _, errs := run(t, "unpack", file, "-o", filepath.Join(dir, "out")); code != 2 {
		t.Errorf("code %d: %s", code, errs)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDiff(t *testing.T) {
	a := writeExample(t, "a.tgz", "hello\n", exampleRun)
	same := writeExample(t, "same.tgz", "hello\n", exampleRun)
	b := writeExample(t, "b.tgz", "other\n", strings.Replace(exampleRun, `"group":"root",`, `"group":"app","status_goal":"READY",`, 1))
	if code, out, errs := run(t, "diff", a, same); code != 0 || out != "" {
		t.Errorf("equal bundles: %d %s%s", code, out, errs)
	}
	code, out, errs := run(t, "diff", a, b)
	if code != cli.ExitFindings {
		t.Errorf("code %d: %s", code, errs)
	}
	for _, want := range []string{
		`~ app/run.json: group: "root" -> "app"`,
		`+ app/run.json: status_goal: "READY"`,
		"~ app/root.squashfs: etc/motd content",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, out, _ := run(t, "diff", "--json", a, b); !json.Valid(bytes.SplitN([]byte(out), []byte("\n"), 2)[0]) {
		t.Errorf("no JSON: %s", out)
	}
}

func TestVerify(t *testing.T) {
	good := writeExample(t, "good.tgz", "hello\n", exampleRun)
	strings1 := writeExample(t, "strings.tgz", "hello\n", strings.Replace(exampleRun, `[{"name":"db","type":"unix","target":"/run/db.sock"}]`, `["db"]`, 1))
	code, out, errs := run(t, "verify", good)
	if code != 0 || !strings.Contains(out, "ok: 2 objects, 1 image, 1 finding\n") {
		t.Errorf("good bundle: %d\n%s%s", code, out, errs)
	}
	code, out, _ = run(t, "verify", good, strings1)
	if code != cli.ExitFindings || !strings.Contains(out, "app/run.json: error:") || !strings.Contains(out, "a device will not take it") {
		t.Errorf("services as strings: %d\n%s", code, out)
	}
	code, out, _ = run(t, "verify", "--json", strings1)
	var report struct {
		OK       bool
		Findings []struct{ Severity, Rule, Message string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != cli.ExitFindings || report.OK || len(report.Findings) == 0 {
		t.Errorf("json: %d %v\n%s", code, err, out)
	}
	if code, _, errs := run(t, "verify", "/no/such"); code != cli.ExitFailure || !strings.Contains(errs, "/no/such") {
		t.Errorf("no file: %d %s", code, errs)
	}
}

func TestVerifySeesADamagedImage(t *testing.T) {
	img := image(t, exampleTree(t, strings.Repeat("some text that is compressed\n", 500)))
	// The first zstd frame holds data; without its magic number it is none.
	// (A flipped byte in a frame's content would pass: squashfs has no
	// checksums, which is why the objects have digests.)
	at := bytes.Index(img, []byte{0x28, 0xb5, 0x2f, 0xfd})
	if at < 0 {
		t.Fatal("the image holds no zstd frame")
	}
	img[at] ^= 0xff
	var mem pvrexport.Memory
	id := pvrexport.ObjectID(img)
	mem.Put(id, img)
	state := pvrexport.NewState()
	v, err := pvrexport.ObjectValue(id)
	if err == nil {
		err = state.Set("app/root.squashfs", v)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pvrexport.Write(context.Background(), &b, state, &mem, pvrexport.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "damaged.tgz")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "verify", file)
	if code != cli.ExitFindings || !strings.Contains(out, "app/root.squashfs: error:") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
}

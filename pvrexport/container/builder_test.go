package container_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/container"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// zoo is a definition with every kind of layer.
const zoo = `
name: zoo
group: app
architectures: [amd64, armv7]
rootfs:
  - tar: base-${arch}.tar
  - user: www-data
    uid: 33
    home: /var/www
  - dir: files
    exclude: ["... *.bak"]
    rules:
      - path: /usr/bin/tool
        mode: "4755"
        capabilities: cap_net_raw=ep
      - path: /srv/**
        owner: www-data
  - mkdir: /var/www
    owner: www-data:www-data
    mode: 0750
  - file: /etc/motd
    content: |
      hello
    xattrs:
      user.note: yes it is
  - file: /etc/copy
    from: files/usr/bin/tool
    mode: "0600"
  - symlink: /sbin/init
    target: /usr/bin/tool
  - device: /dev/null
    type: char
    major: 1
    minor: 3
    mode: 0666
  - fifo: /run/pipe
  - remove: /etc/unwanted
  - mkdir: /only-arm
    only: [armv7]
entrypoint: [/usr/bin/tool]
cmd: [-v, two words]
env:
  PORT: 8080
  HOME: /
workdir: /srv
restart_policy: container
volumes:
  - ovl:/var:permanent
  - path: /data
    persistence: revision
services:
  exports:
    - name: raw-unix
      type: unix
      socket: /run/example/raw.sock
  required: [network-manager]
mdev: [".* 0:0 666"]
config:
  - file: /etc/app.json
    content: "{ \"b\": 1.50, \"a\": null }\n"
  - dir: overlay
squashfs:
  compression: %s
  block_size: 64K
`

// source writes the definition and what it needs into a new folder.
func source(t testing.TB, codec string) string {
	t.Helper()
	dir := t.TempDir()
	for name, f := range map[string]struct {
		mode os.FileMode
		text string
	}{
		"container.yaml":       {0o644, fmt.Sprintf(zoo, codec)},
		"files/usr/bin/tool":   {0o755, strings.Repeat("#!/bin/sh\necho tool\n", 500)},
		"files/srv/index.html": {0o640, "<p>hi</p>\n"},
		"files/srv/old.bak":    {0o644, "no\n"},
		"files/big.bin":        {0o644, strings.Repeat("0123456789abcdef", 20000)},
		"overlay/etc/raw.txt":  {0o600, "raw\n"},
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(f.text), f.mode), os.Chmod(name, f.mode)); err != nil {
			t.Fatal(err)
		}
	}
	for _, arch := range []string{"amd64", "armv7"} {
		if err := os.WriteFile(filepath.Join(dir, "base-"+arch+".tar"), baseTar(t, arch), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func baseTar(t testing.TB, arch string) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700},
		{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(1e9, 0)},
		{Name: "./etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 32},
		{Name: "./etc/unwanted", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "./etc/arch", Typeflag: tar.TypeReg, Mode: 0o4711, Uid: 5, Gid: 6, ModTime: time.Unix(1e9, 0), Size: int64(len(arch))},
		{Name: "./etc/arch2", Typeflag: tar.TypeLink, Linkname: "./etc/arch"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		switch h.Name {
		case "./etc/passwd":
			fmt.Fprint(w, "root:x:0:0:root:/root:/bin/sh\r\n\n")
		case "./etc/arch":
			fmt.Fprint(w, arch)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func load(t testing.TB, dir string) *container.Definition {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(dir, "container.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	def, found := container.Parse("container.yaml", dir, src)
	if def == nil {
		t.Fatal(found)
	}
	return def
}

func build(t testing.TB, dir string, arch container.Arch, opts container.Options) ([]byte, *container.Result) {
	t.Helper()
	opts.TempDir = t.TempDir()
	b, err := container.NewBuilder(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out bytes.Buffer
	res, err := b.Build(t.Context(), load(t, dir), arch, &out, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), res
}

// opened is a bundle's state and the root filesystem in it.
func opened(t *testing.T, bundle []byte, name string) (*pvrexport.State, *pvrexport.Memory, *rootfs.Tree) {
	t.Helper()
	mem := &pvrexport.Memory{}
	state, err := pvrexport.Import(t.Context(), bytes.NewReader(bundle), mem, pvrexport.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	image := object(t, state, mem, name+"/root.squashfs")
	img, err := squashfs.Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := img.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state, mem, tree
}

func object(t *testing.T, s *pvrexport.State, mem *pvrexport.Memory, key string) []byte {
	t.Helper()
	v, _ := s.Get(key)
	id, ok := v.Object()
	if !ok {
		t.Fatalf("%s is no object: %s", key, v)
	}
	r, _, err := mem.OpenObject(id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBuildMakesWhatTheDefinitionSays(t *testing.T) {
	dir := source(t, "zstd")
	bundle, res := build(t, dir, "armv7", container.Options{Epoch: time.Unix(1700000000, 0)})
	state, mem, tree := opened(t, bundle, "zoo")
	if findings, _, err := pvrexport.Verify(t.Context(), bytes.NewReader(bundle), pvrexport.VerifyOptions{TempDir: t.TempDir()}); err != nil {
		t.Error(err)
	} else if worst, any := diag.Worst(findings); any && worst > diag.Note {
		// The required service is another container's.
		for _, f := range findings {
			if !strings.Contains(f.Message, "network-manager") {
				t.Error(f)
			}
		}
	}

	want := []string{
		"#spec", "_config/zoo/etc/app.json", "_config/zoo/etc/raw.txt", "zoo/lxc.container.conf", "zoo/mdev.json",
		"zoo/root.squashfs", "zoo/root.squashfs.rootfs-digest", "zoo/run.json", "zoo/services.json", "zoo/src.json",
	}
	var keys []string
	for k := range state.All() {
		keys = append(keys, k)
	}
	if !slices.Equal(keys, want) {
		t.Errorf("keys %q\nwant %q", keys, want)
	}
	if got := string(object(t, state, mem, "zoo/root.squashfs.rootfs-digest")); got != "sha256:"+res.ImageDigest {
		t.Errorf("digest file %q", got)
	}
	if got := string(object(t, state, mem, "_config/zoo/etc/app.json")); got != "{ \"b\": 1.50, \"a\": null }\n" {
		t.Errorf("the overlay's JSON was rewritten: %q", got)
	}
	src, _ := state.Get("zoo/src.json")
	for _, s := range []string{`"rootfs_digest":"sha256:` + res.ImageDigest, `"persistence":{"/data":"revision","ovl:/var":"permanent"}`, `"PV_SERVICES_REQUIRED":[{"name":"network-manager"}]`} {
		if !strings.Contains(src.String(), s) {
			t.Errorf("src.json lacks %s: %s", s, src)
		}
	}
	if strings.Contains(src.String(), dir) || strings.Contains(src.String(), "base-") {
		t.Errorf("a host path is in src.json: %s", src)
	}
	if conf := string(object(t, state, mem, "zoo/lxc.container.conf")); !strings.Contains(conf, `lxc.init.cmd = /usr/bin/tool`) || !strings.Contains(conf, "PORT=8080") {
		t.Errorf("lxc.container.conf:\n%s", conf)
	}

	for name, want := range map[string]string{
		".":              "directory 0755 0:0 1700000000",
		"etc":            "directory 0755 0:0 1000000000",
		"etc/arch":       "file 4711 5:6 1000000000",
		"usr/bin/tool":   "file 4755 0:0 1700000000",
		"srv":            "directory 0755 0:0 1700000000",
		"srv/index.html": "file 0644 33:33 1700000000",
		"big.bin":        "file 0644 0:0 1700000000",
		"var/www":        "directory 0750 33:33 1700000000",
		"etc/motd":       "file 0644 0:0 1700000000",
		"etc/copy":       "file 0600 0:0 1700000000",
		"sbin/init":      "symlink 0777 0:0 1700000000",
		"dev/null":       "character device 0666 0:0 1700000000",
		"run/pipe":       "fifo 0644 0:0 1700000000",
		"only-arm":       "directory 0755 0:0 1700000000",
	} {
		n := tree.Lookup(name)
		if n == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if got := fmt.Sprintf("%s %04o %d:%d %d", n.Kind, n.Mode, n.UID, n.GID, n.ModTime); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"srv/old.bak", "etc/unwanted", "etc/shadow"} {
		if tree.Lookup(name) != nil {
			t.Errorf("%s is there", name)
		}
	}
	if tree.Lookup("etc/arch") != tree.Lookup("etc/arch2") {
		t.Error("the hard link was lost")
	}
	if got := text(t, tree, "etc/arch"); got != "armv7" {
		t.Errorf("etc/arch holds %q", got)
	}
	if got := text(t, tree, "etc/passwd"); !strings.Contains(got, "www-data:x:33:33::/var/www:/sbin/nologin\n") || !strings.HasPrefix(got, "root:") {
		t.Errorf("etc/passwd:\n%s", got)
	}
	// cap_net_raw is bit 13; revision 2, effective.
	if got, want := xattr(tree, "usr/bin/tool", "security.capability"), "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"; got != want {
		t.Errorf("capability %q", got)
	}
	if got := xattr(tree, "etc/motd", "user.note"); got != "yes it is" {
		t.Errorf("user.note %q", got)
	}
}

// TestMergedUsr lays layers with bin/ over a tree in which bin is a symlink.
func TestMergedUsr(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"files/bin/tool": "tool", "files/bin/deep/x": "x",
		"container.yaml": "name: c\nrootfs:\n  - mkdir: /usr/bin\n    mode: 0711\n  - symlink: /bin\n    target: usr/bin\n" +
			"  - mkdir: /bin\n    mode: 0700\n  - dir: files\n    rules: [{path: /usr/bin/tool, mode: 0700}]\n" +
			"  - file: /bin/one\n    content: x\n  - file: /bin/two\n    content: x\n  - remove: /bin/two\n",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	bundle, _ := build(t, dir, "amd64", container.Options{})
	_, _, tree := opened(t, bundle, "c")
	var got []string
	for name, n := range tree.All() {
		got = append(got, fmt.Sprintf("%s %o", name, n.Mode))
	}
	want := []string{". 755", "bin 777", "usr 755", "usr/bin 700", "usr/bin/deep 755", "usr/bin/deep/x 644", "usr/bin/one 644", "usr/bin/tool 700"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func text(t *testing.T, tree *rootfs.Tree, name string) string {
	t.Helper()
	r, err := tree.Lookup(name).Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func xattr(tree *rootfs.Tree, name, attr string) string {
	for _, x := range tree.Lookup(name).Xattrs {
		if x.Name == attr {
			return string(x.Value)
		}
	}
	return ""
}

// TestSameInputSameBytes builds a definition twice: from two checkouts made by
// different users (if the test is root's), under different umasks at different
// times, with one worker and with four.
func TestSameInputSameBytes(t *testing.T) {
	for _, codec := range []string{"gzip", "zstd", "xz", "lz4", "lz4hc", "none"} {
		t.Run(codec, func(t *testing.T) {
			first := source(t, codec)
			one, _ := build(t, first, "amd64", container.Options{Workers: 1})
			second := source(t, codec)
			later := time.Now().Add(1000 * time.Hour)
			err := filepath.WalkDir(second, func(name string, d os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				st, err := d.Info()
				if err != nil {
					return err
				}
				if os.Geteuid() == 0 {
					err = os.Lchown(name, 1234, 5678)
				}
				return errors.Join(err, os.Chmod(name, st.Mode()&0o700), os.Chtimes(name, later, later))
			})
			if err != nil {
				t.Fatal(err)
			}
			two, _ := build(t, second, "amd64", container.Options{Workers: 4})
			if !bytes.Equal(one, two) {
				t.Errorf("the bundles differ: %d and %d bytes", len(one), len(two))
			}
			other, _ := build(t, second, "amd64", container.Options{Epoch: time.Unix(1, 0)})
			if bytes.Equal(one, other) {
				t.Error("the epoch changes nothing")
			}
		})
	}
}

// buildError builds and wants to fail, without leaving anything behind.
func buildError(t *testing.T, def *container.Definition, opts container.Options) error {
	t.Helper()
	out := t.TempDir()
	opts.TempDir = out
	b, err := container.NewBuilder(opts)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.BuildFile(t.Context(), def, "amd64", filepath.Join(out, "x.tgz"), nil)
	if err == nil {
		t.Fatalf("no error, but %+v", res)
	}
	if _, ok := errors.AsType[*container.BuildError](err); !ok {
		t.Errorf("%T is not a BuildError: %v", err, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return err
}

func TestLayerErrorsNameTheirPlace(t *testing.T) {
	dir := t.TempDir()
	base := baseTar(t, "x")
	for name, data := range map[string][]byte{
		"cut.tar": base[:700], "junk.tar": []byte("not an archive, but long enough to look at"), "base.tar": base,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ layers, want string }{
		{"  - dir: missing\n", "container.yaml:3:5: layer dir missing: "},
		{"  - tar: missing.tar\n", "missing.tar: no such file"},
		{"  - tar: cut.tar\n", "layer tar cut.tar: "},
		{"  - tar: junk.tar\n", "layer tar junk.tar: "},
		{"  - file: /a\n    from: missing\n", "missing: no such file"},
		{"  - file: /a\n    from: .\n", "not a regular file"},
		{"  - file: /a\n    content: x\n    owner: nobody\n", `no such name`},
		{"  - file: /a\n    content: x\n    capabilities: cap_net_rwa=ep\n", `did you mean "net_raw"?`},
		{"  - file: /a\n    content: x\n    capabilities: cap_net_raw\n", "want names, ="},
		{"  - file: /a\n    content: x\n    xattrs: {system.x: y}\n", "user.*, trusted.* and security.* only"},
		{"  - tar: base.tar\n  - file: /etc\n    content: x\n", "an earlier layer has a directory there"},
		{"  - symlink: /bin\n    target: usr/bin\n  - mkdir: /bin\n", "has a symlink to usr/bin there"},
		{"  - symlink: /a\n    target: b\n  - symlink: /b\n    target: a\n  - file: /a/x\n    content: x\n", "too many levels"},
		{"  - remove: /nothing\n", "nothing at this path"},
		{"  - tar: base.tar\n    rules: [{path: /no/such, mode: 0644}]\n", "nothing is at /no/such"},
		{"  - file: /a\n    content: x\n  - user: u\n    uid: 5\n  - user: u\n    uid: 6\n", "exists already"},
		{"  - file: /../a\n    content: x\n", `holds ".."`},
		{"  - file: /a\n    content: x\nconfig:\n  - dir: .\n  - file: /cut.tar/x\n    content: x\n", "config: "},
	} {
		def, found := container.Parse("container.yaml", dir, []byte("name: c\nrootfs:\n"+c.layers))
		if def == nil {
			t.Errorf("%s%v", c.layers, found)
			continue
		}
		if err := buildError(t, def, container.Options{}); !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %q", c.layers, err, c.want)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	dir := source(t, "zstd")
	name := filepath.Join(dir, "files", "big.bin")
	if os.Geteuid() == 0 {
		// Root reads everything; a file that shrinks is as good.
		def := load(t, dir)
		b, err := container.NewBuilder(container.Options{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		shrink := func(s container.Stage, _, _ int64) {
			if s == container.Compressing {
				_ = os.Truncate(name, 10)
			}
		}
		_ = os.WriteFile(filepath.Join(dir, "files", "a.aaa"), bytes.Repeat([]byte("x"), 200000), 0o644)
		if _, err := b.Build(t.Context(), def, "amd64", io.Discard, shrink); err == nil || !strings.Contains(err.Error(), "big.bin") {
			t.Errorf("a file that shrinks: %v", err)
		}
		return
	}
	if err := os.Chmod(name, 0); err != nil {
		t.Fatal(err)
	}
	if err := buildError(t, load(t, dir), container.Options{}); !strings.Contains(err.Error(), "big.bin") {
		t.Error(err)
	}
}

func TestFullDisk(t *testing.T) {
	testreq.Root(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128k"); err != nil {
		testreq.Feature(t, "mount", false, err.Error())
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	dir := source(t, "none")
	b, err := container.NewBuilder(container.Options{TempDir: disk})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.BuildFile(t.Context(), load(t, dir), "amd64", filepath.Join(disk, "out.tgz"), nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("image on a full disk: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(disk); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// The image elsewhere, the bundle on the full disk.
	if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 1<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	b, err = container.NewBuilder(container.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.BuildFile(t.Context(), load(t, dir), "amd64", filepath.Join(disk, "out.tgz"), nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("bundle on a full disk: %v", err)
	}
	if left, _ := os.ReadDir(disk); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCancel(t *testing.T) {
	dir := source(t, "xz")
	ctx, cancel := context.WithCancel(t.Context())
	out := t.TempDir()
	b, err := container.NewBuilder(container.Options{TempDir: out})
	if err != nil {
		t.Fatal(err)
	}
	stop := func(s container.Stage, _, _ int64) {
		if s == container.Compressing {
			cancel()
		}
	}
	_, err = b.BuildFile(ctx, load(t, dir), "amd64", filepath.Join(out, "x.tgz"), stop)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// BenchmarkBuild is a definition with every kind of layer but go, and 70 MB
// in small files, from the host's directory to the bundle.
func BenchmarkBuild(b *testing.B) {
	dir := source(b, "zstd")
	size := 0
	for i := range 1000 {
		name := filepath.Join(dir, "files", "usr", "share", fmt.Sprintf("%03d.txt", i))
		text := strings.Repeat(fmt.Sprintf("line %d of a text that repeats itself\n", i*7919%1000), 64<<20/1000/38)
		size += len(text)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		build(b, dir, "amd64", container.Options{})
	}
}

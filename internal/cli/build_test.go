package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/container"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// call is a command line with its streams and environment.
type call struct {
	args  []string
	stdin []byte
	env   map[string]string
}

func (c call) run(t *testing.T) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(context.Background(), cli.Env{
		Args: c.args, Stdin: bytes.NewReader(c.stdin), Stdout: &out, Stderr: &errs,
		Getenv: func(name string) string { return c.env[name] },
	})
	return code, out.String(), errs.String()
}

// folder makes files below a new directory and goes there.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

const (
	goodYAML = "name: good\ngroup: app\narchitectures: [arm64, amd64]\nrootfs:\n  - file: /a\n    content: x\n"
	badYAML  = "name: bad\nentrypont: [/a]\nrootfs:\n  - file: /a\n    content: x\n"
	failYAML = "name: fail\narchitectures: [amd64]\nrootfs:\n  - dir: missing\n"
)

var variable = regexp.MustCompile(`[0-9a-f]{12}  [0-9.]+ s|in [0-9.]+ s|[0-9.]+ (Ki)?B`)

func TestBuild(t *testing.T) {
	for name, c := range map[string]struct {
		files     map[string]string
		args      []string
		env       map[string]string
		code      int
		out, errs string
		made      string
	}{
		"here": {
			files: map[string]string{"container.yaml": goodYAML}, args: []string{"build", "-j1"},
			out:  "NAME  ARCH   SIZE   SHA256        TIME\ngood  arm64  *  *\ngood  amd64  *  *\n",
			errs: "built good arm64: * *\nbuilt good amd64: * *\n",
			made: "good-amd64.pvrexport.tgz good-arm64.pvrexport.tgz",
		},
		"below": {
			files: map[string]string{"a/container.yaml": goodYAML, "b/other.yaml": badYAML}, args: []string{"build", "-q", "--arch", "amd64"},
			made: "good-amd64.pvrexport.tgz",
		},
		"nothing": {args: []string{"build"}, code: cli.ExitUsage, errs: "pvkit: there is no container.yaml here nor in a directory below; name one\n"},
		"all that is wrong": {
			files: map[string]string{"a/container.yaml": badYAML, "b/container.yaml": badYAML, "c/container.yaml": goodYAML}, args: []string{"build"},
			code: cli.ExitFailure,
			errs: "a/container.yaml:2:1: error: unknown key \"entrypont\" (did you mean \"entrypoint\"?) [container-yaml]\n" +
				"b/container.yaml:2:1: error: unknown key \"entrypont\" (did you mean \"entrypoint\"?) [container-yaml]\n" +
				"pvkit: 2 definitions of 3 cannot be built\n",
		},
		"one fails": {
			files: map[string]string{"a/container.yaml": failYAML, "b/container.yaml": goodYAML}, args: []string{"build", "-j1", "--arch", "amd64"},
			code: cli.ExitFailure,
			out:  "NAME  ARCH   SIZE   SHA256        TIME\ngood  amd64  *  *\n",
			errs: "pvkit: build fail for amd64: a/container.yaml:4:5: layer dir missing: read root filesystem: open a/missing: no such file or directory\n" +
				"built good amd64: * *\npvkit: 1 build of 2 failed\n",
			made: "good-amd64.pvrexport.tgz",
		},
		"check": {
			files: map[string]string{"container.yaml": failYAML}, args: []string{"build", "--check"}, out: "1 definition: no errors\n",
		},
		"check finds": {
			files: map[string]string{"container.yaml": badYAML}, args: []string{"build", "--check"}, code: cli.ExitFailure,
			errs: "container.yaml:2:1: error: unknown key \"entrypont\" (did you mean \"entrypoint\"?) [container-yaml]\npvkit: 1 definition of 1 cannot be built\n",
		},
		"one name twice": {
			files: map[string]string{"a/container.yaml": goodYAML, "b/container.yaml": goodYAML}, args: []string{"build"}, code: cli.ExitUsage,
			errs: "pvkit: a/container.yaml and b/container.yaml both make out/good-arm64.pvrexport.tgz\n",
		},
		"warnings once": {
			files: map[string]string{"container.yaml": strings.Replace(goodYAML, "app", "ap", 1)}, args: []string{"build", "-q"},
			errs: "container.yaml:2:8: warning: the group ap is not one of data, root, platform, app; a device that does not have it refuses the revision (did you mean app?) [manifest-value]\n",
			made: "good-amd64.pvrexport.tgz good-arm64.pvrexport.tgz",
		},
		"no such architecture": {
			files: map[string]string{"container.yaml": goodYAML}, args: []string{"build", "--arch", "armv7"}, code: cli.ExitUsage,
			errs: "pvkit: none of the definitions is for any of the architectures asked for\n",
		},
		"unknown architecture": {args: []string{"build", "--arch", "arm46"}, code: cli.ExitUsage, errs: "pvkit: --arch: unknown architecture \"arm46\": want amd64, arm64, armv7, riscv64 or all; did you mean \"arm64\"?\n"},
		"bad preset":           {args: []string{"build", "--preset", "tiny"}, code: cli.ExitUsage, errs: "pvkit: unknown preset \"tiny\": want one of balanced, low-memory, fast, xz, smallest, gzip, zstd, lz4, lz4hc, none\n"},
		"bad block size":       {args: []string{"build", "--block-size", "3K"}, code: cli.ExitUsage, errs: "pvkit: squashfs option block size: 3072 is not a power of two from 4096 to 1048576\n"},
		"bad level":            {args: []string{"build", "--compression", "lz4", "--level", "3"}, code: cli.ExitUsage, errs: "pvkit: squashfs option level: lz4 has no levels\n"},
		"bad epoch":            {args: []string{"build"}, env: map[string]string{"SOURCE_DATE_EPOCH": "today"}, code: cli.ExitUsage, errs: "pvkit: SOURCE_DATE_EPOCH=today: want seconds since 1970, at most 4294967295\n"},
		"bad engine":           {args: []string{"build", "--engine", "genext2fs"}, code: cli.ExitUsage, errs: "pvkit: --engine \"genext2fs\": want internal, mksquashfs, tar2sqfs\n"},
		"missing engine":       {args: []string{"build", "--engine", "tar2sqfs"}, env: map[string]string{"PATH": "relative"}, code: cli.ExitFailure, errs: "pvkit: --engine tar2sqfs: there is no such program on PATH\n"},
		"missing file":         {args: []string{"build", "none"}, code: cli.ExitFailure, errs: "pvkit: open none: no such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			folder(t, c.files)
			code, out, errs := call{args: c.args, env: c.env}.run(t)
			errs = strings.TrimSuffix(errs, "Run 'pvkit build --help' for usage.\n")
			for what, pair := range map[string][2]string{"stdout": {out, c.out}, "stderr": {errs, c.errs}} {
				if got := variable.ReplaceAllString(pair[0], "*"); got != pair[1] {
					t.Errorf("%s:\n%s\nwant:\n%s", what, got, pair[1])
				}
				for line := range strings.Lines(pair[0]) {
					if (strings.HasPrefix(line, "built") || what == "stdout") && len([]rune(line)) > 81 {
						t.Errorf("%s: longer than 80 columns: %q", what, line)
					}
				}
			}
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			if made := strings.Join(names(t, "out"), " "); made != c.made {
				t.Errorf("made %q, want %q", made, c.made)
			}
		})
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestBuildJSON(t *testing.T) {
	folder(t, map[string]string{"container.yaml": goodYAML})
	code, out, errs := call{args: []string{"build", "--json", "-q"}}.run(t)
	var results []container.Result
	if err := json.Unmarshal([]byte(out), &results); err != nil || code != 0 {
		t.Fatal(code, err, errs)
	}
	if len(results) != 2 || results[0].Arch != "arm64" || results[1].Arch != "amd64" {
		t.Fatalf("results %+v", results)
	}
	for _, r := range results {
		data, err := os.ReadFile(r.File)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(data)) != r.Size || pvrexport.ObjectID(data) != r.Digest || r.Files != 1 {
			t.Errorf("result %+v of a file with %d bytes", r, len(data))
		}
	}
}

func TestBuildSchema(t *testing.T) {
	_, out, _ := call{args: []string{"build", "--schema"}}.run(t)
	if out != string(container.Schema()) {
		t.Error("--schema prints something else")
	}
}

func TestBuildEpochAndPreset(t *testing.T) {
	folder(t, map[string]string{"container.yaml": goodYAML})
	code, _, errs := call{args: []string{"build", "--preset", "xz", "-o", "x/y"}, env: map[string]string{"SOURCE_DATE_EPOCH": "1234567890"}}.run(t)
	if code != 0 {
		t.Fatal(errs)
	}
	im, tree := rootOf(t, filepath.Join("x", "y", "good-amd64.pvrexport.tgz"), "good")
	if n := tree.Lookup("a"); n == nil || n.ModTime != 1234567890 {
		t.Errorf("the file's time: %+v", n)
	}
	if got := im.Info().Compression; got != squashfs.XZ {
		t.Errorf("compression %s", got)
	}
}

func TestBuildWithAnotherEngine(t *testing.T) {
	for _, tool := range squashfs.ExternalTools() {
		testreq.Tool(t, tool)
		folder(t, map[string]string{"container.yaml": goodYAML})
		code, _, errs := call{
			args: []string{"build", "-q", "--preset", "xz", "--engine", tool, "--arch", "amd64"},
			env:  map[string]string{"PATH": os.Getenv("PATH")},
		}.run(t)
		if code != 0 {
			t.Fatal(errs)
		}
		im, tree := rootOf(t, filepath.Join("out", "good-amd64.pvrexport.tgz"), "good")
		if n := tree.Lookup("a"); n == nil || n.Size() != 1 || im.Info().Compression != squashfs.XZ {
			t.Errorf("%s: %+v in %s", tool, n, im.Info().Compression)
		}
		if made := names(t, "out"); len(made) != 1 {
			t.Errorf("%s: made %v", tool, made)
		}
	}
}

// rootOf opens the root filesystem in a bundle.
func rootOf(t *testing.T, file, name string) (*squashfs.Image, *rootfs.Tree) {
	t.Helper()
	state, mem := bundleOf(t, file)
	v, _ := state.Get(name + "/root.squashfs")
	id, _ := v.Object()
	r, size, err := mem.OpenObject(id)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	im, err := squashfs.Open(bytes.NewReader(data), size)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := im.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return im, tree
}

func bundleOf(t *testing.T, file string) (*pvrexport.State, *pvrexport.Memory) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mem := &pvrexport.Memory{}
	state, err := pvrexport.Import(t.Context(), f, mem, pvrexport.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return state, mem
}

func TestCompletion(t *testing.T) {
	for _, c := range []struct{ flag, want string }{{"--preset", "low-memory"}, {"--arch", "riscv64"}, {"--compression", "lz4hc"}} {
		if _, out, _ := (call{args: []string{"__complete", "build", c.flag, ""}}).run(t); !strings.Contains(out, c.want+"\n") {
			t.Errorf("%s completes to %q", c.flag, out)
		}
	}
}

// TestAddSources adds one root filesystem as a directory and as an archive in
// every packing: the bundles must be the same to the byte.
func TestAddSources(t *testing.T) {
	dir := folder(t, map[string]string{"r/bin/sh": "#!", "r/etc/x": strings.Repeat("x", 300000), "args.json": `{"PV_STATUS_GOAL": "STARTED"}`})
	if err := errors.Join(os.Symlink("sh", "r/bin/ash"), os.Chmod("r/bin/sh", os.ModeSetuid|0o755), os.Link("r/etc/x", "r/etc/y")); err != nil {
		t.Fatal(err)
	}
	base := []string{"add", "web", "-q", "--group", "app", "--arg-json", "args.json", "--volume", "ovl:/var:permanent"}
	made := func(c call) []byte {
		t.Helper()
		code, out, errs := c.run(t)
		if code != 0 || errs != "" {
			t.Fatalf("%v: code %d\n%s", c.args, code, errs)
		}
		return []byte(out)
	}
	want := made(call{args: append(base, "--from", "r", "-o", "-")})
	tree := func() *rootfs.Tree {
		if err := os.WriteFile("w.tgz", want, 0o644); err != nil {
			t.Fatal(err)
		}
		_, tree := rootOf(t, "w.tgz", "web")
		return tree
	}()
	if n := tree.Lookup("bin/sh"); n == nil || n.Mode != 0o4755 || n.UID != 0 || n.ModTime < 1e9 {
		t.Errorf("bin/sh: %+v", n)
	}
	tar := testreq.Tool(t, "tar")
	for ext, flag := range map[string]string{"tar": "-c", "tgz": "-cz", "tar.xz": "-cJ", "tar.bz2": "-cj", "tar.zst": "-c --zstd"} {
		file := filepath.Join(dir, "r."+ext)
		args := append(strings.Fields(flag), "-f", file, "--owner=0", "--group=0", "-C", "r", ".")
		if out, err := exec.Command(tar, args...).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v %s", err, out)
		}
		if got := made(call{args: append(base, "--from", file, "-o", "-")}); !bytes.Equal(got, want) {
			t.Errorf("%s: another bundle", ext)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := made(call{args: append(base, "--from", "-", "-o", "-"), stdin: data}); !bytes.Equal(got, want) {
			t.Errorf("%s from standard input: another bundle", ext)
		}
	}
	if left := names(t, "."); strings.Contains(strings.Join(left, " "), ".tmp") {
		t.Errorf("left behind: %v", left)
	}
}

func TestAddState(t *testing.T) {
	folder(t, map[string]string{
		"r/bin/sh": "#!", "r/lib/modules/6/x.ko": "x", "r/lib/firmware/y": "y", "r/lib/z": "z",
		"args.json":       `{"PV_RESTART_POLICY": "system", "PV_LXC_CAP_KEEP": ["net_admin"]}`,
		"config.json":     `{"Entrypoint": ["/sbin/app.sh"], "Cmd": ["-x", "a b"], "WorkingDir": "/"}`,
		"services.json":   `{"#spec": "service-manifest-xconnect@1", "services": [{"name": "raw-unix", "type": "unix", "socket": "/run/raw.sock"}]}`,
		"mdev.json":       `{"rules": [".* 0:0 666"]}`,
		"network.json":    `{"pool": "internal"}`,
		"conf/etc/a.json": `{"b": 1.5, "a": null}`, "conf/etc/b.txt": "b",
	})
	code, _, errs := call{args: []string{
		"add", "--from", "r", "--name", "app", "--group", "root", "--arg-json", "args.json", "--arg", "PV_RESTART_POLICY=container",
		"--config-json", "config.json", "--services", "services.json", "--mdev", "mdev.json", "--network-json", "network.json",
		"--config-overlay", "conf", "--build-origin", "yocto", "--volume", "ovl:/var:permanent", "--volume", "/data:revision@usb",
		"--format-options", "-comp lz4 -Xhc -e lib/modules -e lib/firmware ", "-q",
	}}.run(t)
	if code != 0 || errs != "" {
		t.Fatal(code, errs)
	}
	state, _ := bundleOf(t, "app.pvrexport.tgz")
	im, tree := rootOf(t, "app.pvrexport.tgz", "app")
	if got := im.Info().Compression; got != squashfs.LZ4 {
		t.Errorf("compression %s", got)
	}
	if tree.Lookup("lib/modules") != nil || tree.Lookup("lib/firmware") != nil || tree.Lookup("lib/z") == nil {
		t.Error("the excludes are wrong")
	}
	for key, want := range map[string][]string{
		"app/src.json": {
			`"PV_RESTART_POLICY":"container"`, `"PV_LXC_CAP_KEEP":["net_admin"]`, `"pv_build_origin":"yocto"`,
			`"docker_config":{"Cmd":["-x","a b"],"Entrypoint":["/sbin/app.sh"],"WorkingDir":"/"}`,
			`"persistence":{"/data":"revision@usb","ovl:/var":"permanent"}`,
		},
		"app/run.json":           {`"group":"root"`, `"restart_policy":"container"`, `"network":{"hostname":"app","pool":"internal"}`},
		"app/services.json":      {`"name":"raw-unix"`},
		"app/mdev.json":          {`".* 0:0 666"`},
		"_config/app/etc/a.json": {`{"b":1.5E0}`},
	} {
		v, _ := state.Get(key)
		for _, w := range want {
			if !strings.Contains(v.String(), w) {
				t.Errorf("%s lacks %s: %s", key, w, v)
			}
		}
	}
	if v, _ := state.Get("app/src.json"); strings.Contains(v.String(), "rootfs_url") {
		t.Errorf("src.json names the source: %s", v)
	}
}

func TestAddErrors(t *testing.T) {
	folder(t, map[string]string{
		"r/a": "a", "bad.json": "{\n  \"a\": 1,\n}", "list.json": "[]", "two.json": "{} {}",
		"services.json": `{"services": [{"name": "x", "sokcet": "/y"}]}`, "net.json": `{"interfaces": []}`, "junk.tar": "junk that is no archive",
	})
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", cli.ExitUsage, "--from is missing"},
		{"--from r", cli.ExitUsage, "no name"},
		{"--from r a --name b", cli.ExitUsage, "two names"},
		{"--from r a --type docker", cli.ExitUsage, "only rootfs"},
		{"--from r a --group x --runlevel y", cli.ExitUsage, "exclude each other"},
		{"--from none a", cli.ExitFailure, "no such file"},
		{"--from junk.tar a", cli.ExitFailure, "layer tar junk.tar"},
		{"--from r a/b", cli.ExitFailure, "name"},
		{"--from r a --arg =x", cli.ExitUsage, "want NAME=value"},
		{"--from r a --arg PV_STATUS_GOAL=DONE", cli.ExitFailure, "--arg PV_STATUS_GOAL: error: "},
		{"--from r a --arg-json bad.json", cli.ExitFailure, "bad.json: line 3"},
		{"--from r a --arg-json list.json", cli.ExitFailure, "list.json"},
		{"--from r a --arg-json two.json", cli.ExitFailure, "something after"},
		{"--from r a --config-json none", cli.ExitFailure, "--config-json: open none"},
		{"--from r a --services services.json", cli.ExitFailure, "sokcet"},
		{"--from r a --network-json net.json", cli.ExitFailure, "interfaces"},
		{"--from r a --volume ovl:/var", cli.ExitUsage, "want [ovl:]/path"},
		{"--from r a --owner 5", cli.ExitFailure, "no such user"},
		{"--from r a --owner :", cli.ExitUsage, "want user:group"},
		{"--from r a --times never", cli.ExitUsage, "want keep or epoch"},
		{"--from junk.tar a --times epoch", cli.ExitUsage, "for directories"},
		{"--from r a --json -o -", cli.ExitUsage, "standard output"},
		{"--from r a -o r", cli.ExitUsage, "a directory"},
		{"--from r a -o none/x.tgz", cli.ExitFailure, "none"},
		{"--from r a --format-options=-comp", cli.ExitUsage, "-comp needs a value"},
	} {
		code, _, errs := call{args: append([]string{"add"}, strings.Fields(c.args)...)}.run(t)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("add %s: code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, errs)
		}
	}
	if left := names(t, "."); len(left) != 7 {
		t.Errorf("left behind: %v", left)
	}
}

// A device or pipe must not be replaced by a file.
func TestAddToDevice(t *testing.T) {
	folder(t, map[string]string{"r/a": "a"})
	if code, _, errs := (call{args: []string{"add", "--from", "r", "a", "-q", "-o", os.DevNull}}).run(t); code != 0 {
		t.Error(errs)
	}
	if st, err := os.Stat(os.DevNull); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		t.Fatalf("%s is %v, %v", os.DevNull, st.Mode(), err)
	}
}

func TestFormatOptions(t *testing.T) {
	folder(t, map[string]string{"r/a": strings.Repeat("a", 1000), "r/b [c]": "b", "r/d.pyc": "d", "r/e/f.pyc": "f"})
	for options, want := range map[string]string{
		"":         "zstd 1048576: a b [c] d.pyc e e/f.pyc",
		"-comp xz": "xz 131072: a b [c] d.pyc e e/f.pyc",
		"-comp gzip -b 64K -Xcompression-level 3 -no-xattrs -processors 2": "gzip 65536: a b [c] d.pyc e e/f.pyc",
		"-comp lz4 -Xhc":              "lz4 131072: a b [c] d.pyc e e/f.pyc",
		`-e "b [c]" e/f.pyc`:          "zstd 1048576: a d.pyc e",
		`-e *.pyc`:                    "zstd 1048576: a b [c] d.pyc e e/f.pyc",
		`-wildcards -e '... *.pyc' a`: "zstd 1048576: b [c] e",
		"-e a -e e":                   "zstd 1048576: b [c] d.pyc",
		"-e a -root-mode 0755":        "error: -root-mode after -e",
		"-root-mode 0700":             "error: the root directory always has 0755",
		"-comp lzo":                   "error: want gzip, zstd, xz or lz4",
		"-Xhc":                        "error: -Xhc comes after -comp lz4",
		"-Xbcj arm":                   "error: -Xbcj is not supported",
		"-no-exprots":                 "error: did you mean -no-exports?",
		"-b":                          "error: -b needs a value",
		"-b big":                      "error: size",
		"-e":                          "error: -e needs a path",
		`-e "a`:                       "error: not closed",
		"r a.squashfs":                "error: r is not supported",
	} {
		code, _, errs := call{args: []string{"add", "--from", "r", "x", "-q", "--format-options", options}}.run(t)
		if msg, bad := strings.CutPrefix(want, "error: "); bad {
			if code != cli.ExitUsage || !strings.Contains(errs, msg) {
				t.Errorf("%q: code %d, %s want %s", options, code, errs, msg)
			}
			continue
		}
		if code != 0 {
			t.Errorf("%q: %s", options, errs)
			continue
		}
		im, tree := rootOf(t, "x.pvrexport.tgz", "x")
		got := []string{im.Info().Compression.String(), fmt.Sprintf("%d:", im.Info().BlockSize)}
		for name := range tree.All() {
			if name != "." {
				got = append(got, name)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: %s, want %s", options, s, want)
		}
	}
}

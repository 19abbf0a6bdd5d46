package bitbake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// layers are the checkouts that the tests on real trees use: PVKIT_POKY is
// poky, PVKIT_LAYERS more layers, separated by colons.
func layers(t testing.TB) (poky string, list []string) {
	poky = testreq.Env(t, "PVKIT_POKY", "a checkout of poky (with bitbake, meta and meta-poky)")
	list = []string{poky + "/meta", poky + "/meta-poky", poky + "/meta-yocto-bsp"}
	if more := os.Getenv("PVKIT_LAYERS"); more != "" {
		list = append(list, strings.Split(more, ":")...)
	}
	return poky, list
}

// buildDir makes a build directory for the layers.
func buildDir(t testing.TB, list []string, local string) string {
	dir := t.TempDir()
	files := map[string]string{
		"conf/bblayers.conf": "BBPATH = \"${TOPDIR}\"\nBBFILES ?= \"\"\nBBLAYERS ?= \"" + strings.Join(list, " ") + "\"\n",
		"conf/local.conf":    local,
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var realConfs = map[string]string{
	"poky":     "MACHINE ?= \"qemux86-64\"\nDISTRO ?= \"poky\"\n",
	"nodistro": "MACHINE ?= \"qemuarm64\"\n",
	"tiny":     "MACHINE = \"qemux86\"\nDISTRO = \"poky-tiny\"\nINHERIT += \"rm_work\"\n",
	"pitfall":  "MACHINE = \"qemuriscv64\"\nDISTRO = \"poky-altcfg\"\nPANTAVISOR_FEATURES += \"appengine\"\nDISTRO_FEATURES:append = \" lost\"\nDISTRO_FEATURES:remove = \"x11 3g\"\n",
}

// randomLocal is a local.conf that does to real variables what the generator
// does to its own.
func randomLocal(seed uint64) string {
	g := newGenerator(seed)
	b := &strings.Builder{}
	fmt.Fprintf(b, "MACHINE ?= %q\nDISTRO ?= %q\n", g.pick("qemux86-64", "qemuarm64", "qemuarm", "beaglebone-yocto"), g.pick("poky", "poky-tiny", "nodistro", "poky-altcfg"))
	words := func() string {
		var w []string
		for range g.r.IntN(4) {
			w = append(w, g.pick("runc", "xconnect", "x11", "wifi", "systemd", "usrmerge", "opengl", "${NOPE}", "${MACHINE}", "${@bb.utils.contains('TUNE_FEATURES', 'm64', 'gui', 'nogui', d)}"))
		}
		return g.pick("", " ") + strings.Join(w, " ")
	}
	for range 4 + g.r.IntN(12) {
		name := g.pick("PANTAVISOR_FEATURES", "DISTRO_FEATURES", "MACHINE_FEATURES", "IMAGE_FSTYPES", "IMAGE_FEATURES", "EXTRA_IMAGE_FEATURES", "PACKAGECONFIG", "MY_FEATURES")
		if g.chance(30) {
			name += g.pick(":qemuall", ":class-target", ":poky", ":arm", ":x86-64", ":pn-defaultpkgname")
		}
		if g.chance(50) {
			name += g.pick(":append", ":prepend", ":remove") + g.pick("", "", ":qemuall", ":poky", ":forcevariable")
		}
		fmt.Fprintf(b, "%s %s \"%s\"\n", name, g.pick("=", "+=", "=+", ".=", "?=", "??="), words())
	}
	if g.chance(40) {
		b.WriteString(g.pick("INHERIT += \"rm_work\"\n", "INHERIT:remove = \"pvbase\"\n", "DISTROOVERRIDES .= \":foo\"\nMY_FEATURES:foo = \"seen\"\n", "INIT_MANAGER = \"systemd\"\n"))
	}
	return b.String()
}

func loadReal(t testing.TB, l *bitbake.Loader, dir string, finish bool) *bitbake.Datastore {
	d, _, err := bitbake.LoadConfig(context.Background(), bitbake.Options{
		Loader: l, TopDir: dir, Finish: finish, Strict: true,
		Env:  map[string]string{"PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME")},
		Host: bitbake.Host{System: "Linux", Machine: unameMachine(t), CPUs: runtime.NumCPU()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func unameMachine(t testing.TB) string {
	out, err := exec.Command("uname", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestRealConfig compares every variable of global configurations with the
// real BitBake's: equal or unknown. The features must be known.
func TestRealConfig(t *testing.T) {
	poky, list := layers(t)
	python := testreq.Tool(t, "python3")
	script, err := filepath.Abs("testdata/global.py")
	if err != nil {
		t.Fatal(err)
	}
	l := bitbake.NewLoader(os.DirFS("/"))
	confs := maps.Clone(realConfs)
	for i := range envInt(t, "PVKIT_REAL_CASES", 4) {
		seed := uint64(envInt(t, "PVKIT_SEED", 1) + i)
		confs[fmt.Sprintf("random %d", seed)] = randomLocal(seed)
	}
	for _, name := range slices.Sorted(maps.Keys(confs)) {
		t.Run(name, func(t *testing.T) {
			dir := buildDir(t, list, confs[name])
			cmd := exec.Command(python, script, poky+"/bitbake", dir)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, confs[name])
			}
			var want map[string]*string
			if err := json.Unmarshal(out, &want); err != nil {
				t.Fatal(err)
			}
			d := loadReal(t, l, dir, true)
			equal, unknown := 0, 0
			for _, v := range slices.Sorted(maps.Keys(want)) {
				got, ok, err := d.Get(v)
				switch {
				case err == nil && !got.Known:
					unknown++
				case err != nil && want[v] == nil, err == nil && !ok && want[v] == nil, err == nil && ok && want[v] != nil && got.Text == *want[v]:
					equal++
				default:
					t.Errorf("%s = %q, %v (%v), BitBake: %s", v, got.Text, ok, err, showPtr(want[v]))
				}
			}
			t.Logf("%d variables equal, %d unknown", equal, unknown)
			if t.Failed() {
				t.Logf("local.conf:\n%s", confs[name])
			}
			if unknown*5 > equal {
				t.Errorf("too much is unknown")
			}
			for _, v := range []string{"PANTAVISOR_FEATURES", "MY_FEATURES", "DISTRO_FEATURES", "MACHINE_FEATURES", "OVERRIDES", "INHERIT", "BBFILES"} {
				if got, _, _ := d.Get(v); !got.Known {
					t.Errorf("%s is not known: %s", v, got.Why)
				}
			}
		})
	}
}

// metadata lists the BitBake files below the layers.
func metadata(t testing.TB, list []string) []string {
	var out []string
	for _, dir := range list {
		err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			switch filepath.Ext(p) {
			case ".conf", ".bb", ".bbappend", ".bbclass", ".inc":
				out = append(out, p)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRealParse parses every file of the layers, as the real parser does.
func TestRealParse(t *testing.T) {
	poky, list := layers(t)
	python := testreq.Tool(t, "python3")
	script, err := filepath.Abs("testdata/parsefiles.py")
	if err != nil {
		t.Fatal(err)
	}
	files := metadata(t, list)
	cmd := exec.Command(python, script, poky+"/bitbake")
	cmd.Stdin = strings.NewReader(strings.Join(files, "\n") + "\n")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Fields(string(out))
	if len(answers) != len(files) {
		t.Fatalf("%d answers for %d files", len(answers), len(files))
	}
	refused := 0
	for i, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := bitbake.Parse(name, src)
		if (f.Err == nil) != (answers[i] == "ok") {
			t.Errorf("%s: %v, BitBake: %s", name, f.Err, answers[i])
		}
		if f.Err != nil {
			refused++
			continue
		}
		checkRoundTrip(t, name, src)
	}
	t.Logf("%d files, %d refused by both", len(files), refused)
}

// recipeVars are compared in TestRealRecipes.
var recipeVars = strings.Fields("PN PV PR BPN SUMMARY LICENSE DEPENDS RDEPENDS RRECOMMENDS PROVIDES RPROVIDES SRC_URI SRCREV FILE OVERRIDES " +
	"PACKAGES PACKAGECONFIG PACKAGECONFIG_CONFARGS EXTRA_OECONF EXTRA_OEMAKE EXTRA_OECMAKE IMAGE_INSTALL IMAGE_FEATURES IMAGE_FSTYPES " +
	"BBCLASSEXTEND COMPATIBLE_MACHINE S B WORKDIR INHERIT DISTRO_FEATURES MACHINE_FEATURES PANTAVISOR_FEATURES do_compile do_install do_configure FILESPATH CFLAGS")

// TestRealRecipes evaluates every recipe of the layers: no crash, no limit.
// Every PVKIT_RECIPE_STEP-th (default 40th) is compared with the real
// BitBake: equal or unknown.
func TestRealRecipes(t *testing.T) {
	poky, list := layers(t)
	python := testreq.Tool(t, "python3")
	script, err := filepath.Abs("testdata/recipes.py")
	if err != nil {
		t.Fatal(err)
	}
	step := envInt(t, "PVKIT_RECIPE_STEP", 40)
	dir := buildDir(t, list, realConfs["poky"])
	conf := loadReal(t, bitbake.NewLoader(os.DirFS("/")), dir, false)
	x := conf.Index()
	var in strings.Builder
	var asked []string
	for i := 0; i < len(x.Recipes); i += step {
		r := x.Recipes[i]
		asked = append(asked, r)
		in.WriteString(strings.Join(append([]string{r, x.Layer(r)}, x.Appends(r)...), "\t") + "\n")
	}
	cmd := exec.Command(python, append([]string{script, poky + "/bitbake", dir}, recipeVars...)...)
	cmd.Stdin = strings.NewReader(in.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		answers[asked[i]] = line
	}
	c := recipeTally{reasons: map[string]int{}}
	for _, r := range x.Recipes {
		d, _, err := bitbake.LoadRecipe(context.Background(), conf, r, bitbake.RecipeOptions{Index: x})
		line, ok := answers[r]
		if err != nil && !ok {
			t.Logf("%v", err)
		}
		if ok {
			c.compare(t, r, d, err, line)
		}
	}
	t.Logf("%d recipes, %d appends; %d compared: %d values equal, %d unknown, %d recipes refused by both", len(x.Recipes), len(x.AppendFiles), len(asked), c.equal, c.unknown, c.refused)
	for _, r := range slices.SortedFunc(maps.Keys(c.reasons), func(a, b string) int { return c.reasons[b] - c.reasons[a] }) {
		if c.reasons[r] > 5 {
			t.Logf("unknown (%d): %s", c.reasons[r], r)
		}
	}
	if len(asked) == 0 {
		t.Error("no recipes found")
	}
}

type recipeTally struct {
	equal, unknown, refused int
	reasons                 map[string]int
}

func (c *recipeTally) compare(t *testing.T, recipe string, d *bitbake.Datastore, loadErr error, answer string) {
	t.Helper()
	var want map[string]*string
	if err := json.Unmarshal([]byte(answer), &want); err != nil {
		t.Fatalf("%s: %q: %v", recipe, answer, err)
	}
	if e := want["error"]; e != nil {
		// Anonymous Python can refuse a recipe that evaluates.
		c.refused++
		if loadErr == nil && *e != "SkipRecipe" {
			t.Logf("%s: BitBake refuses it: %s", recipe, *e)
		}
		return
	}
	if loadErr != nil {
		t.Errorf("%s: %v, BitBake evaluates it", recipe, loadErr)
		return
	}
	for _, name := range recipeVars {
		v, ok, err := d.Get(name)
		w := want[name]
		switch {
		case err == nil && !v.Known:
			c.unknown++
			c.reasons[name+": "+v.Why]++
		case err != nil && w == nil, err == nil && !ok && w == nil, err == nil && ok && w != nil && v.Text == *w:
			c.equal++
		default:
			t.Errorf("%s: %s = %q, %v (%v), BitBake: %s", recipe, name, v.Text, ok, err, showPtr(w))
		}
	}
}

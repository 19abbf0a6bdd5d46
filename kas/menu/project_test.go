package menu_test

import (
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kas/menu"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// TestEmbedded compares the embedded files with the folders.
func TestEmbedded(t *testing.T) {
	for dir, embedded := range map[string]fs.FS{"..": kas.Fragments(), "../../kconfig": kconfig.ProjectFiles()} {
		folder := files(t, os.DirFS(dir))
		got := files(t, embedded)
		for name, text := range folder {
			if got[name] != text {
				t.Errorf("%s/%s: what is embedded differs", dir, name)
			}
		}
		for name := range got {
			if _, ok := folder[name]; !ok {
				t.Errorf("%s is embedded and not in %s", name, dir)
			}
		}
	}
}

// files reads the YAML and Kconfig files of a folder, those of tests left out.
func files(t *testing.T, fsys fs.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == "testdata" || d.Name() == "menu" {
			return fs.SkipDir
		}
		if path.Ext(name) == ".yaml" || d.Name() == "Kconfig" {
			b, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			out[name] = string(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// project is the project's own menu with its kas files, and as much of the
// layers around it as its configuration reads. The features and the distros
// are those of meta-pantavisor (classes/pvbase.bbclass, conf/distro).
func project(t *testing.T) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	add := func(name, text string) { fsys["p/"+name] = &fstest.MapFile{Data: []byte(text)} }
	add(".git/HEAD", "ref: refs/heads/main\n")
	for name, text := range files(t, kas.Fragments()) {
		add("kas/"+name, text)
	}
	for name, text := range files(t, kconfig.ProjectFiles()) {
		add("kconfig/"+name, text)
	}
	for _, l := range []string{
		"poky/meta", "poky/meta-poky", "meta-pantavisor", "meta-virtualization", "meta-raspberrypi", "meta-sunxi",
		"meta-arm/meta-arm", "meta-arm/meta-arm-toolchain", "meta-openembedded/meta-oe",
		"meta-openembedded/meta-python", "meta-openembedded/meta-networking", "meta-openembedded/meta-filesystems",
	} {
		add("layers/"+l+"/conf/layer.conf", "BBPATH .= \":${LAYERDIR}\"\n")
	}
	add("layers/poky/meta/conf/bitbake.conf", `OVERRIDES = "${MACHINE}"
include conf/local.conf
require conf/machine/${MACHINE}.conf
require conf/distro/${DISTRO}.conf
`)
	add("layers/poky/meta/classes/base.bbclass", "")
	add("layers/poky/meta/classes/rm_work.bbclass", "")
	for _, m := range []string{"docker-x86_64", "raspberrypi-armv8", "bananapi-m2-berry", "qemux86-64"} {
		add("layers/poky/meta/conf/machine/"+m+".conf", "")
	}
	add("layers/meta-pantavisor/conf/layer.conf", "BBPATH .= \":${LAYERDIR}\"\nINHERIT += \"pvbase\"\n")
	add("layers/meta-pantavisor/classes/pvbase.bbclass",
		"PANTAVISOR_FEATURES ??= \" dm-crypt dm-verity autogrow runc tailscale debug rngdaemon pvcontrol xconnect container-mdev \"\n")
	for _, patch := range []string{
		"poky/0001-fit-image-multiconfig.scarthgap", "poky/update-rc", "meta-sunxi/0001-wks-root-label",
		"meta-raspberrypi/0001-fix-conflicting-boot.scr-from-of-u-boot-and-u-boot-d",
	} {
		add("layers/meta-pantavisor/patches/"+patch+".patch", "")
	}
	add("layers/meta-pantavisor/conf/distro/panta-distro.conf", "PANTAVISOR_FEATURES:append = \" pv-manifest-audit\"\n")
	add("layers/meta-pantavisor/conf/distro/panta-appengine.conf",
		"PANTAVISOR_FEATURES:append = \" appengine pv-manifest-audit\"\nPANTAVISOR_FEATURES:remove = \"autogrow\"\n")
	return fsys
}

// built is what a set of choices comes to.
type built struct {
	machine, distro string
	targets         []string
	features        []string
}

// builder evaluates choices in one dialect.
type builder struct {
	fsys    fstest.MapFS
	tree    *kconfig.Tree
	dialect kas.Dialect
}

func (b *builder) build(t *testing.T, set ...string) built {
	t.Helper()
	conf := b.tree.New()
	for _, s := range set {
		name, value, _ := strings.Cut(s, "=")
		if err := conf.Set(name, value); err != nil {
			t.Fatal(err)
		}
		if got := conf.Str(b.tree.Lookup(name)); got != value {
			t.Fatalf("%v: %s is %s", set, s, got)
		}
	}
	sel, err := menu.Select(conf, b.dialect)
	if err != nil {
		t.Fatal(err)
	}
	if len(sel.Vars)+len(sel.Locals) > 0 {
		t.Errorf("%v: lines for local.conf that belong into a fragment: %q %q", set, sel.Vars, sel.Locals)
	}
	fsys := fstest.MapFS{}
	for name, f := range b.fsys {
		fsys[name] = f
	}
	fsys["p/"+menu.FileName] = &fstest.MapFile{Data: []byte(sel.File("/p"))}
	r := kas.New(kas.Options{Dialect: b.dialect, FS: fsys, Dir: "p"})
	c, found, err := r.Check(t.Context(), menu.FileName)
	if err != nil {
		t.Fatal(err)
	}
	if worst, some := diag.Worst(found); some && worst > diag.Note {
		t.Errorf("%v: %v", set, found)
	}
	repos, err := c.Repos()
	if err != nil {
		t.Fatal(err)
	}
	for _, repo := range repos {
		if repo.Commit == "" {
			t.Errorf("%v: %s is not pinned", set, repo.ID)
		}
	}
	local, err := c.LocalConf()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := c.Layers()
	if err != nil {
		t.Fatal(err)
	}
	fsys["p/build/conf/local.conf"] = &fstest.MapFile{Data: []byte(local)}
	o := bitbake.Options{Loader: bitbake.NewLoader(fsys), TopDir: "/p/build", Strict: true}
	for _, l := range layers {
		o.Layers = append(o.Layers, "/"+l.Dir)
	}
	d, _, err := bitbake.LoadConfig(context.WithoutCancel(t.Context()), o)
	if err != nil {
		t.Fatal(err)
	}
	words, known := d.Words("PANTAVISOR_FEATURES")
	if !known {
		t.Fatalf("%v: PANTAVISOR_FEATURES is not known", set)
	}
	return built{c.Machine(), c.Distro(), c.Targets(), words}
}

// TestProject builds every combination of the project's menu, with each
// feature both ways, in both dialects.
func TestProject(t *testing.T) {
	fsys := project(t)
	tree, err := kconfig.Load(mustSub(t, fsys, "p"), "kconfig/Kconfig", kconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, stock := range []bool{true, false} {
		found, err := kconfig.Check(tree, kconfig.Project{FS: mustSub(t, fsys, "p"), Stock: stock})
		if err != nil || len(found) > 0 {
			t.Errorf("findings in the project's own Kconfig: %v %v", found, err)
		}
	}
	for _, tt := range []struct {
		set             []string
		machine, distro string
		target          string
	}{
		{[]string{"MACHINE_DOCKER_X86_64=y"}, "docker-x86_64", "panta-appengine", "pantavisor-appengine-distro"},
		{[]string{"MACHINE_RASPBERRYPI_ARMV8=y"}, "raspberrypi-armv8", "panta-distro", "pantavisor-starter"},
		{[]string{"MACHINE_RASPBERRYPI_ARMV8=y", "IMAGE_BSP=y"}, "raspberrypi-armv8", "panta-distro", "pantavisor-bsp"},
		{[]string{"MACHINE_SUNXI_BANANAPI_M2_BERRY=y"}, "bananapi-m2-berry", "panta-distro", "pantavisor-starter"},
		{[]string{"MACHINE_SUNXI_BANANAPI_M2_BERRY=y", "IMAGE_BSP=y"}, "bananapi-m2-berry", "panta-distro", "pantavisor-bsp"},
		{[]string{"MACHINE_QEMUX86_64=y"}, "qemux86-64", "panta-distro", "pantavisor-starter"},
		{[]string{"MACHINE_QEMUX86_64=y", "IMAGE_BSP=y"}, "qemux86-64", "panta-distro", "pantavisor-bsp"},
		{[]string{"MACHINE_QEMUX86_64=y", "BUILD_APPENGINE=y"}, "qemux86-64", "panta-appengine", "pantavisor-appengine-distro"},
	} {
		for _, dialect := range []kas.Dialect{kas.Stock, kas.Pantacor} {
			b := &builder{fsys, tree, dialect}
			got := b.build(t, tt.set...)
			if got.machine != tt.machine || got.distro != tt.distro || !slices.Equal(got.targets, []string{tt.target}) {
				t.Errorf("%s, %v: %+v", dialect, tt.set, got)
			}
			toggles(t, b, tt.set)
		}
	}
}

// toggles switches each feature that can be set on and off.
func toggles(t *testing.T, b *builder, set []string) {
	conf := b.tree.New()
	for _, s := range set {
		name, value, _ := strings.Cut(s, "=")
		if err := conf.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, s := range b.tree.Symbols {
		name, isFeature := strings.CutPrefix(s.Name, "FEATURE_")
		if !isFeature || conf.Visibility(s) != kconfig.Y {
			continue
		}
		n++
		word := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		for value, want := range map[string]int{"y": 1, "n": 0} {
			got := b.build(t, append(slices.Clone(set), s.Name+"="+value)...).features
			count := 0
			for _, f := range got {
				if f == word {
					count++
				}
			}
			if count != want {
				t.Errorf("%s, %v, %s=%s: %s is %d times in %q", b.dialect, set, s.Name, value, word, count, got)
			}
		}
	}
	if n < 10 {
		t.Errorf("%v: %d features can be set", set, n)
	}
}

func mustSub(t *testing.T, fsys fs.FS, dir string) fs.FS {
	t.Helper()
	sub, err := fs.Sub(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

package bitbake_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// tree is a small layer stack: a core layer with the includes of oe-core's
// bitbake.conf in their order, and a layer "pv" that pulls in the class
// pvbase by INHERIT.
func tree(extra map[string]string) fstest.MapFS {
	files := map[string]string{
		"b/conf/bblayers.conf": `BBPATH = "${TOPDIR}"` + "\n" + `BBFILES ?= ""` + "\n" + `BBLAYERS ?= "/core /pv /other"` + "\n",
		"b/conf/local.conf":    "",
		"core/conf/layer.conf": "BBPATH .= \":${LAYERDIR}\"\nBBFILES += \"${LAYERDIR}/recipes/*.bb\"\nBBFILE_COLLECTIONS += \"core\"\n" +
			"BBFILE_PATTERN_core = \"^${LAYERDIR}/\"\nBBFILE_PRIORITY_core = \"5\"\nLAYERSERIES_CORENAMES = \"scarthgap\"\n" +
			"LAYERSERIES_COMPAT_core = \"scarthgap\"\naddpylib ${LAYERDIR}/lib oe\n",
		"core/conf/bitbake.conf": `OVERRIDES = "linux:pn-${PN}:${MACHINEOVERRIDES}:${DISTROOVERRIDES}:forcevariable"
MACHINEOVERRIDES = "${MACHINE}"
DISTROOVERRIDES ?= "${DISTRO}"
PN = "${@bb.parse.vars_from_file(d.getVar('FILE', False),d)[0] or 'defaultpkgname'}"
PV = "${@bb.parse.vars_from_file(d.getVar('FILE', False),d)[1] or '1.0'}"
include conf/auto.conf
include conf/local.conf
require conf/multiconfig/${BB_CURRENT_MC}.conf
include conf/machine/${MACHINE}.conf
include conf/distro/${DISTRO}.conf
IMAGE_FSTYPES ?= "tar.gz"
`,
		"core/conf/multiconfig/default.conf": "",
		"core/classes-global/base.bbclass":   "inherit utils\npython () {\n    oe.utils.features_backfill(\"DISTRO_FEATURES\", d)\n}\n",
		"core/classes-global/utils.bbclass":  "def f(a):\n    return a.upper()\n\nUP = \"${@f('x')}\"\n",
		"core/classes-recipe/image.bbclass":  "IMAGE ?= \"${PN}\"\n",
		"core/classes-recipe/native.bbclass": "NATIVE = \"1\"\n",
		"core/recipes/t_2.0.bb":              "FEATURES_SEEN = \"${PANTAVISOR_FEATURES}\"\nBBCLASSEXTEND = \"native\"\ninherit image\n",
		"pv/conf/layer.conf": "BBPATH .= \":${LAYERDIR}\"\nINHERIT += \"pvbase\"\nBBFILES += \"${LAYERDIR}/recipes/*.bbappend\"\nBBFILE_COLLECTIONS += \"pv\"\n" +
			"BBFILE_PATTERN_pv = \"^${LAYERDIR}/\"\nLAYERDEPENDS_pv = \"core\"\nLAYERSERIES_COMPAT_pv = \"scarthgap\"\n",
		"pv/classes/pvbase.bbclass": "PANTAVISOR_FEATURES ??= \" runc xconnect \"\n",
		"other/conf/layer.conf": "BBPATH .= \":${LAYERDIR}\"\nBBFILE_COLLECTIONS += \"other\"\nBBFILE_PATTERN_other = \"^${LAYERDIR}/\"\n" +
			"BBFILE_PRIORITY_other = \"9\"\nBBFILES += \"${LAYERDIR}/recipes/*.bbappend\"\nLAYERSERIES_COMPAT_other = \"scarthgap\"\n",
		"other/conf/distro/t.conf": "DISTROOVERRIDES .= \":td\"\n",
	}
	maps.Copy(files, extra)
	fsys := fstest.MapFS{}
	for name, src := range files {
		if src != "ABSENT" {
			fsys[name] = &fstest.MapFile{Data: []byte(src)}
		}
	}
	return fsys
}

func loadTree(t *testing.T, extra map[string]string, o bitbake.Options) (*bitbake.Datastore, []diag.Diagnostic) {
	t.Helper()
	o.Loader = bitbake.NewLoader(tree(extra))
	if o.TopDir == "" {
		o.TopDir = "/b"
	}
	if o.Env == nil {
		o.Env = map[string]string{"MACHINE": "qemu", "DISTRO": "t", "PATH": "/bin"}
	}
	d, ds, err := bitbake.LoadConfig(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d, ds
}

func get(t *testing.T, d *bitbake.Datastore, name string) string {
	t.Helper()
	v, ok, err := d.Get(name)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case !v.Known:
		return "unknown: " + v.Why
	case !ok:
		return "unset"
	}
	return v.Text
}

// TestWhereDefaultsCount: the weak default of a class that INHERIT pulls in
// is evaluated last, so every kind of statement in a file meets it there.
func TestWhereDefaultsCount(t *testing.T) {
	const def = " runc xconnect "
	for _, tt := range []struct{ file, stmt, want string }{
		{"b/conf/local.conf", ``, def},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES += "x"`, " x"},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES:append = " x"`, def + " x"},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES ?= "mine"`, "mine"},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES ??= "mine"`, def},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES += ""`, " "},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES := "${PANTAVISOR_FEATURES} x"`, `error: PANTAVISOR_FEATURES cannot be expanded: variable PANTAVISOR_FEATURES references itself (in "${PANTAVISOR_FEATURES} x")`},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES:remove = "xconnect"`, " runc  "},
		{"b/conf/local.conf", `INHERIT:remove = "pvbase"` + "\n" + `PANTAVISOR_FEATURES += "x"`, " x"},
		{"other/conf/distro/t.conf", `PANTAVISOR_FEATURES += "x"`, " x"},
		{"other/conf/distro/t.conf", `DISTROOVERRIDES .= ":td"` + "\n" + `PANTAVISOR_FEATURES:append:td = " x"`, def + " x"},
		{"other/conf/distro/t.conf", `DISTROOVERRIDES .= ":td"` + "\n" + `PANTAVISOR_FEATURES:td:append = " x"`, " x"},
		{"other/conf/distro/t.conf", `DISTROOVERRIDES .= ":td"` + "\n" + `PANTAVISOR_FEATURES:td += "x"`, " x"},
		{"pv/conf/machine/qemu.conf", `PANTAVISOR_FEATURES += "x"`, " x"},
		{"b/conf/auto.conf", `PANTAVISOR_FEATURES += "x"`, " x"},
		{"b/conf/local.conf", `PANTAVISOR_FEATURES:append:pn-t = " x"`, def},
	} {
		d, _ := loadTree(t, map[string]string{tt.file: tt.stmt + "\n"}, bitbake.Options{})
		if got := get(t, d, "PANTAVISOR_FEATURES"); got != tt.want {
			t.Errorf("%s: %s\n got %q\nwant %q", tt.file, tt.stmt, got, tt.want)
		}
	}
}

func TestRecipe(t *testing.T) {
	const def = " runc xconnect "
	extra := map[string]string{
		"b/conf/local.conf":                "PANTAVISOR_FEATURES:append:pn-t = \" local\"\n",
		"pv/recipes/t_%.bbappend":          "ORDER .= \" pv\"\n",
		"other/recipes/t_2.0.bbappend":     "ORDER .= \" other\"\nX = \"${FILE}\"\n",
		"other/recipes/t_3.0.bbappend":     "ORDER .= \" wrong\"\n",
		"other/recipes/.hidden_1.bbappend": "",
	}
	d, ds := loadTree(t, extra, bitbake.Options{})
	if len(ds) > 0 {
		t.Errorf("findings: %v", ds)
	}
	x := d.Index()
	if !slices.Equal(x.Recipes, []string{"/core/recipes/t_2.0.bb"}) {
		t.Errorf("recipes %v", x.Recipes)
	}
	if got := x.Appends("/core/recipes/t_2.0.bb"); !slices.Equal(got, []string{"/pv/recipes/t_%.bbappend", "/other/recipes/t_2.0.bbappend"}) {
		t.Errorf("appends %v", got)
	}
	if x.Layer("/core/recipes/t_2.0.bb") != "core" || x.Layer("/elsewhere/x.bb") != "" {
		t.Errorf("layer %q", x.Layer("/core/recipes/t_2.0.bb"))
	}
	r, _, err := bitbake.LoadRecipe(context.Background(), d, "/core/recipes/t_2.0.bb", bitbake.RecipeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"PN": "t", "PV": "2.0", "IMAGE": "t", "ORDER": " pv other", "FILE": "/core/recipes/t_2.0.bb",
		"X": "/core/recipes/t_2.0.bb", "FEATURES_SEEN": def + " local", "FILE_LAYERNAME": "core", "NATIVE": "unset", "UP": "X",
	} {
		if got := get(t, r, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if !r.Inherited("image") || r.Inherited("native") || !slices.Equal(r.Variants(), []string{"native"}) {
		t.Errorf("classes: %v", r.Variants())
	}
	n, _, err := bitbake.LoadRecipe(context.Background(), d, "/core/recipes/t_2.0.bb", bitbake.RecipeOptions{Index: x, Variant: "native"})
	if err != nil {
		t.Fatal(err)
	}
	if get(t, n, "PN") != "t-native" || get(t, n, "NATIVE") != "1" || get(t, n, "FEATURES_SEEN") != def {
		t.Errorf("native variant: PN %q NATIVE %q FEATURES %q", get(t, n, "PN"), get(t, n, "NATIVE"), get(t, n, "FEATURES_SEEN"))
	}
	if got := get(t, d, "PN"); got != "defaultpkgname" {
		t.Errorf("the configuration changed: PN = %q", got)
	}
}

// TestLayers: LAYERDIR becomes a constant at the end of each layer.conf,
// dynamic files follow the collections, and BitBake's checks are findings.
func TestLayers(t *testing.T) {
	d, ds := loadTree(t, map[string]string{
		"pv/conf/layer.conf": "BBPATH .= \":${LAYERDIR}\"\nHERE = \"${LAYERDIR}/x\"\nHERE:append = \":${LAYERDIR_RE}\"\nBBFILE_COLLECTIONS += \"pv core\"\nLAYERSERIES_COMPAT_pv = \"kirkstone\"\n" +
			"BBFILES_DYNAMIC += \"core:/dyn/a/*.bb absent:/dyn/b/*.bb !absent:/dyn/c/*.bb broken\"\n",
		"b/conf/local.conf": "LATE = \"${LAYERDIR}\"\n",
	}, bitbake.Options{})
	for name, want := range map[string]string{
		"HERE": "/pv/x:/pv", "LATE": "${LAYERDIR}",
		"BBFILES": " /core/recipes/*.bb /other/recipes/*.bbappend /dyn/a/*.bb /dyn/c/*.bb",
	} {
		if got := get(t, d, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	var all strings.Builder
	for _, x := range ds {
		all.WriteString(x.String() + "\n")
	}
	for _, want := range []string{"not broken", "the collection name core", "the layer pv fits kirkstone, the core layer is scarthgap"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no finding %q in\n%s", want, all.String())
		}
	}
	if d.Failed() == nil {
		t.Error("BitBake stops here; Failed is nil")
	}
}

// TestWithoutCore: what is missing is named, and what can be known is.
func TestWithoutCore(t *testing.T) {
	d, ds := loadTree(t, map[string]string{
		"core/conf/layer.conf":             "ABSENT",
		"core/conf/bitbake.conf":           "ABSENT",
		"b/conf/bblayers.conf":             "BBPATH = \"${TOPDIR}\"\nBBLAYERS = \"/pv /gone\"\n",
		"b/conf/local.conf":                "PANTAVISOR_FEATURES:append = \" x\"\nPANTAVISOR_FEATURES:append:qemu = \" m\"\nA = \"1\"\nA:someoverride = \"2\"\nrequire nowhere.inc\nB = \"behind\"\n",
		"core/classes-global/base.bbclass": "ABSENT",
	}, bitbake.Options{})
	for name, want := range map[string]string{"PANTAVISOR_FEATURES": " runc xconnect  x m", "B": "behind"} {
		if got := get(t, d, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := get(t, d, "A"); !strings.HasPrefix(got, "unknown: oe-core's part of OVERRIDES") {
		t.Errorf("A = %q: an override that oe-core may set is not known", got)
	}
	var missing []string
	for _, x := range ds {
		if x.Rule == bitbake.RuleMissing {
			missing = append(missing, x.Message)
		}
	}
	for _, want := range []string{"the layer /gone does not exist", "conf/bitbake.conf is not on BBPATH", "the required file nowhere.inc does not exist", "the class base does not exist"} {
		if !slices.ContainsFunc(missing, func(m string) bool { return strings.HasPrefix(m, want) }) {
			t.Errorf("%q is not named in %q", want, missing)
		}
	}
}

// TestUnknown: what cannot be known says why, everywhere it reaches, and
// nothing else is touched.
func TestUnknown(t *testing.T) {
	d, ds := loadTree(t, map[string]string{"b/conf/local.conf": strings.Join([]string{
		`U = "a ${@bb.foreign.call('x')} b"`,
		`V = "${U}"`,
		`W := "${V} c"`,
		`X = "${@bb.utils.contains('U', 'a', 'y', 'n', d)}"`,
		`Y = "${@'k' if True else d.getVar('U')}"`,
		`Z = "${@len('${U}')} and ${@'fine'}"`,
		`HOMES = "${HOME}/x"`,
		`P = "${PATH}"`,
		`include inc/${@bb.foreign.call('x')}.inc`,
		`INHERIT += "anon"`,
		`S = "s"`,
		`T = "t"`,
		`CAND = "c"`,
		`K_${U} = "k"`,
	}, "\n") + "\n", "pv/classes/anon.bbclass": "python () {\n    if d.getVar('S'):\n        d.setVar('S', 'changed')\n}\n",
		"pv/inc/one.inc": "require two.inc\n", "pv/inc/two.inc": "CAND = \"d\"\nT:inactive = \"d\"\n"},
		bitbake.Options{Finish: true, Env: map[string]string{"PATH": "/bin", "MACHINE": "qemu", "DISTRO": "t"}})
	for name, want := range map[string]string{
		"U": "unknown: ${@bb.foreign.call('x')}: ", "V": "unknown: ${@bb.foreign.call('x')}: ", "W": "unknown: ", "X": "unknown: ${@bb.utils.contains('U', 'a', 'y', 'n', d)}: U is not known",
		"Y": "k", "Z": "unknown: ", "HOMES": "unknown: HOME comes from the environment", "P": "/bin",
		"S": "unknown: S may be set by the anonymous Python function at /pv/classes/anon.bbclass:1", "T": "t", "K_whatever": "unknown: ",
		"CAND": "unknown: it may be set by the file of \"include inc/${@bb.foreign.call('x')}.inc\" at /b/conf/local.conf:9:1",
	} {
		if got := get(t, d, name); !strings.HasPrefix(got, want) || want == "t" && got != "t" {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if v, _, _ := d.Get("U"); v.Text != "a ${@bb.foreign.call('x')} b" {
		t.Errorf("text of the unknown value: %q", v.Text)
	}
	if !slices.ContainsFunc(ds, func(x diag.Diagnostic) bool { return x.Rule == bitbake.RuleUnknown && x.Pos.Line == 9 }) {
		t.Errorf("the include that is not known is not named: %v", ds)
	}
}

// TestFog: after an include that could be any file nothing is certain; after
// an inherit that could be any class, what the classes touch.
func TestFog(t *testing.T) {
	for _, tt := range []struct {
		stmt           string
		known, unknown []string
	}{
		{`include ${@bb.foreign.call('x')}`, nil, []string{"A", "UP", "MACHINE"}},
		{`INHERIT += "${@bb.foreign.call('x')}"`, []string{"A", "MACHINE"}, []string{"UP", "PANTAVISOR_FEATURES"}},
	} {
		d, ds := loadTree(t, map[string]string{"b/conf/local.conf": "A = \"1\"\n" + tt.stmt + "\n"}, bitbake.Options{})
		for _, name := range tt.unknown {
			if got := get(t, d, name); !strings.HasPrefix(got, "unknown: it may be set by the file of") {
				t.Errorf("%s: %s = %q", tt.stmt, name, got)
			}
		}
		for _, name := range tt.known {
			if got := get(t, d, name); strings.HasPrefix(got, "unknown") {
				t.Errorf("%s: %s = %q", tt.stmt, name, got)
			}
		}
		if !slices.ContainsFunc(ds, func(x diag.Diagnostic) bool { return x.Rule == bitbake.RuleUnknown }) {
			t.Errorf("%s: no finding", tt.stmt)
		}
	}
}

func TestStrictStops(t *testing.T) {
	l := bitbake.NewLoader(tree(map[string]string{"b/conf/local.conf": "A = \"1\"\nrequire gone.inc\nA = \"2\"\n"}))
	d, _, err := bitbake.LoadConfig(context.Background(), bitbake.Options{Loader: l, TopDir: "/b", Strict: true, Env: map[string]string{"MACHINE": "qemu", "DISTRO": "t"}})
	e, ok := errors.AsType[*bitbake.Error](err)
	if !ok || e.Type != "ParseError" || e.Pos.Line != 2 || e.Pos.File != "/b/conf/local.conf" {
		t.Errorf("error %v", err)
	}
	if got := get(t, d, "A"); got != "1" {
		t.Errorf("A = %q", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := bitbake.LoadConfig(ctx, bitbake.Options{Loader: l, TopDir: "/b"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestOverlay: an editor's text takes the place of the file.
func TestOverlay(t *testing.T) {
	l := bitbake.NewLoader(tree(nil))
	l.Overlay("/b/conf/local.conf", []byte("A = \"edited\"\n"))
	l.Overlay("/b/conf/bblayers.conf", []byte("BBPATH = \"${TOPDIR}\"\nBBLAYERS = \"/core\"\n"))
	d, _, err := bitbake.LoadConfig(context.Background(), bitbake.Options{Loader: l, TopDir: "/b", Env: map[string]string{"MACHINE": "m", "DISTRO": "t"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, d, "A"); got != "edited" {
		t.Errorf("A = %q", got)
	}
}

// TestBackfill: the one call of anonymous Python that is modelled.
func TestBackfill(t *testing.T) {
	d, _ := loadTree(t, map[string]string{"b/conf/local.conf": "DISTRO_FEATURES = \"a b\"\nDISTRO_FEATURES_BACKFILL = \"b c d\"\nDISTRO_FEATURES_BACKFILL_CONSIDERED = \"d\"\n"}, bitbake.Options{Finish: true})
	if got := get(t, d, "DISTRO_FEATURES"); got != "a b c" {
		t.Errorf("DISTRO_FEATURES = %q", got)
	}
}

func FuzzEvaluate(f *testing.F) {
	g := newGenerator(3)
	for i := range 40 {
		c := g.next("seed")
		f.Add(c.Files["main.conf"], c.Files["one.inc"], i%2 == 0)
	}
	f.Add("require one.inc\nA = \"${@g(d)} ${@h('A', d)} ${@f('x')}\"\n", defF+defG+defH, true)
	f.Fuzz(func(_ *testing.T, conf, inc string, finalize bool) {
		c := &oracleCase{Files: map[string]string{"main.conf": conf, "one.inc": inc, "classes/c1.bbclass": inc}, Entry: "main.conf", Inherit: true, Finalize: finalize}
		d, _ := evalCase(c)
		for _, name := range d.Names() {
			_, _, _ = d.Get(name)
			_ = d.Explain(name).String()
		}
	})
}

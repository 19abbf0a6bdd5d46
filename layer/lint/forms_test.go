package lint_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/layer/lint"
)

// stack is oe-core as far as the order of files matters, a layer with the
// class of the trap, and a build directory.
var stack = map[string]string{
	"core/conf/layer.conf": `BBPATH .= ":${LAYERDIR}"
BBFILE_COLLECTIONS += "core"
BBFILE_PATTERN_core = "^${LAYERDIR}/"
LAYERSERIES_CORENAMES = "scarthgap"
`,
	"core/conf/bitbake.conf": `include conf/local.conf
include conf/machine/${MACHINE}.conf
include conf/distro/${DISTRO}.conf
DISTROOVERRIDES ?= "${DISTRO}"
OVERRIDES = "${MACHINE}:${DISTROOVERRIDES}"
LATE ?= "tar.gz"
`,
	"core/classes/base.bbclass": "",
	"demo/conf/layer.conf":      lint.ExampleLayer,
	"demo/classes/pvbase.bbclass": `X ??= " one two "
X_EMPTY ??= ""
X_HARD ?= "one two"
`,
	"demo/classes/own.bbclass":     "Y ??= \"one two\"\n",
	"demo/conf/machine/board.conf": "",
	"demo/conf/distro/d.conf":      "",
	"build/conf/bblayers.conf":     "BBPATH = \"${TOPDIR}\"\nBBFILES ?= \"\"\nBBLAYERS = \"/w/core /w/demo\"\n",
	"build/conf/local.conf":        "MACHINE = \"board\"\nDISTRO = \"d\"\n",
}

// TestClobberForms goes through the places and operators that lose a default,
// and those that do not, with a build directory on a small oe-core. The
// outcome of each was measured with BitBake.
func TestClobberForms(t *testing.T) {
	const recipe = "demo/recipes-a/a/a_1.bb"
	for _, tt := range []struct {
		name string
		file string
		add  string
		want string // RULE LINE of what is found in the file; "" for nothing
	}{
		{"local.conf +=", "build/conf/local.conf", `X += "x"`, "weak-default-clobber 3"},
		{"local.conf :append", "build/conf/local.conf", `X:append = " x"`, ""},
		{"local.conf ?=", "build/conf/local.conf", `X ?= "mine"`, ""},
		{"local.conf ??=", "build/conf/local.conf", `X ??= "mine"`, ""},
		{"local.conf ??= then :append", "build/conf/local.conf", "X ??= \"mine\"\nX:append = \" x\"", ""},
		{"local.conf += nothing", "build/conf/local.conf", `X += ""`, "weak-default-clobber 3"},
		{"local.conf =+", "build/conf/local.conf", `X =+ "x"`, "weak-default-clobber 3"},
		{"local.conf .=", "build/conf/local.conf", `X .= " x"`, "weak-default-clobber 3"},
		{"local.conf =.", "build/conf/local.conf", `X =. "x "`, "weak-default-clobber 3"},
		{"local.conf :remove", "build/conf/local.conf", `X:remove = "two"`, ""},
		{"local.conf =", "build/conf/local.conf", `X = "a"`, ""},
		{"local.conf += then =", "build/conf/local.conf", "X += \"x\"\nX = \"a\"", ""},
		{"local.conf = then +=", "build/conf/local.conf", "X = \"a\"\nX += \"x\"", ""},
		{"local.conf += twice", "build/conf/local.conf", "X += \"x\"\nX += \"y\"", "weak-default-clobber 3,weak-default-clobber 4"},
		{"local.conf += of the same words", "build/conf/local.conf", `X += "two one"`, ""},
		{"local.conf += and the words by :append", "build/conf/local.conf", "X += \"x\"\nX:append = \" one two\"", ""},
		{"local.conf += and unset", "build/conf/local.conf", "X += \"x\"\nunset X", ""},
		{"an empty default", "build/conf/local.conf", `X_EMPTY += "x"`, ""},
		{"a ?= of the class", "build/conf/local.conf", `X_HARD += "x"`, "late-default 3"},
		{"a ?= of bitbake.conf", "build/conf/local.conf", `LATE += "x"`, "late-default 3"},
		{"a ?= of bitbake.conf, machine", "demo/conf/machine/board.conf", `LATE += "x"`, ""},
		{"the class is not inherited", "build/conf/local.conf", "X += \"x\"\nINHERIT:remove = \"pvbase\"", ""},
		{"layer.conf +=", "demo/conf/layer.conf", `X += "x"`, "weak-default-clobber 7"},
		{"bblayers.conf +=", "build/conf/bblayers.conf", `X += "x"`, "weak-default-clobber 4"},
		{"machine +=", "demo/conf/machine/board.conf", `X += "x"`, "weak-default-clobber 1"},
		{"distro +=", "demo/conf/distro/d.conf", `X += "x"`, "weak-default-clobber 1"},
		{"distro placeholder", "demo/conf/distro/d.conf", `X ?= ""`, ""},
		{"distro :append:override", "demo/conf/distro/d.conf", `X:append:d = " x"`, ""},
		{"distro :override:append", "demo/conf/distro/d.conf", `X:d:append = " x"`, "override-append 1"},
		{"distro :override +=", "demo/conf/distro/d.conf", `X:d += "x"`, "override-append 1"},
		{"another recipe's override", "build/conf/local.conf", `SRC:pn-other:append = " x"`, ""},
		{"recipe +=", recipe, `X += "x"`, "weak-default-clobber 1"},
		{"recipe :append", recipe, `X:append = " x"`, ""},
		{"recipe, own class, before", recipe, "Y += \"x\"\ninherit own", "weak-default-clobber 1"},
		{"recipe, own class, after", recipe, "inherit own\nY += \"x\"", "weak-default-clobber 2"},
		{"recipe, inherit_defer", recipe, "Y += \"x\"\ninherit_defer own", "weak-default-clobber 1"},
		{"recipe, class by an expression", recipe, "inherit ${@bb.utils.contains('X', 'one', 'own', '', d)}\nY += \"x\"", "weak-default-clobber 2"},
		{"recipe, own class, python", recipe, "inherit own\nY += \"x\"\npython () {\n    d.setVar('Y', 'all')\n}", ""},
		{"bbappend +=", "demo/recipes-a/b/b_%.bbappend", `Y += "x"`, "weak-default-clobber 1"},
		{"include +=", "demo/recipes-a/b/b.inc", `Y += "x"`, "weak-default-clobber 1"},
		{"multiconfig +=", "demo/conf/multiconfig/m.conf", `X += "x"`, "weak-default-clobber 1"},
		{"an unknown default", recipe, "Z ??= \"${@unknown(d)}\"\nZ += \"x\"", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := maps.Clone(stack)
			files["demo/recipes-a/b/b_1.bb"] = "require b.inc\ninherit own\n"
			files["demo/recipes-a/b/b.inc"] = ""
			files["demo/recipes-a/c/c_1.bb"] = "SRC = \"a b\"\nSRC:extra += \"c\"\n# pvkit: disable-file=override-append it makes this recipe worth a look\n"
			if strings.Contains(tt.name, "multiconfig") {
				files["core/conf/bitbake.conf"] = strings.Replace(files["core/conf/bitbake.conf"], "\n", "\ninclude conf/multiconfig/${BB_CURRENT_MC}.conf\n", 1)
			}
			files[tt.file] += tt.add + "\n"
			m := fstest.MapFS{}
			for name, text := range files {
				m["w/"+name] = &fstest.MapFile{Data: []byte(text)}
			}
			p, ds := check(t, m, lint.OpenOptions{Below: []string{"/w/core"}, BuildDir: "/w/build", Paths: []string{"/w"}})
			var got []string
			for _, d := range ds {
				if d.Pos.File != "/w/"+tt.file {
					t.Errorf("found elsewhere: %s", d)
				}
				got = append(got, d.Rule+" "+strings.Split(d.Pos.String(), ":")[1])
			}
			if s := strings.Join(got, ","); s != tt.want {
				t.Errorf("got %q, want %q\n%s", s, tt.want, lines(p, ds))
			}
		})
	}
}

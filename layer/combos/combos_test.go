package combos_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
	"github.com/pvkit/pvkit/layer/combos"
)

const menuFile = `choice
	prompt "machine"
config M_A
	bool "a"
config M_B
	bool "b"
endchoice
choice
	prompt "type"
config T_ONE
	bool "one"
config T_TWO
	bool "two"
	depends on M_B
endchoice
config FEATURE_X
	bool "x"
	default y
config KAS_INCLUDE_MACHINE
	string
	default "kas/machines/a.yaml" if M_A
	default "kas/machines/b.yaml" if M_B
config KAS_INCLUDE_TYPE
	string
	default "kas/one.yaml" if T_ONE
	default "kas/two.yaml" if T_TWO
config KAS_TARGET_IMAGE
	string
	default "image"
config KAS_LOCAL_X
	string
	default "PANTAVISOR_FEATURES:remove = \"x\"" if !FEATURE_X
`

const header = "header: {version: 16}\n"

// project is a layer with a menu and kas files, without contradictions.
func project(change map[string]string) fstest.MapFS {
	files := map[string]string{
		"p/.git/HEAD":               "",
		"p/Kconfig":                 menuFile,
		"p/conf/layer.conf":         "BBPATH .= \":${LAYERDIR}\"\n",
		"p/conf/bitbake.conf":       "PANTAVISOR_FEATURES ??= \"runc x\"\nMACHINEOVERRIDES = \"${MACHINE}\"\nOVERRIDES = \"${MACHINEOVERRIDES}\"\ninclude conf/local.conf\n",
		"p/conf/multiconfig/m.conf": "",
		"p/kas/machines/a.yaml":     header + "machine: a\n",
		"p/kas/machines/b.yaml":     header + "machine: b\n",
		"p/kas/one.yaml":            header + "distro: d\nrepos: {self: }\n",
		"p/kas/two.yaml":            header + "distro: e\nrepos: {self: }\nlocal_conf_header:\n  two: |\n    BBMULTICONFIG = \"m\"\n",
	}
	maps.Copy(files, change)
	fsys := fstest.MapFS{}
	for name, src := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(src)}
	}
	return fsys
}

func run(t *testing.T, fsys fstest.MapFS, d kas.Dialect) *combos.Report {
	t.Helper()
	tree, err := kconfig.Load(fsys, "p/Kconfig", kconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := combos.Run(t.Context(), combos.Options{
		Tree: tree, Loader: bitbake.NewLoader(fsys), Workers: 2,
		Kas: kas.Options{Dialect: d, FS: fsys, Dir: "p"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestRun(t *testing.T) {
	rep := run(t, project(nil), kas.Pantacor)
	for _, d := range rep.Findings {
		t.Errorf("found %s", d)
	}
	var got []string
	for _, c := range rep.Combos {
		if !c.Features.Known || !c.Multiconfig.Known || c.Refused != "" {
			t.Errorf("%+v", c)
		}
		got = append(got, strings.Join(append([]string{c.Machine, c.Distro}, slices.Concat(c.Targets, c.Choices, c.Includes, c.Features.Words, c.Multiconfig.Words)...), " "))
	}
	want := []string{
		"a d image M_A T_ONE kas/machines/a.yaml kas/one.yaml runc x",
		"b d image M_B T_ONE kas/machines/b.yaml kas/one.yaml runc x",
		"b e image M_B T_TWO kas/machines/b.yaml kas/two.yaml runc x m",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The order of the workers must not show.
	for range 5 {
		again := run(t, project(nil), kas.Pantacor)
		if len(again.Combos) != len(rep.Combos) || again.Combos[2].Machine != "b" {
			t.Fatal("the order changes")
		}
	}
}

func TestContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		stock  bool
		want   []string
	}{
		"multiconfig": {change: map[string]string{"p/kas/two.yaml": header + "repos: {self: }\nlocal_conf_header:\n  two: |\n    # names\n    BBMULTICONFIG = \"m gone\"\n"},
			want: []string{"kas/two.yaml:6: error: BBMULTICONFIG names gone, and no layer has conf/multiconfig/gone.conf (in 1 of 3 combinations) [combo-multiconfig]"}},
		"machine of another file": {change: map[string]string{"p/kas/machines/a.yaml": header + "machine: b\n"},
			want: []string{"kas/machines/a.yaml:2:10: error: kas/machines/a.yaml is chosen, and the machine is b, which has a file of its own, kas/machines/b.yaml (in 1 of 3 combinations) [combo-machine]"}},
		"machine of another name": {change: map[string]string{"p/kas/machines/a.yaml": header + "machine: zz\n"},
			want: []string{"kas/machines/a.yaml:2:10: warning: kas/machines/a.yaml is chosen, and the machine is zz"}},
		"machine with a vendor in front": {change: map[string]string{"p/kas/machines/a.yaml": header + "machine: -a\n"}},
		"releases": {change: map[string]string{"p/kas/one.yaml": header + "repos:\n  self:\n  x: {url: u, branch: scarthgap}\n  y: {url: u, branch: kirkstone-next}\n  z: {url: u, branch: scarthgap-x}\n"},
			want: []string{"kas/one.yaml:5:3: error: branches of different releases are mixed: kirkstone (y), scarthgap (x, z) (in 2 of 3 combinations) [combo-release]"}},
		"toggle without effect": {change: map[string]string{"p/Kconfig": strings.Replace(menuFile, `PANTAVISOR_FEATURES:remove = \"x\"" if !FEATURE_X`, `PANTAVISOR_FEATURES:append = \" x\"" if FEATURE_X`, 1)},
			want: []string{"Kconfig:16: error: FEATURE_X changes nothing", "Kconfig:16: warning: FEATURE_X adds x to PANTAVISOR_FEATURES, which has it already"}},
		"fork's menu in stock kas": {stock: true,
			want: []string{"Kconfig:16: error: FEATURE_X changes nothing", "Kconfig:30: error: KAS_LOCAL_X in __menu_config_vars is a variable without effect"}},
		"refused": {change: map[string]string{"p/kas/one.yaml": "header: {version: 99}\n"},
			want: []string{"kas/one.yaml:1:19: error: header.version is 99: this kas reads 1 to 17 (in 2 of 3 combinations) [kas-version]"}},
		"order of ids": {change: map[string]string{
			"p/kas/machines/b.yaml": header + "machine: b\nlocal_conf_header:\n  z: A = \"1\"\n",
			"p/kas/two.yaml":        header + "repos: {self: }\nlocal_conf_header:\n  a: A = \"2\"\n"},
			want: []string{"kas/two.yaml:4: warning: A is set in the block a of a later file and loses"}},
	} {
		t.Run(name, func(t *testing.T) {
			dialect := kas.Pantacor
			if c.stock {
				dialect = kas.Stock
			}
			rep := run(t, project(c.change), dialect)
			var got []string
			for _, d := range rep.Findings {
				d.Pos.File = strings.TrimPrefix(d.Pos.File, "p/")
				got = append(got, d.String())
			}
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestAbsent(t *testing.T) {
	rep := run(t, project(map[string]string{"p/kas/one.yaml": header + "repos:\n  self:\n  x: {url: u, branch: b, layers: {l: }}\n"}), kas.Pantacor)
	if !slices.Equal(rep.Absent, []string{"x/l"}) {
		t.Errorf("%q", rep.Absent)
	}
}

func TestTooMany(t *testing.T) {
	var b strings.Builder
	for range 12 {
		b.WriteString("choice\n\tprompt \"c\"\n")
		for range 4 {
			b.WriteString("config S" + string(rune('A'+b.Len()%26)) + strings.Repeat("x", b.Len()%97) + "_" + strings.Repeat("y", b.Len()%89) + "\n\tbool \"s\"\n")
		}
		b.WriteString("endchoice\n")
	}
	fsys := project(map[string]string{"p/Kconfig": b.String()})
	tree, err := kconfig.Load(fsys, "p/Kconfig", kconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = combos.Run(t.Context(), combos.Options{Tree: tree, Loader: bitbake.NewLoader(fsys), Kas: kas.Options{FS: fsys, Dir: "p"}})
	if err == nil || !strings.Contains(err.Error(), "more than 100000 combinations") {
		t.Errorf("%v", err)
	}
}

func TestCancel(t *testing.T) {
	fsys := project(nil)
	tree, err := kconfig.Load(fsys, "p/Kconfig", kconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := combos.Run(ctx, combos.Options{Tree: tree, Loader: bitbake.NewLoader(fsys), Kas: kas.Options{FS: fsys, Dir: "p"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

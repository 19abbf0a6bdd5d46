package kconfig_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/kconfig"
)

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		kconfig string
		files   []string
		stock   bool
		want    []string // rule, place and a part of the message each; nothing else may be found
	}{
		"clean": {kconfig: `
choice
	prompt "Machine"
config MACHINE_A
	bool "a"
config MACHINE_B
	bool "b"
endchoice
config KAS_INCLUDE_MACHINE
	string
	default "kas/machines/a.yaml" if MACHINE_A
	default "kas/machines/b.yaml" if MACHINE_B
config JOBS
	int "jobs"
	default 3
config NAME
	string "price $5"
	depends on NAME2 != ""
config NAME2
	string "name"
`, files: []string{"kas/machines/a.yaml", "kas/machines/b.yaml"}},
		"string tested as bool": {kconfig: `
config IMAGE
	string "image"
config X
	string
	default "yes" if IMAGE && Y
config Y
	bool "y"
	depends on !IMAGE
`, want: []string{
			"kconfig-not-bool Kconfig:6 IMAGE is a string",
			"kconfig-not-bool Kconfig:9 IMAGE is a string",
		}},
		"string in a bool choice": {kconfig: `
choice
	prompt "c"
config A
	bool "a"
config B
	string "b"
endchoice
config V
	string
	default "x" if A
`, want: []string{"kconfig-choice-member Kconfig:6 B is a string"}},
		"unread": {kconfig: `
config A
	bool "a"
	select B
config B
	bool
choice
	prompt "c"
config C
	bool "c"
config D
	bool "d"
endchoice
`, want: []string{
			"kconfig-unread Kconfig:2 nothing reads A",
			"kconfig-select-unread Kconfig:5 B is selected",
			`kconfig-unread Kconfig:7 nothing reads any member of the choice "c"`,
		}},
		"undefined": {kconfig: `
config MACHINE_A
	bool "a"
config X
	string "x"
	depends on MACHIN_A || MACHINE_A = yes
`, want: []string{
			"kconfig-undefined Kconfig:6 MACHIN_A is defined nowhere: the condition counts it as n",
			`kconfig-undefined Kconfig:6 yes is defined nowhere and stands for its own name: write "yes"`,
		}},
		"environment": {kconfig: `
config X
	string "x"
	default "${TOPDIR}/x $HOME"
`, want: []string{
			"kconfig-env-in-string Kconfig:4:10 ${HOME}",
			"kconfig-env-in-string Kconfig:4:10 ${TOPDIR}",
		}},
		"types of kas": {kconfig: `
config KAS_INCLUDE_A
	bool
config KAS_TARGET_A
	int
config KAS_BUILD_SYSTEM
	bool "x"
config T
	tristate "t"
config V
	string
	default "v" if T
`, want: []string{
			"kconfig-kas-type Kconfig:2 KAS_INCLUDE_A must be a string",
			"kconfig-kas-type Kconfig:4 KAS_TARGET_A must be a string",
			"kconfig-kas-type Kconfig:6 KAS_BUILD_SYSTEM must be a string",
			"kconfig-kas-type Kconfig:8 T has type tristate",
		}},
		"local in stock": {stock: true, kconfig: `
config KAS_LOCAL_X
	string
	default "A = 1"
`, want: []string{"kconfig-dialect Kconfig:2 KAS_LOCAL_X is only known to"}},
		"local in the fork": {kconfig: `
config KAS_LOCAL_X
	string
	default "A = 1"
`},
		"files and machines": {kconfig: `
choice
	prompt "Machine"
config MACHINE_A
	bool "a"
config MACHINE_B
	bool "b"
config MACHINE_C
	bool "c"
endchoice
config KAS_INCLUDE_MACHINE
	string
	default "kas/machines/a.yaml" if MACHINE_A
	default "kas/machines/bb.yaml" if MACHINE_B
config KAS_INCLUDE_OUTSIDE
	string
	default "../x.yaml" if MACHINE_C
`, files: []string{"kas/machines/a.yaml", "kas/machines/b.yaml"}, want: []string{
			"kconfig-machine Kconfig:8 MACHINE_C leads to no file",
			"kconfig-missing-file Kconfig:14 KAS_INCLUDE_MACHINE leads to kas/machines/bb.yaml",
			"kconfig-missing-file Kconfig:17 KAS_INCLUDE_OUTSIDE leads to ../x.yaml, which is outside",
			"kconfig-machine kas/machines/b.yaml no KAS_INCLUDE_* symbol",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"Kconfig": {Data: []byte(tt.kconfig)}}
			for _, f := range tt.files {
				fsys[f] = &fstest.MapFile{Data: []byte("header:\n  version: 16\n")}
			}
			tree, err := kconfig.Load(fsys, "Kconfig", kconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			found, err := kconfig.Check(tree, kconfig.Project{FS: fsys, Stock: tt.stock})
			if err != nil {
				t.Fatal(err)
			}
			for i, d := range found {
				got := d.Rule + " " + d.Pos.String() + " " + d.Message
				if i >= len(tt.want) || !strings.HasPrefix(got, tt.want[i]) {
					t.Errorf("finding %d: %s", i, got)
				}
			}
			if len(found) != len(tt.want) {
				t.Errorf("%d findings, want %q", len(found), tt.want)
			}
		})
	}
}

func TestEmptyChoice(t *testing.T) {
	const filtered = `
config ALL
	bool "all"
	default y
choice
	prompt "Filter"
	depends on !ALL
config FILTER_X
	bool "x"
config FILTER_Y
	bool "y"
endchoice
choice
	prompt "Machine"
config M1
	bool "1"
	depends on ALL || FILTER_X
config M2
	bool "2"
	depends on ALL || FILTER_Y && CODENAME = "new"
endchoice
config CODENAME
	string "codename"
	default "%s"
config V
	string
	default "x" if M1 || M2
`
	for _, tt := range []struct{ codename, want string }{
		{"old", `with ALL=n, FILTER_Y=y, none of its 2`},
		{"new", `with ALL=n, FILTER_Y=y, CODENAME=, none of its 2`},
	} {
		tree := load(t, strings.Replace(filtered, "%s", tt.codename, 1))
		found, err := kconfig.Check(tree, kconfig.Project{})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Rule != kconfig.RuleEmptyChoice || !strings.Contains(found[0].Message, tt.want) {
			t.Errorf("%s: %v, want %s", tt.codename, found, tt.want)
		}
	}
}

// TestEmptyChoiceTooMany has more settings than can be tried.
func TestEmptyChoiceTooMany(t *testing.T) {
	var b strings.Builder
	cond := []string{}
	for i := range 20 {
		name := "S" + string(rune('A'+i))
		b.WriteString("config " + name + "\n\tbool \"s\"\n\tdefault y\n")
		cond = append(cond, name)
	}
	b.WriteString("choice\n\tprompt \"c\"\nconfig M\n\tbool \"m\"\n\tdepends on " + strings.Join(cond, " || ") + "\nendchoice\nconfig V\n\tstring\n\tdefault \"x\" if M\n")
	found, err := kconfig.Check(load(t, b.String()), kconfig.Project{})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !strings.Contains(found[0].Message, "too many settings") {
		t.Errorf("%v", found)
	}
}

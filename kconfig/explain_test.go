package kconfig_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/kconfig"
)

func load(t testing.TB, text string) *kconfig.Tree {
	t.Helper()
	tree, err := kconfig.Load(fstest.MapFS{"Kconfig": {Data: []byte(text)}}, "Kconfig", kconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

const explained = `config NET
	bool "network"

menu "Radio"
	depends on NET

if !SMALL
config WIFI
	bool "wifi"
	depends on DRIVER = "new" && NET
	default y
endif
endmenu

config SMALL
	bool "small"
	default y if BOARD_A

config DRIVER
	string "driver"
	default "old"

choice
	prompt "Board"
	default BOARD_B if NET
	default BOARD_A

config BOARD_A
	bool "a"
	select USB

config BOARD_B
	bool "b"

config BOARD_C
	bool "c"
	depends on NET
endchoice

config USB
	bool
	imply HUB

config HUB
	bool "hub"

config SPEED
	int "speed"
	range 10 20
	default 5

menu "Expert"
	visible if NET
config DEPTH
	int "depth"
	default 3
endmenu
`

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		symbol string
		set    []string
		want   string
	}{
		{"WIFI", nil, `
WIFI (wifi) is n, type bool, defined at Kconfig:8
  depends on DRIVER = "new" && NET does not hold  [Kconfig:10]
    DRIVER is "old"  [Kconfig:19]
      default "old"  [Kconfig:21]
    NET is n  [Kconfig:1]
      no default applies, so NET is n  [Kconfig:1]
  if !SMALL does not hold  [Kconfig:7]
    SMALL is y  [Kconfig:15]
      default y if BOARD_A  [Kconfig:17]
        BOARD_A is y  [Kconfig:28]
          BOARD_A is the default of the choice "Board"  [Kconfig:26]
            default BOARD_B does not apply  [Kconfig:25]
              NET is n  [Kconfig:1]
  depends on NET does not hold  [Kconfig:5]
    NET is n  [Kconfig:1]
`},
		{"WIFI", []string{"NET=y", "SMALL=n", "DRIVER=new"}, `
WIFI (wifi) is y, type bool, defined at Kconfig:8
  default y  [Kconfig:11]
`},
		{"BOARD_C", []string{"BOARD_C=y"}, `
BOARD_C (c) is n, type bool, defined at Kconfig:35
  the choice "Board" has BOARD_A selected  [Kconfig:23]
    BOARD_A is the default of the choice "Board"  [Kconfig:26]
      the user's BOARD_C cannot be selected now  [Kconfig:35]
        depends on NET does not hold  [Kconfig:37]
          NET is n  [Kconfig:1]
            no default applies, so NET is n  [Kconfig:1]
      default BOARD_B does not apply  [Kconfig:25]
        NET is n  [Kconfig:1]
  BOARD_C cannot be set  [Kconfig:35]
    depends on NET does not hold  [Kconfig:37]
      NET is n  [Kconfig:1]
`},
		{"BOARD_C", []string{"NET=y", "BOARD_C=y"}, `
BOARD_C (c) is y, type bool, defined at Kconfig:35
  the user selected BOARD_C  [Kconfig:35]
`},
		{"HUB", nil, `
HUB (hub) is y, type bool, defined at Kconfig:44
  no default applies, so HUB is n  [Kconfig:44]
  implied by USB, which is y  [Kconfig:42]
    no default applies, so USB is n  [Kconfig:40]
    selected by BOARD_A, which is y  [Kconfig:30]
      BOARD_A is the default of the choice "Board"  [Kconfig:26]
        default BOARD_B does not apply  [Kconfig:25]
          NET is n  [Kconfig:1]
            no default applies, so NET is n  [Kconfig:1]
`},
		{"USB", []string{"BOARD_B=y"}, `
USB is n, type bool, defined at Kconfig:40
  no default applies, so USB is n  [Kconfig:40]
  BOARD_A does not select it: BOARD_A is n  [Kconfig:30]
  USB cannot be set: it has no prompt  [Kconfig:40]
`},
		{"SPEED", nil, `
SPEED (speed) is 10, type int, defined at Kconfig:47
  default 5  [Kconfig:50]
  moved into the range 10 to 20  [Kconfig:49]
`},
		{"SPEED", []string{"SPEED=12"}, `
SPEED (speed) is 12, type int, defined at Kconfig:47
  set to 12 by the user
`},
		{"DEPTH", []string{"DEPTH=7"}, `
DEPTH (depth) is 3, type int, defined at Kconfig:54
  the user's 7 is kept and not used, as DEPTH cannot be set now
  default 3  [Kconfig:56]
  DEPTH cannot be set  [Kconfig:54]
    visible if NET does not hold  [Kconfig:53]
      NET is n  [Kconfig:1]
        no default applies, so NET is n  [Kconfig:1]
`},
	} {
		conf := load(t, explained).New()
		for _, s := range tt.set {
			name, value, _ := strings.Cut(s, "=")
			if err := conf.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
		e, err := conf.Explain(tt.symbol)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.String(); got != tt.want[1:] {
			t.Errorf("%s with %v:\n%swant\n%s", tt.symbol, tt.set, got, tt.want[1:])
		}
	}
}

func TestExplainUnknown(t *testing.T) {
	_, err := load(t, explained).New().Explain("BORD_A")
	if none, ok := errors.AsType[*kconfig.ErrNoSymbol](err); !ok || none.Nearest != "BOARD_A" {
		t.Errorf("error %v", err)
	}
}

// TestConditions holds the lines that Conditions lists against the joined
// expressions, on random files with random values.
func TestConditions(t *testing.T) {
	checked := 0
	for i := range uint64(800) {
		c := generate(rand.New(rand.NewPCG(7, i)))
		tree, err := kconfig.Load(fstest.MapFS{"Kconfig": {Data: []byte(c.Kconfig)}}, "Kconfig", kconfig.Options{})
		if err != nil {
			continue
		}
		conf := tree.New()
		for _, a := range c.Assign {
			_ = conf.Set(a[0], a[1]) // a value of the wrong type is none
		}
		for _, s := range tree.Symbols {
			for _, n := range s.Nodes {
				dep, prompt := kconfig.Y, kconfig.Y
				for cond := range n.Conditions {
					if !cond.Kind.Hides() {
						dep = min(dep, conf.Eval(cond.Expr))
					}
					prompt = min(prompt, conf.Eval(cond.Expr))
				}
				if dep != conf.Eval(n.Dep) || n.HasPrompt && prompt != conf.Eval(n.PromptCond) {
					t.Fatalf("case %d: %s at %s: the lines say %s and %s, the joined conditions %s and %s\n%s",
						i, s.Name, n.Pos, dep, prompt, conf.Eval(n.Dep), conf.Eval(n.PromptCond), c.Kconfig)
				}
				checked++
			}
			e, err := conf.Explain(s.Name)
			if err != nil || len(e.Reasons) == 0 {
				t.Fatalf("case %d: %s: no reason for its value (%v)\n%s\n%v", i, s.Name, err, c.Kconfig, c.Assign)
			}
		}
	}
	if checked < 1000 {
		t.Errorf("only %d definitions looked at", checked)
	}
}

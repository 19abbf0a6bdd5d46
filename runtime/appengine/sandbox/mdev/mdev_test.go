package mdev_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mdev"
)

var machine = []mdev.Device{
	{Name: "null", Major: 1, Minor: 3, Env: map[string]string{"SUBSYSTEM": "mem"}},
	{Name: "tty1", Major: 4, Minor: 1, Env: map[string]string{"SUBSYSTEM": "tty"}},
	{Name: "tty12", Major: 4, Minor: 12, Env: map[string]string{"SUBSYSTEM": "tty"}},
	{Name: "input/event0", Major: 13, Minor: 64, Env: map[string]string{"SUBSYSTEM": "input"}},
	{Name: "sda", Block: true, Major: 8, Minor: 0, Env: map[string]string{"SUBSYSTEM": "block"}},
}

func TestApply(t *testing.T) {
	node := func(path string, d mdev.Device, uid, gid, mode uint32) mdev.Node {
		return mdev.Node{Path: path, Block: d.Block, Major: d.Major, Minor: d.Minor, UID: uid, GID: gid, Mode: mode}
	}
	for rules, want := range map[string][]mdev.Node{
		"null 0:0 666":                    {node("null", machine[0], 0, 0, 0o666)},
		"tty1 root:5 620":                 {node("tty1", machine[1], 0, 5, 0o620)},
		"tty[0-9]+ 0:5 660":               {node("tty1", machine[1], 0, 5, 0o660), node("tty12", machine[2], 0, 5, 0o660)},
		"tty 0:0 666":                     {}, // the whole name counts
		"@4,10-20 0:0 600":                {node("tty12", machine[2], 0, 0, 0o600)},
		"@8 6:6 660":                      {node("sda", machine[4], 6, 6, 0o660)},
		"@4,1 0:0 600":                    {node("tty1", machine[1], 0, 0, 0o600)},
		"$SUBSYSTEM=input 0:0 640 =in/":   {node("in/event0", machine[3], 0, 0, 0o640)},
		"input/.* 0:0 640 >ev":            {node("ev", machine[3], 0, 0, 0o640)},
		"null 0:0 666 !":                  {},
		"null 0:0 600|null 0:0 666":       {node("null", machine[0], 0, 0, 0o600)},
		"-null 0:0 600|null 1:1 666 =nul": {node("nul", machine[0], 1, 1, 0o666), node("null", machine[0], 0, 0, 0o600)},
		"null 0:0 666 =../../etc/x":       {node("etc/x", machine[0], 0, 0, 0o666)},
		"# a comment||null 0:0 666 @echo": {node("null", machine[0], 0, 0, 0o666)},
		"null 0:0 666 =../..":             {},
	} {
		r, err := mdev.Parse(strings.Split(rules, "|"))
		if err != nil {
			t.Errorf("%s: %v", rules, err)
			continue
		}
		if got := r.Apply(machine); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", rules, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for rule, want := range map[string]string{
		"null":              `rule 1 "null": want "regex user:group mode"`,
		"nu(ll 0:0 666":     "missing closing )",
		"null 0 666":        `"0" is not user:group`,
		"null audio:0 666":  `"audio" is no user or group: want a number or root`,
		"null 0:0 999":      `"999" is no mode`,
		"@x 0:0 666":        `"x" is no major number`,
		"@1,a-b 0:0 666":    `"a-b" is no minor number`,
		"$SUBSYSTEM 0:0 66": `has no "="`,
	} {
		if _, err := mdev.Parse([]string{rule}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", rule, err, want)
		}
	}
}

func TestScan(t *testing.T) {
	sys := t.TempDir()
	for dir, uevent := range map[string]string{
		"dev/char/1:3":   "MAJOR=1\nMINOR=3\nDEVNAME=null\nDEVMODE=0666\n",
		"dev/char/13:64": "MAJOR=13\nMINOR=64\nDEVNAME=input/event0\n",
		"dev/block/8:0":  "MAJOR=8\nMINOR=0\nDEVNAME=sda\n",
		"dev/block/8:9":  "MAJOR=8\n",
	} {
		os.MkdirAll(filepath.Join(sys, dir), 0o755)
		os.WriteFile(filepath.Join(sys, dir, "uevent"), []byte(uevent), 0o644)
	}
	os.Symlink("../../../class/mem", filepath.Join(sys, "dev/char/1:3/subsystem"))
	got, err := mdev.Scan(sys)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range got {
		names = append(names, d.Name)
	}
	if want := []string{"input/event0", "null", "sda"}; !reflect.DeepEqual(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	for _, d := range got {
		if d.Name == "null" && (d.Env["SUBSYSTEM"] != "mem" || d.Minor != 3 || d.Block) || d.Name == "sda" && !d.Block {
			t.Errorf("got %+v", d)
		}
	}
	if real, err := mdev.Scan("/sys"); err != nil || len(real) == 0 {
		t.Errorf("the machine has %d devices, %v", len(real), err)
	}
}

// No rule makes a node outside /dev.
func FuzzRules(f *testing.F) {
	f.Add("-$A=.* 0:0 666 =../x/")
	f.Add("@4,1-2 0:0 7777 >/a//b")
	f.Add(".* root:1 666 !")
	f.Fuzz(func(t *testing.T, rule string) {
		r, err := mdev.Parse([]string{rule})
		if err != nil {
			return
		}
		for _, n := range r.Apply(machine) {
			if n.Path == "" || n.Path[0] == '/' || n.Mode > 0o7777 {
				t.Errorf("node %+v", n)
			}
			for part := range strings.SplitSeq(n.Path, "/") {
				if part == ".." || part == "" {
					t.Errorf("node %+v", n)
				}
			}
		}
	})
}

package appengine_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
)

var (
	pvcontrolProgram = program("pvcontrol")
	pvcurlProgram    = program("pvcurl")
)

// The runtime's own automated tests that need nothing but pvcontrol, pvcurl and
// jq, from the checkout that PVKIT_META_PANTAVISOR names: their scripts, with
// our tools, and the outputs that they recorded on a real runtime.
func TestUpstreamsTests(t *testing.T) {
	tests := filepath.Join(testreq.Env(t, "PVKIT_META_PANTAVISOR", "a checkout of github.com/pantavisor/meta-pantavisor"),
		"recipes-pv/pantavisor-pvtests/files/local")
	testreq.Tool(t, "jq")
	bin := t.TempDir()
	for name, build := range map[string]func() (string, error){"pvcontrol": pvcontrolProgram, "pvcurl": pvcurlProgram} {
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	mesh, err := xconnect()
	if err != nil {
		t.Fatal(err)
	}
	for name, own := range map[string]*regexp.Regexp{ // and what of the output depends on the containers
		"control/status-codes":   nil,
		"services/daemons":       nil,
		"services/metadata-crud": nil,
		"runtime/objects-crud":   regexp.MustCompile(`(?m)^(== initial object count ==\n)\d+$`),
		"runtime/steps-rw":       regexp.MustCompile(`(?s)^(== steps get 0 \(top-level keys\) ==\n)\[.*?\n\]`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, actor("pvr-sdk", nil, "group: platform"))
			r.opts.XConnect = []string{mesh}
			r.start().ready()
			got := r.script(bin, filepath.Join(tests, name, "resources/test"))
			golden, err := os.ReadFile(filepath.Join(tests, name, "output"))
			if err != nil {
				t.Fatal(err)
			}
			// Recorded with the shell's trace, in a terminal.
			want := regexp.MustCompile(`(?m)^[+$].*\n`).ReplaceAllString(strings.ReplaceAll(string(golden), "\r", ""), "")
			if own != nil {
				got, want = own.ReplaceAllString(got, "$1"), own.ReplaceAllString(want, "$1")
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// script runs a test's script on this machine instead of the device: with the
// engine's socket, and a /tmp of its own.
func (r *rig) script(bin, file string) string {
	r.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	script := strings.NewReplacer("/run/pantavisor/pv/", r.opts.RunDir+"/", "/tmp/", r.t.TempDir()+"/").Replace(string(text))
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PV_SYSTEM_RUNDIR="+r.opts.RunDir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

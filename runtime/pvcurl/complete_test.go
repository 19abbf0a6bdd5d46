package pvcurl_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/pvcurl"
)

func TestCompletion(t *testing.T) {
	const bash = `source "$1"; COMP_WORDS=(pvcurl "${@:2}") COMP_CWORD=$(($# - 1)); _pvcurl; echo "${COMPREPLY[*]}"`
	for _, c := range []struct {
		shell string
		args  []string
		want  string
	}{
		{"bash", []string{"--norc", "-c", bash, "bash", "SCRIPT", "/co"}, "/commands /config /config2 /containers\n"},
		{"bash", []string{"--norc", "-c", bash, "bash", "SCRIPT", "-X", "P"}, "PUT POST\n"},
		{"bash", []string{"--norc", "-c", bash, "bash", "SCRIPT", "--un"}, "--unix-socket\n"},
		{"bash", []string{"--norc", "-c", bash, "bash", "SCRIPT", "--data", "/co"}, "\n"},
		{"zsh", []string{"-f", "-c", `autoload -Uz compinit && compinit -u -D && source "$1" && print $_comps[pvcurl]`, "zsh", "SCRIPT"}, "_pvcurl\n"},
		{"fish", []string{"--no-config", "-c", `source $argv[1]; complete -C "pvcurl /gr"`, "SCRIPT"}, "/groups\n"},
	} {
		t.Run(c.shell+strings.Join(c.args[max(0, len(c.args)-2):], " "), func(t *testing.T) {
			testreq.Tool(t, c.shell)
			var out bytes.Buffer
			if code := pvcurl.Main(t.Context(), program.Env{Name: "pvcurl", Args: []string{"completion", c.shell}, Stdout: &out, Stderr: &out}); code != 0 {
				t.Fatal(code, out.String())
			}
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			for i, a := range c.args {
				if a == "SCRIPT" {
					c.args[i] = script
				}
			}
			cmd := exec.Command(c.shell, c.args...)
			cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(script))
			if got, err := cmd.CombinedOutput(); err != nil || string(got) != c.want {
				t.Errorf("%q, want %q; %v", got, c.want, err)
			}
		})
	}
	// Anything else is what it was.
	var errs bytes.Buffer
	if code := pvcurl.Main(t.Context(), program.Env{Name: "pvcurl", Args: []string{"completion", "tcsh"}, Stdout: &errs, Stderr: &errs}); code != 1 || !strings.Contains(errs.String(), "--unix-socket is required") {
		t.Errorf("%d %s", code, &errs)
	}
}

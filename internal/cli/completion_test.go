package cli_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/internal/testreq"
)

// completions makes the script for a shell.
func completions(t *testing.T, bin, shell string) (script string) {
	t.Helper()
	testreq.Tool(t, shell)
	code, out, errs := run(t, "completion", shell)
	if code != cli.ExitOK {
		t.Fatal(errs)
	}
	script = bin + "/" + shell
	if err := os.WriteFile(script, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	return script
}

func TestCompletionScripts(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/pvkit", "../../cmd/pvkit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Run("bash", func(t *testing.T) { bashCompletion(t, bin, completions(t, bin, "bash")) })
	for shell, args := range map[string][]string{
		"zsh":  {"-f", "-c", `autoload -Uz compinit && compinit -u -D && source "$1" && print $_comps[pvkit]`, "zsh"},
		"fish": {"--no-config", "-c", `source $argv[1]; complete -C "pvkit test "`},
	} {
		t.Run(shell, func(t *testing.T) {
			cmd := exec.Command(shell, append(args, completions(t, bin, shell))...)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+bin)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), map[string]string{"zsh": "_pvkit", "fish": "pvctrl"}[shell]) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// The script for bash works where the package bash-completion is not.
func bashCompletion(t *testing.T, bin, script string) {
	for line, want := range map[string]string{
		"pvkit ver":                          "verify version",
		"pvkit test ":                        "pvctrl xconnect",
		"pvkit build --preset s":             "smallest",
		"pvkit verify --mode=st":             "strict",
		"pvkit tx queue ":                    "new process remove unpack",
		"pvkit up --state /nowhere/at/all/x": "",
		"pvkit up --state /usr/shar":         "/usr/share",
	} {
		cmd := exec.Command("bash", "--norc", "--noprofile", "-c", `source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9
read -r -a COMP_WORDS <<<"$2"; [[ $2 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_pvkit pvkit && printf '%s\n' "${COMPREPLY[@]}" | sed 's/ *(.*//'`, "bash", script, line)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || !strings.Contains(got, want) || strings.Contains(got, "not found") {
			t.Errorf("%s: %q, want %q; %v", line, got, want, err)
		}
	}
}

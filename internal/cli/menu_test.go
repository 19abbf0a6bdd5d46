package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/internal/testreq"
)

// TestMenuChild is pvkit menu in the terminal of TestMenu.
func TestMenuChild(t *testing.T) {
	dir := os.Getenv("PVKIT_MENU_CHILD")
	if dir == "" {
		return // it is no test by itself
	}
	t.Chdir(dir)
	code := cli.Main(context.Background(), cli.Env{
		Args: []string{"menu"}, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: func(string) string { return "" },
	})
	fmt.Printf("exit code %d\n", code)
}

// terminal is a tmux window of 80 columns and 24 lines.
type terminal struct {
	t      *testing.T
	tmux   string
	socket string
}

func (s *terminal) run(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(s.tmux, append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// shows waits until the screen has all of that on it.
func (s *terminal) shows(want ...string) string {
	s.t.Helper()
	var screen string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		screen = s.run("capture-pane", "-p")
		missing := false
		for _, w := range want {
			missing = missing || !strings.Contains(screen, w)
		}
		if !missing {
			return screen
		}
	}
	s.t.Fatalf("the screen does not show %q:\n%s", want, screen)
	return ""
}

func startMenu(t *testing.T, dir string) *terminal {
	t.Helper()
	s := &terminal{t, testreq.Tool(t, "tmux"), filepath.Join(t.TempDir(), "tmux")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.run("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24",
		"env", "PVKIT_MENU_CHILD="+dir, "sh", "-c", `"$0" -test.run='^TestMenuChild$'; sleep 60`, self)
	t.Cleanup(func() { s.run("kill-server") })
	return s
}

var menuTree = map[string]string{"Kconfig": `mainmenu "Demo"
choice
	prompt "Machine"
config MACHINE_A
	bool "machine a"
config MACHINE_B
	bool "machine b"
endchoice
config KAS_INCLUDE_MACHINE
	string
	default "kas/a.yaml" if MACHINE_A
	default "kas/b.yaml" if MACHINE_B
config NAME
	string "name"
	default "x"
menu "Features"
config FEATURE_X
	bool "feature x"
	depends on MACHINE_B
	help
	  What x is.
config KAS_TARGET_X
	string
	default "image-x" if FEATURE_X
endmenu
`}

func TestMenu(t *testing.T) {
	dir := writeTree(t, menuTree)
	s := startMenu(t, dir)
	s.shows("Demo", "(*)   machine a", "( )   machine b", "(x) name", "Features  --->", "files:   kas/a.yaml", "s save")

	s.run("send-keys", "Down", "Down", "Space")
	s.shows("( )   machine a", "> (*)   machine b", "files:   kas/b.yaml")
	s.run("send-keys", "Down", "Enter")
	s.shows("value: x_")
	s.run("send-keys", "BSpace", "y", " ", "z", "Enter")
	s.shows("> (y z) name")
	s.run("send-keys", "Down", "Enter")
	s.shows("Demo > Features", "> [ ] feature x")
	s.run("send-keys", "y")
	s.shows("> [*] feature x", "targets: image-x")
	s.run("send-keys", "s")
	s.shows("wrote .config.yaml, for the stock dialect of kas", "exit code 0")

	got, err := os.ReadFile(".config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"- kas/b.yaml\n", "- image-x\n", "  MACHINE_A: false\n  MACHINE_B: true\n  NAME: y z\n"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestMenuReasons asks why an entry cannot be set, and leaves without saving.
func TestMenuReasons(t *testing.T) {
	dir := writeTree(t, menuTree)
	s := startMenu(t, dir)
	s.shows("Demo", "machine a")
	s.run("send-keys", "-l", "/feature x")
	s.shows("search: feature x_")
	s.run("send-keys", "Enter")
	s.shows("Demo > Features", "[ ] feature x  (cannot be set)")
	s.run("send-keys", "Space")
	s.shows("FEATURE_X cannot be set now: ? says why")
	s.run("send-keys", "?")
	s.shows("What x is.", "depends on MACHINE_B does not hold", "MACHINE_A is the first member")
	s.run("send-keys", "x")
	s.shows("> [ ] feature x")
	s.run("send-keys", "Escape")
	s.shows("Features  --->")
	s.run("send-keys", "Home", "Down", "Down", "Space")
	s.shows("(*)   machine b")
	s.run("send-keys", "q")
	s.shows("leave without saving?")
	s.run("send-keys", "y")
	s.shows("nothing saved", "exit code 0")
	if _, err := os.Stat(".config.yaml"); err == nil {
		t.Error("saved all the same")
	}
}

func TestMenuWithoutTerminal(t *testing.T) {
	writeTree(t, menuTree)
	if code, _, errs := run(t, "menu"); code != cli.ExitUsage || !strings.Contains(errs, "needs a terminal") {
		t.Errorf("code %d, %s", code, errs)
	}
}

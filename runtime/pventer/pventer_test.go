package pventer_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/pventer"
	"github.com/pvkit/pvkit/runtime/rundir"
)

func TestMain(m *testing.M) {
	sandbox.Child()
	os.Exit(m.Run())
}

func run(t *testing.T, stdin string, environ []string, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = pventer.Main(t.Context(), program.Env{Name: "pventer", Args: args, Stdin: strings.NewReader(stdin), Stdout: &o, Stderr: &e, Environ: environ})
	return code, o.String(), e.String()
}

func TestEnter(t *testing.T) {
	c := testns.Start(t)
	write := func(path, text string) {
		if err := os.WriteFile(c.Path(path), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.Mkdir("/home/app user")
	c.Mkdir("/run/etc")
	write("/etc/marker", "inside")
	write("/run/etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:5:5::/home/app user:/run/shell\nodd:x\nlost:x:6:6::/:/bin/lost\n")
	c.Symlink("/run/etc/passwd", "/etc/passwd") // absolute: the container's /run
	write("/run/shell", "#!/bin/sh\necho \"my shell $*\"\nexec sh \"$@\"\n")
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := rundir.Write(dir, []rundir.Container{
		{Name: "app", Status: pvctrl.StatusStarted, PID: c.PID},
		{Name: "gone", Status: pvctrl.StatusStopped, PID: dead.Process.Pid, StartTime: 1},
	}); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PV_SYSTEM_RUNDIR=" + dir, "PATH=/nowhere", "LD_PRELOAD=/nowhere.so", "GIVEN=by the caller", "SHLVL=3"}
	as := func(user string) []string { return append(environ, "PVUSER="+user) }
	for name, tt := range map[string]struct {
		stdin   string
		environ []string
		args    string
		code    int
		out     string
		err     string
	}{
		"a command":              {"", environ, "-c app cat /etc/marker", 0, "inside", ""},
		"the long option":        {"", environ, "--container app cat /etc/marker", 0, "inside", ""},
		"words for the shell":    {"", environ, "-c app echo a | tr a b; exit 7", 7, "b\n", ""},
		"no shell's word":        {"", environ, "-c app kill -9 $$", 137, "", ""},
		"its pids":               {"", environ, "-c app cat /proc/1/cmdline", 0, "cat\x00", ""},
		"standard input":         {"from outside", environ, "-c app cat", 0, "from outside", ""},
		"standard error":         {"", environ, "-c app echo oops >&2", 0, "", "oops\n"},
		"environment":            {"", environ, "-c app echo $GIVEN,$USER,$LOGNAME,$HOME,$SHELL,$LD_PRELOAD", 0, "by the caller,root,root,/root,/bin/sh,\n", ""},
		"a home that is missing": {"", environ, "-c app pwd", 0, "/\n", ""},
		"another user":           {"", as("app"), "-c app echo $USER; pwd; id -u", 0, "my shell -c echo $USER; pwd; id -u\napp\n/home/app user\n0\n", ""},
		"a login shell":          {"echo $0 $-; exit 4", as("app"), "-c app", 4, "my shell -l\n", ""},
		"a shell that is lost":   {"", as("lost"), "-c app echo $SHELL", 0, "/bin/sh\n", ""},
		"a user without entry":   {"", as("nobody"), "-c app echo $USER $SHELL", 0, "nobody /bin/sh\n", ""},
		"debug":                  {"", append(environ, "PVDEBUG=1"), "-c app true", 0, "", `["/bin/sh" "-c" "true"]`},
		"the host":               {"", append(environ, "PATH=/usr/bin:/bin"), "-c _pv_ echo $PVX host", 0, "host\n", ""},
		"the host, by its slash": {"", environ, "-c / exit 3", 3, "", ""},
		"stopped":                {"", environ, "-c gone true", 1, "", "pventer: container gone does not run: it is STOPPED"},
		"unknown":                {"", environ, "-c none true", 1, "", "pventer: no container found: none"},
		"a console":              {"", environ, "-c 1@app", 1, "", "pvkit logs -f app"},
		"no container":           {"", environ, "ls", 1, "", "no container is given"},
		"no name":                {"", environ, "-c", 1, "", "needs a container's name"},
		"no runtime":             {"", []string{"PV_SYSTEM_RUNDIR=/nowhere"}, "-c app true", 1, "", "no runtime has told there what runs"},
		"help":                   {"", nil, "--help", 0, "Usage: pventer -c CONTAINER", ""},
		"elsewhere":              {"", []string{"PVTEST_EXEC=echo there:"}, "-c app ls", 0, "there: pventer -c app ls\n", ""},
		"LXC_PATH":               {"", []string{"LXC_PATH=" + dir}, "-c app cat /etc/marker", 0, "inside", ""},
	} {
		code, out, errs := run(t, tt.stdin, tt.environ, strings.Fields(tt.args)...)
		same := out == tt.out || tt.out != "" && (name == "help" || name == "a login shell") && strings.HasPrefix(out, tt.out)
		if code != tt.code || !same || !strings.Contains(errs, tt.err) || tt.err == "" && errs != "" {
			t.Errorf("%s: %d %q %q", name, code, out, errs)
		}
	}
}

// A passwd that is no file of the usual kind holds nobody up.
func TestOddPasswd(t *testing.T) {
	c := testns.Start(t)
	if out, err := exec.Command("mkfifo", c.Path("/etc/passwd")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	if err := rundir.Write(dir, []rundir.Container{{Name: "app", Status: pvctrl.StatusStarted, PID: c.PID}}); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, "", []string{"PV_SYSTEM_RUNDIR=" + dir}, "-c", "app", "echo", "ok"); code != 0 || out != "ok\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

// The caller's files are the command's own, and a terminal stays one.
func TestFiles(t *testing.T) {
	c := testns.Start(t)
	dir := t.TempDir()
	if err := rundir.Write(dir, []rundir.Container{{Name: "app", Status: pvctrl.StatusStarted, PID: c.PID}}); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	code := pventer.Main(t.Context(), program.Env{Name: "pventer", Args: []string{"-c", "app", "echo", "through"}, Stdin: null, Stdout: w, Stderr: w,
		Environ: []string{"PV_SYSTEM_RUNDIR=" + dir}})
	w.Close()
	if out, _ := io.ReadAll(r); code != 0 || string(out) != "through\n" {
		t.Errorf("%d %q", code, out)
	}
}

// In a container without a shell the words are the program.
func TestNoShell(t *testing.T) {
	c := testns.Start(t)
	if err := os.Remove(c.Path("/bin")); err != nil { // a link to usr/bin
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := rundir.Write(dir, []rundir.Container{{Name: "app", Status: pvctrl.StatusStarted, PID: c.PID}}); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PV_SYSTEM_RUNDIR=" + dir}
	if code, out, errs := run(t, "", environ, "-c", "app", "printf", "%s,", "a b", "$HOME"); code != 0 || out != "a b,$HOME," {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, _, errs := run(t, "", environ, "-c", "app"); code != 1 || !strings.Contains(errs, "it has no shell") {
		t.Errorf("%d %q", code, errs)
	}
	if code, _, errs := run(t, "", environ, "-c", "app", "/no/such"); code != 1 || !strings.Contains(errs, "/no/such") {
		t.Errorf("%d %q", code, errs)
	}
}

package lxctools_test

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/lxctools"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/rundir"
)

func run(t *testing.T, main program.Main, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = main(t.Context(), program.Env{Name: "lxc", Args: args, Stdout: &o, Stderr: &e, Environ: []string{"PV_SYSTEM_RUNDIR=" + dir}})
	return code, o.String(), e.String()
}

// list writes a run directory like the one of LXC's containers whose output is
// recorded below: two stopped and, with a pid, one that runs.
func list(t *testing.T, pid int) string {
	t.Helper()
	dir := t.TempDir()
	all := []rundir.Container{
		{Name: "two", Status: pvctrl.StatusStopped, Group: "app"},
		{Name: "one", Status: pvctrl.StatusInstalled, Group: "foo", Autostart: true},
		{Name: "run", Status: pvctrl.StatusStarted, PID: pid},
	}
	if pid == 0 {
		all = all[:2]
	}
	if err := rundir.Write(dir, all); err != nil {
		t.Fatal(err)
	}
	return dir
}

// container is a process with a network namespace that has addresses.
func container(t *testing.T) int {
	t.Helper()
	testreq.Root(t)
	testreq.Tool(t, "ip")
	cmd := exec.Command("unshare", "--net", "sh", "-ec",
		"ip link set lo up; ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip addr add 10.99.3.7/24 dev eth0; "+
			"ip addr add 10.99.3.8/24 dev eth0; ip -6 addr add fd00:99::7/64 nodad dev eth0; echo ready; exec cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	if line := make([]byte, 6); true {
		if n, _ := out.Read(line); string(line[:n]) != "ready\n" {
			t.Fatalf("no network: %s", errs.String())
		}
	}
	return cmd.Process.Pid
}

// The texts are those of LXC 5.0.2 for such containers.
func TestLs(t *testing.T) {
	stopped := list(t, 0)
	for _, tt := range []struct {
		args, want string
	}{
		{"-f", "NAME STATE   AUTOSTART GROUPS IPV4 IPV6 UNPRIVILEGED \n" +
			"one  STOPPED 1         foo    -    -    false        \n" +
			"two  STOPPED 0         app    -    -    false        \n"},
		{"", "one \ntwo \n"},
		{"-1", "one\ntwo\n"},
		{"-1 ^t", "two\n"},
		{"-1 --filter=^t", "two\n"},
		{"-f -F name,state", "NAME STATE   \none  STOPPED \ntwo  STOPPED \n"},
		{"-fFNAME,PID,RAM,SWAP,INTERFACE", "NAME PID RAM SWAP INTERFACE \none  -   -   -    -         \ntwo  -   -   -    -         \n"},
		{"-f --running", ""},
		{"--active --line", ""},
		{"--frozen", ""},
		{"--stopped -1", "one\ntwo\n"},
		{"--defined -1 --nesting", "one\ntwo\n"},
		{"-1 -g app", "two\n"},
		{"-1 --groups app,foo", ""},
		{"-f -q", ""},
		{"--version", "5.0.2\n"},
		{"-1 -P /tmp", "one\ntwo\n"},
	} {
		code, out, errs := run(t, lxctools.MainLs, stopped, strings.Fields(tt.args)...)
		if code != 0 || out != tt.want || errs != "" {
			t.Errorf("lxc-ls %s: %d\n%s%s", tt.args, code, out, errs)
		}
	}
	// An option names the run directory, and so does LXC_PATH.
	if _, out, _ := run(t, lxctools.MainLs, "/nowhere", "-1", "-P", stopped); out != "one\ntwo\n" {
		t.Errorf("-P: %q", out)
	}
	for args, want := range map[string]string{
		"-f -F NAME,NOPE":  "invalid key: NOPE",
		"--filter [":       "is not a regular expression",
		"--bogus":          "unrecognized option '--bogus'\nUsage:",
		"-z":               "invalid option -- 'z'",
		"-P":               "requires an argument -- 'P'",
		"--lxcpath":        "option '--lxcpath' requires an argument",
		"--fancy=x":        "doesn't allow an argument",
		"one two":          "one filter is allowed",
		"-P /nowhere/else": "",
	} {
		dir := stopped
		if args == "-P /nowhere/else" {
			dir, want = "/nowhere", "no such directory"
		}
		code, out, errs := run(t, lxctools.MainLs, dir, strings.Fields(args)...)
		if code != 1 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("lxc-ls %s: %d %q %q", args, code, out, errs)
		}
	}
	if code, out, errs := run(t, lxctools.MainLs, t.TempDir(), "-f"); code != 1 || out != "" || !strings.Contains(errs, "no runtime has told") {
		t.Errorf("no runtime: %d %q %q", code, out, errs)
	}
	if code, out, _ := run(t, lxctools.MainLs, "", "-?"); code != 0 || !strings.HasPrefix(out, "Usage: lxc-ls") {
		t.Errorf("help: %d %q", code, out)
	}
}

func TestRunning(t *testing.T) {
	pid := container(t)
	dir := list(t, pid)
	p := strconv.Itoa(pid)
	for _, tt := range []struct {
		main       program.Main
		args, want string
	}{
		{lxctools.MainLs, "-f", "NAME STATE   AUTOSTART GROUPS IPV4                 IPV6       UNPRIVILEGED \n" +
			"one  STOPPED 1         foo    -                    -          false        \n" +
			"run  RUNNING 0         -      10.99.3.7, 10.99.3.8 fd00:99::7 false        \n" +
			"two  STOPPED 0         app    -                    -          false        \n"},
		{lxctools.MainLs, "--running", "run \n"},
		{lxctools.MainLs, "--stopped -1", "one\ntwo\n"},
		{lxctools.MainLs, "-f --active -F NAME,PID,INTERFACE", "NAME PID" + strings.Repeat(" ", len(p)-3) + " INTERFACE      \nrun  " + p + " eth0, eth1, lo \n"},
		{lxctools.MainInfo, "-n run -p", "PID:            " + p + "\n"},
		{lxctools.MainInfo, "-n run -pH", p + "\n"},
		{lxctools.MainInfo, "--name=run --pid", "PID:            " + p + "\n"},
		{lxctools.MainInfo, "run -s", "State:          RUNNING\n"},
		{lxctools.MainInfo, "-nrun -sH", "RUNNING\n"},
		{lxctools.MainInfo, "-n run -i", "IP:             10.99.3.7\nIP:             10.99.3.8\nIP:             fd00:99::7\n"},
		{lxctools.MainInfo, "-n run -iH", "10.99.3.7\n10.99.3.8\nfd00:99::7\n"},
		{lxctools.MainInfo, "-n run -psi", "State:          RUNNING\nPID:            " + p + "\nIP:             10.99.3.7\nIP:             10.99.3.8\nIP:             fd00:99::7\n"},
		{lxctools.MainInfo, "-n one", "Name:           one\nState:          STOPPED\n"},
		{lxctools.MainInfo, "-n one -p", ""},
		{lxctools.MainInfo, "-n one -S", ""},
		{lxctools.MainInfo, "-n one -q", ""},
	} {
		if code, out, errs := run(t, tt.main, dir, strings.Fields(tt.args)...); code != 0 || out != tt.want || errs != "" {
			t.Errorf("%s: %d\n%s%s", tt.args, code, out, errs)
		}
	}
	// What was used depends on the controllers; the lines keep LXC's form.
	_, out, _ := run(t, lxctools.MainInfo, dir, "-n", "run")
	form := regexp.MustCompile(`^Name:           run\nState:          RUNNING\nPID:            ` + p + `\nIP:.*\nIP:.*\nIP:.*\n(CPU use:        \d+\.\d\d seconds\n)?(Memory use:     [\d.]+ (bytes|[KMG]iB)\n)?$`)
	if !form.MatchString(out) {
		t.Errorf("all facts:\n%s", out)
	}
}

func TestInfoErrors(t *testing.T) {
	dir := list(t, 0)
	for args, want := range map[string]string{
		"":                    "lxc: No container name specified\n",
		"-n nope":             "nope doesn't exist\n",
		"--bogus -n one":      "lxc: unrecognized option '--bogus'\nUsage: lxc-info",
		"-n one -c lxc.group": "lxc: -c is not supported",
	} {
		if code, out, errs := run(t, lxctools.MainInfo, dir, strings.Fields(args)...); code != 1 || out != "" || !strings.HasPrefix(errs, want) {
			t.Errorf("lxc-info %s: %d %q %q", args, code, out, errs)
		}
	}
	if code, out, _ := run(t, lxctools.MainInfo, dir, "--help"); code != 0 || !strings.Contains(out, "Examples:") {
		t.Errorf("help: %d %s", code, out)
	}
}

// The real programs print the same for the same containers, where they are
// stopped: one that runs takes an LXC that works.
func TestLikeLXC(t *testing.T) {
	ls, info := testreq.Tool(t, "lxc-ls"), testreq.Tool(t, "lxc-info")
	testreq.Root(t)
	lxc := t.TempDir()
	for name, conf := range map[string]string{"one": "lxc.start.auto = 1\nlxc.group = foo\n", "two": "lxc.group = app\n"} {
		if err := os.Mkdir(filepath.Join(lxc, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(lxc, name, "config"), []byte("lxc.uts.name = "+name+"\n"+conf), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ours := list(t, 0)
	for _, tt := range []struct {
		tool string
		main program.Main
		args string
	}{
		{ls, lxctools.MainLs, "-f"}, {ls, lxctools.MainLs, ""}, {ls, lxctools.MainLs, "-1"}, {ls, lxctools.MainLs, "-1 ^t"},
		{ls, lxctools.MainLs, "-f -F NAME,STATE,PID,AUTOSTART,GROUPS,IPV4,IPV6,UNPRIVILEGED"}, {ls, lxctools.MainLs, "-f --running"},
		{ls, lxctools.MainLs, "-f -g app"}, {ls, lxctools.MainLs, "--stopped -1"},
		{info, lxctools.MainInfo, "-n one"}, {info, lxctools.MainInfo, "-n one -p"}, {info, lxctools.MainInfo, "-n two -sH"},
		{info, lxctools.MainInfo, "-n nope"}, {info, lxctools.MainInfo, "-i two"},
	} {
		cmd := exec.Command(tt.tool, append([]string{"-P", lxc}, strings.Fields(tt.args)...)...)
		var want, wantErr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &want, &wantErr
		cmd.Run() // its exit code is compared
		code, out, errs := run(t, tt.main, ours, strings.Fields(tt.args)...)
		if out != want.String() || errs != wantErr.String() || code != cmd.ProcessState.ExitCode() {
			t.Errorf("%s: %d\n%s%s\nLXC: %d\n%s%s", tt.args, code, out, errs, cmd.ProcessState.ExitCode(), &want, &wantErr)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add([]byte("Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.99.3.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n"))
	f.Add([]byte("fd000099000000000000000000000007 02 40 00 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range slices.Concat(lxctools.ParseFibTrie(b), lxctools.ParseIfInet6(b)) {
			if !a.IsValid() || a.IsLoopback() {
				t.Errorf("%s", a)
			}
		}
	})
}

func TestProc(t *testing.T) {
	v4 := lxctools.ParseFibTrie([]byte("Main:\n     |-- 10.0.0.2\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\nLocal:\n     |-- 10.0.0.2\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n"))
	v6 := lxctools.ParseIfInet6([]byte("fe800000000000000000000000000001 02 40 20 80 eth0\nfd000099000000000000000000000007 02 40 00 80 eth0\nnonsense\n"))
	if !slices.Equal(v4, []netip.Addr{netip.MustParseAddr("10.0.0.2")}) || !slices.Equal(v6, []netip.Addr{netip.MustParseAddr("fd00:99::7")}) {
		t.Errorf("%v %v", v4, v6)
	}
}

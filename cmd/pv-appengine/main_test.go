package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pv-appengine")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "pv-appengine"), nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if p, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(p))
	}
	os.Exit(code)
}

// run runs the command with a home of its own and returns its exit code and
// what it said.
func run(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

func TestCommandLine(t *testing.T) {
	home := []string{"HOME=" + t.TempDir()}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env  []string
		args string
		code int
		want string
	}{
		{home, "-h", 0, "-d SECS"},
		{home, "--version", 0, "pv-appengine pvkit"},
		{home, "-V", 64, "written in Go"},
		{home, "-d soon", 64, "neither seconds nor a duration"},
		{home, "-e PV_X", 64, "not an assignment"},
		{home, "a b", 64, "there is one DIR"},
		{home, "--no-such", 64, "there is no option -no-such"},
		{home, "-c", 64, "a value is missing after -c"},
		{home, "-c pv_try=locals/x", 1, "needs a pv_rev"},
		{home, "/no/such/dir", 1, "there is no /no/such/dir: name the directory"},
		{home, file, 1, "not a directory"},
		{home, "--xconnect /no/such", 1, "--xconnect"},
		{home, "--config /no/such", 1, "--config: read settings: open /no/such"},
		{[]string{}, "-m", 1, "set --storage and --rundir"},
	} {
		code, out := run(t, c.env, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, want %d with %q\n%s", c.args, code, c.code, c.want, out)
		}
	}
}

// -m makes the storage below the user's state, or where the settings file says,
// and runs nothing.
func TestPrepare(t *testing.T) {
	home, state := t.TempDir(), t.TempDir()
	if code, out := run(t, []string{"HOME=" + home, "XDG_STATE_HOME=" + state, "PV_DEBUG_SSH_PUBKEY=x"}, "-m", t.TempDir()); code != 0 || !strings.Contains(out, "PV_DEBUG_SSH_PUBKEY is set and means nothing") {
		t.Errorf("exit %d: %s", code, out)
	}
	if b, err := os.ReadFile(filepath.Join(state, "pv-appengine/storage/trails/0/.pvr/json")); err != nil || !strings.Contains(string(b), "pantavisor-service-system@1") {
		t.Errorf("%s, %v", b, err)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) != 0 {
		t.Errorf("in the home: %v, %v", left, err)
	}

	there := t.TempDir()
	config := filepath.Join(t.TempDir(), "config")
	text := "PV_STORAGE_MNTPOINT=" + there + "/storage\nPV_SYSTEM_RUNDIR=" + there + "/run/pv\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out := run(t, []string{"HOME=" + home, "PV_APPENGINE_INITIAL_REV=locals/first"}, "-m", "--config", config, t.TempDir()); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if _, err := os.Stat(there + "/storage/trails/locals/first/.pv/done"); err != nil {
		t.Error(err)
	}

	// A policy that the file names is a file, too.
	if err := os.Mkdir(there+"/policies", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		there + "/policies/mine.config": "PV_STORAGE_MNTPOINT=" + there + "/other\n",
		config:                          text + "PV_POLICY=mine\nPV_SYSTEM_ETCPANTAVISORDIR=" + there + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := run(t, []string{"HOME=" + home}, "-m", "--config", config, t.TempDir()); code != 0 || !strings.Contains(out, there+"/other is ready") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out := run(t, append([]string{"HOME=" + home}, "PV_POLICY=gone"), "-m", "--config", config, t.TempDir()); code != 1 || !strings.Contains(out, "policies/gone.config: no such file") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// Ends that come often where a user runs it by hand, and that by default kill:
// the reader of its output ends, the terminal is closed, timeout(1).
func TestEndsInOrder(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	signals := func(list ...os.Signal) func(*testing.T, *exec.Cmd, *os.File) {
		return func(t *testing.T, cmd *exec.Cmd, out *os.File) {
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(line, err)
			}
			for _, s := range list {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Millisecond) // else the kernel makes one of two
			}
		}
	}
	for name, end := range map[string]func(*testing.T, *exec.Cmd, *os.File){
		"pipe":      func(t *testing.T, _ *exec.Cmd, out *os.File) { out.Close() },
		"hangup":    signals(syscall.SIGHUP),
		"timeout 1": signals(syscall.SIGTERM, syscall.SIGTERM), // it sends to the process and to its group
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(path, "--storage", dir+"/storage", "--rundir", dir+"/run", "--xconnect", "none", t.TempDir())
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd.Stdout = w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			end(t, cmd, r)
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended with %v", err)
			}
			if _, err := os.Lstat(dir + "/run/pv-ctrl"); err == nil {
				t.Error("the socket is left behind")
			}
		})
	}
}

// A start says what it does with the exports that it is given.
func TestSaysWhatItTakes(t *testing.T) {
	dir := t.TempDir()
	home := []string{"HOME=" + dir}
	for _, c := range []struct{ args, want string }{
		{"", "no directory of pvrexports is given: the first revision is empty"},
		{t.TempDir(), "was filled at its first start and goes on with that"},
		{"-e PV_LOG_LEVLE=5", "there is no such setting"},
	} {
		args := append([]string{"-m", "--storage", dir + "/storage", "--rundir", dir + "/run"}, strings.Fields(c.args)...)
		if code, out := run(t, home, args...); code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, want %q in %s", c.args, code, c.want, out)
		}
	}
}

package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
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
		{home, "--no-such", 64, "flag provided but not defined"},
		{home, "-c pv_try=locals/x", 1, "needs a pv_rev"},
		{home, "/no/such/dir", 1, "no such file"},
		{home, file, 1, "not a directory"},
		{home, "--xconnect /no/such", 1, "--xconnect"},
		{home, "--config /no/such", 1, "no such file"},
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
}

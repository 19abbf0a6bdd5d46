package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/cli"
)

func TestTx(t *testing.T) {
	dir := t.TempDir()
	bundle := writeExample(t, "app.pvrexport.tgz", "hello", `{"#spec":"service-manifest-run@1","name":"app"}`)
	device := filepath.Join(dir, "device.json")
	if err := os.WriteFile(device, []byte(`{"#spec":"pantavisor-service-system@1","device.json":{"groups":[]}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	objects, trail, queue := filepath.Join(dir, "objects"), filepath.Join(dir, "trails", "0"), filepath.Join(dir, "queue")
	env := map[string]string{"PVTXDIR": filepath.Join(dir, "tx")}
	steps := []struct {
		args   []string
		code   int
		stdout string // the whole of it
		stderr string // a part of it
	}{
		{[]string{"status"}, cli.ExitOK, "no transaction is active\n", ""},
		{[]string{"show"}, cli.ExitFailure, "", "no transaction is active: begin one first"},
		{[]string{"add", bundle}, cli.ExitFailure, "", "no transaction is active"},
		{[]string{"begin"}, cli.ExitUsage, "", "tx begin: want empty|current|PATH [OBJECTS]; found no arguments\nRun 'pvkit tx begin --help' for usage."},
		{[]string{"begin", filepath.Join(dir, "none")}, cli.ExitFailure, "", "no such file"},
		{[]string{"begin", "current"}, cli.ExitFailure, "", "there is no socket at " + filepath.Join(dir, "pv-ctrl")},
		{[]string{"begin", "empty", objects}, cli.ExitOK, "", ""},
		{[]string{"begin", "empty", objects}, cli.ExitFailure, "", "active already"},
		{[]string{"status"}, cli.ExitOK, "a local transaction is active; its objects are in " + objects + "\n", ""},
		{[]string{"add", "--json", bundle, device}, cli.ExitOK, `{"file":"` + bundle + `","parts":["app"],"files":5,"objects":2,"missing":[]}` + "\n" +
			`{"file":"` + device + `","parts":[],"files":1,"objects":0,"missing":[]}` + "\n", ""},
		{[]string{"add", "-", "-"}, cli.ExitUsage, "", "standard input can be read once"},
		{[]string{"remove", "nothing"}, cli.ExitFailure, "", `part "nothing": the state has no such part`},
		{[]string{"commit"}, cli.ExitFailure, "", "it is local, end it with deploy"},
		{[]string{"deploy", trail}, cli.ExitOK, "", ""},
		{[]string{"status", "--json"}, cli.ExitOK, `{"phase":"deployed","revision":"` + trail + `"}` + "\n", ""},
		{[]string{"queue", "remove", "app"}, cli.ExitFailure, "", "there is no queue"},
		{[]string{"queue", "new", queue, objects}, cli.ExitOK, "", ""},
		{[]string{"queue", "remove", "app"}, cli.ExitOK, "", ""},
		{[]string{"queue", "process", "empty", queue}, cli.ExitUsage, "", "directory for its objects"},
		{[]string{"queue", "process", trail}, cli.ExitOK, "", ""},
		{[]string{"show"}, cli.ExitOK, `{"#spec":"pantavisor-service-system@1","device.json":{"groups":[]}}` + "\n", ""},
		{[]string{"queue", "unpack", bundle}, cli.ExitOK, "", ""},
		{[]string{"__complete", "remove", ""}, cli.ExitOK, "", ""},
		{[]string{"abort"}, cli.ExitOK, "", ""},
		{[]string{"abort"}, cli.ExitOK, "", ""},
		{[]string{"nonsense"}, cli.ExitUsage, "", `no command "nonsense"`},
	}
	for _, s := range steps {
		args := append([]string{"tx", "--socket", filepath.Join(dir, "pv-ctrl")}, s.args...)
		if s.args[0] == "__complete" {
			args = append([]string{"__complete", "tx"}, s.args[1:]...)
			s.stdout = ":4\n"
		}
		code, stdout, stderr := call{args: args, env: env}.run(t)
		if code != s.code || stdout != s.stdout || !strings.Contains(stderr, s.stderr) {
			t.Fatalf("pvkit %s: exit %d\nstdout %s\nstderr %s", strings.Join(args, " "), code, stdout, stderr)
		}
	}
}

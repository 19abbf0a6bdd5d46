package pvcontrol_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/pvcontrol"
)

// server answers GET with a page for each path.
func server(t testing.TB, pages map[string]string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pc")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ctrl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path]
		if !ok {
			http.Error(w, `{"Error":"unknown endpoint: `+r.URL.Path+`"}`, 400)
			return
		}
		io.WriteString(w, page)
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close(); os.RemoveAll(dir) })
	return path
}

func run(t testing.TB, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = pvcontrol.Main(t.Context(), program.Env{Name: "pvcontrol", Args: args, Stdin: strings.NewReader(""), Stdout: &o, Stderr: &e})
	return code, o.String(), e.String()
}

var pages = map[string]string{
	"/containers": `[{"name":"server","group":"app","status":"STARTED","status_goal":"STARTED","restart_policy":"container","roles":["mgmt"]},` +
		`{"name":"sensor","group":null,"status":"STOPPED","status_goal":"MOUNTED","restart_policy":"system","roles":[]}]`,
	"/groups":      `[{"name":"app","status_goal":"STARTED","restart_policy":"container","status":"READY"}]`,
	"/daemons":     `[{"name":"pv-xconnect","pid":17,"respawn":true}]`,
	"/steps":       `[{"name":"0","date":"2026-01-02T03:04:05Z","commitmsg":"","progress":{"status":"DONE","progress":100}},{"name":"locals/a","date":"","commitmsg":"try \u001b[2J it","progress":{}}]`,
	"/objects":     `[{"sha256":"` + strings.Repeat("ab", 32) + `","size":"71"}]`,
	"/user-meta":   `{"place":"hall","json":{"a":[1]}}`,
	"/device-meta": `{}`,
	"/config":      `{"log.level":3,"x":null,"y":true}`,
}

func TestTables(t *testing.T) {
	s := server(t, pages)
	for _, tt := range []struct{ args, want string }{
		{"ls --table", "NAME    GROUP  STATUS   STATUS_GOAL  RESTART_POLICY  ROLES\n" +
			"server  app    STARTED  STARTED      container       mgmt\n" +
			"sensor  -      STOPPED  MOUNTED      system          -\n"},
		{"daemons ls --table", "NAME         PID  RESPAWN\npv-xconnect  17   true\n"},
		{"steps ls --table", "NAME      DATE                  COMMITMSG    STATUS  PROGRESS\n" +
			"0         2026-01-02T03:04:05Z  -            DONE    100\n" +
			"locals/a  -                     try ?[2J it  -       -\n"},
		{"usrmeta ls --table", "KEY    VALUE\njson   {\"a\":[1]}\nplace  hall\n"},
		{"devmeta ls --table", "KEY  VALUE\n"},
		{"config ls --table", "KEY        VALUE\nlog.level  3\nx          -\ny          true\n"},
	} {
		code, out, errs := run(t, append([]string{"-s", s}, strings.Fields(tt.args)...)...)
		if code != 0 || out != tt.want || errs != "" {
			t.Errorf("%s: %d\n%s%s", tt.args, code, out, errs)
		}
		before := append([]string{"-s", s, "--table"}, strings.Fields(strings.TrimSuffix(tt.args, " --table"))...)
		if _, again, _ := run(t, before...); again != out {
			t.Errorf("--table before %s: %s", tt.args, again)
		}
	}
	if code, out, errs := run(t, "-s", s, "--table", "buildinfo"); code != 1 || out != "" || !strings.Contains(errs, "buildinfo  has no table") && !strings.Contains(errs, "buildinfo has no table") {
		t.Errorf("no table: %d %q %q", code, out, errs)
	}
	if code, _, errs := run(t, "-s", s, "graph", "ls", "--table"); code != 255 || !strings.Contains(errs, "unknown endpoint") {
		t.Errorf("refused: %d %q", code, errs)
	}
}

func TestCandidates(t *testing.T) {
	s := server(t, pages)
	for _, tt := range []struct {
		words string // the last one is completed; "_" is an empty one
		want  string
	}{
		{"cont", "containers"},
		{"-", "-s -f -m -v --table -h"},
		{"-s", "-s"},
		{"-s _", ":file"},
		{"-m _", ""},
		{"containers _", "ls start stop restart"},
		{"containers st", "start stop"},
		{"-s $S containers stop _", "sensor server"},
		{"-s $S containers stop se", "sensor server"},
		{"-s $S containers stop ser", "server"},
		{"-s $S containers stop server _", ""},
		{"-s $S daemons restart _", "pv-xconnect"},
		{"-s $S steps get _", "current 0 locals/a"},
		{"-s $S cmd run locals", "locals/a"},
		{"-s $S objects get _", strings.Repeat("ab", 32)},
		{"-s $S usrmeta delete _", "json place"},
		{"-s $S usrmeta save place _", ""},
		{"-s /no/such containers stop _", ""},
		{"objects put _", ":file"},
		{"steps install _", ":file"},
		{"ls _", "--table"},
		{"completion _", "bash zsh fish"},
		{"nonsense _", ""},
		{"containers nonsense _", ""},
	} {
		args := []string{"__complete"}
		for _, w := range strings.Fields(strings.ReplaceAll(tt.words, "$S", s)) {
			args = append(args, strings.TrimPrefix(w, "_"))
		}
		code, out, errs := run(t, args...)
		var got []string
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			got = append(got, word)
		}
		if code != 0 || errs != "" || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %d %q %s", tt.words, code, got, errs)
		}
	}
}

// build makes the program, for the shells' scripts to call.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "../../cmd/pvcontrol")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// The scripts work in the shells.
func TestCompletionScripts(t *testing.T) {
	s := server(t, pages)
	dir := build(t)
	for shell, ask := range map[string]string{
		"bash": `source <(pvcontrol completion bash); COMP_WORDS=(pvcontrol -s ` + s + ` containers stop se); COMP_CWORD=5; _pvcontrol; printf '%s\n' "${COMPREPLY[@]}"`,
		"zsh":  `compdef() { : }; _describe() { print -l "${candidates[@]%%:*}" }; source <(pvcontrol completion zsh); words=(pvcontrol -s ` + s + ` containers stop se); CURRENT=6; _pvcontrol`,
		"fish": `pvcontrol completion fish | source; complete -C 'pvcontrol -s ` + s + ` containers stop se' | string split -f 1 \t`,
	} {
		t.Run(shell, func(t *testing.T) {
			cmd := exec.Command(testreq.Tool(t, shell), "-c", ask)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "sensor\nserver\n" {
				t.Errorf("%v: %q", err, out)
			}
		})
	}
	if code, _, errs := run(t, "completion", "csh"); code != 1 || !strings.Contains(errs, "bash, zsh and fish") {
		t.Errorf("csh: %d %s", code, errs)
	}
}

// CURL_CMD and CURL_ARGS are taken or explained.
func TestCurlSettings(t *testing.T) {
	s := server(t, pages)
	for setting, want := range map[string]string{
		"CURL_CMD=curl":                    "",
		"CURL_CMD=/usr/bin/pvcurl":         "",
		"CURL_CMD=docker exec x pvcurl -s": "pvcontrol: CURL_CMD=docker exec x pvcurl -s is not used",
		"CURL_ARGS=-s -k":                  "pvcontrol: CURL_ARGS: -k has no meaning here",
		"CURL_ARGS=--max-time":             "pvcontrol: CURL_ARGS: --max-time has no value",
		"CURL_ARGS=--max-time soon":        "pvcontrol: CURL_ARGS: --max-time soon is not a number",
		"CURL_ARGS=-v":                     "* Connecting to " + s,
	} {
		var out, errs bytes.Buffer
		env := program.Env{Name: "pvcontrol", Args: []string{"-s", s, "ls"}, Environ: []string{setting}, Stdout: &out, Stderr: &errs}
		if code := pvcontrol.Main(t.Context(), env); code != 0 || !strings.HasPrefix(errs.String(), want) || want == "" && errs.Len() > 0 {
			t.Errorf("%s: %d %q", setting, code, errs.String())
		}
	}
}

// A large object streams into a file and out of it.
func TestLargeObject(t *testing.T) {
	const size = 20 << 20
	block := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	h := sha256.New()
	for n := 0; n < size; n += len(block) {
		h.Write(block)
	}
	sha := fmt.Sprintf("%x", h.Sum(nil))
	s := server(t, map[string]string{"/objects/" + sha: strings.Repeat(string(block), size/len(block)), "/objects/" + strings.Repeat("c", 64): "other bytes"})
	file := filepath.Join(t.TempDir(), "o")
	if code, _, errs := run(t, "-s", s, "-f", file, "objects", "get", sha); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	if st, err := os.Stat(file); err != nil || st.Size() != size {
		t.Errorf("the file: %v", err)
	}
	if code, _, errs := run(t, "-s", s, "-f", file, "objects", "get", strings.Repeat("c", 64)); code != 60 || !strings.Contains(errs, "not the object") {
		t.Errorf("other bytes: %d %s", code, errs)
	}
	if st, err := os.Stat(file); err != nil || st.Size() != size {
		t.Error("other bytes replaced the file")
	}
}

// Without -s the socket is the run directory's, or the one that SOCKET names.
func TestDefaultSocket(t *testing.T) {
	s := server(t, pages)
	dir := filepath.Dir(s)
	if err := os.Rename(s, filepath.Join(dir, "pv-ctrl")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/run/pantavisor/pv/pv-ctrl", "/pv/pv-ctrl", "/pantavisor/pv-ctrl"} {
		if _, err := os.Stat(path); err == nil {
			t.Skipf("a runtime runs on this machine: %s", path)
		}
	}
	for setting, want := range map[string]string{
		"PV_SYSTEM_RUNDIR=" + dir:       pages["/groups"] + "\n",
		"SOCKET=" + dir + "/pv-ctrl":    pages["/groups"] + "\n",
		"SOCKET=/nowhere":               "ERROR: /nowhere not found\n",
		"PV_SYSTEM_RUNDIR=/nowhere/run": "ERROR: /pantavisor/pv-ctrl not found\n",
	} {
		var out bytes.Buffer
		pvcontrol.Main(t.Context(), program.Env{Name: "pvcontrol", Args: []string{"groups", "ls"}, Environ: []string{setting}, Stdout: &out, Stderr: io.Discard})
		if out.String() != want {
			t.Errorf("%s: %q", setting, out.String())
		}
	}
}

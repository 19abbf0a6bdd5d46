package ctrl_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// run gives a program's output.
func run(t *testing.T, input string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s %q: %v", name, args, err)
	}
	return string(out)
}

// curl, as pvcontrol uses it where there is no pvcurl.
func TestCurl(t *testing.T) {
	curl := testreq.Tool(t, "curl")
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: byEnviron})
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	file := filepath.Join(t.TempDir(), "object")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	curls := func(args ...string) string {
		return run(t, "", curl, append([]string{"-sS", "--max-time", "20", "--unix-socket", socket, "-w", " %{http_code}"}, args...)...)
	}
	object := "http://localhost/objects/" + name
	for _, upload := range [][]string{
		{"-T", file, "-H", "Transfer-Encoding: identity"},
		{"-T", file, "-H", "Transfer-Encoding: chunked"},
		{"-T", file, "-H", "Expect: 100-continue"},
		{"-T", file, "--http1.0"},
		{"-X", "PUT", "--data-binary", "@" + file},
	} {
		if got := curls(append(upload, object)...); got != " 200" {
			t.Errorf("curl %q: %q", upload, got)
		}
		for _, version := range []string{"--http1.0", "--http1.1"} {
			if got := curls(version, object); got != string(text)+" 200" {
				t.Errorf("curl %s: %d bytes", version, len(got))
			}
		}
		if got := curls("-X", "POST", "http://localhost/storage/gc"); got != `{"reclaimed": 2097152} 200` {
			t.Errorf("collected: %s", got)
		}
	}
	// Several requests on a connection, and one with a body that is refused.
	if got := curls("http://localhost/drivers", "http://localhost/nope", "http://localhost/buildinfo"); got != `{} 200{"Error":"unknown endpoint: /nope"} 400 200` {
		t.Errorf("three requests: %s", got)
	}
	if got := curls("-T", file, "http://localhost/user-meta/big"); got != `{"Error":"Not enough disk space available"} 507` {
		t.Errorf("a body that is too large: %s", got)
	}
	if got := curls("-I", "http://localhost/drivers"); !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || !strings.HasSuffix(got, " 400") {
		t.Errorf("HEAD: %s", got)
	}
	if got := curls("--max-time", "1", "-N", "-s", "http://localhost/xconnect-graph"); !strings.HasSuffix(got, "] 200") {
		t.Errorf("graph: %s", got)
	}
}

// nc closes its sending side after the request, as pvcurl does with it.
func TestNetcat(t *testing.T) {
	nc := testreq.Tool(t, "nc")
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: byEnviron})
	if got := run(t, "GET /daemons HTTP/1.0\r\nHost: localhost\r\n\r\n", nc, "-N", "-U", socket); got != ok10 {
		t.Errorf("got %q", got)
	}
	request := "PUT /user-meta/k HTTP/1.0\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nvalue"
	if got := run(t, request, nc, "-N", "-U", socket); got != "HTTP/1.0 200 OK"+json10 {
		t.Errorf("got %q", got)
	}
	if all, err := pvctrl.NewClient(socket).Meta(t.Context(), pvctrl.UserMeta); err != nil || len(all) != 1 || all[0].Value != "value" {
		t.Errorf("%v, %v", all, err)
	}
}

// Upstream's own pvcurl and pvcontrol, which are shell scripts around nc.
func TestUpstreamTools(t *testing.T) {
	tree := testreq.Env(t, "PVKIT_PANTAVISOR", "a checkout of github.com/pantavisor/pantavisor")
	testreq.Tool(t, "nc")
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: byEnviron})
	bin := t.TempDir()
	tools := filepath.Join(tree, "tools")
	if err := os.Symlink(filepath.Join(tools, "pvcurl"), filepath.Join(bin, "pvcurl")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	pvcurl := func(args ...string) string {
		return run(t, "", "sh", append([]string{filepath.Join(tools, "pvcurl"), "--unix-socket", socket}, args...)...)
	}
	pvcontrol := func(args ...string) string {
		return run(t, "", "sh", append([]string{filepath.Join(tools, "pvcontrol"), "-s", socket}, args...)...)
	}
	if got := pvcurl("http://localhost/daemons"); got != daemon {
		t.Errorf("pvcurl: %q", got)
	}
	if got := pvcurl("-X", "PUT", "-w", "%{http_code}", "--data-binary", "value", "http://localhost/user-meta/k"); got != "200" {
		t.Errorf("pvcurl puts: %q", got)
	}
	for command, want := range map[string]string{
		"daemons ls":      daemon,
		"usrmeta ls":      `{"k":"value"}`,
		"objects ls":      "[]",
		"steps get 0":     `{"#spec":"pantavisor-service-system@1"}`,
		"commands run-gc": "",
	} {
		if got := strings.TrimSpace(pvcontrol(strings.Fields(command)...)); got != want {
			t.Errorf("pvcontrol %s: %q, want %q", command, got, want)
		}
	}
	text := []byte("an object\n")
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	file := filepath.Join(bin, "object")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	pvcontrol("objects", "put", file, name)
	if got := strings.TrimSpace(pvcontrol("objects", "get", name)); got != "an object" {
		t.Errorf("the object came back as %q", got)
	}
}

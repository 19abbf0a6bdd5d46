package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
)

// The runtime's own tests of pvtx (test/pvtx/pvtx.sh in the checkout that
// PVKIT_PANTAVISOR names), with pvkit tx in its place.
func TestTxAsThePeersTests(t *testing.T) {
	dir := filepath.Join(testreq.Env(t, "PVKIT_PANTAVISOR", "a checkout of github.com/pantavisor/pantavisor"), "test", "pvtx")
	for _, tool := range []string{"jq", "xxd", "bc"} {
		testreq.Tool(t, tool)
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/pvkit", "../../cmd/pvkit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(bin+"/pvtx", []byte("#!/bin/sh\nexec "+bin+"/pvkit tx \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(dir, "pvtx.sh"))
	if err != nil {
		t.Fatal(err)
	}
	// Where ours differs, and what the test says then.
	ours := map[string]string{
		"test_queue_new":         ".status: No such file",          // it reads pvtx's own file; ours is pvkit-tx.json
		"test_local_transaction": "wrong status code; expected 12", // pvkit has the exit codes 0, 1, 2 and 64
	}
	names := regexp.MustCompile(`(?m)^(test_\w+)\(\)`).FindAllSubmatch(script, -1)
	if len(names) < 29 {
		t.Fatalf("%d tests in %s", len(names), dir)
	}
	for _, m := range names {
		name := string(m[1])
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("sh", dir+"/pvtx.sh", dir, bin, name)
			cmd.Env = append(os.Environ(), "PVTX_TMP_DIR="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if want, listed := ours[name]; listed != (err != nil) || listed && !strings.Contains(string(out), want) {
				t.Errorf("%v, and a difference is listed: %v\n%s", err, listed, out)
			}
		})
	}
}

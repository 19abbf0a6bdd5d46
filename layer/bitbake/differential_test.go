package bitbake_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
)

// TestDifferential asks the real BitBake about fresh random configurations
// and compares. PVKIT_BITBAKE is a BitBake checkout (poky/bitbake), 2.8 for
// exact agreement; PVKIT_CASES their number, PVKIT_SEED where to start.
func TestDifferential(t *testing.T) {
	dir := testreq.Env(t, "PVKIT_BITBAKE", "a BitBake checkout, the folder that holds lib/bb")
	python := testreq.Tool(t, "python3")
	n, seed := envInt(t, "PVKIT_CASES", 500), envInt(t, "PVKIT_SEED", 1)
	const batch = 500
	var a tally
	for first := 0; first < n; first += batch {
		var cases []oracleCase
		for i := first; i < min(first+batch, n); i++ {
			s := uint64(seed + i)
			cases = append(cases, newGenerator(s).next(fmt.Sprintf("seed %d", s)))
		}
		askBitBake(t, python, dir, cases)
		for i := range cases {
			a.add(t, &cases[i], compareCase(&cases[i]))
		}
	}
	a.log(t)
}

func envInt(t *testing.T, name string, def int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// askBitBake fills in the answers.
func askBitBake(t *testing.T, python, dir string, cases []oracleCase) {
	t.Helper()
	script, err := filepath.Abs("testdata/oracle.py")
	if err != nil {
		t.Fatal(err)
	}
	var in, stderr bytes.Buffer
	enc := json.NewEncoder(&in)
	for i := range cases {
		if err := enc.Encode(&cases[i]); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, script, dir)
	cmd.Stdin, cmd.Stderr, cmd.Dir = &in, &stderr, t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("oracle: %v\n%s", err, stderr.String())
	}
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<22)
	i := 0
	for ; sc.Scan(); i++ {
		if err := json.Unmarshal(sc.Bytes(), &cases[i].Want); err != nil {
			t.Fatalf("oracle answered %q: %v", sc.Text(), err)
		}
	}
	if i != len(cases) {
		t.Fatalf("oracle answered %d of %d cases: %s", i, len(cases), stderr.String())
	}
}

package pvtx_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvtx"
)

// peer is the runtime's own pvtx, working in a directory.
type peer struct {
	t            *testing.T
	program, dir string
}

func (p peer) run(args ...string) []byte {
	p.t.Helper()
	cmd := exec.Command(p.program, args...)
	cmd.Env = append(os.Environ(), "PVTXDIR="+p.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("pvtx %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// randomState makes a state of some parts. Those with an even number are signed
// in every state, with the same patterns, the others in none; and an update
// brings one signed part. Where a signature comes to cover more, or several
// that cover one file are replaced at once, we differ on purpose; so we do where
// a part is removed whose overlay is not signed.
func randomState(r *rand.Rand, overlay [4]bool, update bool) []byte {
	members := map[string]any{"#spec": pvrexport.Spec}
	one := 2 * r.IntN(2)
	for i, part := range []string{"awifi", "broker", "cam", "dbus"} {
		if r.IntN(3) == 0 || update && i%2 == 0 && i != one {
			continue
		}
		for _, key := range []string{"run.json", "src.json", "root.squashfs", "a/b.conf", "extra.json"} {
			if r.IntN(2) == 0 {
				members[part+"/"+key] = randomValue(r, key)
			}
		}
		if i%2 != 0 {
			continue
		}
		include := []string{part + "/**"}
		if overlay[i] {
			include = append(include, "_config/"+part+"/**", "_config/shared/*")
		}
		if overlay[i] && r.IntN(2) == 0 {
			members["_config/"+part+"/etc/x"] = randomValue(r, "x")
		}
		if r.IntN(2) == 0 {
			members["_config/shared/y"] = randomValue(r, "y")
		}
		header, _ := json.Marshal(map[string]any{"alg": "RS256", "typ": "PVS", "pvs": map[string]any{
			"include": include, "exclude": []string{part + "/src.json", "_sigs/" + part + ".json"},
		}})
		members["_sigs/"+part+".json"] = map[string]any{
			"#spec": "pvs@2", "protected": base64.RawURLEncoding.EncodeToString(header), "signature": "AA",
		}
	}
	if r.IntN(2) == 0 {
		members["device.json"] = map[string]any{"groups": []any{r.IntN(9)}}
	}
	out, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return out
}

func randomValue(r *rand.Rand, key string) any {
	if pvrexport.Inlined(key) {
		return map[string]any{"n": r.IntN(1000)}
	}
	return pvrexport.ObjectID(fmt.Append(nil, r.IntN(1000)))
}

// TestMergeAsThePeer compares transactions over random states with the real
// pvtx, as far as the two are meant to agree.
func TestMergeAsThePeer(t *testing.T) {
	p := peer{t, testreq.Env(t, "PVKIT_PVTX", "the runtime's pvtx"), filepath.Join(t.TempDir(), "pvtx")}
	files, twice := t.TempDir(), 0
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 6))
		tx := open(t, t.TempDir(), pvtx.Options{})
		must(t, tx.Begin(t.Context(), "empty", t.TempDir()))
		p.run("abort")
		p.run("begin", "empty", t.TempDir())
		overlay := [4]bool{r.IntN(2) == 0, false, r.IntN(2) == 0, false}
		var log bytes.Buffer
		for i := range 2 + r.IntN(2) {
			src := randomState(r, overlay, i > 0)
			name := filepath.Join(files, fmt.Sprint(i))
			must(t, os.WriteFile(name, src, 0o644))
			fmt.Fprintf(&log, "add %s\n", src)
			add(t, tx, src)
			p.run("add", name)
		}
		if part := []string{"", "awifi", "_sigs/cam.json"}[r.IntN(3)]; part != "" {
			fmt.Fprintf(&log, "remove %s\n", part)
			_ = tx.Remove(part) // pvtx does not mind a part that is not there
			p.run("remove", part)
		}
		ours, err := tx.State()
		must(t, err)
		theirs, err := pvrexport.DecodeState(bytes.NewReader(p.run("show")))
		if err != nil && strings.Contains(err.Error(), "appears twice") {
			twice++ // it keeps a file that two signatures cover, and adds the new one
			must(t, tx.Close())
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, &log)
		}
		for _, c := range pvrexport.Diff(theirs, ours) {
			t.Errorf("seed %d: %s %s", seed, c.Kind, c.Key)
		}
		must(t, tx.Close())
		if t.Failed() {
			t.Fatalf("%s", &log)
		}
	}
	t.Logf("120 transactions; in %d the peer's state has a key twice", twice)
}

package pvtx_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvkit/pvkit/runtime/pvtx"
)

// TestDeployAfterAKill deploys where another deploy was killed: between the
// two renames that a file system needs which cannot exchange directories, and
// while it built.
func TestDeployAfterAKill(t *testing.T) {
	dir := t.TempDir()
	trail := filepath.Join(dir, "trail")
	for name, content := range map[string]string{"trail.bak/.pvr/config": "mine", ".trail.pvkit-tx-123/junk": "x", "trail-2/other": "x"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	tx := open(t, t.TempDir(), pvtx.Options{})
	must(t, tx.Begin(t.Context(), "empty", t.TempDir()))
	must(t, tx.Deploy(t.Context(), trail))
	if got, err := os.ReadFile(filepath.Join(trail, ".pvr/config")); err != nil || string(got) != "mine" {
		t.Errorf("the directory that had made room was not seen: %q, %v", got, err)
	}
	for name, there := range map[string]bool{"trail.bak": false, ".trail.pvkit-tx-123": false, "trail-2/other": true, "trail/.pvr/json": true} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != there || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

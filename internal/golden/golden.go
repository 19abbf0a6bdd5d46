// Package golden compares output with files under testdata and rewrites them
// when UPDATE_GOLDEN=1 is set. Read the diff before you commit it.
package golden

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Check fails t if got differs from the content of file.
func Check(t testing.TB, file string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (write it with UPDATE_GOLDEN=1)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs.\n--- want\n%s\n--- got\n%s", file, want, got)
	}
}

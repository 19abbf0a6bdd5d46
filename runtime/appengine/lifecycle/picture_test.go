package lifecycle_test

import (
	"os"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
)

// TestPictures: what stands below the pictures is what the tables say.
func TestPictures(t *testing.T) {
	for file, want := range map[string]string{
		"table.go":       lifecycle.Leads(),
		"updatetable.go": lifecycle.UpdateLeads(),
	} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(src), "phase can lead:\n//\n")
		if !ok {
			t.Fatalf("%s has no picture", file)
		}
		var got strings.Builder
		for line := range strings.Lines(rest) {
			text, ok := strings.CutPrefix(line, "//\t")
			if !ok {
				break
			}
			got.WriteString(text)
		}
		if got.String() != want {
			t.Errorf("%s has\n%s\nand the table says\n%s", file, got.String(), want)
		}
	}
}

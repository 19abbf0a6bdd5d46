package manifest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/golden"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

func TestDocument(t *testing.T) {
	var b bytes.Buffer
	if err := manifest.Document(&b); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "ARGS.md", b.Bytes())
}

func TestArgumentsAreSortedAndDescribed(t *testing.T) {
	args := manifest.Arguments()
	if !slices.IsSortedFunc(args, func(a, b manifest.Argument) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table is not sorted, so looking up a name fails")
	}
	for _, a := range args {
		if a.Effect == "" || a.Doc == "" || a.Type.String() == "" || (a.Type == manifest.Choice) == (len(a.Values) == 0) && a.Type != manifest.List {
			t.Errorf("%s: incomplete: %+v", a.Name, a)
		}
	}
}

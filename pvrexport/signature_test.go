package pvrexport_test

import (
	"os"
	"slices"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
)

func TestSignatures(t *testing.T) {
	f, err := os.Open("testdata/state.json") // signed by pvr
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := pvrexport.DecodeState(f)
	if err != nil {
		t.Fatal(err)
	}
	junk, err := pvrexport.JSONValue([]byte(`{"protected":"?","signature":""}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set("_sigs/junk.json", junk); err != nil {
		t.Fatal(err)
	}
	got := s.Signatures()
	if len(got) != 2 {
		t.Fatalf("%d signatures, want 2: %+v", len(got), got)
	}
	app, bad := got[0], got[1]
	if app.Key != "_sigs/app.json" || app.Alg != "RS256" || app.Certificates != 1 || app.Err != nil ||
		!slices.Equal(app.Include, []string{"app/**"}) || !slices.Equal(app.Exclude, []string{"app/src.json", "_sigs/app.json"}) {
		t.Errorf("%+v", app)
	}
	if bad.Key != "_sigs/junk.json" || bad.Err == nil {
		t.Errorf("%+v", bad)
	}
}

package diag_test

import (
	"testing"

	"github.com/pvkit/pvkit/internal/diag"
)

func TestNearest(t *testing.T) {
	known := []string{"entrypoint", "env", "services", "workdir", "cmd"}
	for word, want := range map[string]string{
		"entrypont": "entrypoint",
		"sevrices":  "services",
		"evn":       "env",
		"banana":    "",
	} {
		if got := diag.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestSortAndString(t *testing.T) {
	ds := []diag.Diagnostic{
		{Pos: diag.Position{File: "b", Line: 1}, Message: "x"},
		{Pos: diag.Position{File: "a", Line: 10, Col: 2}, Message: "y", Severity: diag.Error, Rule: "r", Hint: "h"},
		{Pos: diag.Position{File: "a", Line: 9}, Message: "z"},
	}
	diag.Sort(ds)
	if ds[0].Message != "z" || ds[2].Message != "x" {
		t.Errorf("order: %v", ds)
	}
	if got, want := ds[1].String(), "a:10:2: error: y (h) [r]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if s, ok := diag.Worst(ds); !ok || s != diag.Error {
		t.Errorf("worst: %v %v", s, ok)
	}
}

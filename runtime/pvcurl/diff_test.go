package pvcurl_test

import (
	"testing"

	"github.com/pvkit/pvkit/internal/difftest"
	"github.com/pvkit/pvkit/runtime/pvcurl"
)

const table = "testdata/pvcurl.json"

// The program does what the recorded shell program does, but for the listed
// differences.
func TestAsUpstream(t *testing.T) { difftest.Ours(t, table, pvcurl.Main) }

// The record is right.
func TestUpstream(t *testing.T) { difftest.Upstream(t, table, "pvcurl") }

package pvcontrol_test

import (
	"testing"

	"github.com/pvkit/pvkit/internal/difftest"
	"github.com/pvkit/pvkit/runtime/pvcontrol"
)

const table = "testdata/pvcontrol.json"

// The program does what the recorded shell program does, but for the listed
// differences.
func TestAsUpstream(t *testing.T) { difftest.Ours(t, table, pvcontrol.Main) }

// The record is right.
func TestUpstream(t *testing.T) { difftest.Upstream(t, table, "pvcontrol") }

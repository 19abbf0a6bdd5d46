package lifecycle

import (
	"net/http"
	"slices"
)

// The operations of POST /commands.
const (
	OpUpdateMetadata = "UPDATE_METADATA"
	OpReboot         = "REBOOT_DEVICE"
	OpPoweroff       = "POWEROFF_DEVICE"
	OpTryOnce        = "TRY_ONCE"
	OpLocalRun       = "LOCAL_RUN"
	OpMakeFactory    = "MAKE_FACTORY"
	OpRunGC          = "RUN_GC"
	OpEnableSSH      = "ENABLE_SSH"
	OpDisableSSH     = "DISABLE_SSH"
	OpGoRemote       = "GO_REMOTE"
	OpDeferReboot    = "DEFER_REBOOT"
	OpLocalRunCommit = "LOCAL_RUN_COMMIT"
	OpLocalApply     = "LOCAL_APPLY"
	OpXconnectGraph  = "XCONNECT_GRAPH"
	OpUnclaim        = "UNCLAIM"
)

// Ops returns all operations.
func Ops() []string {
	return []string{OpUpdateMetadata, OpReboot, OpPoweroff, OpTryOnce, OpLocalRun, OpMakeFactory, OpRunGC,
		OpEnableSSH, OpDisableSSH, OpGoRemote, OpDeferReboot, OpLocalRunCommit, OpLocalApply, OpXconnectGraph, OpUnclaim}
}

// Situation is what the answer to a command depends on.
type Situation struct {
	Remote        bool // remote mode is on
	RemoteAllowed bool // PV_CONTROL_REMOTE
	Claimed       bool
	Updating      bool // Update.Ongoing
	DebugShell    bool // PV_DEBUG_SHELL
	Busy          bool // another command was accepted and not yet taken up
}

// rejection is a row of the table of rejections.
type rejection struct {
	ops  []string // nil: all
	when func(Situation) bool
	Refusal
}

// rejections are looked at in order; the first that fits is the answer
// (pv_ctrl_cmd_add in ctrl/ctrl_cmd.c).
var rejections = []rejection{
	{[]string{OpUpdateMetadata}, func(s Situation) bool { return !s.Remote },
		Refusal{http.StatusConflict, 0, "Cannot do this operation while on local mode"}},
	{[]string{OpReboot, OpPoweroff, OpLocalRun, OpLocalRunCommit, OpMakeFactory, OpUnclaim}, func(s Situation) bool { return s.Updating },
		Refusal{http.StatusServiceUnavailable, 600, "Cannot do this operation while update is ongoing"}},
	{[]string{OpMakeFactory}, func(s Situation) bool { return s.Claimed },
		Refusal{http.StatusConflict, 0, "Cannot do this operation if device is already claimed"}},
	{[]string{OpGoRemote}, func(s Situation) bool { return !s.RemoteAllowed },
		Refusal{http.StatusConflict, 0, "Cannot do this operation when remote mode is disabled by config"}},
	{[]string{OpDeferReboot}, func(s Situation) bool { return !s.DebugShell },
		Refusal{http.StatusConflict, 0, "Cannot do this operation when debug shell is not active"}},
	{[]string{OpGoRemote}, func(s Situation) bool { return s.Remote },
		Refusal{http.StatusNoContent, 0, "Already in remote mode"}},
	{[]string{OpUnclaim}, func(s Situation) bool { return !s.Claimed },
		Refusal{http.StatusNoContent, 0, "Device is already unclaimed"}},
	{nil, func(s Situation) bool { return s.Busy },
		Refusal{http.StatusServiceUnavailable, 120, "A command is already in progress. Try again"}},
}

// Decide says whether a command is accepted. The error is a *Refusal.
func Decide(op string, s Situation) error {
	if !slices.Contains(Ops(), op) {
		return refused(http.StatusBadRequest, "Command has bad format")
	}
	for _, r := range rejections {
		if (r.ops == nil || slices.Contains(r.ops, op)) && r.when(s) {
			refusal := r.Refusal
			return &refusal
		}
	}
	return nil
}

package lifecycle

import "github.com/pvkit/pvkit/runtime/pvctrl"

// The statuses of a revision's progress (update/update_progress.c).
const (
	ProgressNew        = "NEW"
	ProgressInProgress = "INPROGRESS"
	ProgressTesting    = "TESTING"
	ProgressUpdated    = "UPDATED"
	ProgressDone       = "DONE"
	ProgressWontGo     = "WONTGO"
	ProgressError      = "ERROR"
)

// The messages of a revision's progress. Clients compare them.
const (
	MsgPrepared        = "Update not yet installed"
	MsgInstalled       = "Update ready to be run"
	MsgTry             = "Trying new revision"
	MsgTransition      = "Transitioning to new revision without rebooting"
	MsgReboot          = "Rebooting"
	MsgTestingReboot   = "Awaiting to set rollback point if update is stable"
	MsgTesting         = "Awaiting to see if update is stable"
	MsgStabilityWait   = "Waiting for all containers to become stable"
	MsgUpdated         = "Update finished, revision not set as rollback point"
	MsgDone            = "Update finished, revision set as rollback point"
	MsgFactory         = "Factory revision"
	MsgBadChecksum     = "Object validation went wrong"
	MsgGoalFailed      = "Status goal not reached"
	MsgContainerFailed = "A container could not be started"
	MsgInternal        = "Internal error"
	MsgRetries         = "Max update processing retries reached"
	MsgNoState         = "State JSON not found"
	MsgBadFormat       = "State JSON has bad format"
	MsgRolledBack      = "Unexpected rollback"
)

// NewProgress returns the progress of a revision. How many percent are done
// follows from the status.
func NewProgress(status, msg string, retries int) pvctrl.Progress {
	percent := map[string]int{
		"QUEUED": 5, "DOWNLOADING": 25, ProgressInProgress: 50, ProgressTesting: 75,
		ProgressUpdated: 100, ProgressDone: 100, ProgressWontGo: 100, ProgressError: 100,
	}[status]
	return pvctrl.Progress{Status: status, StatusMsg: msg, Percent: percent, Retries: retries}
}

// failedProgress reports whether a revision is known not to work.
func failedProgress(p pvctrl.Progress) bool {
	return p.Status == ProgressError || p.Status == ProgressWontGo
}

// Boot is the content of the boot file: the revision to start, and the one to
// try instead, once.
type Boot struct {
	Rev string // pv_rev
	Try string // pv_try; "" if there is nothing to try
}

// Choose returns the revision to start (the loop of appengine/pv-appengine.in):
// the one to try, unless it was just tried. lastTried is what the last call
// of this process returned for a try, and tried the stored progress of
// b.Try. One that is known to have failed is not tried again.
func (b Boot) Choose(lastTried string, tried pvctrl.Progress) string {
	if b.Try != "" && b.Try != lastTried && !failedProgress(tried) {
		return b.Try
	}
	return b.Rev
}

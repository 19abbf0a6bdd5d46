package lifecycle

import "github.com/pvkit/pvkit/runtime/pvctrl"

// UpdateEvent is something that happened, told to Update.Handle.
type UpdateEvent interface{ input() updateInput }

// The events of an Update.
type (
	// Booted: the runtime starts with the revision Running. Progress is
	// the stored one of Boot.Try, or of Running if that is empty; its zero
	// value if none is stored.
	Booted struct {
		Running  string
		Boot     Boot
		Progress pvctrl.Progress
	}

	// Checked: the state of the revision that runs means something, and
	// its objects are sound. No container runs yet.
	Checked struct{}

	// Unusable: the revision that the runtime started with cannot run.
	Unusable struct{ Problem Problem }

	// RunRevision is the command LOCAL_RUN, or LOCAL_RUN_COMMIT with Commit.
	RunRevision struct {
		Revision string
		Commit   bool
	}

	// MakeFactory is the command of that name; Revision may be empty for
	// the one that runs.
	MakeFactory struct{ Revision string }

	// Copied answers CopyFactory.
	Copied struct{ Err error }

	// Loaded answers Load. Reboot says why the system must restart for the
	// revision (system.Change); "" if it need not.
	Loaded struct {
		Problem *Problem
		Reboot  string
	}

	// TrySet answers SetTry.
	TrySet struct{ Err error }

	// Switched answers Switch.
	Switched struct{ Err error }

	// Observed tells Machine.Goals and Machine.Stable: after every event of
	// the Machine, and after Switched. What it told before does not count
	// for the new revision.
	Observed struct {
		Goals  GoalState
		Stable bool
	}

	// Broke hands on a Failure of the Machine.
	Broke struct{ Failure Failure }

	// Committed answers Commit.
	Committed struct{ Err error }

	// UpdateTick: the time of Update.Next has come. Every event does that too.
	UpdateTick struct{}
)

// Problem is why a revision cannot be used.
type Problem struct {
	Kind ProblemKind
	Err  error // the details; the text of a ProblemSignature
}

// ProblemKind is a kind of Problem.
type ProblemKind int

// The kinds.
const (
	ProblemNoState   ProblemKind = iota // there is no state of that name
	ProblemSignature                    // the signatures do not hold
	ProblemFormat                       // the state means nothing to the runtime
	ProblemChecksum                     // an object is missing or not what it should be
	ProblemInternal                     // the runtime could not do its part
)

// message is the text for the progress.
func (p Problem) message() string {
	switch p.Kind {
	case ProblemNoState:
		return MsgNoState
	case ProblemFormat:
		return MsgBadFormat
	case ProblemChecksum:
		return MsgBadChecksum
	case ProblemSignature:
		if p.Err != nil {
			return p.Err.Error()
		}
	}
	return MsgInternal
}

func (p Problem) String() string {
	if p.Err == nil || p.Kind == ProblemSignature {
		return p.message()
	}
	return p.message() + ": " + p.Err.Error()
}

// The actions of an Update.
type (
	// Load reads a stored revision, checks its signatures, its meaning and
	// its objects, and lays out its files: Loaded.
	Load struct{ Revision string }

	// CopyFactory copies a revision over revision 0: Copied.
	CopyFactory struct{ From string }

	// SetTry writes the revision to try into the boot file: TrySet.
	SetTry struct{ Revision string }

	// ClearTry removes it.
	ClearTry struct{}

	// Commit makes a revision the one to start: in the boot file, where
	// nothing stays to be tried, and with the mark that it is done:
	// Committed.
	Commit struct{ Revision string }

	// MarkDone marks a revision as done.
	MarkDone struct{ Revision string }

	// SetProgress stores the progress of a revision.
	SetProgress struct {
		Revision string
		Progress pvctrl.Progress
	}

	// Switch replaces the containers that differ, with Machine's Retire
	// and Adopt, and makes the revision the current one: Switched.
	Switch struct{ Revision string }

	// Reboot restarts the system: everything stops, and the runtime begins
	// anew with the revision of Boot.Choose.
	Reboot struct {
		Reason   string
		Rollback bool // because a revision failed
	}

	// GiveUp says that the revision does not work, and that there is
	// neither another one nor a point in trying again. What runs may go
	// on.
	GiveUp struct{ Reason string }

	// Finished: the update of a revision is over, one way or the other.
	Finished struct{ Revision string }
)

func (Load) action()        {}
func (CopyFactory) action() {}
func (SetTry) action()      {}
func (ClearTry) action()    {}
func (Commit) action()      {}
func (MarkDone) action()    {}
func (SetProgress) action() {}
func (Switch) action()      {}
func (Reboot) action()      {}
func (GiveUp) action()      {}
func (Finished) action()    {}

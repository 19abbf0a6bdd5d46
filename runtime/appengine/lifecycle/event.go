package lifecycle

import "github.com/pvkit/pvkit/runtime/appengine/system"

// Run is one life of a container, from its Mount to its Unmount. Numbers are
// never used twice, so news of an earlier life cannot be taken for news of
// this one.
type Run struct {
	Container string
	Number    int
}

// Event is something that happened, told to Machine.Handle.
type Event interface{ event() }

// The events of a Machine. An event of a run that is over, or one that does
// not fit what the container is doing, changes nothing.
type (
	// Begin lets the system start. It comes first.
	Begin struct{}

	// Mounted: the volumes of a Mount are in place.
	Mounted struct{ Run }

	// Started: the process of a Start runs.
	Started struct {
		Run
		PID int
	}

	// Failed: a Mount or a Start did not work, and there is no process.
	// Refused says that trying again cannot help: the configuration is
	// wrong. A Mount that fails is always refused.
	Failed struct {
		Run
		Reason  string
		Refused bool
	}

	// Exited: the container's process is gone, and with it all others in
	// the container.
	Exited struct {
		Run
		Status string // for the log: how it ended, for example "exit status 1"
	}

	// Tick: the time of Machine.Next has come. Every event does that too.
	Tick struct{}

	// Updating says whether a new revision is on trial. On trial, a
	// container that used up its retries fails the revision whatever its
	// backoff policy says.
	Updating struct{ On bool }

	// Retire stops containers that an update replaces or removes. The
	// action Retired follows when they are down, perhaps at once.
	Retire struct{ Containers []string }

	// Adopt puts another system in the place of the present one. It comes
	// after Retired: the containers that were retired, and those that the
	// new system does not have, are forgotten; new ones start; the others
	// go on.
	Adopt struct {
		System   *system.System
		Revision string
	}

	// Shutdown stops everything. The action Down follows when nothing
	// runs any more.
	Shutdown struct{}
)

func (Begin) event()    {}
func (Mounted) event()  {}
func (Started) event()  {}
func (Failed) event()   {}
func (Exited) event()   {}
func (Tick) event()     {}
func (Updating) event() {}
func (Retire) event()   {}
func (Adopt) event()    {}
func (Shutdown) event() {}

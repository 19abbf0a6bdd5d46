package lifecycle

import (
	"fmt"

	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Action is something to be done or to be known, in the order in which a
// machine returns it. The actions on one container are carried out one after
// the other: a Mount that follows an Unmount waits for it. Whoever carries out
// a Mount or a Start answers with an event; nothing else is answered.
type Action interface{ action() }

// The actions of a Machine.
type (
	// Mount puts the container's volumes in place: Mounted or Failed.
	Mount struct{ Run }

	// Start runs the container: Started or Failed, and Exited in the end.
	Start struct{ Run }

	// Stop sends the container's halt signal. It may come before Started,
	// and then comes again after it.
	Stop struct{ Run }

	// Kill kills every process of the container. It may come before
	// Started, and comes again until Exited.
	Kill struct{ Run }

	// Unmount removes what Mount made, or what is there of it after Failed.
	Unmount struct{ Run }

	// SetStatus is a container's new status.
	SetStatus struct {
		Container string
		Status    pvctrl.Status
	}

	// SetGroup is a group's new status.
	SetGroup struct {
		Group  string
		Status pvctrl.Status
	}

	// SetSystem is the system's new status, for device-meta's
	// pantavisor.status.
	SetSystem struct{ Status pvctrl.Status }

	// Failure says that the revision does not work. The machine starts
	// nothing any more; what runs goes on until Shutdown.
	Failure struct {
		Kind      FailureKind
		Container string           // the one that failed; "" with MissingServices
		Missing   []system.Missing // with MissingServices
		Reason    string
	}

	// Retired: what Retire named is down.
	Retired struct{}

	// Down: after Shutdown, nothing runs any more.
	Down struct{}

	// Log is a line for the runtime's log.
	Log struct {
		Level  Level
		Source string // the part of the runtime that speaks, for example "platforms"
		Text   string
	}
)

// FailureKind is why a revision does not work.
type FailureKind int

// The kinds.
const (
	ContainerCrashed FailureKind = iota // it ended, and no recovery is left
	ContainerRefused                    // it could not be mounted or started, and trying again cannot help
	MissingServices                     // a required service has no provider; nothing was started
)

// Level is a log level, numbered as PV_LOG_LEVEL.
type Level int

// The levels in use.
const (
	LevelError Level = iota + 1
	LevelWarn
	LevelInfo
	LevelDebug
)

// String gives the word in the log.
func (l Level) String() string {
	if l < LevelError || l > LevelDebug {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return [...]string{"ERROR", "WARN", "INFO", "DEBUG"}[l-LevelError]
}

func (Mount) action()     {}
func (Start) action()     {}
func (Stop) action()      {}
func (Kill) action()      {}
func (Unmount) action()   {}
func (SetStatus) action() {}
func (SetGroup) action()  {}
func (SetSystem) action() {}
func (Failure) action()   {}
func (Retired) action()   {}
func (Down) action()      {}
func (Log) action()       {}

// String says in one sentence what failed.
func (f Failure) String() string {
	if f.Container == "" {
		return f.Reason
	}
	verb := map[FailureKind]string{ContainerCrashed: "crashed", ContainerRefused: "could not be started"}[f.Kind]
	return "container " + f.Container + " " + verb + ": " + f.Reason
}

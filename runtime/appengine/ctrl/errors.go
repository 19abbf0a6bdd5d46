package ctrl

import (
	"errors"
	"fmt"
)

// Error is a reply that is not a success. The text is part of the API: clients
// print it and some compare it.
type Error struct {
	Status     int
	Text       string
	RetryAfter int // seconds; 0: no such header
}

func (e *Error) Error() string { return fmt.Sprintf("%s (status %d)", e.Text, e.Status) }

// What a backend answers when the reply depends on the endpoint.
var (
	// ErrNotFound: there is no such container, daemon, object, revision or key.
	ErrNotFound = errors.New("it does not exist")
	// ErrNoSpace: the storage is full. ENOSPC and EDQUOT count as well.
	ErrNoSpace = &Error{Status: 507, Text: "Not enough disk space available"}
	// ErrNoState: the supervisor has not loaded a state yet.
	ErrNoState = &Error{Status: 500, Text: "State not loaded yet"}
)

// What PUT /containers/{name} refuses.
var (
	ErrSystemPolicy  = &Error{Status: 403, Text: "Container has restart_policy 'system' and cannot be controlled via API"}
	ErrCannotStart   = &Error{Status: 400, Text: "Container must be in STOPPED, STOPPING, or RECOVERING state to start"}
	ErrCannotRestart = &Error{Status: 400, Text: "Container state does not allow restart"}
)

// What other endpoints refuse.
var (
	// ErrUnexpectedSignal: the signal is unknown, or its sender is the host, or
	// its goal is not READY.
	ErrUnexpectedSignal = &Error{Status: 500, Text: "Signal not expected from this platform"}
	// ErrBadObject: the bytes of an upload have another digest than its name.
	ErrBadObject = &Error{Status: 422, Text: "Object has bad checksum"}
	// ErrDriver and ErrDrivers: loading or unloading one or all of them failed.
	ErrDriver  = &Error{Status: 400, Text: "Error loading driver"}
	ErrDrivers = &Error{Status: 400, Text: "Error loading drivers"}
)

// Why POST /commands does not accept a command, in the order in which a backend
// must look. The two with status 204 are replies without a body: nothing was to
// be done.
var (
	ErrLocalMode        = &Error{Status: 409, Text: "Cannot do this operation while on local mode"}
	ErrUpdateOngoing    = &Error{Status: 503, Text: "Cannot do this operation while update is ongoing", RetryAfter: 600}
	ErrClaimed          = &Error{Status: 409, Text: "Cannot do this operation if device is already claimed"}
	ErrRemoteDisabled   = &Error{Status: 409, Text: "Cannot do this operation when remote mode is disabled by config"}
	ErrNoDebugShell     = &Error{Status: 409, Text: "Cannot do this operation when debug shell is not active"}
	ErrAlreadyRemote    = &Error{Status: 204, Text: "Already in remote mode"}
	ErrAlreadyUnclaimed = &Error{Status: 204, Text: "Device is already unclaimed"}
	ErrCommandBusy      = &Error{Status: 503, Text: "A command is already in progress. Try again", RetryAfter: 120}
)

// StateError is why a revision's state is refused: one of the three documented
// forms.
type StateError struct {
	// Text is what the client reads: [StateUnreadable], [StateBadFormat], or
	// "Secureboot: " and a reason.
	Text string
	Err  error // what is wrong, for the log; may be nil
}

// The fixed texts of a StateError.
const (
	StateUnreadable = "Storage: Cannot read state JSON"
	StateBadFormat  = "Parser: State JSON has bad format"
)

func (e *StateError) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

func (e *StateError) Unwrap() error { return e.Err }

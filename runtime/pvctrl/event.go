package pvctrl

import "encoding/json"

// Event is something that happened, as GET /events tells it.
type Event struct {
	ID   string // to go on after it; "" for events about the stream itself
	Type string
	Data json.RawMessage
}

// The types of events and what their data is.
const (
	EventContainer = "container" // a Container, after a change of its status
	EventGroup     = "group"     // a Group, after a change of its status
	EventGraph     = "graph"     // a GraphChange
	EventDaemon    = "daemon"    // a Daemon, after it was started or has ended
	EventProgress  = "progress"  // a StepProgress
	// EventMissed is the server's word that the events between the one that the
	// client named and the next one are no longer known. Read the documents.
	EventMissed = "missed"
	// EventDropped is the server's last word to a client that reads too slowly.
	EventDropped = "dropped"
)

// GraphChange is the data of [EventGraph]: the tag of the graph that is new.
type GraphChange struct {
	Tag   string `json:"tag"`
	Links int    `json:"links"`
}

// StepProgress is the data of [EventProgress].
type StepProgress struct {
	Name     string   `json:"name"` // the revision
	Progress Progress `json:"progress"`
}

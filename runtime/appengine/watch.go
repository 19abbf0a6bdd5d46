package appengine

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// EventKind is what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventApply     EventKind = "apply"     // the exports are taken into a new storage
	EventLoad      EventKind = "load"      // a revision is read and its objects are checked
	EventServing   EventKind = "serving"   // pv-ctrl answers; Text is the socket
	EventContainer EventKind = "container" // a container has a new status, or ended
	EventSystem    EventKind = "system"    // the whole system has a new status
	EventLinks     EventKind = "links"     // the graph is another one
	EventProgress  EventKind = "progress"  // of a revision's installation
	EventStopping  EventKind = "stopping"  // everything is being stopped; Text says why
	EventRestart   EventKind = "restart"   // the next cycle comes
	EventNote      EventKind = "note"      // what this machine cannot do, or a file asks for in vain
	EventError     EventKind = "error"
)

// Event is something that happened in an engine. As JSON it has the keys below,
// without those that are empty.
type Event struct {
	Time      time.Time     `json:"time"`
	Kind      EventKind     `json:"kind"`
	Revision  string        `json:"revision,omitempty"`
	Container string        `json:"container,omitempty"`
	Status    string        `json:"status,omitempty"` // of a container, of the system, or of a progress
	PID       int           `json:"pid,omitempty"`    // of a container with a process
	Text      string        `json:"text,omitempty"`   // of a container that is down: how it ended
	Links     []pvctrl.Link `json:"-"`                // with EventLinks: all of them
}

// MarshalJSON writes links as GET /xconnect-graph does.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	doc := struct {
		plain
		Links json.RawMessage `json:"links,omitempty"`
	}{plain: plain(e)}
	if e.Kind == EventLinks {
		doc.Links = pvctrl.EncodeGraph(e.Links)
	}
	return json.Marshal(doc)
}

// watcher hands events on, one after the other.
type watcher struct {
	mu sync.Mutex // held while f runs
	f  func(Event)
}

func newWatcher(f func(Event)) *watcher { return &watcher{f: f} }

func (w *watcher) send(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Time = time.Now()
	if w.f != nil {
		w.f(e)
	}
}

// String is the event as a line for people, "" for one that says nothing to
// them.
func (e Event) String() string {
	switch e.Kind {
	case EventApply:
		return "taking in " + e.Text
	case EventLoad:
		return "loading revision " + e.Revision
	case EventServing:
		return "pv-ctrl answers at " + e.Text
	case EventContainer:
		switch {
		case e.PID > 0:
			return fmt.Sprintf("%s is %s, pid %d", e.Container, e.Status, e.PID)
		case e.Text != "":
			return fmt.Sprintf("%s is %s: %s", e.Container, e.Status, e.Text)
		}
		return fmt.Sprintf("%s is %s", e.Container, e.Status)
	case EventSystem:
		return fmt.Sprintf("revision %s is %s", e.Revision, e.Status)
	case EventLinks:
		return ""
	case EventProgress:
		return fmt.Sprintf("revision %s: %s, %s", e.Revision, e.Status, e.Text)
	case EventStopping:
		return "stopping everything (" + e.Text + ")"
	case EventRestart:
		return "starting again " + e.Text
	}
	return e.Text
}

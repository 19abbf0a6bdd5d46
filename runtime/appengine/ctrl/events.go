package ctrl

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

const (
	// keptEvents is how many past events a client can come back to.
	keptEvents = 1024
	// waitingEvents is how many a client may be behind.
	waitingEvents = 256
)

// Events is where the supervisor tells what happens and from where GET /events
// passes it on. It may be used from many goroutines.
type Events struct {
	run string // makes a number of this process's another one than an earlier process's

	mu   sync.Mutex // guards what follows
	last uint64     // number of the newest event
	past []pvctrl.Event
	subs map[*subscriber]struct{}
}

// subscriber is one that listens.
type subscriber struct {
	next    chan pvctrl.Event // closed when the subscriber is too slow
	started []pvctrl.Event    // what it gets first
}

// NewEvents makes one that nobody listens to yet.
func NewEvents() *Events {
	var run [6]byte
	rand.Read(run[:]) // never fails (crypto/rand)
	return &Events{run: hex.EncodeToString(run[:]), subs: map[*subscriber]struct{}{}}
}

// Publish tells all that listen. It never waits: a client that is behind by
// more than [GET /events] lets it loses its stream. The types are those of
// pvctrl, and the data must be the document that belongs to the type.
func (e *Events) Publish(typ string, data any) error {
	text, err := encode(data)
	if err != nil {
		return fmt.Errorf("publish a %s event: %w", typ, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	ev := pvctrl.Event{ID: e.run + "-" + strconv.FormatUint(e.last, 10), Type: typ, Data: text}
	if len(e.past) == keptEvents {
		e.past = append(e.past[:0], e.past[1:]...)
	}
	e.past = append(e.past, ev)
	for sub := range e.subs {
		select {
		case sub.next <- ev:
		default:
			delete(e.subs, sub)
			close(sub.next)
		}
	}
	return nil
}

// subscribe listens from now on, or from after the event that is named.
func (e *Events) subscribe(after string) *subscriber {
	e.mu.Lock()
	defer e.mu.Unlock()
	sub := &subscriber{next: make(chan pvctrl.Event, waitingEvents)}
	if after != "" {
		past, ok := e.since(after)
		if !ok {
			sub.started = []pvctrl.Event{{Type: pvctrl.EventMissed, Data: []byte("{}")}}
		}
		sub.started = append(sub.started, past...)
	}
	e.subs[sub] = struct{}{}
	return sub
}

// since gives the events after the one that is named, if all of them are kept.
func (e *Events) since(id string) ([]pvctrl.Event, bool) {
	run, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	behind := e.last - n
	if err != nil || run != e.run || n > e.last || behind > uint64(len(e.past)) {
		return nil, false
	}
	return append([]pvctrl.Event(nil), e.past[len(e.past)-int(behind):]...), true
}

func (e *Events) unsubscribe(sub *subscriber) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.subs, sub)
}

// errGone ends a stream that nobody reads.
var errGone = errors.New("the client is gone")

// getEvents streams until the client goes, is too slow, or the server stops.
func getEvents(s *Server, r *request) (*reply, error) {
	sub := s.events.subscribe(r.head.fields.Get("Last-Event-Id"))
	return &reply{
		status: http.StatusOK,
		fields: []field{{"Content-Type", "text/event-stream"}},
		modern: []field{{"Cache-Control", "no-store"}},
		stream: func(w *stream) error {
			defer s.events.unsubscribe(sub)
			return s.tell(w, r, sub)
		},
	}, nil
}

// tell writes the events. A heartbeat is a comment (the HTML standard, section
// "Server-sent events"), which also finds out that a client is gone.
func (s *Server) tell(w *stream, r *request, sub *subscriber) error {
	text := []byte(": what happens from now on\n\n")
	for _, ev := range sub.started {
		text = appendEvent(text, ev)
	}
	beat := time.NewTicker(s.o.HeartBeat)
	defer beat.Stop()
	gone := time.NewTicker(goneCheck)
	defer gone.Stop()
	for {
		if len(text) > 0 {
			if _, err := w.Write(text); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			text = text[:0]
		}
		select {
		case ev, more := <-sub.next:
			if !more {
				s.o.Log.Warn("a client reads its events too slowly", "caller", r.caller.Name)
				_, err := w.Write(appendEvent(nil, pvctrl.Event{Type: pvctrl.EventDropped, Data: []byte("{}")}))
				return err
			}
			text = appendEvent(text, ev)
		case <-beat.C:
			text = append(text, ": \n\n"...)
		case <-gone.C:
			if r.conn.gone() {
				return errGone
			}
		case <-r.ctx.Done():
			return nil
		}
	}
}

// appendEvent writes an event. Its data is compact JSON, which has no line ends.
func appendEvent(buf []byte, ev pvctrl.Event) []byte {
	if ev.ID != "" {
		buf = append(append(append(buf, "id: "...), ev.ID...), '\n')
	}
	buf = append(append(append(buf, "event: "...), ev.Type...), '\n')
	return append(append(append(buf, "data: "...), ev.Data...), "\n\n"...)
}

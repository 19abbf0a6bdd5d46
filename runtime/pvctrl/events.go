package pvctrl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
)

// maxEvent is how many bytes an event may have.
const maxEvent = 1 << 20

// Events listens to what happens, from now on or from after the event with the
// id that is given. The connection is made before it returns, so what happens
// then is in the sequence. The sequence ends when ctx does, when the caller
// stops, or with an error: io.ErrUnexpectedEOF when the server closed the
// stream. It can be used once, and must be, for the connection to be closed.
//
// Upstream's runtime has no such endpoint: a [*StatusError] of 400.
func (c *Client) Events(ctx context.Context, after string) (iter.Seq2[Event, error], error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if after != "" {
		header.Set("Last-Event-ID", after)
	}
	resp, err := c.stream(ctx, http.MethodGet, "/events", nil, 0, header)
	if err != nil {
		return nil, err
	}
	return func(yield func(Event, error) bool) {
		defer resp.Body.Close()
		err := readEvents(resp.Body, func(e Event) bool { return yield(e, nil) })
		if err != nil && ctx.Err() == nil {
			yield(Event{}, fmt.Errorf("read events: %w", err))
		}
	}, nil
}

// readEvents reads the text/event-stream format of the HTML standard, section
// "Server-sent events". A comment is a sign of life and nothing else. It
// returns nil when yield returns false.
func readEvents(r io.Reader, yield func(Event) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxEvent)
	var e Event
	var data []byte
	for lines.Scan() {
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			if data != nil {
				e.Data = bytes.Clone(data)
				if !yield(e) {
					return nil
				}
			}
			e, data = Event{}, nil
			continue
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(key) {
		case "id":
			e.ID = string(value)
		case "event":
			e.Type = string(value)
		case "data":
			if len(data)+len(value) > maxEvent {
				return fmt.Errorf("an event is larger than %d bytes", maxEvent)
			}
			if data == nil {
				data = []byte{}
			} else {
				data = append(data, '\n')
			}
			data = append(data, value...)
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("an event is larger than %d bytes", maxEvent)
		}
		return err
	}
	return io.ErrUnexpectedEOF
}

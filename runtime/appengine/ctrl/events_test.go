package ctrl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// listen gives the events as they come.
func listen(t *testing.T, c *pvctrl.Client, after string) (<-chan pvctrl.Event, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	events, err := c.Events(ctx, after)
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan pvctrl.Event)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(ch)
		for e, err := range events {
			if err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the stream ends: %v", err)
				}
				return
			}
			select {
			case ch <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return ch, stop
}

func event(t *testing.T, ch <-chan pvctrl.Event) pvctrl.Event {
	t.Helper()
	select {
	case e, ok := <-ch:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("no event")
		return pvctrl.Event{}
	}
}

func decode[T any](t *testing.T, e pvctrl.Event, typ string) (v T) {
	t.Helper()
	if err := json.Unmarshal(e.Data, &v); err != nil || e.Type != typ || e.ID == "" {
		t.Errorf("event %+v: %v; want a %s", e, err, typ)
	}
	return v
}

func TestEvents(t *testing.T) {
	c, m := start(t, pvctrl.HostName)
	ctx := t.Context()
	ch, stop := listen(t, c, "")
	if err := c.ContainerAction(ctx, ctrltest.Norole, "stop"); err != nil {
		t.Fatal(err)
	}
	first := event(t, ch)
	if got := decode[pvctrl.Container](t, first, pvctrl.EventContainer); got.Name != ctrltest.Norole || got.Status != pvctrl.StatusStopped {
		t.Errorf("container %+v", got)
	}
	m.SetLinks(nil)
	if got := decode[pvctrl.GraphChange](t, event(t, ch), pvctrl.EventGraph); got.Tag != ctrl.GraphTag(nil) || got.Links != 0 {
		t.Errorf("graph %+v", got)
	}
	if err := c.DaemonAction(ctx, "pv-xconnect", "stop"); err != nil {
		t.Fatal(err)
	}
	if got := decode[pvctrl.Daemon](t, event(t, ch), pvctrl.EventDaemon); got != (pvctrl.Daemon{Name: "pv-xconnect", PID: -1}) {
		t.Errorf("daemon %+v", got)
	}
	if err := c.Command(ctx, pvctrl.Command{Op: pvctrl.OpLocalRun, Payload: "0"}); err != nil {
		t.Fatal(err)
	}
	m.Tick()
	if got := decode[pvctrl.StepProgress](t, event(t, ch), pvctrl.EventProgress); got.Name != "0" || got.Progress.Percent != 75 {
		t.Errorf("progress %+v", got)
	}
	stop()

	// It comes back and gets what it has missed.
	m.Tick()
	ch, stop = listen(t, c, first.ID)
	for _, typ := range []string{pvctrl.EventGraph, pvctrl.EventDaemon, pvctrl.EventProgress, pvctrl.EventProgress} {
		if e := event(t, ch); e.Type != typ {
			t.Errorf("again: %+v, want a %s", e, typ)
		}
	}
	stop()
	for _, id := range []string{"nonsense", "abc-1", first.ID + "0000", strings.Replace(first.ID, "-", "-x", 1)} {
		ch, stop = listen(t, c, id)
		if e := event(t, ch); e.Type != pvctrl.EventMissed || e.ID != "" {
			t.Errorf("after %q: %+v", id, e)
		}
		stop()
	}
	// What is too long ago is not kept.
	for range 1100 {
		m.SetStatus(ctrltest.Server, pvctrl.StatusReady)
	}
	ch, _ = listen(t, c, first.ID)
	if e := event(t, ch); e.Type != pvctrl.EventMissed {
		t.Errorf("long ago: %+v", e)
	}
}

func TestEventsOnTheWire(t *testing.T) {
	events := ctrl.NewEvents()
	m := ctrltest.NewMachine(events)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName), Events: events, HeartBeat: 30 * time.Millisecond})
	for version, head := range map[string]string{
		"1.0": "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
		"1.1": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\nDate: D\r\n\r\n",
	} {
		c := dial(t, socket)
		io.WriteString(c, "GET /events HTTP/"+version+"\r\n\r\n")
		c.CloseWrite() // it still wants the reply
		var got []byte
		for buf := make([]byte, 4096); bytes.Count(got, []byte(": \n\n")) < 3; {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("HTTP/%s: %q, %v", version, got, err)
			}
			got = append(got, buf[:n]...)
		}
		if text := date.ReplaceAllString(string(got), "Date: D\r\n"); !strings.HasPrefix(text, head) {
			t.Errorf("HTTP/%s: %q", version, text)
		}
	}
}

// A client that does not read loses its stream and is told so; nobody waits.
func TestSlowListener(t *testing.T) {
	events := ctrl.NewEvents()
	m := ctrltest.NewMachine(events)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName), Events: events})
	c := dial(t, socket)
	io.WriteString(c, "GET /events HTTP/1.0\r\n\r\n")
	buf := make([]byte, 4096)
	if _, err := c.Read(buf); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for i := range 1000 {
		if err := events.Publish("test", fmt.Sprintf("%d %s", i, strings.Repeat("x", 10000))); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("publishing took %v", took)
	}
	text, err := io.ReadAll(c)
	if err != nil || !bytes.HasSuffix(text, []byte("\n\nevent: dropped\ndata: {}\n\n")) || !bytes.Contains(text, []byte("data: \"0 x")) {
		t.Errorf("%d bytes, %v, at the end %q", len(text), err, text[max(0, len(text)-100):])
	}
}

// Streams and held requests of clients that went away end, and so do all when
// the server stops.
func TestHeldRequestsEnd(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	b := m.Backend()
	s, err := ctrl.New(ctrl.Options{Backend: b, Owner: as(pvctrl.HostName), MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	socket := serveOn(t, s)
	links, _ := m.Links(t.Context())
	requests := []string{
		"GET /events HTTP/1.1\r\n\r\n",
		"GET /xconnect-graph HTTP/1.1\r\nIf-None-Match: " + ctrl.GraphTag(links) + "\r\nPrefer: wait=500\r\n\r\n",
	}
	for range 2 { // more connections than there may be at a time
		for _, r := range append(requests, requests...) {
			c := dial(t, socket)
			io.WriteString(c, r)
			time.Sleep(10 * time.Millisecond)
			c.Close()
		}
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if got := talk(t, socket, "GET /daemons HTTP/1.0\r\n\r\n"); got == ok10 {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("the places are still taken: %q", got)
			}
		}
	}
	for _, r := range requests { // these are held when the test, and the server, end
		io.WriteString(dial(t, socket), r)
	}
}

func TestConditionalGraph(t *testing.T) {
	c, m := start(t, pvctrl.HostName)
	ctx := t.Context()
	first := must[*pvctrl.Reply](t)(c.Graph(ctx, "", time.Minute))
	if first.Graph == nil || first.Tag == "" {
		t.Fatalf("first: %+v", first)
	}
	// Without a wish to wait there is an answer at once.
	if r := must[*pvctrl.Reply](t)(c.Graph(ctx, first.Tag, 0)); r.Graph != nil || r.Waits {
		t.Errorf("unchanged: %+v", r)
	}
	start := time.Now()
	if r := must[*pvctrl.Reply](t)(c.Graph(ctx, first.Tag, time.Second)); r.Graph != nil || !r.Waits || time.Since(start) < time.Second {
		t.Errorf("unchanged for a second: %+v after %v", r, time.Since(start))
	}
	links, _ := m.Links(ctx)
	next := append(links[:1:1], pvctrl.Link{Consumer: "a", Provider: "b", Name: "n", Type: "rest", Socket: "/s"})
	time.AfterFunc(50*time.Millisecond, func() {
		m.SetLinks(links) // the same: no answer
		m.SetLinks(next)
	})
	start = time.Now()
	r := must[*pvctrl.Reply](t)(c.Graph(ctx, first.Tag, 20*time.Second))
	if r.Graph == nil || len(r.Graph.Links) != 2 || r.Tag == first.Tag || !r.Waits || time.Since(start) > 10*time.Second {
		t.Errorf("changed: %+v", r)
	}
	// With an old tag there is an answer at once.
	if r := must[*pvctrl.Reply](t)(c.Graph(ctx, first.Tag, 20*time.Second)); r.Graph == nil {
		t.Errorf("an old tag: %+v", r)
	}
}

func TestConditionalGraphOnTheWire(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	m.SetLinks(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName), MaxWait: 50 * time.Millisecond})
	tag := ctrl.GraphTag(nil)
	unchanged := "HTTP/1.1 304 Not Modified\r\nETag: " + tag + "\r\nDate: D\r\nConnection: close\r\n\r\n"
	held := "HTTP/1.1 304 Not Modified\r\nETag: " + tag + "\r\nPreference-Applied: wait\r\nDate: D\r\nConnection: close\r\n\r\n"
	all := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: " + tag + "\r\nDate: D\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
	for fields, want := range map[string]string{
		"":                             all,
		"If-None-Match: " + tag:        unchanged,
		"If-None-Match: W/" + tag:      unchanged,
		"If-None-Match: \"x\", " + tag: unchanged,
		"If-None-Match: *":             unchanged,
		"If-None-Match: \"x\"":         all,
		"Prefer: wait=nonsense\r\nIf-None-Match: " + tag:                             unchanged,
		"Prefer: wait=0\r\nIf-None-Match: " + tag:                                    unchanged,
		"Prefer: respond-async, WAIT=\"300\"; foo=bar\r\nIf-None-Match: " + tag:      held,
		"Prefer: wait=99999999999999999999\r\nIf-None-Match: " + tag:                 unchanged,
		"Prefer: return=minimal\r\nPrefer: wait=2147483647\r\nIf-None-Match: " + tag: held,
	} {
		request := "GET /xconnect-graph HTTP/1.1\r\nConnection: close\r\n"
		if fields != "" {
			request += fields + "\r\n"
		}
		if got := talk(t, socket, request+"\r\n"); got != want {
			t.Errorf("%s:\n got %q\nwant %q", fields, got, want)
		}
	}
	if got := talk(t, socket, "GET /xconnect-graph HTTP/1.0\r\nPrefer: wait=9\r\nIf-None-Match: "+tag+"\r\n\r\n"); got != "HTTP/1.0 200 OK"+json10+"[]" {
		t.Errorf("HTTP/1.0: %q", got)
	}
}

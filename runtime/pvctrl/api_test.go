package pvctrl_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// What is written is what is read, and is upstream's document byte for byte.
func TestEncodeGraph(t *testing.T) {
	uid := uint32(90001)
	links := []pvctrl.Link{
		{Consumer: "pv-example-unix-client", ConsumerPID: 1108, Provider: "pv-example-unix-server", ProviderPID: 1107, Name: "raw-unix", Type: "unix",
			Role: "any", Interface: "unix", Target: "/run/pv/services/raw-unix.sock", Socket: "/run/example/raw.sock"},
		{Consumer: "c", Provider: "_pv_", Name: "system-bus", Type: "dbus", Role: "any", Interface: "dbus", Socket: "/run/<bus>&\"", UID: &uid},
		{Consumer: "c", ConsumerPID: -5, Provider: "p", Name: "n", Type: "unknown", Role: "any", Interface: "x"},
	}
	text := pvctrl.EncodeGraph(links)
	want := `[{"consumer":"pv-example-unix-client","consumer_pid":1108,"provider":"pv-example-unix-server","provider_pid":1107,"name":"raw-unix","type":"unix","role":"any","interface":"unix","target":"/run/pv/services/raw-unix.sock","socket":"/run/example/raw.sock"},` +
		`{"consumer":"c","consumer_pid":-1,"provider":"_pv_","provider_pid":0,"name":"system-bus","type":"dbus","role":"any","interface":"dbus","target":null,"socket":"/run/<bus>&\"","uid":90001},` +
		`{"consumer":"c","consumer_pid":-1,"provider":"p","provider_pid":-1,"name":"n","type":"unknown","role":"any","interface":"x","target":null,"socket":null}]`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	g, err := pvctrl.DecodeGraph(bytes.NewReader(text))
	if err != nil || len(g.Links) != 2 || !reflect.DeepEqual(g.Links, links[:2]) {
		t.Errorf("decoded %+v, %v", g, err) // the third has no socket
	}
	if got := pvctrl.EncodeGraph(nil); string(got) != "[]" {
		t.Errorf("no links: %s", got)
	}
}

// Names that mean something in a path are not sent.
func TestNames(t *testing.T) {
	c := pvctrl.NewClient("/nowhere")
	ctx := t.Context()
	for _, name := range []string{"", ".", "..", "a/b", "a?b", "a#b", "a b", "a\nb", "a\x00"} {
		_, object := c.Object(ctx, name)
		_, step := c.Step(ctx, name)
		_, local := c.Step(ctx, "locals/"+name)
		_, progress := c.Progress(ctx, name)
		for i, err := range []error{object, step, local, progress,
			c.ContainerAction(ctx, name, "stop"), c.DaemonAction(ctx, name, "stop"), c.PutObject(ctx, name, 0, nil), c.PutStep(ctx, name, nil),
			c.PutCommitMsg(ctx, name, "x"), c.PutMeta(ctx, pvctrl.UserMeta, name, "x"), c.DeleteMeta(ctx, pvctrl.UserMeta, name),
		} {
			if err == nil || strings.Contains(err.Error(), "nowhere") {
				t.Errorf("%q, call %d: %v", name, i, err)
			}
		}
	}
	if _, err := c.Do(ctx, "GET", "containers", nil); err == nil || !strings.Contains(err.Error(), "slash") {
		t.Errorf("Do without a slash: %v", err)
	}
}

func TestAnswersThatAreNoDocument(t *testing.T) {
	ctx := t.Context()
	c := serve(t, "HTTP/1.0 200 OK\r\n\r\nnonsense", 0)
	_, containers := c.Containers(ctx)
	_, meta := c.Meta(ctx, pvctrl.UserMeta)
	_, drivers := c.Drivers(ctx)
	_, gc := c.CollectGarbage(ctx)
	for i, err := range []error{containers, meta, drivers, gc} {
		if err == nil || !strings.Contains(err.Error(), "decode /") {
			t.Errorf("call %d: %v", i, err)
		}
	}
	c = serve(t, "HTTP/1.0 503 Service Unavailable\r\nRetry-After: 120\r\n\r\n{\"Error\":\"busy\"}", 0)
	_, events := c.Events(ctx, "")
	_, object := c.Object(ctx, "x")
	for i, err := range []error{events, object, c.Command(ctx, pvctrl.Command{})} {
		if e, ok := errors.AsType[*pvctrl.StatusError](err); !ok || e.Status != 503 || e.Text != "busy" || e.RetryAfter.Seconds() != 120 {
			t.Errorf("call %d: %v", i, err)
		}
	}
	c = serve(t, "HTTP/1.0 200 OK\r\n\r\n"+strings.Repeat("x", pvctrl.MaxDocumentBytes+1), 0)
	if _, err := c.BuildInfo(ctx); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too large: %v", err)
	}
}

const streamText = `: a comment
id: r-1
event: container
data: {"name":"a"}

event: dropped
data: {}

event: nothing, it has no data

data: one
data: two
retry: 100
unknown

: end
`

func TestReadEvents(t *testing.T) {
	want := []pvctrl.Event{
		{ID: "r-1", Type: "container", Data: json.RawMessage(`{"name":"a"}`)},
		{Type: "dropped", Data: json.RawMessage(`{}`)},
		{Data: json.RawMessage("one\ntwo")},
	}
	for _, text := range []string{streamText, strings.ReplaceAll(streamText, "\n", "\r\n")} {
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			var got []pvctrl.Event
			err := pvctrl.ReadEvents(r, func(e pvctrl.Event) bool { got = append(got, e); return true })
			if !errors.Is(err, io.ErrUnexpectedEOF) || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v", got, err)
			}
		}
	}
	n := 0
	if err := pvctrl.ReadEvents(strings.NewReader(streamText), func(pvctrl.Event) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("stopped after %d: %v", n, err)
	}
	for _, text := range []string{"data: " + strings.Repeat("x", 2<<20), strings.Repeat("data: "+strings.Repeat("x", 1<<19)+"\n", 3)} {
		if err := pvctrl.ReadEvents(strings.NewReader(text), func(pvctrl.Event) bool { return true }); err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("too large: %v", err)
		}
	}
	broken := errors.New("broken")
	if err := pvctrl.ReadEvents(iotest.ErrReader(broken), func(pvctrl.Event) bool { return true }); !errors.Is(err, broken) {
		t.Errorf("ReadEvents = %v", err)
	}
}

// FuzzEvents: whole and in single bytes the same events come.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(streamText))
	f.Add([]byte("data\n\ndata:\n\n:\nid\r\n\r\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		read := func(r io.Reader) (all []pvctrl.Event, err error) {
			err = pvctrl.ReadEvents(r, func(e pvctrl.Event) bool { all = append(all, e); return true })
			return all, err
		}
		a, err := read(bytes.NewReader(src))
		b, err2 := read(iotest.OneByteReader(bytes.NewReader(src)))
		if !reflect.DeepEqual(a, b) || err == nil || err2 == nil {
			t.Fatalf("%+v, %v; %+v, %v", a, err, b, err2)
		}
	})
}

// FuzzDecodeMeta: what is read is an object of JSON, with all its members.
func FuzzDecodeMeta(f *testing.F) {
	f.Add([]byte(`{"a":"b","c":{"d":[1]},"e":null}`))
	f.Add([]byte(`{"a":1} {`))
	f.Fuzz(func(t *testing.T, src []byte) {
		all, err := pvctrl.DecodeMeta(src)
		var doc map[string]json.RawMessage
		if second := json.Unmarshal(src, &doc); (err == nil) != (second == nil && doc != nil) {
			t.Fatalf("%v; encoding/json: %v", err, second)
		}
		for _, e := range all {
			if _, ok := doc[e.Key]; err == nil && !ok {
				t.Fatalf("%q is no member", e.Key)
			}
		}
	})
}

package pvctrl_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

const example = `[{"consumer":"pv-example-unix-client","consumer_pid":412,"provider":"pv-example-unix-server","provider_pid":398,"name":"raw-unix","type":"unix","role":"any","interface":"unix","target":"/run/pv/services/raw-unix.sock","socket":"/run/example/raw.sock"}]`

func entry(extra string) string {
	return `[{"consumer":"c","name":"n","type":"unix","socket":"/s"` + extra + `}]`
}

func TestDecodeGraph(t *testing.T) {
	base := pvctrl.Link{Consumer: "c", Name: "n", Type: "unix", Socket: "/s"}
	with := func(change func(*pvctrl.Link)) []pvctrl.Link {
		l := base
		change(&l)
		return []pvctrl.Link{l}
	}
	uid := uint32(90000)
	for name, tt := range map[string]struct {
		text string
		want []pvctrl.Link
	}{
		"the documented example": {example, []pvctrl.Link{{
			Consumer: "pv-example-unix-client", ConsumerPID: 412, Provider: "pv-example-unix-server", ProviderPID: 398,
			Name: "raw-unix", Type: "unix", Role: "any", Interface: "unix",
			Target: "/run/pv/services/raw-unix.sock", Socket: "/run/example/raw.sock"}}},
		"nothing":               {"[]", nil},
		"white space":           {" [\n] \n", nil},
		"null target":           {entry(`,"target":null`), with(func(*pvctrl.Link) {})},
		"pid before the start":  {entry(`,"consumer_pid":-1`), with(func(*pvctrl.Link) {})},
		"pid as text":           {entry(`,"consumer_pid":"12"`), with(func(l *pvctrl.Link) { l.ConsumerPID = 12 })},
		"pid that is no number": {entry(`,"consumer_pid":"x","provider_pid":1e9`), with(func(*pvctrl.Link) {})},
		"pid over 32 bits":      {entry(`,"consumer_pid":4294967297`), with(func(*pvctrl.Link) {})},
		"uid of a hosted bus":   {entry(`,"uid":90000`), with(func(l *pvctrl.Link) { l.UID = &uid })},
		"unknown keys":          {entry(`,"new":{"a":[1,2]}`), with(func(*pvctrl.Link) {})},
	} {
		g, err := pvctrl.DecodeGraph(strings.NewReader(tt.text))
		if err != nil || !reflect.DeepEqual(g.Links, tt.want) || len(g.Problems) != 0 {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

// A bad entry costs itself, not the graph.
func TestBadEntries(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for text, want := range map[string]string{
		`["a"]`:  "it is not an object",
		`[null]`: "it is not an object",
		`[{}]`:   "it has no consumer",
		`[{"consumer":"c","name":"n","type":"unix"}]`:    "it has no socket",
		`[{"consumer":"c","socket":"/s","type":"unix"}]`: "it has no name",
		`[{"consumer":"","name":"n","socket":"/s"}]`:     "it has no consumer",
		`[{"consumer":5}]`:                "cannot unmarshal",
		entry(`,"target":"` + long + `"`): "its target is longer",
		entry(`,"target":"/a\u0000b"`):    "its target has a NUL byte",
		entry(`,"uid":-1`):                "is not a user id",
		entry(`,"uid":4294967295`):        "is not a user id",
		entry(`,"uid":"root"`):            "is not a user id",
	} {
		good := `,{"consumer":"c","name":"n","type":"unix","socket":"/s"}]`
		g, err := pvctrl.DecodeGraph(strings.NewReader(strings.TrimSuffix(text, "]") + good))
		if err != nil || len(g.Links) != 1 || len(g.Problems) != 1 || !strings.Contains(g.Problems[0], want) {
			t.Errorf("%.60s: %+v, %v; want a problem with %q", text, g, err, want)
		}
	}
}

func TestNotAGraph(t *testing.T) {
	for text, want := range map[string]string{
		"":              "unexpected EOF",
		"{}":            pvctrl.ErrNotGraph.Error(),
		`{"Error":"x"}`: pvctrl.ErrNotGraph.Error(),
		"null":          pvctrl.ErrNotGraph.Error(),
		"[":             "unexpected EOF",
		example[:100]:   "unexpected EOF",
		example + "[]":  "something follows",
		example + "x":   "something follows",
		"[{]":           "invalid character",
		"<html>":        "invalid character",
		"[" + strings.Repeat(`{},`, pvctrl.MaxGraphLinks) + "{}]": "more than 65536 links",
		"[" + strings.Repeat(" ", pvctrl.MaxGraphBytes) + "]":     "larger than 16777216 bytes",
		`["` + strings.Repeat("x", pvctrl.MaxGraphBytes) + `"]`:   "larger than 16777216 bytes",
		strings.Repeat("[", 1<<16) + strings.Repeat("]", 1<<16):   "exceeded max depth",
	} {
		g, err := pvctrl.DecodeGraph(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %+v, %v; want %q", text, g, err, want)
		}
	}
	if _, err := pvctrl.DecodeGraph(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader's error: %v", err)
	}
}

func big(n int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"consumer":"c%d","consumer_pid":%d,"provider":"p","provider_pid":2,"name":"n","type":"unix","role":"any","interface":"unix","target":"/run/%d","socket":"/s"}`, i, i+1, i)
	}
	return b.String() + "]"
}

func TestAnyNumberOfReads(t *testing.T) {
	text := big(500)
	want, err := pvctrl.DecodeGraph(strings.NewReader(text))
	if err != nil || len(want.Links) != 500 {
		t.Fatalf("%d links, %v", len(want.Links), err)
	}
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(strings.NewReader(text)),
		"half":     iotest.HalfReader(strings.NewReader(text)),
		"data+err": iotest.DataErrReader(strings.NewReader(text)),
	} {
		if g, err := pvctrl.DecodeGraph(r); err != nil || !reflect.DeepEqual(g, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkDecode10000(b *testing.B) {
	text := big(10_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if g, err := pvctrl.DecodeGraph(strings.NewReader(text)); err != nil || len(g.Links) != 10_000 {
			b.Fatal(err)
		}
	}
}

func FuzzDecodeGraph(f *testing.F) {
	for _, s := range []string{example, "[]", entry(`,"uid":5`), `[{"consumer":1}]`, "[[[", `[{"consumer":"\ud800"}]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := pvctrl.DecodeGraph(strings.NewReader(text))
		if err != nil {
			if g != nil {
				t.Error("a graph and an error")
			}
			return
		}
		for _, l := range g.Links {
			if l.Consumer == "" || l.Name == "" || l.Type == "" || l.Socket == "" || l.ConsumerPID < 0 || l.ProviderPID < 0 {
				t.Errorf("%+v is no link", l)
			}
		}
	})
}

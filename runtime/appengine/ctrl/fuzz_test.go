package ctrl_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// FuzzRequest reads heads and bodies, whole and in single bytes: the same
// comes out, and what came out is what a second writing reads as.
func FuzzRequest(f *testing.F) {
	all, err := ctrltest.Captures()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range all {
		f.Add(fmt.Appendf(nil, "%s %s HTTP/%s\r\nHost: localhost\r\n\r\n", c.Request.Method, c.Request.Path, c.Request.Version))
	}
	for _, s := range []string{
		"PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: identity, chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
		"PUT http://localhost:80/objects/x?y#z HTTP/1.0\nContent-Length: 3\nExpect: 100-continue\n\nabc",
		"GET //h/steps//locals/x/progress HTTP/1.9\r\nHost: a\r\n b\r\nPrefer: wait=1\r\nIf-None-Match: W/\"x\"\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := ctrl.ParseRequest(bytes.NewReader(src))
		q, err2 := ctrl.ParseRequest(iotest.OneByteReader(bytes.NewReader(src)))
		if (err == nil) != (err2 == nil) || err == nil && fmt.Sprint(p) != fmt.Sprint(q) {
			t.Fatalf("whole %+v, %v; in bytes %+v, %v", p, err, q, err2)
		}
		if err != nil {
			return
		}
		if p.Size >= 0 && int64(len(p.Body)) != p.Size {
			t.Fatalf("a body of %d bytes has %d", p.Size, len(p.Body))
		}
		var again bytes.Buffer
		fmt.Fprintf(&again, "%s %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", p.Method, p.Target)
		w := httputil.NewChunkedWriter(&again)
		w.Write(p.Body)
		w.Close()
		again.WriteString("\r\n")
		r, err := ctrl.ParseRequest(&again)
		if err != nil || r.Method != p.Method || r.Target != p.Target || r.Routes != p.Routes || !bytes.Equal(r.Body, p.Body) {
			t.Fatalf("again: %+v, %v; was %+v", r, err, p)
		}
	})
}

// FuzzConversation sends the bytes to a real server.
func FuzzConversation(f *testing.F) {
	socket := serve(f, ctrl.Options{Backend: ctrltest.NewMachine(nil).Backend(), Owner: as(ctrltest.Norole)})
	for _, s := range []string{
		"GET /daemons HTTP/1.0\r\n\r\n", "GET /daemons HTTP/1.1\r\n\r\nGET /nope HTTP/1.1\r\n\r\n", "garbage",
		"POST /signal HTTP/1.1\r\nContent-Length: 16\r\n\r\n{\"type\":\"ready\"}", "POST /signal HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"type\":\"ready\"}\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		answer := talk(t, socket, string(src))
		if answer != "" && !strings.HasPrefix(answer, "HTTP/1.") && !strings.HasPrefix(answer, "error: ") {
			t.Fatalf("%q", answer)
		}
		if strings.Contains(answer, " 200 OK") && !bytes.Contains(src, []byte("/signal")) {
			t.Fatalf("a container without the role had success: %q", answer)
		}
	})
}

func FuzzAction(f *testing.F) {
	for _, s := range []string{"", "zz", "{}", `{"action":"stop"}`, `{"action":5}`, `{"action":{}}`, `{"action"`, `"x`, `[`, `{"Action":"stop"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		a, err := ctrl.DecodeAction(src)
		if err != nil && json.Valid(src) {
			t.Fatalf("valid JSON is refused: %v", err)
		}
		if a != "" {
			var doc map[string]any
			if err := json.Unmarshal(src, &doc); err != nil || doc["action"] == nil {
				t.Fatalf("the action %q of %q: %v", a, src, err)
			}
		}
	})
}

func FuzzSignal(f *testing.F) {
	for _, s := range []string{"", "zz", "{}", `{"type":"ready","payload":""}`, `{"type":"ready"}`, `{"type":""}`, `{"type":1,"payload":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := ctrl.DecodeSignal(src)
		if (err == nil) != (s.Type != "") {
			t.Fatalf("%+v, %v", s, err)
		}
		if err == nil && !json.Valid(src) {
			t.Fatalf("%q is a signal", src)
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"", "zz", "{}", `{"op":"RUN_GC","payload":""}`, `{"op":"R","payload":""}`, `{"op":"","payload":""}`, `{"op":"DEFER_REBOOT","payload":60}`, `{"op":"RUN_GC"}`, `{"OP":"RUN_GC","payload":""}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := ctrl.DecodeCommand(src)
		e, ok := errors.AsType[*ctrl.Error](err)
		if err == nil && c.Op == "" || err != nil && (!ok || e.Status != 400) {
			t.Fatalf("%+v, %v", c, err)
		}
	})
}

// FuzzMeta: whatever the keys and values, the document is JSON and says them.
func FuzzMeta(f *testing.F) {
	f.Add("k", "v")
	f.Add(`"`, `{"a": 1}`)
	f.Add("\x00\xff", " [1]\n")
	f.Add("é", "{broken")
	f.Fuzz(func(t *testing.T, key, value string) {
		text := ctrl.EncodeMeta([]pvctrl.MetaEntry{{Key: key, Value: value}, {Key: "last", Value: "x"}})
		all, err := pvctrl.DecodeMeta(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		want := 2
		if value == "" {
			want = 1
		}
		if len(all) != want {
			t.Fatalf("%q has %d members", text, len(all))
		}
		trimmed := strings.TrimLeft(value, " \t\r\n")
		document := json.Valid([]byte(value)) && (trimmed[0] == '{' || trimmed[0] == '[')
		if want == 2 && utf8.ValidString(key) && utf8.ValidString(value) && !document && all[0] != (pvctrl.MetaEntry{Key: key, Value: value}) {
			t.Fatalf("%q, %q became %q", key, value, all[0])
		}
	})
}

// FuzzQuote: a JSON string, of one line.
func FuzzQuote(f *testing.F) {
	f.Add("a\"\\\x01\x7fé\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		text := ctrl.Quote(s)
		var back string
		if err := json.Unmarshal(text, &back); err != nil || utf8.ValidString(s) && back != s || bytes.ContainsAny(text, "\n\r\x00") {
			t.Fatalf("%q is %q: %v", s, text, err)
		}
	})
}

package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func legacy(code, n int32, body string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(code))
	b = binary.NativeEndian.AppendUint32(b, uint32(n))
	return append(b, body...)
}

// TestDecode has the examples of docs/reference/logserver-sockets.md and what
// the usual libraries send.
func TestDecode(t *testing.T) {
	body := "3\x00web\x00app\x00hello\n"
	for _, c := range []struct {
		name, in string
		want     string // source|LEVEL|text, or "" for an error
	}{
		{"legacy", string(legacy(0, int32(len(body)), body)), "app|INFO|hello\n"},
		{"legacy, more than it says", string(legacy(0, int32(len(body))-1, body)), "app|INFO|hello"},
		{"legacy, less than it says", string(legacy(0, 9999, body)), "app|INFO|hello\n"},
		{"legacy, negative", string(legacy(0, -1, body)), ""},
		{"legacy, huge", string(legacy(0, 1<<30, body)), ""},
		{"legacy, level", string(legacy(0, 9, "9\x00a\x00b\x00c")), ""},
		{"legacy, fields", string(legacy(0, 9, "3\x00a\x00b")), ""},
		{"other code", string(legacy(1, 9, body)), ""},
		{"3164", "<34>May 15 16:48:18 mydevice myapp[1234]: Connection established", "myapp|ERROR|Connection established"},
		{"syslog(3)", "<131>May  5 16:48:18 myapp[12]: it: broke\n\x00", "myapp|ERROR|it: broke"},
		{"Python", "<14>Container started\x00", "unknown-app|INFO|Container started"},
		{"Python with a tag", "<14>app: Container started", "app|INFO|Container started"},
		{"Go", "<134>May 15 16:48:18 myapp[77]: Container started\n", "myapp|INFO|Container started"},
		{"Go, remote", "<134>2026-05-15T16:48:18+02:00 host myapp[77]: x\n", "myapp|INFO|x"},
		{"no colon", "<13>May 15 16:48:18 just some words", "unknown-app|INFO|just some words"},
		{"a colon later", "<13>no tag here: x", "unknown-app|INFO|no tag here: x"},
		{"emerg", "<0>x", "unknown-app|FATAL|x"},
		{"debug", "<191>x", "unknown-app|DEBUG|x"},
		{"priority", "<192>x", ""},
		{"priority", "<>x", ""},
		{"priority", "<a>x", ""},
		{"priority", "<12345>x", ""},
		{"5424", "<34>1 2026-05-15T16:48:18Z mydevice myapp 1234 - - Connection established", "myapp|ERROR|Connection established"},
		{"5424, data", `<34>1 - - app - - [a@1 k="v \"]\\ w"][b] text [x]`, "app|ERROR|text [x]"},
		{"5424, no text", "<34>1 - - - - - -", "unknown-app|ERROR|"},
		{"5424, BOM", "<34>1 - - a - - - \ufefftext", "a|ERROR|text"},
		{"5424, open", `<34>1 - - a - - [x k="]" text`, ""},
		{"5424, short", "<34>1 - - a", ""},
		{"not 5424", "<34>1: text", "1|ERROR|text"},
		{"json", `{ "version": "0", "level": "Info", "src": "myapp", "message": "Connection \u003c\"est\"" }`, `myapp|INFO|Connection <"est"`},
		{"json, version", `{"version":"1","level":"INFO","src":"a","message":"m"}`, ""},
		{"json, level", `{"version":"0","level":"ALL","src":"a","message":"m"}`, ""},
		{"json, missing", `{"version":"0","level":"INFO","src":"a"}`, ""},
		{"json, more", `{"version":"0","level":"INFO","src":"a","message":"m"}x`, ""},
		{"kv", "level=INFO src=myapp message=hello", "myapp|INFO|hello"},
		{"kv, quoted", `message="hello \"big\" world" level="warn" src="my-component"`, `my-component|WARN|hello "big" world`},
		{"kv, spaces", "  level = DEBUG\tsrc= a message =b\n", "a|DEBUG|b"},
		{"kv, dangling", "level=INFO src=myapp message=hello world", ""},
		{"kv, missing", "level=INFO src=myapp", ""},
		{"kv, open", `level=INFO src=myapp message="x`, ""},
		{"nothing", "", ""},
		{"words", "hello", ""},
	} {
		m, err := decode([]byte(c.in))
		got := ""
		if err == nil {
			got = m.source + "|" + m.level.String() + "|" + string(m.text)
		}
		if got != c.want {
			t.Errorf("%s: %q\ngot  %q (%v)\nwant %q", c.name, c.in, got, err, c.want)
		}
	}
	if _, err := decode(legacy(256, 2, "{}")); !errors.Is(err, errCommand) {
		t.Errorf("a command: %v", err)
	}
}

func TestCut(t *testing.T) {
	bin := string(legacy(0, 8, "3\x00\x00\x00abc"))
	js := `{"version":"0","message":"a\n<b>"}`
	for _, c := range []struct {
		in    string
		final bool
		want  []string
	}{
		{"<1>a\x00<2>b\x00", false, []string{"<1>a", "<2>b"}},
		{"<1>a\n<2>b\n", false, []string{"<1>a", "<2>b"}},
		{"<1>a\nmore\n<2>b", false, []string{"<1>a\nmore"}},
		{"<1>a\nmore\n<2>b", true, []string{"<1>a\nmore", "<2>b"}},
		{"<1>a\nmore\x00" + js + "\n" + bin[:8] + "3\x00", false, []string{"<1>a\nmore", js}},
		{js + js, false, []string{js, js}},
		{js[:9], false, nil},
		{js[:9], true, []string{js[:9]}},
		{"level=INFO src=a message=b\nlevel=INFO", false, nil},
		{"level=INFO src=a message=b", true, []string{"level=INFO src=a message=b"}},
		{bin[:6], false, nil},
	} {
		b := []byte(c.in)
		var got []string
		for {
			m, n, err := cut(b, c.final)
			if err != nil {
				t.Fatalf("%q: %v", c.in, err)
			}
			if n == 0 {
				break
			}
			got = append(got, string(m))
			b = b[n:]
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%q %t: got %q, want %q", c.in, c.final, got, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"<34>May 15 16:48:18 d a[1]: x", `<34>1 - - a - - [x k="\"]"] t`, `{"version":"0","level":"INFO","src":"a","message":"m"}`, `level="INFO" src=a message="b\""`, string(legacy(0, 8, "3\x00a\x00b\x00c"))} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err == nil && (m.level < Fatal || m.level > Trace || len(m.text) > len(b)) {
			t.Errorf("%+v", m)
		}
		name := cleanName(m.source)
		if name == "" || strings.HasPrefix(name, "/") || strings.Contains("/"+name+"/", "/../") || strings.ContainsAny(name, "\n\x00") {
			t.Errorf("source %q becomes %q", m.source, name)
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("<1>a\n<2>b\x00{}\n"), true)
	f.Add(legacy(0, 3, "abc"), false)
	f.Fuzz(func(t *testing.T, b []byte, final bool) {
		whole := bytes.Clone(b)
		for {
			m, n, err := cut(b, final)
			if err != nil || n == 0 {
				if final && err == nil && len(b) > 0 {
					t.Errorf("%q is left of %q", b, whole)
				}
				return
			}
			if n < len(m) || n > len(b) {
				t.Fatalf("%d of %d for a message of %d", n, len(b), len(m))
			}
			b = b[n:]
		}
	})
}

func FuzzFDRequest(f *testing.F) {
	f.Add(make([]byte, fdRequestSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseFDRequest(b); err == nil && (len(r.platform) > 50 || len(r.source) > 50) {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add("1 2 3 web/lxc/console.log")
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMark(s)
		if !ok {
			return
		}
		again, ok := parseMark(strings.TrimSuffix(string(m.append(nil)), "\n"))
		if !ok || !again.at.Equal(m.at) || again.file != m.file || again.n != m.n || again.offset != m.offset {
			t.Errorf("%q: %+v, again %+v", s, m, again)
		}
	})
}

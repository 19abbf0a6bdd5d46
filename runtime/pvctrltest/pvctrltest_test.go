package pvctrltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/pvctrltest"
)

// off ends the server when it is told to power off.
type off struct {
	ctrl.Commands
	end context.CancelFunc
}

func (o off) Command(ctx context.Context, c pvctrl.Command) error {
	err := o.Commands.Command(ctx, c)
	if err == nil && c.Op == pvctrl.OpPoweroffDevice {
		time.AfterFunc(20*time.Millisecond, o.end)
	}
	return err
}

// stocked has an object that a container needs.
type (
	store   = ctrl.Objects
	stocked struct{ store }
)

func (s stocked) Objects(ctx context.Context) ([]pvctrl.Object, error) {
	list, err := s.store.Objects(ctx)
	return append(list, pvctrl.Object{SHA256: strings.Repeat("0b", 32), Size: "4096"}), err
}

// server is our pv-ctrl server with a machine behind it that needs a moment for
// everything.
func server(t *testing.T) (socket string, m *ctrltest.Machine) {
	t.Helper()
	events := ctrl.NewEvents()
	m = ctrltest.NewMachine(events)
	ctx, cancel := context.WithCancel(context.Background())
	b := m.Backend()
	b.Commands = off{b.Commands, cancel}
	b.Objects = stocked{b.Objects}
	s, err := ctrl.New(ctrl.Options{Backend: b, Events: events, Owner: func(int) (string, bool) { return pvctrl.HostName, true }})
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "pv-ctrl")
	l, err := ctrl.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() { s.Serve(ctx, l); done <- struct{}{} }()
	go func() {
		defer func() { done <- struct{}{} }()
		for ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			m.Tick()
		}
	}()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return socket, m
}

func run(t *testing.T, o pvctrltest.Options) *pvctrltest.Report {
	t.Helper()
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	r, err := pvctrltest.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func verdicts(r *pvctrltest.Report) map[int]pvctrltest.Verdict {
	all := map[int]pvctrltest.Verdict{}
	for _, res := range r.Results {
		all[res.Number] = res.Verdict
	}
	return all
}

// The plan against our server: all pass, but for what is known.
func TestOurServer(t *testing.T) {
	socket, m := server(t)
	if err := m.Backend().UserMeta.PutMeta(t.Context(), "my-key", "a value of the user's"); err != nil {
		t.Fatal(err)
	}
	r := run(t, pvctrltest.Options{Socket: socket, AllowPoweroff: true})
	got := verdicts(r)
	for _, test := range pvctrltest.Tests() {
		want := pvctrltest.Pass
		if slices.Contains([]int{24, 25, 29}, test.Number) {
			want = pvctrltest.Expected
		}
		if got[test.Number] != want {
			t.Errorf("test %d %s: %s, want %s", test.Number, test.Name, got[test.Number], want)
		}
	}
	if len(r.Results) != 31 || !r.OK() || len(r.Left) != 0 || t.Failed() {
		var b bytes.Buffer
		r.Text(&b, false)
		t.Errorf("%s", &b)
	}
	if last := r.Results[30]; last.Number != 26 {
		t.Errorf("the last test is %d", last.Number)
	}
	for _, res := range r.Results {
		if len(res.Evidence) == 0 || res.Evidence[0].Request == "" {
			t.Errorf("test %d has no evidence", res.Number)
		}
	}
	// The machine is as it was.
	entries, _ := m.Backend().UserMeta.Meta(t.Context())
	if len(entries) != 1 || entries[0].Value != "a value of the user's" {
		t.Errorf("the user's metadata is %v", entries)
	}
	daemons, _ := m.Daemons(t.Context())
	if !slices.ContainsFunc(daemons, func(d pvctrl.Daemon) bool { return d.Name == "pv-xconnect" && d.Respawn }) {
		t.Errorf("the daemons are %v", daemons)
	}
}

// Without test 27 nothing is collected, and the report says what is left;
// without leave the server is not ended.
func TestSelection(t *testing.T) {
	socket, _ := server(t)
	choose, err := pvctrltest.Select("12,26,30")
	if err != nil {
		t.Fatal(err)
	}
	var told []int
	r := run(t, pvctrltest.Options{Socket: socket, Run: choose, Done: func(r pvctrltest.Result) { told = append(told, r.Number) }})
	if got := verdicts(r); len(got) != 3 || got[26] != pvctrltest.Skip || got[30] != pvctrltest.Pass || !slices.Equal(told, []int{12, 30, 26}) {
		t.Errorf("%v, told %v", got, told)
	}
	want := []string{"revision locals/test-put-rev, until garbage is collected", "1 objects that no revision needs, until garbage is collected"}
	if !slices.Equal(r.Left, want) {
		t.Errorf("left: %q", r.Left)
	}
	for word, n := range map[string]int{"1-31": 31, "3": 1, "1-3, 5": 4, "objects": 6, "^Containers": 2, "": 31} {
		f, err := pvctrltest.Select(word)
		if err != nil {
			t.Errorf("%q: %v", word, err)
			continue
		}
		if got := len(slices.DeleteFunc(pvctrltest.Tests(), func(t pvctrltest.Test) bool { return !f(t) })); got != n {
			t.Errorf("%q chooses %d tests, want %d", word, got, n)
		}
	}
	for _, word := range []string{"0", "32", "5-3", "1,,2", "("} {
		if _, err := pvctrltest.Select(word); err == nil {
			t.Errorf("%q is a choice", word)
		}
	}
}

func TestNoServer(t *testing.T) {
	dir := t.TempDir()
	if _, err := pvctrltest.Run(t.Context(), pvctrltest.Options{Socket: dir + "/none"}); err == nil {
		t.Error("no socket, and no error")
	}
	if _, err := pvctrltest.Run(t.Context(), pvctrltest.Options{Socket: dir}); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a directory: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := pvctrltest.Run(t.Context(), pvctrltest.Options{Socket: dir + "/s"}); !errors.Is(err, pvctrltest.ErrNoServer) {
		t.Errorf("nobody listens: %v", err)
	}
}

// fault changes answers of a server. It tells whether it did.
type fault struct {
	tests  string // which are to fail, as for Select
	reason string // a part of what they say
	match  string // "METHOD /path" as a regular expression
	from   int    // only from the nth such request on
	answer func(status int, header http.Header, body []byte) (int, []byte)
}

func status(code int) func(int, http.Header, []byte) (int, []byte) {
	return func(int, http.Header, []byte) (int, []byte) { return code, []byte(`{"Error":"made up"}`) }
}

func body(text string) func(int, http.Header, []byte) (int, []byte) {
	return func(code int, _ http.Header, _ []byte) (int, []byte) { return code, []byte(text) }
}

func replace(old, new string) func(int, http.Header, []byte) (int, []byte) {
	return func(code int, _ http.Header, b []byte) (int, []byte) {
		return code, bytes.ReplaceAll(b, []byte(old), []byte(new))
	}
}

func kind(k string) func(int, http.Header, []byte) (int, []byte) {
	return func(code int, h http.Header, b []byte) (int, []byte) { h.Set("Content-Type", k); return code, b }
}

// Every test fails on a server with a fault that it is there to find.
var faults = []fault{
	{"1", "text/plain", "GET /buildinfo", 0, kind("text/html")},
	{"1", "the status is 404", "GET /buildinfo", 0, status(404)},
	{"2", "cannot unmarshal", "GET /containers", 1, body(`{}`)},
	{"2", "it has no roles", "GET /containers", 0, replace(`"roles"`, `"role"`)},
	{"2", "is not a status", "GET /containers", 0, replace(`"STARTED"`, `"RUNNING"`)},
	{"2", "is INSTALLED and should be STARTED", "GET /containers", 0, replace(`"status":"STARTED"`, `"status":"INSTALLED"`)},
	{"3", "there is no group platform", "GET /groups", 0, replace("platform", "plateform")},
	{"4", "there is no revision 0", "GET /steps", 0, body("[]")},
	{"4", "its commitmsg is", "GET /steps", 0, replace(`"commitmsg":""`, `"commitmsg":5`)},
	{"5", "no #spec", "GET /steps/current", 0, body("{}")},
	{"5", "the status is 404", "GET /steps/0", 0, status(404)},
	{"6", "should be DONE", "GET /steps/0/progress", 0, replace("DONE", "TESTING")},
	{"7", "no log.level", "GET /config$", 0, body("{}")},
	{"7", "no PV_LOG_LEVEL", "GET /config2", 0, replace("PV_LOG_LEVEL", "PV_LOG")},
	{"8", "test-key is <nil>", "GET /device-meta", 1, body("{}")},
	{"8", "test-key is test-value-123", "PUT /device-meta", 1, body("")},
	{"8", "still there", "DELETE /device-meta/test-key", 0, body("")},
	{"9", "should have none", "PUT /user-meta", 0, body("ok")},
	{"9", "the status is 500", "DELETE /user-meta/my-key", 0, status(500)},
	{"10", `the error is "made up"`, "DELETE /device-meta/nonexistent", 0, status(404)},
	{"10", "should be 404", "DELETE /device-meta/nonexistent", 0, status(200)},
	{"10", "is not {", "DELETE /device-meta/nonexistent", 0, func(int, http.Header, []byte) (int, []byte) { return 404, []byte("Device meta does not exist") }},
	{"11", "not a sha256", "GET /objects$", 0, body(`[{"sha256":"abc","size":"1"}]`)},
	{"11", "is not a number", "GET /objects$", 0, body(`[{"sha256":"` + strings.Repeat("a", 64) + `","size":"big"}]`)},
	{"11", "its size is 1", "GET /objects$", 0, body(`[{"sha256":"` + strings.Repeat("a", 64) + `","size":1}]`)},
	{"11", "the list is empty", "GET /objects$", 0, body("[]")},
	{"12,13,16", "is listed with size", "PUT /objects", 0, body("")},
	{"14", "came back", "GET /objects/", 0, body("other bytes")},
	{"14", "application/octet-stream", "GET /objects/", 0, kind("application/json")},
	{"15", "should be 422", "PUT /objects/a", 0, status(200)},
	{"15", "stored all the same", "GET /objects$", 0, body(`[{"sha256":"` + strings.Repeat("a", 64) + `","size":"1"}]`)},
	{"16", "the status is 409", "PUT /objects", 1, status(409)},
	{"17", "there is no daemon", "GET /daemons", 0, body("[]")},
	{"17", "should it run: true", "GET /daemons", 0, replace(`"respawn":true`, `"respawn":false`)},
	{"18", "should it run: false", "PUT /daemons", 0, body("")},
	{"19", "the status is 500", "PUT /daemons", 0, status(500)},
	{"20", "made up", "PUT /daemons/nonexistent", 0, status(404)},
	{"21", "should have unix", "GET /xconnect-graph", 0, replace(`"type":"unix"`, `"type":"dbus"`)},
	{"21", "there is no link", "GET /xconnect-graph", 0, body("[]")},
	{"22", "neither {} nor", "GET /drivers", 0, body(`"none"`)},
	{"22", "driver 0: it has no status", "GET /drivers", 0, body(`[{"name":"a","type":"MANUAL"}]`)},
	{"23", "the status is 400", "PUT /drivers/unload", 0, status(400)},
	{"24,25", "made up", "POST /signal", 0, status(500)},
	{"25", "should be 500", "POST /signal", 0, status(200)},
	{"27", "is still there", "POST /commands", 0, body("")},
	{"27,31", "no Retry-After", "POST /commands", 0, status(503)},
	{"28", "should be STOPPED", "PUT /containers", 0, body("")},
	{"28", "the status is 403", "PUT /containers", 0, status(403)},
	{"28", "should be at its goal", "PUT /containers", 1, body("")},
	{"29", "should be 422", "PUT /steps", 0, status(200)},
	{"30", "should have the commit message", "PUT /steps/locals/test-put-rev/commitmsg", 0, body("")},
	{"30", "is not what was put", "GET /steps/locals/test-put-rev", 0, replace("\"#spec\"", " \"#spec\"")},
	{"31", "ENABLE_SSH", "POST /commands", 0, status(409)},
	{"26", "still answers", "POST /commands", 0, body("")},
}

// faulty puts a fault between a server and its clients. A request whose answer
// is made up does not reach the server, but for reads.
func faulty(t *testing.T, server string, f fault) string {
	t.Helper()
	re := regexp.MustCompile("^" + f.match)
	n := 0
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", server) }}}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hit := re.MatchString(r.Method + " " + r.URL.Path)
		if hit {
			n++
		}
		hit = hit && n > f.from
		code, header, b := 200, http.Header{"Content-Type": {"application/json"}}, []byte(nil)
		if !hit || r.Method == "GET" {
			req, _ := http.NewRequest(r.Method, "http://localhost"+r.URL.Path, r.Body)
			req.ContentLength = r.ContentLength
			resp, err := client.Do(req)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer resp.Body.Close()
			code, header = resp.StatusCode, resp.Header
			b, _ = io.ReadAll(resp.Body)
		}
		if hit {
			code, b = f.answer(code, header, b)
		}
		header.Del("Content-Length")
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(code)
		w.Write(b)
	})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().String()
}

func TestFaultsAreFound(t *testing.T) {
	covered := map[int]bool{}
	for i, f := range faults {
		choose, err := pvctrltest.Select(f.tests)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range pvctrltest.Tests() {
			covered[test.Number] = covered[test.Number] || choose(test)
		}
		t.Run(fmt.Sprintf("%d %s %s", i, f.tests, f.match), func(t *testing.T) {
			t.Parallel()
			socket, _ := server(t)
			r := run(t, pvctrltest.Options{Socket: faulty(t, socket, f), Run: choose, AllowPoweroff: true, Patience: 300 * time.Millisecond})
			for _, res := range r.Results {
				if res.Verdict != pvctrltest.Fail || !strings.Contains(res.Reason, f.reason) {
					t.Errorf("%s; want FAIL with %q", res.Line(), f.reason)
				}
			}
		})
	}
	for n := 1; n <= 31; n++ {
		if !covered[n] {
			t.Errorf("no fault for test %d", n)
		}
	}
}

// Servers that are known to differ are no failures.
func TestKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		fault
		want pvctrltest.Verdict
	}{
		"28 is older":        {fault{"28", "older", "PUT /containers", 0, body(`{"Error":"unknown endpoint: /containers/x"}`)}, pvctrltest.Expected},
		"28 may not":         {fault{"28", "no running container", "GET /containers", 0, replace(`"restart_policy":"container"`, `"restart_policy":"system"`)}, pvctrltest.Skip},
		"21 no examples":     {fault{"21", "not both loaded", "GET /", 0, replace("pv-example-unix", "my-unix")}, pvctrltest.Skip},
		"2 no examples":      {fault{"2", "are not loaded", "GET /", 0, replace("pv-example-unix", "my-unix")}, pvctrltest.Pass},
		"24 from an app":     {fault{"24", "goal is READY", "POST /signal", 0, body("")}, pvctrltest.Pass},
		"22 some drivers":    {fault{"22", "", "GET /drivers", 0, body(`[{"name":"a","type":"MANUAL","status":"x"}]`)}, pvctrltest.Pass},
		"27 stays busy":      {fault{"27", "503 with Retry-After", "POST /commands", 0, func(_ int, h http.Header, _ []byte) (int, []byte) { h.Set("Retry-After", "120"); return 503, nil }}, pvctrltest.Pass},
		"1 has a build text": {fault{"1", "", "GET /buildinfo", 0, body("a = b")}, pvctrltest.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := tt.answer
			if name == "28 is older" {
				tt.answer = func(code int, h http.Header, b []byte) (int, []byte) { _, b = answer(code, h, b); return 400, b }
			}
			choose, _ := pvctrltest.Select(tt.tests)
			socket, _ := server(t)
			r := run(t, pvctrltest.Options{Socket: faulty(t, socket, tt.fault), Run: choose, Patience: 300 * time.Millisecond})
			if res := r.Results[0]; res.Verdict != tt.want || !strings.Contains(res.Reason, tt.reason) {
				t.Errorf("%s; want %s with %q", res.Line(), tt.want, tt.reason)
			}
		})
	}
}

func TestReports(t *testing.T) {
	r := &pvctrltest.Report{Plan: "pv-ctrl", Socket: "/s", Left: []string{"revision x"}, Results: []pvctrltest.Result{
		{Number: 2, Name: "a # b", Verdict: pvctrltest.Fail, Reason: "it <is>\nbad", Millis: 1234, Evidence: []pvctrltest.Exchange{
			{Request: "GET /x", Status: 500, Reply: "no\n\x1b[2J"}, {Request: "PUT /y", Body: "v", Error: "gone", Times: 3}}},
		{Number: 1, Name: "first", Verdict: pvctrltest.Pass, Evidence: []pvctrltest.Exchange{{Request: "GET /z", Status: 200}}},
		{Number: 24, Name: "signal", Verdict: pvctrltest.Expected, Reason: "known"},
		{Number: 26, Name: "power off", Verdict: pvctrltest.Skip, Reason: "not #allowed"},
	}}
	var text, js, tap, junit bytes.Buffer
	if err := errors.Join(r.Text(&text, false), r.JSON(&js), r.TAP(&tap), r.JUnit(&junit)); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); !strings.Contains(s, "4 tests: 1 PASS, 1 EXPECTED, 1 SKIP, 1 FAIL\nleft there: revision x\n") || !strings.Contains(s, "| PUT /y v → gone (3 times)") || strings.Contains(s, "GET /z") {
		t.Errorf("text:\n%s", s)
	}
	var doc struct {
		Socket  string
		Results []pvctrltest.Result
		Counts  map[string]int
	}
	if err := json.Unmarshal(js.Bytes(), &doc); err != nil || doc.Counts["FAIL"] != 1 || len(doc.Results) != 4 || doc.Socket != "/s" {
		t.Errorf("json: %v\n%s", err, &js)
	}
	want := "TAP version 14\n1..4\nok 1 - T01 first\n  ---\n  verdict: PASS\n  duration_ms: 0\n  evidence:\n    - \"GET /z → 200\"\n  ...\n" +
		"not ok 2 - T02 a \\# b\n  ---\n  verdict: FAIL\n  duration_ms: 1234\n  message: \"it \\u003cis\\u003e\\nbad\"\n  evidence:\n    - \"GET /x → 500 no⏎\\u001b[2J\"\n    - \"PUT /y v → gone (3 times)\"\n  ...\n" +
		"ok 3 - T24 signal\n  ---\n  verdict: EXPECTED\n  duration_ms: 0\n  message: \"known\"\n  ...\n" +
		"ok 4 - T26 power off # SKIP not \\#allowed\n  ---\n  verdict: SKIP\n  duration_ms: 0\n  message: \"not #allowed\"\n  ...\n# left there: revision x\n"
	if tap.String() != want {
		t.Errorf("tap:\n%s", &tap)
	}
	var suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Tests   int      `xml:"tests,attr"`
		Suites  []struct {
			Failures, Skipped, Errors int `xml:",attr"`
			Cases                     []struct {
				Name    string    `xml:"name,attr"`
				Class   string    `xml:"classname,attr"`
				Time    string    `xml:"time,attr"`
				Failure *struct{} `xml:"failure"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(junit.Bytes(), &suites); err != nil || suites.Tests != 4 || len(suites.Suites) != 1 || len(suites.Suites[0].Cases) != 4 {
		t.Fatalf("junit: %v\n%s", err, &junit)
	}
	cases := suites.Suites[0].Cases
	if cases[1].Failure == nil || cases[1].Time != "1.234" || cases[3].Skipped == nil || cases[0].Failure != nil || cases[0].Name != "T01 first" || cases[0].Class != "pv-ctrl" {
		t.Errorf("junit:\n%s", &junit)
	}
}

package ctrltest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Target is a server that the captures are replayed to.
type Target struct {
	// Dial connects as the caller: [Host], [Norole] or [Client].
	Dial func(caller string) (net.Conn, error)
	// Before is called before each request, to bring the server into the
	// situation of the capture; nil: nothing is to be done.
	Before func(c Capture)
	// Settle is how long a reply may need to become the captured one, for a
	// server that does things in its own time. Only GET is repeated.
	Settle time.Duration
	// State is the target's own revision 0, which takes the place of the
	// captured one in requests and replies; "" if that is the captured one.
	State string
	// Masks are replaced on both sides before a comparison, after those that
	// hold for every server.
	Masks []Mask
}

// Mask is a value that two servers cannot have in common.
type Mask struct {
	Pattern *regexp.Regexp
	With    string
}

// Difference is a place in which the target's replies are not the captured
// ones, and why that is right.
type Difference struct {
	Captures  []int // by index
	Part      string
	Reason    string
	Sometimes bool // it depends on the time, so it need not be there
}

// The parts of a reply that are compared.
const (
	Status  = "status"
	Headers = "headers"
	Body    = "body"
	End     = "end" // whether the connection was closed
)

// outcome is a reply in the parts that are compared.
type outcome map[string]string

// Replay sends all captured requests in their order. A reply that differs in a
// part which is not listed is a failure, and so is a listed difference that
// there is not.
func Replay(t *testing.T, target Target, known []Difference) {
	t.Helper()
	all, err := Captures()
	if err != nil {
		t.Fatal(err)
	}
	r := &replayer{t: t, target: target, known: map[string]Difference{}, theirs: stateOf(all), state: target.State}
	for _, d := range known {
		for _, i := range d.Captures {
			key := partOf(i, d.Part)
			if _, twice := r.known[key]; twice || d.Reason == "" {
				t.Errorf("the difference %q is listed twice or without a reason", key)
			}
			r.known[key] = d
		}
	}
	if r.state == "" {
		r.state = r.theirs
	}
	same := 0
	seen := map[string]bool{}
	for _, c := range all {
		want, got := r.outcomes(c)
		equal := true
		for _, part := range slices.Sorted(maps.Keys(want)) {
			key := partOf(c.Index, part)
			d, listed := r.known[key]
			seen[key] = true
			if want[part] != got[part] {
				equal = false
				if !listed {
					t.Errorf("capture %d (%s %s from %s, test %s %s): another %s\n got: %s\nwant: %s",
						c.Index, c.Request.Method, c.Request.Path, c.From(), c.Test, c.Note, part,
						excerpt(got[part], want[part]), excerpt(want[part], got[part]))
				}
			} else if listed && !d.Sometimes {
				t.Errorf("capture %d: its %s is listed as another one (%s), and is the same", c.Index, part, d.Reason)
			}
		}
		if equal {
			same++
		}
	}
	for key := range r.known {
		if !seen[key] {
			t.Errorf("the difference %q is listed, and there is no such capture or part", key)
		}
	}
	t.Logf("%d of %d replies are the captured ones, %d differ", same, len(all), len(all)-same)
}

// partOf names a part of a capture.
func partOf(index int, part string) string { return strconv.Itoa(index) + " " + part }

// excerpt is the text around where the other one begins to differ.
func excerpt(text, other string) string {
	i := 0
	for i < len(text) && i < len(other) && text[i] == other[i] {
		i++
	}
	start, end := max(i-100, 0), min(i+300, len(text))
	out := strconv.Quote(text[start:end])
	if start > 0 {
		out = "… " + out
	}
	if end < len(text) {
		out += " …"
	}
	return out
}

// DeviceMasks are for a target that tells of the machine it runs on, which is
// another one than that of the captures.
func DeviceMasks() []Mask {
	var all []Mask
	for _, key := range []string{"storage", "interfaces", "sysinfo", `pantavisor\.uname`} {
		all = append(all, Mask{regexp.MustCompile(`"` + key + `":\{[^{}]*\}`), `"` + key + `":{}`})
	}
	for _, key := range []string{`pantavisor\.cpumodel`, `pantavisor\.version`} {
		all = append(all, Mask{regexp.MustCompile(`"` + key + `":"[^"]*"`), `"` + key + `":""`})
	}
	return append(all, Mask{regexp.MustCompile(`"tv_(u?sec)":[0-9]+`), `"tv_$1":0`})
}

// ObjectMasks take the objects that the captured state and the target's refer
// to out of lists, so that those remain which the requests have put there.
func ObjectMasks(state string) ([]Mask, error) {
	all, err := Captures()
	if err != nil {
		return nil, err
	}
	known := regexp.MustCompile(`[0-9a-f]{64}`).FindAllString(stateOf(all)+state, -1)
	slices.Sort(known)
	entry := `\{"sha256":"(` + strings.Join(slices.Compact(known), "|") + `)","size":"[0-9]+"\}`
	return []Mask{
		{regexp.MustCompile(`,` + entry), ""}, {regexp.MustCompile(entry + `,`), ""}, {regexp.MustCompile(entry), ""},
	}, nil
}

// stateOf is the state of revision 0, which some requests send.
func stateOf(all []Capture) string {
	i := slices.IndexFunc(all, func(c Capture) bool { return c.Request.Path == "/steps/0" })
	return all[i].Body
}

type replayer struct {
	t      *testing.T
	target Target
	known  map[string]Difference
	theirs string // the captured state
	state  string // the target's
}

// The object of the captures that was made of random bytes, and ours instead.
const theirBig = "4e7dd4177c672fd7c8b5607ab7c158e062b44df20367705a5b6ad217a6b3be03"

func bigObject() []byte {
	b := make([]byte, 2<<20)
	for i := range b {
		b[i] = byte(i>>13 ^ i)
	}
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// payload is a request's body; captures leave out long ones.
func (r *replayer) payload(c Capture) string {
	if c.Request.Body == nil {
		return ""
	}
	body := *c.Request.Body
	var n int
	if count, err := fmt.Sscanf(body, "<%d bytes>", &n); err != nil || count != 1 {
		return body
	}
	switch {
	case strings.Contains(c.Request.Path, theirBig):
		return string(bigObject())
	case n == len(r.theirs):
		return r.state
	}
	return strings.Repeat("v", n)
}

// wire is the request's bytes: the head, and the body, which may come later.
func (r *replayer) wire(c Capture) (head, body string) {
	if c.Request.Raw != nil {
		return *c.Request.Raw, ""
	}
	path := strings.ReplaceAll(c.Request.Path, theirBig, digest(bigObject()))
	text := c.Request.Method + " " + path + " HTTP/" + c.Request.Version + "\r\n"
	body = r.payload(c)
	for _, key := range slices.Sorted(maps.Keys(c.Request.Headers)) {
		value := c.Request.Headers[key]
		if value == nil {
			continue
		}
		if key == "Content-Length" {
			text += key + ": " + strconv.Itoa(len(body)) + "\r\n"
			continue
		}
		text += key + ": " + *value + "\r\n"
	}
	return text + "\r\n", body
}

// outcomes is what was captured and what the target answers.
func (r *replayer) outcomes(c Capture) (want, got outcome) {
	r.t.Helper()
	want = r.captured(c)
	if r.target.Before != nil {
		r.target.Before(c)
	}
	for deadline := time.Now().Add(r.target.Settle); ; time.Sleep(100 * time.Millisecond) {
		raw, end, err := r.send(c)
		if err != nil {
			r.t.Fatalf("capture %d: %v", c.Index, err)
		}
		got = r.parts(raw, end)
		if c.Request.Method != "GET" || r.settled(c.Index, want, got) || !time.Now().Before(deadline) {
			return want, got
		}
	}
}

// settled tells whether all but what is listed is the same.
func (r *replayer) settled(index int, want, got outcome) bool {
	for part := range want {
		if _, listed := r.known[partOf(index, part)]; !listed && want[part] != got[part] {
			return false
		}
	}
	return true
}

// captured is the recorded reply in parts.
func (r *replayer) captured(c Capture) outcome {
	if c.StatusLine == "" && strings.HasPrefix(c.End, "timeout") {
		return outcome{Status: "", Headers: "", Body: "", End: "no reply"}
	}
	body := c.Body
	switch { // of the object that is not ours
	case strings.HasPrefix(body, "<2097152 bytes sha256"):
		body = string(bigObject())
	case strings.HasPrefix(body, "<2101253 bytes sha256"):
		body = chunked(bigObject())
	}
	if body == r.theirs {
		body = r.state
	}
	body = strings.ReplaceAll(body, theirBig, digest(bigObject()))
	end := "closed"
	if strings.Contains(c.End, "kept") {
		end = "kept"
	}
	return r.masked(outcome{Status: c.StatusLine, Headers: strings.Join(c.Headers, "\r\n"), Body: body, End: end})
}

// chunked is how upstream sends an object on HTTP/1.1.
func chunked(b []byte) string {
	var out bytes.Buffer
	for piece := range slices.Chunk(b, 4096) {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(piece), piece)
	}
	return out.String() + "0\r\n\r\n"
}

// parts takes a connection's bytes apart like a capture: the first head, and
// all that follows.
func (r *replayer) parts(raw []byte, end string) outcome {
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	status, headers, _ := strings.Cut(head, "\r\n")
	if status == "" && end == "kept" {
		end = "no reply"
	}
	return r.masked(outcome{Status: status, Headers: headers, Body: body, End: end})
}

// masks hold for every server: what the time and the kernel decide.
var masks = []Mask{
	{regexp.MustCompile(`Date: [^\r\n]+`), "Date: DATE"},
	{regexp.MustCompile(`"date":"[-0-9]{10}T[:0-9]{8}Z"`), `"date":"DATE"`},
	{regexp.MustCompile(`"(pid|consumer_pid|provider_pid)":[1-9][0-9]*`), `"$1":PID`},
	{regexp.MustCompile(`"is_stable":"(true|false)"`), `"is_stable":"BOOL"`},
}

// length is masked where the bodies it counts are.
var length = regexp.MustCompile(`Content-Length: [0-9]{2,}`)

func (r *replayer) masked(o outcome) outcome {
	for part, text := range o {
		for _, m := range append(slices.Clone(masks), r.target.Masks...) {
			text = m.Pattern.ReplaceAllString(text, m.With)
		}
		o[part] = length.ReplaceAllString(text, "Content-Length: LENGTH")
	}
	return o
}

// quiet is how long a server that keeps a connection must have said nothing for
// it to have nothing more to say; patience is how long it may take for what it
// has to say.
const (
	quiet    = 100 * time.Millisecond
	patience = 20 * time.Second
)

// send makes a connection for the request and reads all that comes back.
func (r *replayer) send(c Capture) (raw []byte, end string, err error) {
	conn, err := r.target.Dial(c.From())
	if err != nil {
		return nil, "", err
	}
	defer conn.Close()
	head, body := r.wire(c)
	later := strings.Contains(c.Note, "after")
	if !later {
		head, body = head+body, ""
	}
	// A refused upload may be answered, and the rest not read.
	if _, err := io.WriteString(conn, head); err != nil && !errors.Is(err, syscall.EPIPE) {
		return nil, "", err
	}
	var out bytes.Buffer
	if later && body != "" {
		pause := 50 * time.Millisecond
		if c.Request.Headers["Expect"] != nil {
			pause = patience // for the reply that the body waits for
		}
		if _, err := r.some(conn, &out, pause); err != nil {
			return nil, "", err
		}
		if _, err := io.WriteString(conn, body); err != nil {
			return nil, "", err
		}
	}
	end, err = r.reply(conn, &out, c)
	return out.Bytes(), end, err
}

// reply reads what the server says, until it closes the connection or, if the
// captured one was kept, has replied and says nothing more.
func (r *replayer) reply(conn net.Conn, out *bytes.Buffer, c Capture) (string, error) {
	if !strings.Contains(c.End, "kept") {
		return r.until(conn, out, patience)
	}
	limit := patience
	if c.StatusLine == "" {
		limit /= 4 // upstream says nothing; a target that does is listed with it
	}
	for !whole(out.Bytes()) {
		if end, err := r.some(conn, out, limit); end != "" || err != nil {
			return end, err
		}
	}
	return r.until(conn, out, quiet)
}

// whole tells whether a reply is complete, which follows those of status 100.
func whole(raw []byte) bool {
	for in := bufio.NewReader(bytes.NewReader(raw)); ; {
		reply, err := http.ReadResponse(in, nil)
		if err != nil {
			return false
		}
		if _, err = io.Copy(io.Discard, reply.Body); err != nil {
			return false
		}
		if reply.StatusCode != http.StatusContinue {
			return true
		}
	}
}

// until reads until the end or until nothing came for a time.
func (r *replayer) until(conn net.Conn, out *bytes.Buffer, pause time.Duration) (string, error) {
	for {
		if end, err := r.some(conn, out, pause); end != "" || err != nil {
			return end, err
		}
	}
}

// some reads once. The end is "" if there may be more.
func (r *replayer) some(conn net.Conn, out *bytes.Buffer, pause time.Duration) (end string, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(pause)); err != nil {
		return "", err
	}
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	out.Write(buf[:n])
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "closed", nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "kept", nil
	}
	return "", err
}

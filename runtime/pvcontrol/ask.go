package pvcontrol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pvkit/pvkit/runtime/pvcurl"
)

// maxError limits what is read of an answer that is a refusal.
const maxError = 1 << 20

// request is what to ask: a body of text, or one that is read.
type request struct {
	method, path string
	header       []string
	data         string
	body         io.Reader // instead of data
	size         int64     // of body
	maxTime      time.Duration
}

// object2 is a JSON object of two texts. Encoded, so that quotation marks in a
// message do not end it.
func object2(k1, v1, k2, v2 string) string {
	return `{` + quote(k1) + `:` + quote(v1) + `,` + quote(k2) + `:` + quote(v2) + `}`
}

func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// ask sends a request. The answer must be closed with the returned function.
func (s *session) ask(ctx context.Context, r request) (*pvcurl.Response, func(), error) {
	limit := max(r.maxTime, s.maxTime)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer after %v", limit))
	req := pvcurl.Request{Method: r.method, Path: r.path, Header: r.header, Body: r.body, Size: r.size}
	if req.Method == "" {
		req.Method = "GET"
	}
	if r.body == nil {
		req.Body, req.Size = strings.NewReader(r.data), int64(len(r.data))
	}
	s.tell("* Connecting to %s...", s.client.Socket)
	s.tell("* > %s %s HTTP/1.0", req.Method, req.Path)
	resp, err := s.client.Do(ctx, req)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	s.tell("%s", resp.Line)
	return resp, func() { resp.Body.Close(); cancel() }, nil
}

func (s *session) tell(format string, args ...any) {
	if s.verbose {
		fmt.Fprintf(s.env.Stderr, format+"\n", args...)
	}
}

// show asks and prints the answer. It returns the exit code.
func (s *session) show(ctx context.Context, r request) int {
	return s.with(ctx, r, func(body io.Reader) error { return s.print(&oneNewline{r: body}) })
}

// quiet asks and prints only a refusal.
func (s *session) quiet(ctx context.Context, r request) int {
	return s.with(ctx, r, func(body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
}

// with asks and gives the body of a success to do. It returns the exit code.
func (s *session) with(ctx context.Context, r request, do func(io.Reader) error) int {
	resp, done, err := s.ask(ctx, r)
	if err != nil {
		if _, never := errors.AsType[*pvcurl.RequestError](err); !never {
			fmt.Fprintln(s.env.Stderr, "ERROR: got no response")
		}
		s.env.Errorf("%v", err)
		return exitFailure
	}
	defer done()
	if resp.Status < 200 || resp.Status > 299 {
		return s.refused(resp)
	}
	if err := do(resp.Body); err != nil {
		if e, ok := errors.AsType[*exitError](err); ok {
			s.env.Errorf("%s %s: %v", r.method, r.path, e.error)
			return e.code
		}
		s.env.Errorf("%s: %v", r.path, err)
		return exitFailure
	}
	return exitOK
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	error
}

func (e *exitError) Unwrap() error { return e.error }

// refused prints an answer other than a success and picks the exit code.
func (s *session) refused(resp *pvcurl.Response) int {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what came of it is printed
	text := strings.TrimRight(string(firstAnswer(b)), "\n")
	fmt.Fprintln(s.env.Stderr, text)
	switch {
	case text == `{"Error":"Not enough disk space available"}`:
		return exitNoSpace
	case text == `{"Error":"Object has bad checksum"}`:
		return exitChecksum
	case text == `{"Error":"State verification has failed"}`:
		return exitUnverified
	case resp.Status == 503:
		return exitBusy
	}
	return exitRefused
}

// firstAnswer cuts off a second answer that follows the first on the same
// connection: Pantavisor sends two to some refused requests, and HTTP/1.0 has no
// length that would part them.
func firstAnswer(b []byte) []byte {
	if i := bytes.Index(b, []byte("}HTTP/1.")); i >= 0 {
		return b[:i+1]
	}
	return b
}

// print writes to standard output or to the file of -f, which appears when it
// is whole.
func (s *session) print(r io.Reader) error {
	if s.output != "" {
		return pvcurl.WriteTo(s.output, r)
	}
	_, err := io.Copy(s.env.Stdout, r)
	return err
}

// maxHeld is how many newlines may wait for what follows them.
const maxHeld = 64 << 10

// oneNewline is a text that ends with exactly one newline.
type oneNewline struct {
	r     io.Reader
	held  int    // newlines that were read and may be the last
	ready []byte // to hand out
	err   error
}

func (o *oneNewline) Read(p []byte) (int, error) {
	for len(o.ready) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		o.fill()
	}
	n := copy(p, o.ready)
	o.ready = o.ready[n:]
	return n, nil
}

func (o *oneNewline) fill() {
	buf := make([]byte, 32<<10)
	n, err := o.r.Read(buf)
	text := bytes.TrimRight(buf[:n], "\n")
	if len(text) > 0 {
		o.ready = append(bytes.Repeat([]byte("\n"), o.held), text...)
		o.held = 0
	}
	o.held += n - len(text)
	if o.held > maxHeld { // no text of ours: what it holds is not worth the memory
		o.ready = append(o.ready, bytes.Repeat([]byte("\n"), o.held)...)
		o.held = 0
	}
	if err == io.EOF {
		o.ready = append(o.ready, '\n')
	}
	o.err = err
}

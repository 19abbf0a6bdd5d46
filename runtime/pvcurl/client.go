package pvcurl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pvkit/pvkit/internal/unixsock"
)

// ErrNoReply is a server that closed the connection without a word. pv-ctrl
// does so for a Host other than localhost.
var ErrNoReply = errors.New("the server closed the connection without an answer")

// RequestError is a request that cannot be sent, because its bytes would be
// another request.
type RequestError struct{ text string }

func (e *RequestError) Error() string { return e.text }

func requestErrorf(format string, args ...any) error {
	return &RequestError{fmt.Sprintf(format, args...)}
}

const (
	maxHead    = 64 << 10
	maxInterim = 5 // 1xx answers before the answer
)

// Client asks the server behind one socket. Every request has a connection of
// its own. It may be used from many goroutines.
type Client struct {
	Socket         string
	ConnectTimeout time.Duration // 0: none
}

// Request is what to ask.
type Request struct {
	Method string   // "" is GET
	Path   string   // as it goes on the wire
	Header []string // lines, "Name: value"
	Body   io.Reader
	// Size is the body's length in bytes. Unknown makes the request HTTP/1.1
	// with the body in chunks, because HTTP/1.0 has no way to say it.
	Size int64
}

// Unknown is the Size of a body whose length nobody knows yet.
const Unknown = -1

// Response is an answer. Its Body must be closed.
type Response struct {
	Line   string // the status line
	Status int
	Head   []byte // status line and headers with the empty line, as they came
	Body   io.ReadCloser
}

// Header gives the first header of that name, in any case of letters.
func (r *Response) Header(name string) string {
	return headerIn(strings.Split(string(r.Head), "\n")[1:], name)
}

func headerIn(lines []string, name string) string {
	for _, line := range lines {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Do sends the request and returns when the head of the answer is there. The
// body of the request is read until the answer's body is closed; a server may
// answer before it has all of it. ctx ends everything, the reading of the
// answer's body too.
func (c *Client) Do(ctx context.Context, req Request) (*Response, error) {
	head, err := req.head()
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	x := &exchange{ctx: ctx, conn: conn, sent: make(chan struct{})}
	x.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	go func() {
		defer close(x.sent)
		if x.bodyErr = req.send(conn, head); x.bodyErr != nil {
			conn.Close() // the server would wait for the rest
		}
	}()
	resp, err := x.answer()
	if err != nil {
		x.Close()
		return nil, fmt.Errorf("%s %s: %w", req.method(), req.Path, x.cause(err))
	}
	return resp, nil
}

func (c *Client) dial(ctx context.Context) (*net.UnixConn, error) {
	if c.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.ConnectTimeout)
		defer cancel()
	}
	return unixsock.Dial(ctx, "unix", c.Socket)
}

func (r *Request) method() string {
	if r.Method == "" {
		return "GET"
	}
	return r.Method
}

// chunked: the request goes in chunks.
func (r *Request) chunked() bool { return r.Body != nil && r.Size == Unknown }

// head is the request up to the empty line. What would make another request of
// it is refused.
func (r *Request) head() ([]byte, error) {
	if !token(r.method()) {
		return nil, requestErrorf("%q is not an HTTP method", r.method())
	}
	if i := strings.IndexFunc(r.Path, func(c rune) bool { return c <= ' ' || c == 0x7f }); i >= 0 {
		return nil, requestErrorf("the path %q has %q in it, which a request line cannot carry", r.Path, r.Path[i:i+1])
	}
	var b bytes.Buffer
	version := "1.0"
	if r.chunked() {
		version = "1.1"
	}
	fmt.Fprintf(&b, "%s %s HTTP/%s\r\n", r.method(), r.Path, version)
	if headerIn(r.Header, "Host") == "" {
		b.WriteString("Host: localhost\r\n")
	}
	for _, line := range r.Header {
		name, _, ok := strings.Cut(line, ":")
		if !ok || !token(name) || strings.ContainsAny(line, "\r\n\x00") {
			return nil, requestErrorf("%q is not a header: it should be \"Name: value\"", line)
		}
		b.WriteString(line + "\r\n")
	}
	if headerIn(r.Header, "Content-Type") == "" {
		b.WriteString("Content-Type: application/json\r\n")
	}
	if r.chunked() {
		b.WriteString("Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
		return b.Bytes(), nil
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", max(r.Size, 0))
	return b.Bytes(), nil
}

// token is what a method and a header's name are made of (RFC 9110 §5.6.2).
func token(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// send writes the request and says what is wrong with its body, if anything. A
// server that does not read on is no error: its answer says why. A small body
// goes out with the head, in one write.
func (r *Request) send(conn io.Writer, head []byte) error {
	w := bufio.NewWriterSize(conn, max(len(head), 32<<10))
	w.Write(head)
	body := &source{r: r.Body}
	switch {
	case r.Body == nil || r.Size == 0:
	case r.chunked():
		writeChunks(w, body)
	default:
		body.r = io.LimitReader(r.Body, r.Size)
		if n, err := io.Copy(w, body); err == nil && n < r.Size {
			body.err = fmt.Errorf("it ended after %d of %d bytes", n, r.Size)
		}
	}
	w.Flush()
	if body.err != nil {
		return fmt.Errorf("read the body: %w", body.err)
	}
	return nil
}

// source remembers the error of the reader, which is not that of the writer.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// exchange is a connection with a request under way.
type exchange struct {
	ctx     context.Context
	conn    *net.UnixConn
	stop    func() bool
	sent    chan struct{} // closed when the sending has ended
	bodyErr error         // then: what was wrong with the request's body
	body    io.Reader
	closed  bool
}

// cause prefers the reason behind a failure to its symptom on the connection.
func (x *exchange) cause(err error) error {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	select {
	case <-x.sent:
		if x.bodyErr != nil {
			return x.bodyErr
		}
	default:
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// answer reads the head and decides where the body ends.
func (x *exchange) answer() (*Response, error) {
	br := bufio.NewReaderSize(x.conn, 32<<10)
	for range maxInterim {
		resp, err := readHead(br)
		if err != nil {
			return nil, err
		}
		if resp.Status >= 100 && resp.Status < 200 {
			continue
		}
		if x.body, err = bodyReader(resp, br); err != nil {
			return nil, err
		}
		resp.Body = x
		return resp, nil
	}
	return nil, fmt.Errorf("more than %d interim answers", maxInterim)
}

// Read reads the answer's body.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = x.cause(err)
	}
	return n, err
}

// Close ends the exchange. The rest of the request's body is not sent.
func (x *exchange) Close() error {
	if x.closed {
		return nil
	}
	x.closed = true
	x.stop()
	err := x.conn.Close()
	select {
	case <-x.sent:
	case <-x.ctx.Done(): // the body's reader may never return, as that of a terminal
	}
	return err
}

// readHead reads a status line and headers. Lines may end with LF alone.
func readHead(br *bufio.Reader) (*Response, error) {
	var head []byte
	for {
		line, err := br.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case len(head) > maxHead:
			return nil, fmt.Errorf("the answer's head is longer than %d bytes", maxHead)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && len(head) == 0 && !timeout(err):
			return nil, ErrNoReply // also a connection that was reset
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("the answer stops in its head: %.80q", head)
		case err != nil:
			return nil, err
		}
		if end := bytes.TrimRight(line, "\r\n"); len(end) == 0 {
			break
		}
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	resp := &Response{Line: strings.TrimRight(string(line), "\r"), Head: head}
	version, rest, _ := strings.Cut(resp.Line, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(code) != 3 || n < 100 {
		return nil, fmt.Errorf("%.80q is not the beginning of an HTTP answer", resp.Line)
	}
	resp.Status = n
	return resp, nil
}

func timeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// bodyReader follows RFC 9112 §6.3, but reads the body that Pantavisor sends
// after a 204.
func bodyReader(resp *Response, br *bufio.Reader) (io.Reader, error) {
	if coding := resp.Header("Transfer-Encoding"); strings.EqualFold(coding, "chunked") {
		return &chunkReader{r: br}, nil
	} else if coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("the answer's transfer encoding %q is not known here", coding)
	}
	length := resp.Header("Content-Length")
	if length == "" {
		if keepsAlive(resp) {
			return bytes.NewReader(nil), nil
		}
		return br, nil
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("the answer's Content-Length %q is not a length", length)
	}
	return &exactReader{r: br, left: n}, nil
}

// keepsAlive tells an answer without a body from one that lasts until the
// connection's end: a 204 or 304 of a server that keeps the connection.
func keepsAlive(resp *Response) bool {
	return (resp.Status == 204 || resp.Status == 304) && strings.HasPrefix(resp.Line, "HTTP/1.1") &&
		!strings.EqualFold(resp.Header("Connection"), "close")
}

// exactReader reads a body of a known length. An early end is an error.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

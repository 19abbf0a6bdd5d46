package pvctrl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// doTime is how long a request without a stream may take. Upstream's
	// server does nothing else while it stops a container, which takes 5 s.
	doTime = time.Minute
	// maxErrorText is how much is read of an answer that is an error.
	maxErrorText = 8 << 10
	// MaxDocumentBytes is the largest answer that is read into memory.
	MaxDocumentBytes = 16 << 20
)

// Response is any answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Err is nil for a status of 2xx, and a [*StatusError] else.
func (r *Response) Err() error {
	if r.Status >= 200 && r.Status < 300 {
		return nil
	}
	return statusError(r.Status, r.Header, r.Body)
}

// newRequest sends the path as it is: the server decodes no names.
func newRequest(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("the path %q does not start with a slash", path)
	}
	if i := strings.IndexFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return nil, fmt.Errorf("the path %q has a blank or a control character", path)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost/", body)
	if err != nil {
		return nil, err
	}
	req.URL.Opaque = path
	return req, nil
}

// Do sends any request and reads the whole answer, whatever its status: only a
// request without an answer is an error. A nil body is none.
func (c *Client) Do(ctx context.Context, method, path string, body []byte) (*Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	ctx, cancel := context.WithTimeout(ctx, doTime)
	defer cancel()
	req, err := newRequest(ctx, method, path, r)
	if err != nil {
		return nil, err
	}
	return c.send(req)
}

func (c *Client) send(req *http.Request) (*Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Opaque, plain(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, MaxDocumentBytes+1))
	if err == nil && len(text) > MaxDocumentBytes {
		err = fmt.Errorf("the answer is larger than %d bytes", MaxDocumentBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Opaque, err)
	}
	return &Response{resp.StatusCode, resp.Header, text}, nil
}

// call sends a request that has to succeed.
func (c *Client) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	r, err := c.Do(ctx, method, path, body)
	if err == nil {
		if err = r.Err(); err != nil {
			err = fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	if err != nil {
		return nil, err
	}
	return r.Body, nil
}

// fetch decodes a document.
func fetch[T any](ctx context.Context, c *Client, path string) (doc T, err error) {
	text, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return doc, err
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return doc, fmt.Errorf("decode %s: %w", path, err)
	}
	return doc, nil
}

// stream sends a request whose body or answer is not held in memory. Only ctx
// ends it, and the caller closes the answer's body.
func (c *Client) stream(ctx context.Context, method, path string, body io.Reader, size int64, header http.Header) (*http.Response, error) {
	req, err := newRequest(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = size // -1: in chunks
		if size == 0 {
			req.Body = http.NoBody
		}
	}
	for key, values := range header {
		req.Header[key] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, plain(err))
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText)) // what could be read will do
		return nil, fmt.Errorf("%s %s: %w", method, path, statusError(resp.StatusCode, resp.Header, text))
	}
	return resp, nil
}

// segment checks a name that becomes a part of a path. The server takes it as
// it is, so what means something in a path cannot be in it.
func segment(what, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/?#") {
		return fmt.Errorf("%q cannot be %s", name, what)
	}
	return nil
}

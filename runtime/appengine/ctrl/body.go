package ctrl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"os"
)

// body is a request's body, read once. What goes wrong with it is kept, because
// it is the client's fault whatever the reader makes of it.
type body struct {
	r       io.Reader
	size    int64        // -1: chunked
	left    int64        // of a body with a length
	proceed func() error // says "100 Continue" before the first read; nil: nobody waits
	done    bool
	err     error // other than io.EOF
}

// newBody frames what follows the head. renew gives the connection's reader
// room for a trailer.
func newBody(br *bufio.Reader, size int64, renew func()) *body {
	b := &body{size: size, left: max(size, 0), done: size == 0}
	if size < 0 {
		b.r = &chunks{httputil.NewChunkedReader(br), br, renew}
	} else {
		b.r = br
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.done:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if b.proceed != nil {
		proceed := b.proceed
		b.proceed = nil
		if err := proceed(); err != nil {
			b.err = err
			return 0, err
		}
	}
	if b.size >= 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.r.Read(p)
	switch {
	case b.size >= 0:
		b.left -= int64(n)
		b.done = b.left == 0
		if err != nil && !b.done {
			b.err = bodyError(noEOF(err))
		}
	case errors.Is(err, io.EOF):
		b.done = true
	case err != nil:
		b.err = bodyError(err)
	}
	if b.err != nil {
		return n, b.err
	}
	if b.done {
		return n, io.EOF
	}
	return n, nil
}

// bodyError says what the client is told.
func bodyError(err error) error {
	if w, ok := errors.AsType[*wireError](err); ok {
		return w
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &wireError{http.StatusRequestTimeout, "the request's body does not arrive"}
	}
	return &wireError{http.StatusBadRequest, fmt.Sprintf("read the request's body: %v", err)}
}

// all reads a small body; one of more than limit bytes is refused with
// [ErrNoSpace], unread if its length says so.
func (b *body) all(limit int64) ([]byte, error) {
	if b.size > limit {
		return nil, ErrNoSpace
	}
	text, err := io.ReadAll(io.LimitReader(b, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, ErrNoSpace
	}
	return text, nil
}

// short tells whether the rest of the body can be read away in passing, so that
// the connection can carry another request.
func (b *body) short() bool {
	return b.done || b.err == nil && b.proceed == nil && b.size >= 0 && b.left <= 64<<10
}

// chunks reads a chunked body and the trailer after it.
type chunks struct {
	r     io.Reader
	br    *bufio.Reader
	renew func()
}

func (c *chunks) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if errors.Is(err, io.EOF) {
		c.renew()
		if _, terr := textproto.NewReader(c.br).ReadMIMEHeader(); terr != nil {
			return n, noEOF(terr)
		}
	}
	return n, err
}

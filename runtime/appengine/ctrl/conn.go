package ctrl

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// minPace is how many bytes a second a body must bring in the long run.
const minPace = 1 << 10

// conn is a client's connection. One goroutine reads, answers and writes.
type conn struct {
	s    *Server
	ctx  context.Context // of Serve
	nc   *net.UnixConn
	br   *bufio.Reader
	peer *peer

	left   int64         // bytes that a head, or a trailer, may still have
	failed error         // of the last read of one
	body   bool          // a body is being read, at its pace
	waited time.Duration // for its bytes; what else takes time is not the client's fault
	got    int64         // bytes of it

	welcome bool // the caller may use what he asked for

	mu      sync.Mutex // guards stopped, and the deadline while the connection is idle
	stopped bool
}

func newConn(s *Server, ctx context.Context, nc *net.UnixConn, p *peer) *conn {
	c := &conn{s: s, ctx: ctx, nc: nc, peer: p}
	c.br = bufio.NewReaderSize(c, 4096)
	return c
}

// Read reads from the socket within the limits of the part that is being read.
func (c *conn) Read(p []byte) (int, error) {
	if !c.body {
		if c.left <= 0 {
			return 0, errHeadSize
		}
		n, err := c.nc.Read(p[:min(int64(len(p)), c.left)])
		c.left -= int64(n)
		c.failed = err
		return n, err
	}
	now := time.Now()
	earned := time.Duration(c.got/minPace) * time.Second
	c.nc.SetReadDeadline(now.Add(min(c.s.o.PaceTime, c.s.o.PaceTime+earned-c.waited)))
	n, err := c.nc.Read(p)
	c.got += int64(n)
	c.waited += time.Since(now)
	return n, err
}

// cause is why a head or a trailer could not be read: a line that was cut off
// may look malformed.
func (c *conn) cause(err error) error {
	switch {
	case c.left <= 0:
		return errHeadSize
	case errors.Is(c.failed, os.ErrDeadlineExceeded):
		return c.failed
	}
	return err
}

// Write writes with a deadline for each piece, so that a client may be slow but
// not stand still.
func (c *conn) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		c.nc.SetWriteDeadline(time.Now().Add(c.s.o.PaceTime))
		n, err := c.nc.Write(p[done:min(done+64<<10, len(p))])
		done += n
		if err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// write is for the last bytes of a conversation: whether they arrive changes
// nothing.
func (c *conn) write(p []byte) { _, _ = c.Write(p) }

// stop ends the wait for a request. One in progress is finished.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// await waits for the first byte of a request.
func (c *conn) await() bool {
	c.left, c.body = maxHead, false
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return false
	}
	c.nc.SetReadDeadline(time.Now().Add(c.s.o.IdleTime))
	c.mu.Unlock()
	_, err := c.br.Peek(1)
	return err == nil
}

// next answers a request and tells whether there may be another one.
func (c *conn) next() bool {
	if !c.await() {
		return false
	}
	c.nc.SetReadDeadline(time.Now().Add(c.s.o.HeadTime))
	h, err := readHead(c.br)
	if err != nil {
		if err = c.cause(err); !errors.Is(err, io.EOF) {
			c.reject(err)
		}
		return false
	}
	if !h.local() {
		c.s.o.Log.Warn("a request for another host", "target", brief(h.target), "host", brief(h.fields.Get("Host")))
		return false
	}
	size, err := h.framing()
	var expects bool
	if err == nil {
		expects, err = h.expects()
	}
	if err != nil {
		c.reject(err)
		return false
	}
	c.body, c.waited, c.got = true, 0, 0
	b := newBody(c.br, size, func() {
		c.left, c.body = maxHead, false
		c.nc.SetReadDeadline(time.Now().Add(c.s.o.HeadTime))
	})
	if expects {
		b.proceed = func() error {
			_, err := c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
			return err
		}
	}
	return c.reply(h, b)
}

// reply answers the request.
func (c *conn) reply(h *head, b *body) bool {
	r := c.s.answer(c, h, b)
	if err := b.err; err != nil {
		if !c.body { // it is the trailer's
			err = c.cause(err)
		}
		c.reject(err)
		return false
	}
	keep := h.keepAlive() && b.short() && c.ctx.Err() == nil && (r.stream == nil || !h.old)
	text := r.begin(h, keep, time.Now())
	if r.stream != nil {
		if !c.flow(text, h, r) {
			return false
		}
	} else if _, err := c.Write(text); err != nil {
		return false
	}
	if keep {
		if _, err := io.Copy(io.Discard, b); err != nil {
			return false
		}
		return true
	}
	if c.welcome && !b.done && b.proceed == nil {
		// Simple clients send all before they read the refusal.
		c.nc.CloseWrite()
		io.Copy(io.Discard, b)
	}
	if !b.done || c.br.Buffered() > 0 {
		c.linger()
	}
	return false
}

// stream is where a reply of unknown length goes.
type stream struct {
	io.Writer
	out *bufio.Writer
}

// Flush sends what was written.
func (w *stream) Flush() error { return w.out.Flush() }

// flow writes a reply of unknown length: in chunks, or to the connection's end.
func (c *conn) flow(text []byte, h *head, r *reply) bool {
	w := &stream{out: bufio.NewWriterSize(c, 32<<10)}
	w.Writer = w.out
	chunks := chunkWriter{w.out}
	if !h.old {
		w.Writer = chunks
	}
	_, err := w.out.Write(text)
	if err == nil {
		err = r.stream(w)
	}
	if err == nil && !h.old {
		err = chunks.end()
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil { // the client sees that the last chunk is missing; on HTTP/1.0 it cannot
		c.s.o.Log.Debug("a reply ends early", "target", brief(h.target), "error", err)
	}
	return err == nil
}

// reject answers what is not a request with the error page and ends the
// connection. A client that went away gets none.
func (c *conn) reject(err error) {
	status := http.StatusBadRequest
	w, ok := errors.AsType[*wireError](err)
	switch {
	case ok:
		status = w.status
	case errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
	case !errors.Is(err, io.ErrUnexpectedEOF):
		return
	}
	c.s.o.Log.Warn("a bad request", "caller", c.peer.name, "status", status, "error", err)
	c.write(wireReply(status, time.Now()))
	c.linger()
}

// linger reads away what the client still sends, within limits: closing a unix
// socket with unread bytes makes the other side's next read fail with
// ECONNRESET (unix_release_sock), also that of a reply which it has not read.
func (c *conn) linger() {
	c.nc.CloseWrite()
	c.nc.SetReadDeadline(time.Now().Add(min(c.s.o.PaceTime, 2*time.Second)))
	io.CopyN(io.Discard, c.nc, 16<<20)
}

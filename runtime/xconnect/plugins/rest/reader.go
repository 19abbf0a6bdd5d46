package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 16 << 10
	maxHead    = 64 << 10
)

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// reader is a buffered reader that has no buffer while nothing is there, so
// that an idle connection costs little.
type reader struct {
	ctx  context.Context
	conn *net.UnixConn
	raw  syscall.RawConn
	buf  *[]byte
	r, w int

	headTime time.Duration // from a head's first byte to its last
}

func newReader(ctx context.Context, c *net.UnixConn, headTime time.Duration) (*reader, error) {
	raw, err := c.SyscallConn()
	return &reader{ctx: ctx, conn: c, raw: raw, headTime: headTime}, err
}

func (r *reader) buffered() []byte {
	if r.buf == nil {
		return nil
	}
	return (*r.buf)[r.r:r.w]
}

func (r *reader) discard(n int) {
	if r.r += n; r.r == r.w {
		r.r, r.w = 0, 0
	}
}

func (r *reader) release() {
	if r.buf == nil || r.r < r.w {
		return
	}
	if len(*r.buf) == bufferSize {
		buffers.Put(r.buf)
	}
	r.buf, r.r, r.w = nil, 0, 0
}

// fill reads once, after what is buffered.
func (r *reader) fill() error {
	if r.buf != nil && r.r > 0 && r.w == len(*r.buf) {
		copy(*r.buf, (*r.buf)[r.r:r.w])
		r.r, r.w = 0, r.w-r.r
	}
	var n int
	var err error
	empty := r.r == r.w
	rerr := r.raw.Read(func(fd uintptr) bool {
		if r.buf == nil {
			r.buf = buffers.Get().(*[]byte)
		}
		for {
			n, err = unix.Read(int(fd), (*r.buf)[r.w:])
			if err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			if empty {
				r.release()
			}
			return false
		}
		return true
	})
	switch {
	case rerr != nil:
		return rerr
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	r.w += n
	return nil
}

// head returns the next request's head; it is valid until the next fill. At the
// end of the input between two requests the error is io.EOF.
func (r *reader) head() ([]byte, error) {
	timed := false
	defer func() {
		if timed {
			r.deadline(time.Time{})
		}
	}()
	for scanned := 0; ; {
		b := r.buffered()
		if scanned == 0 { // empty lines before a request are ignored: RFC 9112 §2.2
			for len(b) > 0 && (b[0] == '\n' || b[0] == '\r' && len(b) > 1 && b[1] == '\n') {
				n := 1
				if b[0] == '\r' {
					n = 2
				}
				r.discard(n)
				b = r.buffered()
			}
		}
		from := max(scanned-3, 0) // the end may straddle two reads
		if n := headEnd(b[from:]); n > 0 {
			return b[:from+n], nil
		}
		scanned = len(b)
		if len(b) >= maxHead {
			return nil, &refusal{431, "the head is larger than 64 KiB"}
		}
		if len(b) > 0 && !timed {
			timed = true
			r.deadline(time.Now().Add(r.headTime))
		}
		if len(b) == bufferSize && len(*r.buf) == bufferSize {
			r.grow()
		}
		err := r.fill()
		switch {
		case err == nil:
		case err == io.EOF && len(r.buffered()) > 0:
			return nil, bad("the connection ended within a head")
		case timed && r.ctx.Err() == nil && isTimeout(err):
			return nil, &refusal{408, fmt.Sprintf("the head took longer than %v", r.headTime)}
		default:
			return nil, err
		}
	}
}

func (r *reader) grow() {
	big := make([]byte, maxHead)
	n := copy(big, r.buffered())
	old := r.buf
	r.buf, r.r, r.w = &big, 0, n
	buffers.Put(old)
}

// deadline sets one, unless the context has set its own.
func (r *reader) deadline(t time.Time) {
	r.conn.SetReadDeadline(t)
	if r.ctx.Err() != nil {
		r.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

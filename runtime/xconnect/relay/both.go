package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// MaxHeld is how many descriptors of messages one link holds at once, on their
// way. A connection that would pass it is cut: it sends descriptors to a side
// that does not take them. It is a link's own limit, so that two containers
// that conspire hurt no other link.
const MaxHeld = 1024

// ErrTooManyFiles says that a connection was cut for MaxHeld.
var ErrTooManyFiles = errors.New("too many descriptors are waiting to be passed on")

// Counts is told what passes on a link. *xconnect.Stats is one.
type Counts interface {
	ToProvider(n int)         // bytes
	ToConsumer(n int)         // bytes
	HoldFiles(change int) int // descriptors on their way; returns how many there are now
}

// Both relays between a consumer and a provider until both directions have
// ended, one side has closed altogether, or ctx is done. The end of one
// direction is passed on while the other goes on. It returns nil for every way
// in which the two sides can end; the caller closes both.
func Both(ctx context.Context, consumer, provider *net.UnixConn, counts Counts) error {
	c, err := NewConn(consumer)
	if err != nil {
		return err
	}
	p, err := NewConn(provider)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		c.net.SetDeadline(past)
		p.net.SetDeadline(past)
	})
	defer stop()
	var ended atomic.Int32
	upward := &pump{from: c, to: p, count: counts.ToProvider, hold: counts.HoldFiles, ended: &ended}
	downward := &pump{from: p, to: c, count: counts.ToConsumer, hold: counts.HoldFiles, ended: &ended}
	done := make(chan error, 1)
	go func() { done <- downward.run() }()
	err = upward.run()
	return errors.Join(err, <-done)
}

// pump is one direction.
type pump struct {
	from, to *Conn
	count    func(int)
	hold     func(int) int
	ended    *atomic.Int32 // directions that are over, shared by the two
	buf      *buffer
	n, oobn  int
	flags    int
	err      error
	rest     []byte // of a message that is being sent
	sender   bool   // the error that is being returned is of its side
}

func (p *pump) run() error {
	err := p.copy()
	p.release()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		p.finish()
		return nil
	case errors.Is(err, unix.EPIPE):
		// The receiver takes no more; its own direction may still bring data.
		p.from.shutdown(unix.SHUT_RD)
		p.over(p.to)
		return nil
	case errors.Is(err, net.ErrClosed), isTimeout(err):
		p.abort()
		return nil // the context's doing, or the other direction's
	}
	p.abort()
	return err
}

func (p *pump) release() {
	if p.buf != nil {
		putBuffer(p.buf)
		p.buf = nil
	}
}

// finish passes the end on, then waits for the sender to close altogether, for
// it may be gone while its receiver still talks.
func (p *pump) finish() {
	if p.from.gone() { // the most common end: a close
		p.to.shutdown(unix.SHUT_RDWR)
		p.over(p.to)
		return
	}
	p.to.shutdown(unix.SHUT_WR)
	if p.over(p.to) {
		return
	}
	if p.from.waitHangup() == nil {
		p.to.shutdown(unix.SHUT_RDWR)
	}
}

// over notes that this direction has ended. The second to end wakes the first,
// which waits for its sender: our receiver.
func (p *pump) over(waiting *Conn) bool {
	if p.ended.Add(1) < 2 {
		return false
	}
	waiting.net.SetReadDeadline(time.Unix(1, 0))
	return true
}

func (p *pump) abort() {
	p.from.shutdown(unix.SHUT_RDWR)
	p.to.shutdown(unix.SHUT_RDWR)
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// copy moves messages until something ends it.
func (p *pump) copy() error {
	receive, transmit := p.receive, p.transmit // one closure each for the whole connection
	for {
		if err := p.from.raw.Read(receive); err != nil {
			return err
		}
		err := p.passOn(transmit)
		if errors.Is(err, unix.ECONNRESET) && !p.sender { // of the receiver, not of the sender
			err = unix.EPIPE
		}
		if err != nil {
			return err
		}
	}
}

// passOn sends what was received. Nearly every message brings its sender's
// credentials and nothing else: those go on as they came, without a copy.
func (p *pump) passOn(transmit func(uintptr) bool) error {
	p.sender = true
	oob := p.buf.oob[:p.oobn]
	if p.err == nil && p.n > 0 && p.flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) == 0 && onlyCredentials(oob) {
		p.sender = false
		p.rest, p.err = p.buf.data[:p.n], nil
		if err := p.to.raw.Write(transmit); err != nil {
			return err
		}
		if p.err == nil {
			p.count(p.n)
			return nil
		}
		if p.err != unix.ESRCH && p.err != unix.EPERM && p.err != unix.EMSGSIZE {
			return p.err
		}
		if len(p.rest) < p.n { // a part is on its way
			p.count(p.n - len(p.rest))
			copy(p.buf.data, p.rest)
			p.n = len(p.rest)
		}
		p.err = nil
	}
	n, a, err := p.from.received(p.n, oob, p.flags, p.err)
	if err != nil {
		p.sender = true
		return err
	}
	p.sender = false
	if err := p.send(n, a); err != nil {
		return err
	}
	p.count(n)
	return nil
}

// transmit writes what is left of a message.
func (p *pump) transmit(fd uintptr) bool {
	for {
		n, err := sendmsg(int(fd), p.rest, p.buf.oob[:p.oobn])
		switch {
		case err == unix.EAGAIN:
			return false
		case err == unix.EINTR:
		case err != nil:
			p.err = err
			return true
		default:
			if p.rest = p.rest[n:]; len(p.rest) == 0 {
				return true
			}
		}
	}
}

func (p *pump) send(n int, a Ancillary) error {
	if files := len(a.Files); files > 0 {
		defer p.hold(-files)
		if p.hold(files) > MaxHeld {
			a.CloseFiles()
			return ErrTooManyFiles
		}
	}
	return p.to.Send(p.buf.data[:n], a)
}

// receive holds a buffer only while there is something for it.
func (p *pump) receive(fd uintptr) bool {
	if p.buf == nil {
		p.buf = getBuffer()
	}
	p.n, p.oobn, p.flags, p.err = recvmsg(int(fd), p.buf.data, p.buf.oob)
	if p.err == unix.EAGAIN {
		putBuffer(p.buf)
		p.buf = nil
		return false
	}
	return true
}

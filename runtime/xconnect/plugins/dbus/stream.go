package dbus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// bufferSize is what a connection holds in each direction. A header that does
// not fit makes its stream's buffer grow, up to maxHeader.
const bufferSize = 4 << 10

// idleTime is how long a stream waits for the next message before header
// returns errIdle.
const idleTime = time.Second

var errIdle = errors.New("nobody says anything")

var errDescriptors = errors.New("descriptors that belong to no message")

// stream reads lines and messages from a socket, and keeps the descriptors
// that arrived with them in their order.
type stream struct {
	conn *net.UnixConn
	buf  []byte
	r, w int   // buf[r:w] has been read and not used
	fds  []int // received, not yet claimed by a message
	oob  []byte

	between bool            // messages: header waits for the next one
	idleBy  time.Time       // the read deadline; zero: none of ours
	held    func(n int) int // counts what the link holds: xconnect.Stats.HoldFiles
}

func newStream(c *net.UnixConn, held func(int) int) *stream {
	return &stream{conn: c, held: held}
}

// rest lets go of what a stream needs only while something is said.
func (s *stream) rest() { s.buf, s.oob, s.r, s.w = nil, nil, 0, 0 }

func (s *stream) work() {
	if s.buf == nil {
		s.buf, s.oob = make([]byte, bufferSize), make([]byte, unix.CmsgSpace(maxFDs*4))
	}
}

// close ends the connection and lets go of descriptors that no message
// claimed. No read may be under way.
func (s *stream) close() {
	_ = s.conn.Close() // perhaps not the first time
	s.release(s.fds)
	s.fds = nil
}

// unread is what has been read and not used.
func (s *stream) unread() []byte { return s.buf[s.r:s.w] }

// release closes descriptors that came from s.
func (s *stream) release(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nothing was written through it here
	}
	s.held(-len(fds))
}

// fill reads once more.
func (s *stream) fill() error {
	s.work()
	if s.r == s.w {
		s.r, s.w = 0, 0
	} else if s.w == len(s.buf) {
		copy(s.buf, s.buf[s.r:s.w])
		s.r, s.w = 0, s.w-s.r
	}
	n, err := s.read(s.buf[s.w:])
	s.w += n
	return err
}

// read is one recvmsg. Go's ReadMsgUnix asks for MSG_CMSG_CLOEXEC.
func (s *stream) read(p []byte) (int, error) {
	n, oobn, flags, _, err := s.conn.ReadMsgUnix(p, s.oob)
	for err != nil && !s.idleBy.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) {
		s.idleBy = time.Time{}
		if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
		if s.between {
			return 0, errIdle
		}
		n, oobn, flags, _, err = s.conn.ReadMsgUnix(p, s.oob) // a message may take its time
	}
	if err != nil {
		return 0, err
	}
	if oobn > 0 {
		if err := s.collect(s.oob[:oobn]); err != nil {
			return 0, err
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return 0, fmt.Errorf("%w: the kernel could not deliver them all", errDescriptors)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (s *stream) collect(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("read control message: %w", err)
	}
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fmt.Errorf("read control message: %w", err)
		}
		s.fds = append(s.fds, fds...)
		if n := s.held(len(fds)); n > relay.MaxHeld {
			return fmt.Errorf("%w: the link holds %d", relay.ErrTooManyFiles, n)
		}
	}
	if len(s.fds) > 2*maxFDs { // those of one message, and the start of the next
		return fmt.Errorf("%w: %d of them", errDescriptors, len(s.fds))
	}
	return nil
}

// line reads up to a line end, at most limit bytes, and takes the end off.
func (s *stream) line(limit int) (string, error) {
	s.work()
	for {
		if i := bytes.IndexByte(s.buf[s.r:s.w], '\n'); i >= 0 {
			l := s.buf[s.r : s.r+i]
			s.r += i + 1
			return string(bytes.TrimSuffix(l, []byte("\r"))), nil
		}
		if s.w-s.r >= min(limit, len(s.buf)) {
			return "", fmt.Errorf("%w: a line is longer than %d bytes", errHandshake, min(limit, len(s.buf)))
		}
		if err := s.fill(); err != nil {
			return "", err
		}
		if len(s.fds) > 0 {
			return "", fmt.Errorf("%w: %w", errHandshake, errDescriptors)
		}
	}
}

// need makes n bytes available.
func (s *stream) need(n int) error {
	s.work()
	if n > len(s.buf) {
		grown := make([]byte, align(n, bufferSize))
		s.w = copy(grown, s.buf[s.r:s.w])
		s.r, s.buf = 0, grown
	} else if s.r+n > len(s.buf) {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	for s.w-s.r < n {
		if err := s.fill(); err != nil {
			if errors.Is(err, io.EOF) && s.w > s.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// next waits for the next message.
func (s *stream) next() error {
	if s.r < s.w {
		return nil
	}
	if len(s.fds) > 0 {
		return errDescriptors
	}
	// The deadline is not moved for every message.
	if now := time.Now(); s.idleBy.Sub(now) < idleTime/2 {
		s.idleBy = now.Add(idleTime)
		if err := s.conn.SetReadDeadline(s.idleBy); err != nil {
			return err
		}
	}
	s.between = true
	err := s.fill()
	s.between = false
	return err
}

// header reads the next message's header, or returns errIdle. Its raw bytes are
// a copy.
func (s *stream) header() (*header, error) {
	if err := s.next(); err != nil {
		return nil, err
	}
	if err := s.need(fixedSize); err != nil {
		return nil, err
	}
	size, err := headerSize(s.buf[s.r : s.r+fixedSize])
	if err != nil {
		return nil, err
	}
	if err := s.need(size); err != nil {
		return nil, err
	}
	raw := bytes.Clone(s.buf[s.r : s.r+size])
	s.r += size
	if s.r == s.w && len(s.buf) > bufferSize { // an idle connection holds no large buffer
		s.buf, s.r, s.w = make([]byte, bufferSize), 0, 0
	}
	return decodeHeader(raw)
}

// take claims a message's descriptors. Whoever sends them attaches them to
// its first byte, so they are here when its header is.
func (s *stream) take(n uint32) ([]int, error) {
	if int(n) > len(s.fds) {
		return nil, fmt.Errorf("%w: a message has %d, %d came", errHeader, n, len(s.fds))
	}
	fds := s.fds[:n:n]
	s.fds = s.fds[n:]
	return fds, nil
}

// body reads n bytes of a body that is known to be small.
func (s *stream) body(n uint32) ([]byte, error) {
	b := make([]byte, n)
	got := copy(b, s.buf[s.r:s.w])
	s.r += got
	for got < len(b) {
		m, err := s.read(b[got:])
		if err != nil {
			return nil, noEOF(err)
		}
		got += m
	}
	return b, nil
}

// each hands the next n bytes on in pieces, however many there are.
func (s *stream) each(n uint32, f func([]byte) error) error {
	for n > 0 {
		if s.r == s.w {
			if err := s.fill(); err != nil {
				return noEOF(err)
			}
		}
		p := s.buf[s.r:min(s.w, s.r+int(n))]
		s.r += len(p)
		n -= uint32(len(p))
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// sink writes whole messages to a socket, from more than one goroutine.
type sink struct {
	mu   sync.Mutex // one message at a time
	conn *net.UnixConn
	sent func(int) // counts bytes
}

// message writes b: a whole message, or a line of the handshake.
func (k *sink) message(b []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.write(b, nil)
}

// pass writes a message that is being read from s: the header, its
// descriptors with the first byte, and then the body as it comes.
func (k *sink) pass(h *header, fds []int, s *stream) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.write(h.raw, fds)
	s.release(fds)
	if err != nil {
		return err
	}
	return s.each(h.body, func(p []byte) error { return k.write(p, nil) })
}

// write sends b. A stream socket may take a part; the descriptors have gone
// with the first.
func (k *sink) write(b []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(b) > 0 {
		n, _, err := k.conn.WriteMsgUnix(b, oob, nil)
		if err != nil {
			return err
		}
		k.sent(n)
		b, oob = b[n:], nil
	}
	return nil
}

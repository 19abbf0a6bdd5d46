package dbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// lastWords is how long the bus may still speak after the client has closed.
const lastWords = time.Second

// session is one connection of a client's, and the one to the bus that goes
// with it.
type session struct {
	client *stream
	bus    *stream   // after auth
	limit  time.Time // for the handshake
	fds    bool      // the bus agreed to pass descriptors
	guid   string

	dial   func() (*net.UnixConn, uint32, error) // to the bus, as the role
	filter *filter                               // nil: everything passes
	group  *relay.Group                          // moves what passes, and waits for what is quiet
	end    func(error)                           // called when everything is over

	open     atomic.Int32 // directions that go on
	up, down error
	words    *time.Timer

	toBus, toClient *sink
	countBus        func(int)
}

// start serves the connection until one side ends it, or somebody shuts down the
// client's connection and the one that dial returned. It closes both and then
// calls end.
func (s *session) start() {
	if err := s.handshake(); err != nil {
		s.close()
		s.end(quiet(err))
		return
	}
	if s.filter == nil {
		s.group.Join(s.client.conn, s.bus.conn, s.client.unread(), s.bus.unread(), s.end)
		return
	}
	s.open.Store(2)
	go s.pump(s.bus, s.fromBus)
	s.pump(s.client, s.fromClient)
}

func (s *session) close() {
	s.client.close()
	if s.bus != nil {
		s.bus.close()
	}
}

// pump moves the messages that the filter allows. While there are none, no
// goroutine waits for them.
func (s *session) pump(from *stream, message func() error) {
	for {
		err := message()
		switch {
		case errors.Is(err, errIdle):
			from.rest()
			s.group.Park(from.conn, func() { s.pump(from, message) })
			return
		case err != nil:
			s.over(from, err)
			return
		}
	}
}

// over is the end of a direction.
func (s *session) over(from *stream, err error) {
	if from == s.client {
		s.up = err
		// What the bus has sent by now still goes to the client.
		_ = s.bus.conn.CloseWrite()
		s.words = time.AfterFunc(lastWords, func() { shut(s.bus.conn) })
	} else {
		s.down = err
		shut(s.client.conn)
	}
	if s.open.Add(-1) > 0 {
		return
	}
	s.words.Stop()
	s.close()
	s.end(errors.Join(quiet(s.up), quiet(s.down)))
}

// shut ends a connection for whoever uses it, and leaves the descriptor.
func shut(c *net.UnixConn) {
	_ = c.CloseRead() // of a connection that has ended already
	_ = c.CloseWrite()
}

// quiet hides the errors that are ways to hang up.
func quiet(err error) error {
	for _, end := range []error{io.EOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET, os.ErrDeadlineExceeded, context.Canceled} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}

// handshake plays the server for the client up to its BEGIN.
func (s *session) handshake() error {
	if err := s.client.conn.SetDeadline(s.limit); err != nil {
		return err
	}
	if err := s.client.need(1); err != nil {
		return err
	}
	if s.client.buf[s.client.r] != 0 {
		return fmt.Errorf("%w: it does not start with a NUL byte", errHandshake)
	}
	s.client.r++
	srv := &server{bus: s}
	for left := maxHandshake; srv.state != done; {
		l, err := s.client.line(left)
		if err != nil {
			return err
		}
		if left -= len(l) + 1; left <= 0 {
			return fmt.Errorf("%w: more than %d bytes", errHandshake, maxHandshake)
		}
		answer, err := srv.line(l)
		if err != nil {
			return err
		}
		if answer == "" {
			continue
		}
		if err := s.toClient.message([]byte(answer + "\r\n")); err != nil {
			return err
		}
	}
	if err := s.toBus.message([]byte("BEGIN\r\n")); err != nil {
		return err
	}
	return errors.Join(s.client.conn.SetDeadline(time.Time{}), s.bus.conn.SetDeadline(time.Time{}))
}

// auth makes the bus's side of the connection, the first time it is called.
func (s *session) auth() (string, error) {
	if s.bus != nil {
		if s.guid == "" {
			return "", errRejected
		}
		return s.guid, nil
	}
	conn, uid, err := s.dial()
	if err != nil {
		return "", err
	}
	s.bus = newStream(conn, s.client.held)
	s.toBus = &sink{conn: conn, sent: s.countBus}
	if err := conn.SetDeadline(s.limit); err != nil {
		return "", err
	}
	l, err := s.ask("\x00" + externalLine(uid))
	if err != nil {
		return "", err
	}
	s.guid, err = busGUID(l)
	return s.guid, err
}

func (s *session) negotiateFDs() (bool, error) {
	if s.fds {
		return true, nil
	}
	l, err := s.ask("NEGOTIATE_UNIX_FD")
	s.fds = l == "AGREE_UNIX_FD"
	return s.fds, err
}

// ask sends a line to the bus and returns its answer. That there is none is an
// error of the bus, and not one of the ways in which a client hangs up.
func (s *session) ask(l string) (string, error) {
	if err := s.toBus.message([]byte(l + "\r\n")); err != nil {
		return "", fmt.Errorf("%w: speak to the bus: %v", errHandshake, err) //nolint:errorlint // hides a hang-up on purpose
	}
	answer, err := s.bus.line(maxHandshake)
	if err != nil {
		return "", fmt.Errorf("%w: wait for the bus: %v", errHandshake, err) //nolint:errorlint // hides a hang-up on purpose
	}
	return answer, nil
}

// fromClient takes a message of the client's to the bus.
func (s *session) fromClient() error {
	h, err := s.client.header()
	if err != nil {
		return err
	}
	if h.dest == driver && h.fds > 0 {
		return fmt.Errorf("%w: descriptors for the bus itself", errPolicy)
	}
	msg, body := &dbus.Message{}, []byte(nil)
	if h.body <= maxArgs { // no call that the filter knows has longer ones
		if msg, body, err = arguments(s.client, h, h.dest); err != nil {
			return err
		}
	}
	v, err := s.filter.fromClient(h, msg)
	if err != nil {
		return err
	}
	h.raw, h.body = append(h.raw, body...), h.body-uint32(len(body))
	if err := forward(v, h, s.client, s.toBus, s.toClient); err != nil {
		return err
	}
	for _, m := range v.then {
		if err := s.toBus.message(m); err != nil {
			return err
		}
	}
	return nil
}

// fromBus takes a message of the bus's to the client.
func (s *session) fromBus() error {
	h, err := s.bus.header()
	if err != nil {
		return err
	}
	if h.sender == driver && h.body > maxNames {
		return fmt.Errorf("%w: the bus's %s has %d bytes of arguments", errPolicy, h.member, h.body)
	}
	msg, body, err := arguments(s.bus, h, h.sender)
	if err != nil {
		return err
	}
	v, err := s.filter.fromBus(h, msg)
	if err != nil {
		return err
	}
	h.raw, h.body = append(h.raw, body...), h.body-uint32(len(body))
	return forward(v, h, s.bus, s.toClient, s.toBus)
}

// arguments reads the body of a message to or from the driver.
func arguments(from *stream, h *header, peer string) (*dbus.Message, []byte, error) {
	if peer != driver {
		return nil, nil, nil
	}
	body, err := from.body(h.body)
	if err != nil {
		return nil, nil, err
	}
	msg, err := decodeBody(h, body)
	return msg, body, err
}

// forward does what v says with the message h, the rest of which is still in
// from.
func forward(v verdict, h *header, from *stream, to, back *sink) error {
	fds, err := from.take(h.fds)
	if err != nil {
		return err
	}
	if v.pass {
		return to.pass(h, fds, from)
	}
	from.release(fds)
	if err := from.each(h.body, func([]byte) error { return nil }); err != nil {
		return err
	}
	if v.replace != nil {
		if err := to.message(v.replace); err != nil {
			return err
		}
	}
	if v.answer != nil {
		return back.message(v.answer)
	}
	return nil
}

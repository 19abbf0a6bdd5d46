package dbus

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Limits of a handshake, the same as libdbus has.
const (
	maxHandshake  = 16 << 10
	maxRejections = 6
)

var (
	errHandshake = errors.New("D-Bus handshake")
	errRejected  = errors.New("the bus does not accept the role's identity")
)

// bus is the provider's side of a handshake.
type bus interface {
	// auth connects with the role's identity, once, and returns the bus's GUID.
	// errRejected means that the bus refused it.
	auth() (guid string, err error)
	// negotiateFDs reports whether descriptors may be passed.
	negotiateFDs() (bool, error)
}

// server is what the consumer's client talks to. It is the server's state
// machine of the D-Bus Specification, "Authentication state diagrams":
//
//	            AUTH EXTERNAL <id>                 BEGIN
//	waitAuth ───────────────────────▶ waitBegin ─────────▶ done
//	   │ ▲ AUTH EXTERNAL                ▲    │
//	   ▼ │ CANCEL, ERROR           DATA │    │ CANCEL, ERROR: back to waitAuth
//	waitData ───────────────────────────┘
//
// The identity that the client claims has to be a number, and that is all it
// is used for: the bus is told the role's.
type server struct {
	bus        bus
	state      state
	rejections int
}

type state int

const (
	waitAuth state = iota
	waitData
	waitBegin
	done
)

// line takes a line without its end and returns the answer, also without. No
// answer and no error is what BEGIN gets. After an error the connection ends.
func (s *server) line(l string) (answer string, err error) {
	if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%w: a line that is not ASCII", errHandshake)
	}
	cmd, arg, _ := strings.Cut(l, " ")
	arg = strings.TrimLeft(arg, " ")
	if cmd == "BEGIN" {
		if s.state != waitBegin {
			return "", fmt.Errorf("%w: BEGIN before the identity", errHandshake)
		}
		s.state = done
		return "", nil
	}
	switch s.state {
	case waitAuth:
		switch cmd {
		case "AUTH":
			return s.mechanism(arg)
		case "ERROR":
			return s.reject()
		}
	case waitData:
		switch cmd {
		case "DATA":
			return s.identity(arg)
		case "CANCEL", "ERROR":
			return s.reject()
		}
	case waitBegin:
		switch cmd {
		case "NEGOTIATE_UNIX_FD":
			return s.fds()
		case "CANCEL", "ERROR":
			return s.reject()
		}
	}
	return `ERROR "Not expected here"`, nil
}

func (s *server) mechanism(arg string) (string, error) {
	mech, initial, has := strings.Cut(arg, " ")
	switch {
	case mech != "EXTERNAL":
		return s.reject()
	case !has:
		s.state = waitData
		return "DATA", nil
	}
	return s.identity(strings.TrimSpace(initial))
}

// identity takes what the client says it is. Nothing at all asks for the
// identity of the connection.
func (s *server) identity(claim string) (string, error) {
	id, err := hex.DecodeString(claim)
	if err != nil || len(id) > 10 || strings.Trim(string(id), "0123456789") != "" {
		return s.reject()
	}
	guid, err := s.bus.auth()
	if errors.Is(err, errRejected) {
		return s.reject()
	}
	if err != nil {
		return "", err
	}
	s.state = waitBegin
	return "OK " + guid, nil
}

func (s *server) fds() (string, error) {
	ok, err := s.bus.negotiateFDs()
	if err != nil {
		return "", err
	}
	if !ok {
		return `ERROR "The bus does not pass descriptors"`, nil
	}
	return "AGREE_UNIX_FD", nil
}

func (s *server) reject() (string, error) {
	s.state = waitAuth
	s.rejections++
	if s.rejections > maxRejections {
		return "", fmt.Errorf("%w: rejected %d times", errHandshake, s.rejections)
	}
	return "REJECTED EXTERNAL", nil
}

// externalLine is how a client with the uid introduces itself, after the NUL
// byte that starts every connection.
func externalLine(uid uint32) string {
	return "AUTH EXTERNAL " + hex.EncodeToString(fmt.Append(nil, uid))
}

// busGUID reads the answer to externalLine.
func busGUID(l string) (string, error) {
	cmd, arg, _ := strings.Cut(l, " ")
	switch cmd {
	case "REJECTED":
		return "", errRejected
	case "OK":
		if b, err := hex.DecodeString(arg); err == nil && len(b) == 16 {
			return arg, nil
		}
	}
	return "", fmt.Errorf("%w: the bus answered %.80q", errHandshake, l)
}

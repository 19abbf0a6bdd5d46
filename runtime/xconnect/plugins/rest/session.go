package rest

import (
	"errors"
	"fmt"

	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

const (
	maxHead = 64 << 10
	enough  = 8 << 10 // to be passed on before more is made: heads grow by the identity
)

// session is what a consumer's connection is about to say:
//
//	           without a body
//	           ┌────┐
//	           ▼    │         ┌──────────────▶ inBody ──▶ end of request
//	start ──▶ inHead ─────────┤
//	           ▲              └─▶ inSize ──▶ inChunk ──▶ inChunkEnd
//	           │ end of request     ▲  │                     │
//	           │                    └──┼─────────────────────┘
//	           │                       └──▶ inTrailers ──▶ end of request
//	           │
//	        awaiting ──▶ opaque
//
// The end of a request that asked for another protocol leads to awaiting, until
// the provider has answered; any other to inHead.
type session struct {
	*served
	at       place
	later    bool  // a request has passed
	full     bool  // Up has made enough for once
	upgrade  bool  // the request asks for another protocol
	scanned  int   // bytes of a head that are known not to have its end
	left     int64 // of a body or chunk
	trailers int   // bytes of them so far
	answer   []byte
}

type place uint8

const (
	inHead place = iota
	inBody
	inSize
	inChunk
	inChunkEnd
	inTrailers
	awaiting
	opaque
)

func newSession(s *served) *session { return &session{served: s} }

// State implements relay.Tap.
func (s *session) State() relay.TapState {
	st := relay.TapState{Full: s.full, Awaits: s.at == awaiting, Opaque: s.at == opaque}
	switch s.at {
	case inHead:
		st.Patience = s.headTime
	case inBody, inChunk:
		st.Body = s.left
	}
	return st
}

// Up implements relay.Tap.
func (s *session) Up(dst, in []byte) (out []byte, used int, err error) {
	switch {
	case s.at == opaque:
		return in, len(in), nil
	case (s.at == inBody || s.at == inChunk) && s.left >= int64(len(in)) && len(dst) == 0:
		s.skip(len(in))
		return in, len(in), nil
	}
	s.full = false
	for used < len(in) && s.at != awaiting {
		if s.full = len(dst) >= enough; s.full {
			break
		}
		var n int
		if dst, n, err = s.step(dst, in[used:]); err != nil {
			return nil, 0, err
		}
		if n == 0 {
			break // it wants more
		}
		used += n
	}
	return dst, used, nil
}

// step makes something of the start of in, which is not empty; n is 0 if more
// of it is needed.
func (s *session) step(dst, in []byte) (out []byte, n int, err error) {
	switch s.at {
	case inHead:
		return s.head(dst, in)
	case inSize:
		return s.size(dst, in)
	case inChunkEnd:
		return s.chunkEnd(dst, in)
	case inTrailers:
		return s.trailer(dst, in)
	}
	n = int(min(s.left, int64(len(in))))
	s.skip(n)
	return append(dst, in[:n]...), n, nil
}

// skip notes bytes that have passed as they are.
func (s *session) skip(n int) {
	if s.left -= int64(n); s.left > 0 {
		return
	}
	switch s.at {
	case inBody:
		s.end()
	case inChunk:
		s.at = inChunkEnd
	}
}

// end is the end of a request.
func (s *session) end() {
	s.later = true
	s.at = inHead
	if s.upgrade {
		s.at = awaiting
	}
}

func (s *session) head(dst, in []byte) (out []byte, used int, err error) {
	// Empty lines before a request are ignored: RFC 9112 §2.2.
	switch {
	case in[0] == '\n':
		s.scanned = 0
		return dst, 1, nil
	case in[0] == '\r' && len(in) > 1 && in[1] == '\n':
		s.scanned = 0
		return dst, 2, nil
	}
	from := max(s.scanned-3, 0) // the end may straddle two reads
	n := headEnd(in[from:])
	if n == 0 {
		if s.scanned = len(in); s.scanned >= maxHead {
			return nil, 0, errLargeHead
		}
		return dst, 0, nil
	}
	if n += from; n > maxHead {
		return nil, 0, errLargeHead
	}
	s.scanned = 0
	dst, f, err := rewrite(dst, in[:n], s.id, !s.later)
	if err != nil {
		return nil, 0, err
	}
	s.upgrade, s.left = f.upgrade, f.length
	switch {
	case f.chunked:
		s.at = inSize
	case f.length > 0:
		s.at = inBody
	default:
		s.end()
	}
	return dst, n, nil
}

var errLargeHead = &refusal{431, "the head is larger than 64 KiB"}

// errCut says that a request ended before its body did. The provider has part
// of it: the connection is cut rather than ended, so that it does not look
// complete.
var errCut = errors.New("the request ended within its body")

// End implements relay.Tap.
func (s *session) End(left []byte) error {
	switch {
	case s.at != inHead:
		return errCut
	case len(left) > 0:
		return bad("the connection ended within a head")
	}
	return nil
}

// Late implements relay.Tap.
func (s *session) Late() error {
	return &refusal{408, fmt.Sprintf("the head took longer than %v", s.headTime)}
}

// Down implements relay.Tap: the first final response says what the provider
// made of the Upgrade (RFC 9110 §15.2.2).
func (s *session) Down(b []byte) error {
	if b == nil {
		s.at, s.answer = inHead, nil
		return nil
	}
	s.answer = append(s.answer, b...)
	for {
		n := headEnd(s.answer)
		if n == 0 {
			if len(s.answer) > maxHead {
				return errors.New("the provider's head is larger than 64 KiB")
			}
			return nil
		}
		status := statusOf(s.answer)
		if status < 100 || status >= 200 || status == 101 {
			s.at, s.answer = inHead, nil
			if status == 101 {
				s.at = opaque
			}
			return nil
		}
		s.answer = s.answer[n:]
	}
}

// statusOf reads "HTTP/1.1 101 ..."; 0 if it is not that.
func statusOf(head []byte) int {
	if len(head) < 12 || string(head[:5]) != "HTTP/" || head[8] != ' ' {
		return 0
	}
	n := 0
	for _, c := range head[9:12] {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}

package dbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Limits of a message. The specification's are 1<<27 for a message and 1<<26
// for its header; no header that a bus passes on needs more than its names
// (255 bytes each) and an object path.
const (
	fixedSize  = 16
	maxHeader  = 16 << 10
	maxMessage = 1 << 27
	maxName    = 255
	maxFDs     = 253 // SCM_MAX_FD of the kernel
)

var errHeader = errors.New("malformed D-Bus message header")

// header is what a message says before its body. D-Bus Specification, "Message
// Protocol".
type header struct {
	order  binary.ByteOrder
	typ    dbus.Type
	flags  dbus.Flags
	serial uint32
	body   uint32 // length

	path        dbus.ObjectPath
	iface       string
	member      string
	errorName   string
	replySerial uint32
	dest        string
	sender      string
	signature   string
	fds         uint32

	raw []byte // the header as it came, with its padding
}

func (h *header) wantsReply() bool {
	return h.typ == dbus.TypeMethodCall && h.flags&dbus.FlagNoReplyExpected == 0
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errHeader, fmt.Sprintf(format, args...))
}

// headerSize reads the fixed part of a header and returns how long the header
// is with its padding.
func headerSize(b []byte) (int, error) {
	order, err := byteOrder(b[0])
	if err != nil {
		return 0, err
	}
	if b[3] != 1 {
		return 0, bad("protocol version %d", b[3])
	}
	body, fields := order.Uint32(b[4:]), order.Uint32(b[12:])
	if fields > maxHeader-fixedSize {
		return 0, bad("%d bytes of fields, the limit is %d", fields, maxHeader-fixedSize)
	}
	size := align(fixedSize+int(fields), 8)
	if uint64(size)+uint64(body) > maxMessage {
		return 0, bad("the message has %d bytes, the limit is %d", uint64(size)+uint64(body), maxMessage)
	}
	return size, nil
}

func byteOrder(b byte) (binary.ByteOrder, error) {
	switch b {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, bad("byte order %#x", b)
}

func align(n, to int) int { return (n + to - 1) &^ (to - 1) }

// decodeHeader reads a whole header, as long as headerSize says. It is as
// strict as the bus: whatever two readers could understand differently (a
// field given twice, a field of another type, padding that is not zero) is an
// error, so that the filter never judges another message than the bus delivers.
func decodeHeader(b []byte) (*header, error) {
	order, err := byteOrder(b[0])
	if err != nil {
		return nil, err
	}
	h := &header{
		order: order, typ: dbus.Type(b[1]), flags: dbus.Flags(b[2]),
		body: order.Uint32(b[4:]), serial: order.Uint32(b[8:]), raw: b,
	}
	if h.serial == 0 {
		return nil, bad("serial 0")
	}
	r := &fieldReader{b: b[:fixedSize+int(order.Uint32(b[12:]))], pos: fixedSize, order: order}
	var seen [256]bool
	for r.pos < len(r.b) {
		code, sig, err := r.field()
		if err != nil {
			return nil, err
		}
		if seen[code] {
			return nil, bad("field %d twice", code)
		}
		seen[code] = true
		if err := h.set(dbus.HeaderField(code), sig, r); err != nil {
			return nil, err
		}
	}
	for _, c := range b[len(r.b):] {
		if c != 0 {
			return nil, bad("padding is not zero")
		}
	}
	return h, h.check()
}

// set reads a field's value into h. Fields that this version of the protocol
// does not know are skipped.
func (h *header) set(f dbus.HeaderField, sig string, r *fieldReader) (err error) {
	want := "s"
	switch f {
	case 0:
		return bad("field 0")
	case dbus.FieldPath:
		want = "o"
	case dbus.FieldReplySerial, dbus.FieldUnixFDs:
		want = "u"
	case dbus.FieldSignature:
		want = "g"
	case dbus.FieldInterface, dbus.FieldMember, dbus.FieldErrorName, dbus.FieldDestination, dbus.FieldSender:
	default:
		return r.skip(sig)
	}
	if sig != want {
		return bad("field %d has type %q, not %q", f, sig, want)
	}
	switch f {
	case dbus.FieldPath:
		var s string
		s, err = r.str()
		h.path = dbus.ObjectPath(s)
	case dbus.FieldReplySerial:
		h.replySerial, err = r.u32()
	case dbus.FieldUnixFDs:
		h.fds, err = r.u32()
	case dbus.FieldSignature:
		h.signature, err = r.sig()
	case dbus.FieldInterface:
		h.iface, err = r.str()
	case dbus.FieldMember:
		h.member, err = r.str()
	case dbus.FieldErrorName:
		h.errorName, err = r.str()
	case dbus.FieldDestination:
		h.dest, err = r.str()
	case dbus.FieldSender:
		h.sender, err = r.str()
	}
	return err
}

// check demands what the type of the message needs.
func (h *header) check() error {
	for _, n := range []string{h.dest, h.sender} {
		if n != "" && !validBusName(n) {
			return bad("%.80q is not a bus name", n)
		}
	}
	if h.fds > maxFDs {
		return bad("%d descriptors, the limit is %d", h.fds, maxFDs)
	}
	if h.path != "" && !h.path.IsValid() {
		return bad("%.80q is not an object path", h.path)
	}
	var ok bool
	switch h.typ {
	case dbus.TypeMethodCall:
		ok = h.path != "" && h.member != ""
	case dbus.TypeSignal:
		ok = h.path != "" && h.member != "" && h.iface != ""
	case dbus.TypeMethodReply:
		ok = h.replySerial != 0
	case dbus.TypeError:
		ok = h.replySerial != 0 && h.errorName != ""
	default:
		return bad("message type %d", byte(h.typ))
	}
	if !ok {
		return bad("a %s lacks a field", h.typ)
	}
	return nil
}

// fieldReader walks the array of (code, variant) structures.
type fieldReader struct {
	b     []byte
	pos   int
	order binary.ByteOrder
}

func (r *fieldReader) align(to int) error {
	next := align(r.pos, to)
	if next > len(r.b) {
		return bad("a field is cut off")
	}
	for _, c := range r.b[r.pos:next] {
		if c != 0 {
			return bad("padding is not zero")
		}
	}
	r.pos = next
	return nil
}

func (r *fieldReader) take(n int) ([]byte, error) {
	if n > len(r.b)-r.pos {
		return nil, bad("a field is cut off")
	}
	b := r.b[r.pos : r.pos+n]
	r.pos += n
	return b, nil
}

func (r *fieldReader) field() (code byte, sig string, err error) {
	if err := r.align(8); err != nil {
		return 0, "", err
	}
	b, err := r.take(1)
	if err != nil {
		return 0, "", err
	}
	sig, err = r.sig()
	return b[0], sig, err
}

func (r *fieldReader) u32() (uint32, error) {
	if err := r.align(4); err != nil {
		return 0, err
	}
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return r.order.Uint32(b), nil
}

func (r *fieldReader) str() (string, error) {
	n, err := r.u32()
	if err != nil {
		return "", err
	}
	if n >= maxHeader {
		return "", bad("a string of %d bytes", n)
	}
	return r.text(int(n))
}

func (r *fieldReader) sig() (string, error) {
	b, err := r.take(1)
	if err != nil {
		return "", err
	}
	return r.text(int(b[0]))
}

// text takes n bytes and the NUL that follows them.
func (r *fieldReader) text(n int) (string, error) {
	b, err := r.take(n + 1)
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(b, 0) != n {
		return "", bad("a string is not ended by its only NUL")
	}
	return string(b[:n]), nil
}

// skip passes over a basic value of any type. A container in an unknown field
// is refused: no published field has one.
func (r *fieldReader) skip(sig string) error {
	var err error
	switch sig {
	case "y":
		_, err = r.take(1)
	case "n", "q":
		if err = r.align(2); err == nil {
			_, err = r.take(2)
		}
	case "b", "i", "u", "h":
		_, err = r.u32()
	case "x", "t", "d":
		if err = r.align(8); err == nil {
			_, err = r.take(8)
		}
	case "s", "o":
		_, err = r.str()
	case "g":
		_, err = r.sig()
	default:
		return bad("an unknown field of type %q", sig)
	}
	return err
}

// validBusName reports whether s is a unique or a well-known bus name. D-Bus
// Specification, "Bus names".
func validBusName(s string) bool {
	unique := strings.HasPrefix(s, ":")
	parts := strings.Split(strings.TrimPrefix(s, ":"), ".")
	if len(s) > maxName || len(parts) < 2 {
		return false
	}
	for _, p := range parts {
		if p == "" || (!unique && p[0] >= '0' && p[0] <= '9') {
			return false
		}
		for _, c := range []byte(p) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			default:
				return false
			}
		}
	}
	return true
}

package dbus

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// encode makes a message with one argument.
func encode(serial uint32, typ dbus.Type, fields map[dbus.HeaderField]any, arg any) []byte {
	m := &dbus.Message{Type: typ, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: []any{arg}}
	for k, v := range fields {
		m.Headers[k] = dbus.MakeVariant(v)
	}
	m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(arg))
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		return nil // no field of ours is invalid; nothing is sent then
	}
	binary.LittleEndian.PutUint32(b.Bytes()[8:], serial) // godbus keeps the serial to itself
	return b.Bytes()
}

// decodeBody reads a message of which h is the header.
func decodeBody(h *header, body []byte) (*dbus.Message, error) {
	m, err := dbus.DecodeMessageWithFDs(bytes.NewReader(append(bytes.Clone(h.raw), body...)), make([]int, h.fds))
	if err != nil {
		return nil, fmt.Errorf("decode the arguments of %s.%s: %w", h.iface, h.member, err)
	}
	return m, nil
}

package dbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// message encodes with godbus, in either byte order.
func message(t testing.TB, order binary.ByteOrder, serial uint32, typ dbus.Type, fields map[dbus.HeaderField]any, body ...any) []byte {
	t.Helper()
	m := &dbus.Message{Type: typ, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: body}
	for k, v := range fields {
		m.Headers[k] = dbus.MakeVariant(v)
	}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, order); err != nil {
		t.Fatal(err)
	}
	order.PutUint32(b.Bytes()[8:], serial)
	return b.Bytes()
}

func callFields(dest, iface, member string) map[dbus.HeaderField]any {
	f := map[dbus.HeaderField]any{dbus.FieldPath: dbus.ObjectPath("/a/b"), dbus.FieldMember: member}
	if dest != "" {
		f[dbus.FieldDestination] = dest
	}
	if iface != "" {
		f[dbus.FieldInterface] = iface
	}
	return f
}

// parse reads a header the way a stream does.
func parse(b []byte) (*header, error) {
	if len(b) < fixedSize {
		return nil, errHeader
	}
	n, err := headerSize(b)
	if err != nil {
		return nil, err
	}
	if n > len(b) {
		return nil, errHeader
	}
	return decodeHeader(b[:n])
}

func TestHeaderBothOrders(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		f := callFields("org.test.Name", "org.test.Iface", "Do")
		f[dbus.FieldSender] = ":1.7"
		f[dbus.FieldUnixFDs] = uint32(3)
		b := message(t, order, 77, dbus.TypeMethodCall, f, "hello", uint32(5))
		h, err := parse(b)
		if err != nil {
			t.Fatalf("%v: %v", order, err)
		}
		if h.serial != 77 || h.dest != "org.test.Name" || h.iface != "org.test.Iface" || h.member != "Do" ||
			h.path != "/a/b" || h.sender != ":1.7" || h.signature != "su" || h.fds != 3 || !h.wantsReply() {
			t.Errorf("%v: %+v", order, h)
		}
		if len(h.raw)+int(h.body) != len(b) {
			t.Errorf("%v: header %d and body %d, the message has %d", order, len(h.raw), h.body, len(b))
		}
	}
}

func TestHeaderRefused(t *testing.T) {
	good := func() []byte {
		return message(t, binary.LittleEndian, 1, dbus.TypeMethodCall, callFields("org.test.Name", "", "Do"))
	}
	le := binary.LittleEndian
	// array builds a call from raw bytes of fields, each padded for the next.
	array := func(raw ...string) []byte {
		fields := ""
		for _, f := range raw {
			fields += strings.Repeat("\x00", align(len(fields), 8)-len(fields)) + f
		}
		b := append([]byte{'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0}, le.AppendUint32(nil, uint32(len(fields)))...)
		b = append(b, fields...)
		return append(b, make([]byte, align(len(b), 8)-len(b))...)
	}
	const member = "\x03\x01s\x00\x02\x00\x00\x00Do\x00"
	const path = "\x01\x01o\x00\x04\x00\x00\x00/a/b\x00"
	if _, err := parse(array(path, member)); err != nil {
		t.Fatalf("the base of the cases is refused: %v", err)
	}
	edit := func(f func(b []byte)) []byte { b := good(); f(b); return b }
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"byte order", edit(func(b []byte) { b[0] = 'x' }), "byte order"},
		{"version", edit(func(b []byte) { b[3] = 2 }), "version"},
		{"type 0", edit(func(b []byte) { b[1] = 0 }), "type 0"},
		{"type 5", edit(func(b []byte) { b[1] = 5 }), "type 5"},
		{"serial 0", edit(func(b []byte) { le.PutUint32(b[8:], 0) }), "serial"},
		{"huge fields", edit(func(b []byte) { le.PutUint32(b[12:], 1<<31) }), "fields"},
		{"huge body", edit(func(b []byte) { le.PutUint32(b[4:], 1<<28) }), "limit"},
		{"overflowing sum", edit(func(b []byte) { le.PutUint32(b[4:], 0xffffffff) }), "limit"},
		{"a field twice", array(path, member, member), "twice"},
		{"no path", array(member), "lacks"},
		{"path of type s", array("\x01\x01s\x00\x04\x00\x00\x00/a/b\x00", member), "type"},
		{"bad path", array("\x01\x01o\x00\x04\x00\x00\x00a//b\x00", member), "object path"},
		{"field 0", array("\x00\x01s\x00\x01\x00\x00\x00a\x00", path, member), "field 0"},
		{"string without NUL", array(path, "\x03\x01s\x00\x02\x00\x00\x00Dox"), "NUL"},
		{"NUL in string", array(path, "\x03\x01s\x00\x02\x00\x00\x00D\x00\x00"), "NUL"},
		{"string past the end", array(path, "\x03\x01s\x00\x80\x00\x00\x00Do\x00"), "cut off"},
		{"padding", array(path, "\x03\x01s\x00\x02\x00\x00\x00Do\x00\x01\x00\x00\x00\x00"+"\x07\x01s\x00\x04\x00\x00\x00:1.1\x00"), "padding"},
		{"unknown container", array(path, member, "\x63\x02as\x00\x00\x00\x00\x00\x00\x00\x00"), "unknown field"},
		{"destination", message(t, le, 1, dbus.TypeMethodCall, callFields("no dots", "", "Do")), "bus name"},
	} {
		_, err := parse(c.b)
		if !errors.Is(err, errHeader) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want one about %q", c.name, err, c.want)
		}
	}
	if _, err := parse(array(path, member, "\x63\x01u\x00\x01\x00\x00\x00")); err != nil {
		t.Errorf("an unknown field of a basic type: %v", err)
	}
}

func TestValidBusName(t *testing.T) {
	for name, want := range map[string]bool{
		"org.test.Name": true, "a.b": true, ":1.42": true, "org.test-x._y": true, "com.4x": false, "org": false,
		"": false, ".org.test": false, "org..test": false, "org.test.": false, "org.te st": false, "org.tést": false,
		"a." + strings.Repeat("b", 253): true, "a." + strings.Repeat("b", 254): false,
	} {
		if validBusName(name) != want {
			t.Errorf("validBusName(%q) = %v", name, !want)
		}
	}
}

// Whatever godbus reads as a message, the header decoder reads the same or
// refuses; nothing makes it panic or read outside its input.
func FuzzHeader(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		fields := callFields("org.test.Name", "org.test.Iface", "Do")
		f.Add(message(f, order, 1, dbus.TypeMethodCall, fields, "x", []string{"y"}))
		fields[dbus.FieldSender] = ":1.1"
		f.Add(message(f, order, 9, dbus.TypeSignal, fields))
		f.Add(message(f, order, 2, dbus.TypeError, map[dbus.HeaderField]any{
			dbus.FieldErrorName: "org.test.Error", dbus.FieldReplySerial: uint32(1), dbus.FieldUnixFDs: uint32(2)}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parse(b)
		if err != nil {
			if !errors.Is(err, errHeader) {
				t.Fatalf("an untyped error: %v", err)
			}
			return
		}
		if uint64(len(h.raw))+uint64(h.body) > uint64(len(b)) {
			return
		}
		m, err := decodeBody(h, b[len(h.raw):][:h.body])
		if err != nil {
			return // a body that does not fit its signature
		}
		text := func(k dbus.HeaderField) string { s, _ := m.Headers[k].Value().(string); return s }
		if text(dbus.FieldDestination) != h.dest || text(dbus.FieldSender) != h.sender ||
			text(dbus.FieldMember) != h.member || text(dbus.FieldInterface) != h.iface || m.Serial() != h.serial {
			t.Fatalf("godbus reads %v, we read %+v", m, h)
		}
	})
}

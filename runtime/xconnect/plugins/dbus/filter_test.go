package dbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/godbus/dbus/v5"
)

// bench holds a filter and sends it messages as both sides would.
type bench struct {
	t testing.TB
	f *filter
}

func (b bench) header(serial uint32, typ dbus.Type, fields map[dbus.HeaderField]any, body ...any) (*header, *dbus.Message) {
	b.t.Helper()
	raw := message(b.t, binary.LittleEndian, serial, typ, fields, body...)
	h, err := parse(raw)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := decodeBody(h, raw[len(h.raw):])
	if err != nil {
		b.t.Fatal(err)
	}
	return h, m
}

func (b bench) client(serial uint32, typ dbus.Type, fields map[dbus.HeaderField]any, body ...any) verdict {
	b.t.Helper()
	v, err := b.f.fromClient(b.header(serial, typ, fields, body...))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b bench) bus(typ dbus.Type, fields map[dbus.HeaderField]any, body ...any) verdict {
	b.t.Helper()
	v, err := b.f.fromBus(b.header(77, typ, fields, body...))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func reply(sender string, to uint32) map[dbus.HeaderField]any {
	return map[dbus.HeaderField]any{dbus.FieldSender: sender, dbus.FieldReplySerial: to, dbus.FieldDestination: ":1.5"}
}

func from(sender, dest, member string) map[dbus.HeaderField]any {
	f := callFields(dest, "org.test.Iface", member)
	f[dbus.FieldSender] = sender
	return f
}

// begun is a filter past Hello; :1.9 owns the name.
func begun(t testing.TB) bench {
	t.Helper()
	b := bench{t, newFilter("org.test.Name")}
	v := b.client(1, dbus.TypeMethodCall, callFields(driver, driver, "Hello"))
	if !v.pass || len(v.then) != 2 {
		t.Fatalf("Hello: %+v", v)
	}
	if v := b.bus(dbus.TypeMethodReply, reply(driver, 1), ":1.5"); !v.pass {
		t.Fatal("the answer to Hello does not pass")
	}
	if v := b.bus(dbus.TypeMethodReply, reply(driver, ownSerials)); v.pass {
		t.Fatal("the answer to the filter's AddMatch passes")
	}
	if v := b.bus(dbus.TypeMethodReply, reply(driver, ownSerials+1), ":1.9"); v.pass {
		t.Fatal("the answer to the filter's GetNameOwner passes")
	}
	return b
}

func TestAnswersBelongToCalls(t *testing.T) {
	b := begun(t)
	if b.bus(dbus.TypeMethodReply, reply(":1.9", 5)).pass {
		t.Error("an answer to no call")
	}
	b.client(5, dbus.TypeMethodCall, callFields("org.test.Name", "", "Do"))
	if b.bus(dbus.TypeMethodReply, reply(":1.8", 5)).pass {
		t.Error("an answer of another")
	}
	if b.bus(dbus.TypeMethodReply, reply(driver, 5)).pass {
		t.Error("an answer of the driver for the name")
	}
	if !b.bus(dbus.TypeMethodReply, reply(":1.9", 5)).pass {
		t.Error("the answer itself")
	}
	if b.bus(dbus.TypeMethodReply, reply(":1.9", 5)).pass {
		t.Error("the answer again")
	}
	b.client(6, dbus.TypeMethodCall, callFields(driver, driver, "GetId"))
	if b.bus(dbus.TypeMethodReply, reply(":1.9", 6), "guid").pass {
		t.Error("an answer of the name for the driver")
	}
	b.client(7, dbus.TypeMethodCall, callFields("org.test.Name", "", "Do"))
	failure := reply(driver, 7)
	failure[dbus.FieldErrorName] = "org.freedesktop.DBus.Error.ServiceUnknown"
	if !b.bus(dbus.TypeError, failure).pass {
		t.Error("the driver's error for the name")
	}
	b.client(8, dbus.TypeMethodCall, callFields("org.test.Name", "", "Do"))
	b.bus(dbus.TypeSignal, nameOwner("org.test.Name", ":1.9", ":1.10"), "org.test.Name", ":1.9", ":1.10")
	if !b.bus(dbus.TypeMethodReply, reply(":1.9", 8)).pass {
		t.Error("an answer that is late: the name has moved")
	}
}

func nameOwner(string, string, string) map[dbus.HeaderField]any {
	f := from(driver, "", "NameOwnerChanged")
	f[dbus.FieldInterface] = driver
	return f
}

func TestAnswersOfTheClient(t *testing.T) {
	b := begun(t)
	answer := map[dbus.HeaderField]any{dbus.FieldReplySerial: uint32(77), dbus.FieldDestination: ":1.9"}
	if b.client(2, dbus.TypeMethodReply, answer).pass {
		t.Error("an answer to no call")
	}
	if !b.bus(dbus.TypeMethodCall, from(":1.9", ":1.5", "Ask")).pass {
		t.Fatal("the owner's call")
	}
	if v := b.bus(dbus.TypeMethodCall, from(":1.8", ":1.5", "Ask")); v.pass || v.answer == nil {
		t.Errorf("another's call: %+v", v)
	}
	if b.client(3, dbus.TypeMethodReply, map[dbus.HeaderField]any{dbus.FieldReplySerial: uint32(77), dbus.FieldDestination: ":1.8"}).pass {
		t.Error("an answer to another")
	}
	if !b.client(4, dbus.TypeMethodReply, answer).pass {
		t.Error("the answer itself")
	}
	if b.client(5, dbus.TypeMethodReply, answer).pass {
		t.Error("the answer again")
	}
}

func TestSignals(t *testing.T) {
	b := begun(t)
	for _, c := range []struct {
		sender, dest string
		want         bool
	}{
		{":1.9", "", true}, {":1.9", ":1.5", true}, {":1.9", ":1.6", false}, {":1.8", "", false}, {":1.8", ":1.5", false},
		{driver, "", false}, // not a signal of the driver's interface
	} {
		if got := b.bus(dbus.TypeSignal, from(c.sender, c.dest, "Said")).pass; got != c.want {
			t.Errorf("from %s to %q: %v", c.sender, c.dest, got)
		}
	}
	for dest, want := range map[string]bool{"org.test.Name": true, ":1.9": true, "": false, ":1.8": false, driver: false} {
		if got := b.client(9, dbus.TypeSignal, callFields(dest, "org.test.Iface", "Said")).pass; got != want {
			t.Errorf("the client's to %q: %v", dest, got)
		}
	}
	for name, want := range map[string]bool{"org.test.Name": true, "org.test.Other": false, ":1.8": false} {
		if got := b.bus(dbus.TypeSignal, nameOwner(name, "", ""), name, "", "").pass; got != want {
			t.Errorf("the owner of %s: %v", name, got)
		}
	}
	if b.bus(dbus.TypeSignal, from(":1.9", "", "Said")).pass {
		t.Error("a signal of the one that owned the name before")
	}
	if b.bus(dbus.TypeSignal, from("", "", "Said")).pass {
		t.Error("a signal of nobody while nobody owns the name")
	}
}

// A sender that the client writes itself means nothing.
func TestForgedSender(t *testing.T) {
	b := begun(t)
	v := b.client(2, dbus.TypeMethodCall, from(driver, "org.test.Other", "Do"))
	if v.pass || v.answer == nil {
		t.Fatalf("%+v", v)
	}
	m, err := dbus.DecodeMessage(bytes.NewReader(v.answer))
	if err != nil || m.Type != dbus.TypeError || m.Headers[dbus.FieldDestination].Value() != ":1.5" || m.Headers[dbus.FieldReplySerial].Value() != uint32(2) {
		t.Errorf("answer %v, %v", m, err)
	}
}

func TestFilterLimits(t *testing.T) {
	b := begun(t)
	call := callFields("org.test.Name", "", "Do")
	for i := range uint32(maxCalls) {
		if !b.client(10+i, dbus.TypeMethodCall, call).pass {
			t.Fatalf("call %d", i)
		}
	}
	if v := b.client(9999, dbus.TypeMethodCall, call); v.pass || v.answer == nil {
		t.Errorf("one call more: %+v", v)
	}
	h, m := b.header(10, dbus.TypeMethodCall, call)
	if _, err := b.f.fromClient(h, m); !errors.Is(err, errPolicy) {
		t.Errorf("a serial in use: %v", err)
	}
	for i := range 3 * maxOwners {
		b.bus(dbus.TypeSignal, nameOwner("org.test.Name", "", ""), "org.test.Name", "", fmt.Sprintf(":1.%d", 100+i))
	}
	if n := len(b.f.owners); n != maxOwners {
		t.Errorf("%d owners are remembered", n)
	}
}

// Without its match rule the filter is blind, so then the connection ends.
func TestNoMatchRule(t *testing.T) {
	b := bench{t, newFilter("org.test.Name")}
	b.client(1, dbus.TypeMethodCall, callFields(driver, driver, "Hello"))
	b.bus(dbus.TypeMethodReply, reply(driver, 1), ":1.5")
	fields := reply(driver, ownSerials)
	fields[dbus.FieldErrorName] = errLimits
	h, m := b.header(3, dbus.TypeError, fields)
	if _, err := b.f.fromBus(h, m); !errors.Is(err, errPolicy) {
		t.Errorf("error %v", err)
	}
}

// Whatever the client sends, only messages for the driver, the name and its
// owner pass, and whatever passes to the client has to do with them.
func FuzzFilter(f *testing.F) {
	seed := func(dest, iface, member string) []byte {
		return message(f, binary.LittleEndian, 3, dbus.TypeMethodCall, callFields(dest, iface, member), "org.test.Other")
	}
	f.Add(seed("org.test.Name", "", "Do"), true)
	f.Add(seed(":1.9", "org.test.Iface", "Do"), true)
	f.Add(seed(driver, driver, "RequestName"), true)
	f.Add(seed(driver, "", "GetNameOwner"), true)
	f.Add(message(f, binary.BigEndian, 3, dbus.TypeSignal, from(":1.9", "", "Said")), false)
	f.Add(message(f, binary.BigEndian, 3, dbus.TypeMethodReply, reply(driver, ownSerials), []string{"a"}), false)
	f.Fuzz(func(t *testing.T, raw []byte, client bool) {
		h, err := parse(raw)
		if err != nil || uint64(len(h.raw))+uint64(h.body) > uint64(len(raw)) {
			return
		}
		m, err := decodeBody(h, raw[len(h.raw):][:h.body])
		if err != nil {
			m = &dbus.Message{} // a long body, that is not read
		}
		b := begun(t)
		if client {
			v, _ := b.f.fromClient(h, m)
			if v.pass && h.dest != driver && h.dest != "org.test.Name" && h.dest != ":1.9" {
				t.Fatalf("a message to %q passes", h.dest)
			}
			if v.pass && h.dest == driver && (h.member == "RequestName" || h.member == "BecomeMonitor") &&
				h.iface != "org.freedesktop.DBus.Peer" && h.iface != "org.freedesktop.DBus.Introspectable" {
				t.Fatalf("%s.%s passes", h.iface, h.member)
			}
			return
		}
		v, _ := b.f.fromBus(h, m)
		if v.pass && h.sender != driver && h.sender != ":1.9" {
			t.Fatalf("a message of %q passes", h.sender)
		}
	})
}

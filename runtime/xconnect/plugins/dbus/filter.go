package dbus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

const (
	driver     = "org.freedesktop.DBus"
	driverPath = "/org/freedesktop/DBus"

	errAccessDenied = "org.freedesktop.DBus.Error.AccessDenied"
	errLimits       = "org.freedesktop.DBus.Error.LimitsExceeded"
	errNoOwner      = "org.freedesktop.DBus.Error.NameHasNoOwner"

	// Serials from ownSerials on are for calls that the filter makes itself on
	// the client's connection. A client counts from 1.
	ownSerials = 1 << 31

	maxCalls  = 4096     // unanswered, each way
	maxOwners = 64       // remembered, for answers that are late
	maxArgs   = 16 << 10 // bytes of a body to the driver that the filter reads
	maxNames  = 1 << 20  // the same from the driver: it lists names
)

var errPolicy = errors.New("the link's D-Bus policy")

// filter is the policy of a connection that may use one well-known name.
//
// A client may call and signal that name and its present owner, and of the bus
// driver what tells it about itself and that name. To the client come: answers
// to its calls, calls and signals of the present owner, and the driver's
// signals about that name. Everything else does not exist for it: calls
// are answered with AccessDenied, the rest is dropped.
//
// Who the owner is, the filter learns on the client's own connection, whose
// order is the order in which the bus sees things: after the client's Hello it
// asks for NameOwnerChanged and then for the owner.
type filter struct {
	name string

	mu     sync.Mutex // everything below
	self   string     // the client's unique name, after Hello
	owner  string     // unique name of the present owner of name, or ""
	owners []string   // that and earlier ones
	calls  map[uint32]call
	owed   map[owed]struct{}
	serial uint32
}

// call is one that awaits an answer from the bus.
type call struct {
	to     string // name or driver
	member string // of the driver
	own    bool   // the filter's: the client never sees the answer
}

// owed is a call to the client that it may answer.
type owed struct {
	caller string
	serial uint32
}

func newFilter(name string) *filter {
	return &filter{name: name, serial: ownSerials, calls: map[uint32]call{}, owed: map[owed]struct{}{}}
}

// verdict says what becomes of a message. The zero value drops it.
type verdict struct {
	pass    bool
	replace []byte   // goes to the receiver instead
	answer  []byte   // goes back to the sender
	then    [][]byte // calls of the filter's own that follow the message to the bus
}

var pass = verdict{pass: true}

// fromClient judges a message of the client's. msg is set if it goes to the
// driver. An error ends the connection.
func (f *filter) fromClient(h *header, msg *dbus.Message) (verdict, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h.sender = "" // whatever it says, the bus writes its own
	switch h.typ {
	case dbus.TypeMethodCall:
		return f.callFromClient(h, msg)
	case dbus.TypeSignal:
		return verdict{pass: f.reachable(h.dest)}, nil
	}
	k := owed{h.dest, h.replySerial}
	_, ok := f.owed[k]
	delete(f.owed, k)
	return verdict{pass: ok}, nil
}

// reachable reports whether the client may address dest.
func (f *filter) reachable(dest string) bool {
	return dest == f.name || (dest != "" && dest == f.owner)
}

func (f *filter) callFromClient(h *header, msg *dbus.Message) (verdict, error) {
	if h.serial >= ownSerials {
		return verdict{}, fmt.Errorf("%w: serial %d is out of range", errPolicy, h.serial)
	}
	if _, twice := f.calls[h.serial]; twice {
		return verdict{}, fmt.Errorf("%w: serial %d is in use", errPolicy, h.serial)
	}
	if len(f.calls) >= maxCalls {
		return f.deny(h, errLimits, "too many calls await an answer"), nil
	}
	c := call{to: f.name}
	v := pass
	switch {
	case h.dest == driver:
		c = call{to: driver, member: h.member}
		v = f.driverCall(h, msg)
	case !f.reachable(h.dest):
		v = f.deny(h, errAccessDenied, fmt.Sprintf("this connection is for %s only", f.name))
	}
	if v.pass && h.wantsReply() {
		f.calls[h.serial] = c
	}
	return v, nil
}

// driverCall judges a call to the bus itself. What is not named here is
// refused: to own names, to read about others, to monitor, to configure.
func (f *filter) driverCall(h *header, msg *dbus.Message) verdict {
	switch h.iface {
	case driver, "":
	case "org.freedesktop.DBus.Peer", "org.freedesktop.DBus.Introspectable":
		return pass
	case "org.freedesktop.DBus.Properties":
		if h.member == "Get" || h.member == "GetAll" {
			return pass
		}
		return f.denyMember(h)
	default:
		return f.denyMember(h)
	}
	var arg string
	if len(msg.Body) > 0 {
		arg, _ = msg.Body[0].(string)
	}
	switch h.member {
	case "Hello":
		if f.self != "" || !h.wantsReply() {
			return f.denyMember(h)
		}
		return verdict{pass: true, then: f.watch()}
	case "GetId", "ListNames", "ListActivatableNames", "AddMatch":
		return pass
	case "RemoveMatch":
		// It may have been a rule like the filter's own.
		return verdict{pass: true, then: append([][]byte{f.own("RemoveMatch", f.rule())}, f.watch()...)}
	case "StartServiceByName":
		if arg == f.name {
			return pass
		}
	case "NameHasOwner":
		if f.visible(arg) {
			return pass
		}
		return verdict{answer: f.reply(h, "", false)}
	case "GetNameOwner", "ListQueuedOwners", "GetConnectionUnixUser", "GetConnectionUnixProcessID", "GetConnectionCredentials":
		if f.visible(arg) {
			return pass
		}
		return f.deny(h, errNoOwner, fmt.Sprintf("the name %.255q has no owner that this connection may see", arg))
	}
	return f.denyMember(h)
}

func (f *filter) denyMember(h *header) verdict {
	return f.deny(h, errAccessDenied, fmt.Sprintf("this connection may not call %s.%s", h.iface, h.member))
}

// visible reports whether the client may know of a name.
func (f *filter) visible(name string) bool {
	return name == driver || name == f.name || (name != "" && (name == f.self || name == f.owner))
}

func (f *filter) rule() string {
	return "type='signal',sender='" + driver + "',path='" + driverPath + "',interface='" + driver +
		"',member='NameOwnerChanged',arg0='" + f.name + "'"
}

// watch is what keeps owner up to date.
func (f *filter) watch() [][]byte {
	return [][]byte{f.own("AddMatch", f.rule()), f.own("GetNameOwner", f.name)}
}

func (f *filter) own(member, arg string) []byte {
	s := f.serial
	if f.serial++; f.serial == 0 {
		f.serial = ownSerials
	}
	f.calls[s] = call{to: driver, member: member, own: true}
	return encode(s, dbus.TypeMethodCall, map[dbus.HeaderField]any{
		dbus.FieldPath: dbus.ObjectPath(driverPath), dbus.FieldDestination: driver,
		dbus.FieldInterface: driver, dbus.FieldMember: member,
	}, arg)
}

// fromBus judges a message that the bus delivers. msg is set if the
// driver sent it.
func (f *filter) fromBus(h *header, msg *dbus.Message) (verdict, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.typ == dbus.TypeMethodReply || h.typ == dbus.TypeError {
		return f.replyFromBus(h, msg)
	}
	if h.sender == driver {
		return verdict{pass: f.driverSignal(h, msg)}, nil
	}
	mine := h.dest == f.self || (h.dest == "" && h.typ == dbus.TypeSignal)
	if f.self == "" || !mine {
		return verdict{}, nil // eavesdropped, or before there is a name
	}
	if h.sender == "" || h.sender != f.owner {
		return f.deny(h, errAccessDenied, "the receiver takes calls of "+f.name+" only"), nil
	}
	if h.wantsReply() {
		if len(f.owed) >= maxCalls {
			return f.deny(h, errLimits, "the receiver has not answered earlier calls"), nil
		}
		f.owed[owed{h.sender, h.serial}] = struct{}{}
	}
	return pass, nil
}

// replyFromBus lets an answer through to the call that it answers, if it comes
// from whom the call went to or from the driver on its behalf.
func (f *filter) replyFromBus(h *header, msg *dbus.Message) (verdict, error) {
	c, ok := f.calls[h.replySerial]
	fromDriver := h.sender == driver
	switch {
	case !ok, !fromDriver && c.to == driver, !fromDriver && !slices.Contains(f.owners, h.sender):
		return verdict{}, nil
	case fromDriver && c.to != driver && h.typ != dbus.TypeError:
		return verdict{}, nil
	}
	delete(f.calls, h.replySerial)
	switch {
	case c.own:
		return verdict{}, f.ownReply(c, h, msg)
	case c.to != driver || h.typ == dbus.TypeError:
		return pass, nil
	}
	switch c.member {
	case "Hello":
		f.self = strings.Clone(firstString(msg)) // as in setOwner
		if !strings.HasPrefix(f.self, ":") {
			return verdict{}, fmt.Errorf("%w: the bus gave the name %.80q", errPolicy, f.self)
		}
	case "ListNames", "ListActivatableNames":
		return verdict{replace: f.names(h, msg)}, nil
	}
	return pass, nil
}

// ownReply learns from the answer to a call that the filter made.
func (f *filter) ownReply(c call, h *header, msg *dbus.Message) error {
	switch {
	case c.member == "GetNameOwner" && h.typ == dbus.TypeError:
		f.setOwner("")
	case c.member == "GetNameOwner":
		f.setOwner(firstString(msg))
	case c.member == "AddMatch" && h.typ == dbus.TypeError:
		return fmt.Errorf("%w: the bus does not tell who owns %s: %s", errPolicy, f.name, h.errorName)
	}
	return nil
}

func (f *filter) setOwner(unique string) {
	unique = strings.Clone(unique) // godbus cuts strings from a buffer of 4 KiB, which they would keep
	f.owner = unique
	if unique == "" || slices.Contains(f.owners, unique) {
		return
	}
	if len(f.owners) == maxOwners {
		f.owners = f.owners[1:]
	}
	f.owners = append(f.owners, unique)
}

// driverSignal follows the name, and reports whether the client may see the
// signal.
func (f *filter) driverSignal(h *header, msg *dbus.Message) bool {
	if h.typ != dbus.TypeSignal || h.iface != driver {
		return false
	}
	arg := firstString(msg)
	switch h.member {
	case "NameOwnerChanged":
		see := f.visible(arg)
		if arg == f.name && len(msg.Body) == 3 {
			unique, _ := msg.Body[2].(string)
			f.setOwner(unique)
		}
		return see
	case "NameAcquired", "NameLost":
		return h.dest != "" && (f.self == "" || h.dest == f.self)
	}
	return false
}

// names makes the answer to ListNames that has only what the client may see.
func (f *filter) names(h *header, msg *dbus.Message) []byte {
	var all []string
	if len(msg.Body) > 0 {
		all, _ = msg.Body[0].([]string)
	}
	all = slices.DeleteFunc(all, func(n string) bool { return !f.visible(n) })
	return encode(h.serial, dbus.TypeMethodReply, map[dbus.HeaderField]any{
		dbus.FieldReplySerial: h.replySerial, dbus.FieldSender: driver, dbus.FieldDestination: h.dest,
	}, all)
}

// deny answers a call with an error; what is no call, or wants no answer, is
// just dropped.
func (f *filter) deny(h *header, name, text string) verdict {
	if !h.wantsReply() {
		return verdict{}
	}
	return verdict{answer: f.reply(h, name, text)}
}

// reply answers a call in place of its receiver, with an error if errName is
// one. The serial is the call's own: nobody answers an answer.
func (f *filter) reply(h *header, errName string, body any) []byte {
	fields := map[dbus.HeaderField]any{dbus.FieldReplySerial: h.serial}
	typ := dbus.TypeMethodReply
	if errName != "" {
		typ = dbus.TypeError
		fields[dbus.FieldErrorName] = errName
	}
	if h.sender != "" { // a caller on the bus, else our client
		fields[dbus.FieldDestination] = h.sender
	} else {
		fields[dbus.FieldSender] = driver
		if f.self != "" {
			fields[dbus.FieldDestination] = f.self
		}
	}
	return encode(h.serial, typ, fields, body)
}

func firstString(msg *dbus.Message) string {
	if len(msg.Body) == 0 {
		return ""
	}
	s, _ := msg.Body[0].(string)
	return s
}

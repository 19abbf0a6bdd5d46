package dbus_test

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

// clients ask the bus for a name, each with its own handshake and byte stream.
// The answer's code is 1 for the owner.
var clients = []struct {
	tool  string
	args  func(addr, name string) []string
	owner string
}{
	{"dbus-send", func(addr, name string) []string {
		return []string{"--bus=" + addr, "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.RequestName", "string:" + name, "uint32:4"}
	}, "uint32 1"},
	{"gdbus", func(addr, name string) []string {
		return []string{"call", "--address", addr, "--dest", "org.freedesktop.DBus", "--object-path", "/org/freedesktop/DBus", "--method", "org.freedesktop.DBus.RequestName", name, "4"}
	}, "(uint32 1,)"},
	{"busctl", func(addr, name string) []string {
		return []string{"--address=" + addr, "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "su", name, "4"}
	}, "u 1"},
}

// The bus's own policy sees the role and neither the daemon nor the client,
// which is root in all of these.
func TestPolicyByRole(t *testing.T) {
	eachBus(t, func(t *testing.T, provider *testns.Container) {
		for _, c := range []struct {
			l    xconnect.Link
			owns string
		}{
			{xconnect.Link{Role: "root"}, "org.test.RootOnly org.test.Op org.test.GroupRoot"},
			{xconnect.Link{Role: "operator"}, "org.test.Op"},
			{xconnect.Link{Role: "1"}, "org.test.Op"},
			{xconnect.Link{Role: "nobody"}, ""},
			{xconnect.Link{Role: "any"}, ""},
			{xconnect.Link{Role: "root", UID: 1, HasUID: true}, "org.test.Op"},
		} {
			consumer, _ := link(t, provider, c.l)
			for _, cl := range clients {
				prog := testreq.Tool(t, cl.tool)
				for _, name := range []string{"org.test.RootOnly", "org.test.Op", "org.test.GroupRoot"} {
					out, err := consumer.Command(prog, cl.args("unix:path="+busPath, name)...).CombinedOutput()
					owns := err == nil && strings.Contains(string(out), cl.owner)
					if owns != strings.Contains(c.owns, name) {
						t.Errorf("role %q uid %d, %s, %s: %v %s", c.l.Role, c.l.UID, cl.tool, name, err, out)
					}
				}
			}
		}
	})
}

// The identity is the role's whatever the client says it is.
func TestWhoami(t *testing.T) {
	eachBus(t, func(t *testing.T, provider *testns.Container) {
		startService(t, provider, "org.test.Service")
		for role, want := range map[string]uint32{"root": 0, "operator": 1, "any": 65534, "1": 1} {
			consumer, _ := link(t, provider, xconnect.Link{Role: role})
			var uid uint32
			if err := call(connect(t, consumer), "org.test.Service", "Whoami").Store(&uid); err != nil || uid != want {
				t.Errorf("role %s: uid %d, %v", role, uid, err)
			}
			// The bus would let a peer with root's credential claim that it is
			// root; this one claims 0 and is 1.
			for _, claim := range []string{"0", "1", "4294967294"} {
				c, err := dbus.Dial("unix:path=" + consumer.Path(busPath))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(c.Auth([]dbus.Auth{dbus.AuthExternal(claim)}), c.Hello()); err != nil {
					t.Fatal(err)
				}
				if err := call(c, "org.test.Service", "Whoami").Store(&uid); err != nil || uid != want {
					t.Errorf("role %s, claims %s: uid %d, %v", role, claim, uid, err)
				}
				c.Close()
			}
		}
	})
}

func call(c *dbus.Conn, dest, member string, args ...any) *dbus.Call {
	return c.Object(dest, "/obj").Call("org.test.Iface."+member, 0, args...)
}

// failed returns the D-Bus error's name.
func failed(t *testing.T, err error) string {
	t.Helper()
	e, ok := errors.AsType[dbus.Error](err)
	if !ok {
		t.Errorf("error %v, not one of D-Bus", err)
	}
	return e.Name
}

func TestDescriptors(t *testing.T) {
	eachBus(t, func(t *testing.T, provider *testns.Container) {
		startService(t, provider, "org.test.Service")
		for _, iface := range []string{"", "org.test.Service"} {
			consumer, _ := link(t, provider, xconnect.Link{Role: "any", Interface: iface})
			c := connect(t, consumer)
			for range 3 {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				var back dbus.UnixFD
				err = call(c, "org.test.Service", "Swap", dbus.UnixFD(w.Fd())).Store(&back)
				w.Close()
				if err != nil {
					t.Fatal(err)
				}
				got, _ := io.ReadAll(r)
				f := os.NewFile(uintptr(back), "back")
				got2, _ := io.ReadAll(f)
				if string(got) != "seen by the service" || string(got2) != "from the service" {
					t.Errorf("interface %q: %q and %q", iface, got, got2)
				}
				r.Close()
				f.Close()
			}
		}
	})
}

// A link with an interface reaches that name and nothing else.
func TestInterface(t *testing.T) {
	eachBus(t, func(t *testing.T, provider *testns.Container) {
		startService(t, provider, "org.test.Service")
		other := startService(t, provider, "org.test.Other")
		consumer, _ := link(t, provider, xconnect.Link{Role: "root", Interface: "org.test.Service"})
		c := connect(t, consumer)

		big := strings.Repeat("x", 3<<20)
		var got string
		if err := call(c, "org.test.Service", "Echo", big).Store(&got); err != nil || got != big {
			t.Fatalf("the service: %v, %d bytes", err, len(got))
		}
		for _, dest := range []string{"org.test.Other", other.unique()} {
			if name := failed(t, call(c, dest, "Echo", "x").Err); name != "org.freedesktop.DBus.Error.AccessDenied" {
				t.Errorf("call to %s: %s", dest, name)
			}
		}

		d := c.BusObject()
		var owner string
		if err := d.Call("org.freedesktop.DBus.GetNameOwner", 0, "org.test.Service").Store(&owner); err != nil {
			t.Error(err)
		}
		if err := call(c, owner, "Echo", "by unique name").Store(&got); err != nil || got != "by unique name" {
			t.Errorf("the service by its unique name: %v", err)
		}
		for member, args := range map[string][]any{
			"RequestName":                 {"org.test.Mine", uint32(0)},
			"ReleaseName":                 {"org.test.Service"},
			"UpdateActivationEnvironment": {map[string]string{"PATH": "/evil"}},
			"StartServiceByName":          {"org.test.Other", uint32(0)},
			"ReloadConfig":                nil,
			"Monitoring.BecomeMonitor":    {[]string{}, uint32(0)},
			"GetAdtAuditSessionData":      {"org.test.Service"},
		} {
			if name := failed(t, d.Call("org.freedesktop.DBus."+member, 0, args...).Err); name != "org.freedesktop.DBus.Error.AccessDenied" {
				t.Errorf("%s: %s", member, name)
			}
		}
		for _, member := range []string{"GetNameOwner", "GetConnectionUnixUser", "GetConnectionUnixProcessID", "GetConnectionCredentials", "ListQueuedOwners"} {
			for _, of := range []string{"org.test.Other", other.unique()} {
				if name := failed(t, d.Call("org.freedesktop.DBus."+member, 0, of).Err); name != "org.freedesktop.DBus.Error.NameHasNoOwner" {
					t.Errorf("%s of %s: %s", member, of, name)
				}
			}
		}
		for name, want := range map[string]bool{"org.test.Service": true, "org.test.Other": false, other.unique(): false} {
			has := !want
			if err := d.Call("org.freedesktop.DBus.NameHasOwner", 0, name).Store(&has); err != nil || has != want {
				t.Errorf("NameHasOwner(%s): %v, %v", name, has, err)
			}
		}
		var names []string
		if err := d.Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
			t.Error(err)
		}
		slices.Sort(names)
		want := []string{c.Names()[0], owner, "org.freedesktop.DBus", "org.test.Service"}
		slices.Sort(want)
		if !slices.Equal(names, want) {
			t.Errorf("ListNames: %q, want %q", names, want)
		}
	})
}

// signals collects what a connection receives.
func signals(t testing.TB, c *dbus.Conn, rule string) chan *dbus.Signal {
	t.Helper()
	if err := c.BusObject().Call("org.freedesktop.DBus.AddMatch", 0, rule).Err; err != nil {
		t.Fatal(err)
	}
	ch := make(chan *dbus.Signal, 100)
	c.Signal(ch)
	return ch
}

// said returns the texts of the signals up to the last.
func said(t testing.TB, ch chan *dbus.Signal, last string) (all []string) {
	t.Helper()
	for {
		select {
		case s := <-ch:
			if s.Name != "org.test.Iface.Said" {
				continue
			}
			all = append(all, s.Body[0].(string))
			if s.Body[0] == last {
				return all
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q did not come; before: %q", last, all)
		}
	}
}

// The present owner's signals arrive, nobody else's; the name may move, and a
// client cannot make the filter lose track of it.
func TestSignalsFollowTheOwner(t *testing.T) {
	eachBus(t, func(t *testing.T, provider *testns.Container) {
		one := startService(t, provider, "org.test.Service")
		two := startService(t, provider, "org.test.Other")
		consumer, _ := link(t, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
		c := connect(t, consumer)
		ch := signals(t, c, "type='signal'")
		check := func(ins, outs *service, step string) {
			t.Helper()
			// The driver answers in order, so the link knows the owner.
			if err := c.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
				t.Fatal(err)
			}
			outs.emit("out " + step)
			if err := outs.conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
				t.Fatal(err)
			}
			ins.emit("in " + step)
			if got := said(t, ch, "in "+step); !slices.Equal(got, []string{"in " + step}) {
				t.Errorf("%s: %q", step, got)
			}
		}
		check(one, two, "1")
		one.release("org.test.Service")
		two.own("org.test.Service")
		check(two, one, "2")
		rule := "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.test.Service'"
		for range 2 {
			c.BusObject().Call("org.freedesktop.DBus.RemoveMatch", 0, rule)
		}
		two.release("org.test.Service")
		one.own("org.test.Service")
		check(one, two, "3")
	})
}

// The service may call its client, others may not.
func TestCallsToTheClient(t *testing.T) {
	eachBus(t, func(t *testing.T, provider *testns.Container) {
		svc := startService(t, provider, "org.test.Service")
		other := startService(t, provider, "org.test.Other")
		consumer, _ := link(t, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
		c := connect(t, consumer)
		client := &service{t, c}
		if err := c.Export(client, "/obj", "org.test.Iface"); err != nil {
			t.Fatal(err)
		}
		// A service knows its client from a call.
		if err := call(c, "org.test.Service", "Echo", "hello").Err; err != nil {
			t.Fatal(err)
		}
		var got string
		if err := call(svc.conn, client.unique(), "Echo", "called back").Store(&got); err != nil || got != "called back" {
			t.Errorf("the service: %q, %v", got, err)
		}
		if name := failed(t, call(other.conn, client.unique(), "Echo", "x").Err); name != "org.freedesktop.DBus.Error.AccessDenied" {
			t.Errorf("another: %s", name)
		}
	})
}

// On a bus that lets root eavesdrop, a link for one name still does not hear
// what others tell each other.
func TestNoEavesdropping(t *testing.T) {
	provider := startDaemon(t)
	svc := startService(t, provider, "org.test.Service")
	other := startService(t, provider, "org.test.Other")
	ear := connect(t, provider)
	consumer, _ := link(t, provider, xconnect.Link{Role: "root", Interface: "org.test.Service"})
	c := connect(t, consumer)
	listen := func(c *dbus.Conn) func(last string) []string {
		if err := c.BusObject().Call("org.freedesktop.DBus.AddMatch", 0, "eavesdrop='true',type='signal'").Err; err != nil {
			t.Fatal(err)
		}
		all := make(chan *dbus.Message, 100)
		c.Eavesdrop(all)
		return func(last string) (heard []string) {
			for m := range all {
				if m.Headers[dbus.FieldMember].Value() == "Said" {
					heard = append(heard, m.Body[0].(string))
				}
				if slices.Contains(heard, last) {
					break
				}
			}
			return heard
		}
	}
	direct, through := listen(ear), listen(c)
	for _, to := range []string{other.unique(), c.Names()[0]} {
		msg := &dbus.Message{Type: dbus.TypeSignal, Body: []any{"to " + to}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/obj")), dbus.FieldInterface: dbus.MakeVariant("org.test.Iface"),
			dbus.FieldMember: dbus.MakeVariant("Said"), dbus.FieldDestination: dbus.MakeVariant(to),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf("")),
		}}
		if err := svc.conn.Send(msg, nil).Err; err != nil {
			t.Fatal(err)
		}
	}
	last := "to " + c.Names()[0]
	if got := direct(last); len(got) != 2 {
		t.Errorf("the bus does not let root eavesdrop: %q", got)
	}
	if got := through(last); len(got) != 1 {
		t.Errorf("the link's client heard %q", got)
	}
}

// The usual programs work on a link for one name, and meet an error beyond it.
func TestToolsOnInterface(t *testing.T) {
	eachBus(t, func(t *testing.T, provider *testns.Container) {
		startService(t, provider, "org.test.Service")
		startService(t, provider, "org.test.Other")
		consumer, _ := link(t, provider, xconnect.Link{Role: "nobody", Interface: "org.test.Service"})
		const addr = "unix:path=" + busPath
		for _, c := range []struct {
			cmd, want string // %s is the name; want is of the allowed one
		}{
			{"dbus-send --bus=" + addr + " --print-reply --dest=%s /obj org.test.Iface.Echo string:hello", `string "hello"`},
			{"gdbus call --address " + addr + " --dest %s --object-path /obj --method org.test.Iface.Echo hello", "('hello',)"},
			{"busctl --address=" + addr + " call %s /obj org.test.Iface Echo s hello", `s "hello"`},
			{"gdbus wait --address " + addr + " --timeout 1 %s", ""},
		} {
			f := strings.Fields(c.cmd)
			for _, name := range []string{"org.test.Service", "org.test.Other"} {
				args := strings.Fields(strings.ReplaceAll(c.cmd, "%s", name))[1:]
				out, err := consumer.Command(testreq.Tool(t, f[0]), args...).CombinedOutput()
				ok := err == nil && strings.Contains(string(out), c.want)
				if ok != (name == "org.test.Service") {
					t.Errorf("%s, %s: %v %s", c.cmd, name, err, out)
				}
			}
		}
		out, err := consumer.Command(testreq.Tool(t, "busctl"), "--address="+addr, "list", "--no-legend").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "org.test.Service") || strings.Contains(string(out), "org.test.Other") {
			t.Errorf("busctl list: %v\n%s", err, out)
		}
	})
}

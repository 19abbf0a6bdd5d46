package dbus_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/runtime/xconnect"
	dbusplugin "github.com/pvkit/pvkit/runtime/xconnect/plugins/dbus"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// raw is a client of the test's own making.
func raw(t testing.TB, at *testns.Container) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", at.Path(busPath))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.UnixConn)
}

// authenticated is one past its handshake.
func authenticated(t testing.TB, at *testns.Container) *net.UnixConn {
	t.Helper()
	c := raw(t, at)
	r := bufio.NewReader(c)
	for _, step := range []struct{ say, want string }{
		{"\x00AUTH EXTERNAL 30\r\n", "OK "}, {"NEGOTIATE_UNIX_FD\r\n", "AGREE_UNIX_FD"},
	} {
		if _, err := io.WriteString(c, step.say); err != nil {
			t.Fatal(err)
		}
		if l, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(l, step.want) {
			t.Fatalf("%q, %v", l, err)
		}
	}
	if _, err := io.WriteString(c, "BEGIN\r\n"); err != nil {
		t.Fatal(err)
	}
	return c
}

// ends demands that the other side closes, and returns what it said before.
func ends(t testing.TB, what string, c net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("%s: %v", what, err)
	}
	return b
}

func hello(serial uint32) []byte {
	m := &dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/DBus")), dbus.FieldMember: dbus.MakeVariant("Hello"),
		dbus.FieldInterface: dbus.MakeVariant("org.freedesktop.DBus"), dbus.FieldDestination: dbus.MakeVariant("org.freedesktop.DBus"),
	}}
	var b bytes.Buffer
	m.EncodeTo(&b, binary.BigEndian)
	binary.BigEndian.PutUint32(b.Bytes()[8:], serial)
	return b.Bytes()
}

// What is no handshake ends; so does what is no message. The other clients of
// the link do not notice.
func TestGarbage(t *testing.T) {
	provider := startDaemon(t)
	startService(t, provider, "org.test.Service")
	consumer, _ := link(t, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
	good := connect(t, consumer)
	for name, bytes := range map[string]string{
		"no NUL":            "AUTH EXTERNAL 30\r\n",
		"a line for ever":   "\x00AUTH EXTERNAL " + strings.Repeat("30", 8<<10),
		"lines for ever":    "\x00" + strings.Repeat("HELLO\r\n", 4<<10),
		"newlines":          "\x00" + strings.Repeat("\n", 64<<10),
		"AUTH for ever":     "\x00" + strings.Repeat("AUTH\r\n", 10),
		"BEGIN":             "\x00BEGIN\r\n",
		"HTTP":              "GET / HTTP/1.1\r\n\r\n",
		"refused and begun": "\x00AUTH ANONYMOUS\r\nBEGIN\r\n",
	} {
		c := raw(t, consumer)
		io.WriteString(c, bytes) // it may end before all is written
		if b := ends(t, name, c); strings.Contains(string(b), "OK ") {
			t.Errorf("%s: accepted with %q", name, b)
		}
	}
	huge := []byte{'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x03}
	for name, msg := range map[string][]byte{
		"no message":      []byte(strings.Repeat("x", 64)),
		"huge header":     huge,
		"serial 0":        hello(0),
		"serial of ours":  hello(1 << 31),
		"Hello, serial 5": append(append(hello(5), hello(5)...), hello(5)...), // twice while the first is unanswered, or refused
	} {
		c := authenticated(t, consumer)
		c.Write(msg)
		c.CloseWrite()
		ends(t, name, c)
	}
	var got string
	if err := call(good, "org.test.Service", "Echo", "still here").Store(&got); err != nil || got != "still here" {
		t.Errorf("another client: %v", err)
	}
}

// A client that says what it likes about itself before and after being
// refused is still its role.
func TestLiesAboutItself(t *testing.T) {
	provider := startDaemon(t)
	startService(t, provider, "org.test.Service")
	consumer, _ := link(t, provider, xconnect.Link{Role: "operator"})
	c := raw(t, consumer)
	r := bufio.NewReader(c)
	io.WriteString(c, "\x00AUTH EXTERNAL 726f6f74\r\nAUTH EXTERNAL 30\r\nCANCEL\r\nAUTH EXTERNAL\r\nDATA 30\r\nBEGIN\r\n")
	for _, want := range []string{"REJECTED EXTERNAL", "OK ", "REJECTED EXTERNAL", "DATA", "OK "} {
		if l, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(l, want) {
			t.Fatalf("%q, %v; want %q", l, err, want)
		}
	}
	c.Write(hello(1))
	reply, err := dbus.DecodeMessage(r)
	if err != nil {
		t.Fatal(err)
	}
	self, _ := reply.Body[0].(string)
	var uid uint32
	if err := connect(t, provider).BusObject().Call("org.freedesktop.DBus.GetConnectionUnixUser", 0, self).Store(&uid); err != nil || uid != 1 {
		t.Errorf("the bus takes it for user %d, %v", uid, err)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// settle waits until no more descriptors and goroutines are there than before.
func settle(t testing.TB, files, goroutines int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f, g := openFiles(t), runtime.NumGoroutine()
		if f <= files && g <= goroutines {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors and %d goroutines, before %d and %d", f, g, files, goroutines)
		}
	}
}

// Clients that send descriptors without their message are cut before they cost
// the process many, and leave none behind.
func TestDescriptorFlood(t *testing.T) {
	provider := startDaemon(t)
	startService(t, provider, "org.test.Service")
	consumer, _ := link(t, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
	good := connect(t, consumer)
	if err := call(good, "org.test.Service", "Echo", "x").Err; err != nil {
		t.Fatal(err)
	}
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	flood := make([]int, 253)
	for i := range flood {
		flood[i] = int(null.Fd())
	}
	most := 0
	var conns []*net.UnixConn
	for range 10 {
		c := authenticated(t, consumer)
		conns = append(conns, c)
		for range 5 {
			// One byte at a time of a header that never ends.
			if _, _, err := c.WriteMsgUnix([]byte("l"), unix.UnixRights(flood...), nil); err != nil {
				break
			}
			most = max(most, openFiles(t))
		}
	}
	if limit := files + 3*10 + relay.MaxHeld + 2*253; most > limit {
		t.Errorf("%d descriptors during the flood, the limit is %d", most, limit)
	}
	for _, c := range conns {
		c.Close()
	}
	null.Close()
	settle(t, files, goroutines)
	if err := call(good, "org.test.Service", "Echo", "x").Err; err != nil {
		t.Errorf("another client: %v", err)
	}
}

// Clients that come and go, in the middle of everything, leave nothing.
func TestNothingLeaks(t *testing.T) {
	provider := startDaemon(t)
	consumer, stats := link(t, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for i := range 60 {
		var c net.Conn
		switch i % 4 {
		case 0:
			c = raw(t, consumer)
		case 1:
			c = raw(t, consumer)
			io.WriteString(c, "\x00AUTH EXTERNAL 30\r\nAUTH")
		case 2:
			c = authenticated(t, consumer)
			c.Write(hello(1)[:40])
		case 3:
			c = authenticated(t, consumer)
			c.Write(hello(1))
		}
		c.Close()
	}
	settle(t, files, goroutines)
	if n := stats.Read().Active; n != 0 {
		t.Errorf("%d connections are active", n)
	}
}

// A client that asks and never reads is stopped by its own socket; what it
// costs is bounded.
func TestNeverReads(t *testing.T) {
	provider := startDaemon(t)
	startService(t, provider, "org.test.Service")
	consumer, _ := link(t, provider, xconnect.Link{Role: "any", Interface: "org.test.Service"})
	c := authenticated(t, consumer)
	c.Write(hello(1))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	sent := 0
	for serial := uint32(2); ; serial++ {
		n, err := c.Write(hello(serial)) // a second Hello is refused, with an answer
		sent += n
		if err != nil {
			break
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if sent > 8<<20 {
		t.Errorf("it could send %d bytes without reading an answer", sent)
	}
}

// A client that takes its time is cut, however often it sends a byte.
func TestSlowHandshake(t *testing.T) {
	provider := startDaemon(t)
	consumer, _ := linkWith(t, dbusplugin.Plugin{Loops: loops(t), HandshakeTime: 300 * time.Millisecond}, provider, xconnect.Link{Role: "any"})
	c := raw(t, consumer)
	began := time.Now()
	for _, b := range []byte("\x00AUTH EXTERNAL " + strings.Repeat("30", 500)) {
		if _, err := c.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it could go on for %v", d)
	}
	// One that introduced itself may be silent for as long as it likes.
	quiet := connect(t, consumer)
	time.Sleep(400 * time.Millisecond)
	if err := quiet.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Error(err)
	}
}

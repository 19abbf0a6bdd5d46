package dbus_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testns"
	"github.com/pvkit/pvkit/internal/testreq"
)

// busConfig is read by both buses, in a container with the users below.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
    <allow eavesdrop="true"/>
    <deny send_destination="org.test.Secret"/>
  </policy>
  <policy user="root"><allow own="*"/><allow send_destination="org.test.Secret"/></policy>
  <policy user="operator"><allow own="org.test.Op"/></policy>
  <policy group="root"><allow own="org.test.GroupRoot"/></policy>
</busconfig>
`

const (
	providerPasswd = "root:x:0:0::/:/bin/sh\noperator:x:1:1::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
	providerGroup  = "root:x:0:\n"
)

// eachBus runs f with a container in which there is a bus, for every bus.
func eachBus(t *testing.T, f func(t *testing.T, provider *testns.Container)) {
	t.Run("dbus-daemon", func(t *testing.T) { f(t, startDaemon(t)) })
	t.Run("dbus-broker", func(t *testing.T) { f(t, startBroker(t)) })
}

func startDaemon(t testing.TB) *testns.Container {
	t.Helper()
	c := busContainer(t)
	daemon(t, c, busPath)
	return c
}

func daemon(t testing.TB, c *testns.Container, socket string) {
	t.Helper()
	put(t, c, socket+".conf", strings.ReplaceAll(busConfig, "SOCKET", socket))
	start(t, c, c.Command(testreq.Tool(t, "dbus-daemon"), "--config-file="+socket+".conf", "--nofork", "--nopidfile"))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", c.Path(socket)); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens at %s", socket)
		}
	}
}

// startBroker starts dbus-broker's own launcher, which takes the same
// configuration. It wants a listening socket, a journal, and a bus on which
// systemd could be.
func startBroker(t testing.TB) *testns.Container {
	t.Helper()
	c := busContainer(t)
	daemon(t, c, "/run/systemd-bus")
	put(t, c, busPath+".conf", strings.ReplaceAll(busConfig, "SOCKET", busPath))
	c.Mkdir("/run/systemd/journal")
	j, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: c.Path("/run/systemd/journal/socket"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.Path(busPath), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := os.Chmod(c.Path(busPath), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := c.Command("sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ DBUS_SESSION_BUS_ADDRESS=unix:path=/run/systemd-bus exec "$@"`,
		"sh", testreq.Tool(t, "dbus-broker-launch"), "--scope", "user", "--config-file", busPath+".conf")
	cmd.ExtraFiles = []*os.File{f}
	start(t, c, cmd)
	return c
}

func busContainer(t testing.TB) *testns.Container {
	t.Helper()
	c := container(t)
	put(t, c, "/etc/passwd", providerPasswd)
	put(t, c, "/etc/group", providerGroup)
	put(t, c, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	return c
}

// container has the devices that programs take for granted.
func container(t testing.TB) *testns.Container {
	t.Helper()
	c := testns.Start(t)
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "urandom": 9} {
		at := c.Path("/dev/" + name)
		if err := errors.Join(unix.Mknod(at, unix.S_IFCHR, int(unix.Mkdev(1, minor))), os.Chmod(at, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func put(t testing.TB, c *testns.Container, path, text string) {
	t.Helper()
	if err := os.WriteFile(c.Path(path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// start starts a program in c. nsenter's child outlives it, so the end of the
// test stops the container first.
func start(t testing.TB, c *testns.Container, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop()
		cmd.Wait()
	})
}

// connect is godbus on the bus of a provider, or on the link of a consumer.
func connect(t testing.TB, at *testns.Container) *dbus.Conn {
	t.Helper()
	c, err := dbus.Connect("unix:path=" + at.Path(busPath))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// service owns a name on the bus itself. Its object answers Echo, Swap (a
// descriptor comes back) and Whoami, the uid that the bus sees.
type service struct {
	t    testing.TB
	conn *dbus.Conn
}

func startService(t testing.TB, bus *testns.Container, name string) *service {
	t.Helper()
	s := &service{t, connect(t, bus)}
	if err := s.conn.Export(s, "/obj", "org.test.Iface"); err != nil {
		t.Fatal(err)
	}
	s.own(name)
	return s
}

func (s *service) own(name string) {
	s.t.Helper()
	if r, err := s.conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		s.t.Fatalf("own %s: %v %v", name, r, err)
	}
}

func (s *service) release(name string) {
	s.t.Helper()
	if _, err := s.conn.ReleaseName(name); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) emit(text string) {
	s.t.Helper()
	if err := s.conn.Emit("/obj", "org.test.Iface.Said", text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) unique() string { return s.conn.Names()[0] }

func (s *service) Echo(text string) (string, *dbus.Error) { return text, nil }

func (s *service) Swap(fd dbus.UnixFD) (dbus.UnixFD, *dbus.Error) {
	f := os.NewFile(uintptr(fd), "passed")
	defer f.Close()
	if _, err := f.WriteString("seen by the service"); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	s.t.Cleanup(func() { unix.Close(p[0]) }) // it is sent after this returns
	_, err := unix.Write(p[1], []byte("from the service"))
	if err = errors.Join(err, unix.Close(p[1])); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	return dbus.UnixFD(p[0]), nil
}

func (s *service) Whoami(sender dbus.Sender) (uint32, *dbus.Error) {
	var uid uint32
	if err := s.conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixUser", 0, string(sender)).Store(&uid); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	return uid, nil
}

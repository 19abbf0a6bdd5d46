package dbus_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/pvkit/pvkit/internal/testreq"
)

// busConfig is read by both buses. User daemon (1) may own org.test.Op.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=DIR/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
    <allow eavesdrop="true"/>
    <deny send_destination="org.test.Secret"/>
  </policy>
  <policy user="root"><allow own="*"/><allow send_destination="org.test.Secret"/></policy>
  <policy user="daemon"><allow own="org.test.Op"/></policy>
  <policy group="root"><allow own="org.test.GroupRoot"/></policy>
</busconfig>
`

const providerPasswd = "root:x:0:0::/:/bin/sh\noperator:x:1:1::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"

// eachBus runs f with every bus there is.
func eachBus(t *testing.T, f func(t *testing.T, dir string)) {
	testreq.Root(t) // to have other identities
	t.Run("dbus-daemon", func(t *testing.T) { f(t, startDaemon(t)) })
	t.Run("dbus-broker", func(t *testing.T) { f(t, startBroker(t)) })
}

func startDaemon(t testing.TB) (dir string) {
	t.Helper()
	prog := testreq.Tool(t, "dbus-daemon")
	dir = providerDir(t)
	start(t, exec.Command(prog, "--config-file="+filepath.Join(dir, "conf"), "--nofork", "--nopidfile"))
	awaitSocket(t, filepath.Join(dir, "bus"))
	return dir
}

// startBroker starts dbus-broker's own launcher, which takes the same
// configuration. It wants a listening socket, a journal, and a bus on which
// systemd could be.
func startBroker(t testing.TB) (dir string) {
	t.Helper()
	prog := testreq.Tool(t, "dbus-broker-launch")
	systemd := startDaemon(t)
	dir = providerDir(t)
	journal := filepath.Join(dir, "journal")
	if err := os.Mkdir(journal, 0o755); err != nil {
		t.Fatal(err)
	}
	j, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(journal, "socket"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "bus"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := os.Chmod(filepath.Join(dir, "bus"), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal &&
		mount --bind "$1" /run/systemd/journal && LISTEN_FDS=1 LISTEN_PID=$$ exec "$2" --scope user --config-file "$3"`,
		"sh", journal, prog, filepath.Join(dir, "conf"))
	cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(systemd, "bus"))
	cmd.ExtraFiles = []*os.File{f}
	start(t, cmd)
	return dir
}

func providerDir(t testing.TB) string {
	t.Helper()
	dir := sharedDir(t)
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"conf": strings.ReplaceAll(busConfig, "DIR", dir), "etc/passwd": providerPasswd} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func awaitSocket(t testing.TB, path string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens at %s", path)
		}
	}
}

// connect is godbus on a bus or a link.
func connect(t testing.TB, path string) *dbus.Conn {
	t.Helper()
	c, err := dbus.Connect("unix:path=" + path)
	if err != nil {
		t.Fatalf("connect to %s: %v", path, err)
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

func startService(t testing.TB, bus, name string) *service {
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
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	w.WriteString("from the service")
	w.Close()
	s.t.Cleanup(func() { r.Close() })
	return dbus.UnixFD(r.Fd()), nil
}

func (s *service) Whoami(sender dbus.Sender) (uint32, *dbus.Error) {
	var uid uint32
	if err := s.conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixUser", 0, string(sender)).Store(&uid); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	return uid, nil
}

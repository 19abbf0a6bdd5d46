package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/pvkit/pvkit/internal/testns"
)

const busName = "org.test.Name"

const busConfig = `<busconfig>
  <type>session</type><listen>unix:path=/run/bus.sock</listen><auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
  <limit name="max_completed_connections">10000</limit><limit name="max_connections_per_user">10000</limit>
</busconfig>`

// startBus starts dbus-daemon, if there is one, in the provider.
func startBus(b *testing.B, c *testns.Container) {
	b.Helper()
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		return
	}
	for path, text := range map[string]string{
		"/run/bus.conf": busConfig, "/etc/passwd": "root:x:0:0::/:\nadmin:x:1:1::/:\n", "/etc/machine-id": strings.Repeat("0", 31) + "1\n",
	} {
		if err := os.WriteFile(c.Path(path), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	null := c.Path("/dev/null")
	if err := errors.Join(syscall.Mknod(null, syscall.S_IFCHR, 1<<8|3), os.Chmod(null, 0o666)); err != nil {
		b.Fatal(err)
	}
	cmd := c.Command("sh", "-c", `ulimit -n 10000; exec "$0" --config-file=/run/bus.conf --nofork --nopidfile`, path)
	cmd.Stderr = os.Stderr
	start(b, cmd)
	wait(b, c.Path("/run/bus.sock"))
}

// busClient is a client of a bus that has introduced itself and got its name.
func busClient(b *testing.B, path string) net.Conn {
	b.Helper()
	c := dial(b, path)
	buf := make([]byte, 4<<10)
	for _, say := range []string{"\x00AUTH EXTERNAL 30\r\n", "BEGIN\r\n" + string(hello())} {
		if _, err := io.WriteString(c, say); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(fmt.Errorf("after %q: %w", say, err))
		}
	}
	return c
}

// hello is the first call on every bus: D-Bus Specification, "Message Bus
// Messages".
func hello() []byte {
	m := append([]byte{'l', 1, 0, 1}, make([]byte, 12)...)
	for _, f := range []struct {
		code, kind byte
		text       string
	}{{1, 'o', "/org/freedesktop/DBus"}, {2, 's', "org.freedesktop.DBus"}, {3, 's', "Hello"}, {6, 's', "org.freedesktop.DBus"}} {
		m = append(m, make([]byte, -len(m)&7)...)
		m = append(m, f.code, 1, f.kind, 0)
		m = binary.LittleEndian.AppendUint32(m, uint32(len(f.text)))
		m = append(append(m, f.text...), 0)
	}
	m[8] = 1 // the serial
	binary.LittleEndian.PutUint32(m[12:], uint32(len(m)-16))
	return append(m, make([]byte, -len(m)&7)...)
}

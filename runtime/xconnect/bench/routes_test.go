package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testns"
)

// The first byte of a connection says what the provider does: 'S' and a length
// sink that many bytes and answer, 'E' echo until the end, 'C' echo one byte
// and close first.
func provide(c net.Conn) {
	defer c.Close()
	var h [9]byte
	if _, err := io.ReadFull(c, h[:1]); err != nil {
		return
	}
	switch h[0] {
	case 'S':
		if _, err := io.ReadFull(c, h[1:]); err != nil {
			return
		}
		buf := make([]byte, 64<<10)
		for n := int64(binary.BigEndian.Uint64(h[1:])); n > 0; {
			k, err := c.Read(buf)
			if err != nil {
				return
			}
			n -= int64(k)
		}
		c.Write([]byte("K"))
		c.Read(h[:1])
	case 'E':
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	case 'C':
		if _, err := io.ReadFull(c, h[:1]); err == nil {
			c.Write(h[:1])
		}
	}
}

// route is one way from a consumer to the provider.
type route struct {
	way       string
	raw, http string // paths as the host sees them
	bus, name string // of dbus links, one of them for one name only; "": none
	pid       int    // of the process between; 0: none
}

// routes starts everything once and returns the ways that this machine has.
func routes(b *testing.B) []route {
	b.Helper()
	provider, consumer := testns.Start(b), testns.Start(b)
	consumer.Mkdir("/run/pv")
	serve(b, provider.Path("/run/raw.sock"), provide)
	l := listen(b, provider.Path("/run/http.sock"))
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-PV-Client")+" "+r.Header.Get("X-PV-Role"))
	})}
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	startBus(b, provider)
	all := []route{{way: "direct", raw: provider.Path("/run/raw.sock"), http: provider.Path("/run/http.sock")}}

	if path, err := exec.LookPath("socat"); err == nil {
		r := route{way: "socat", raw: consumer.Path("/run/pv/socat-raw.sock"), http: consumer.Path("/run/pv/socat-http.sock")}
		for to, from := range map[string]string{r.raw: all[0].raw, r.http: all[0].http} {
			start(b, exec.Command(path, "UNIX-LISTEN:"+to+",fork,backlog=128", "UNIX-CONNECT:"+from))
			wait(b, to)
		}
		all = append(all, r)
	}
	ctrl := filepath.Join(b.TempDir(), "ctrl")
	graphAt(b, ctrl, func() string { return graph(consumer.PID, provider.PID, "ours") })
	all = append(all, daemonRoute(b, consumer, "pv-xconnect", "ours", exec.Command(program(b), "--socket", ctrl, "--log-level", "error")))
	if other := os.Getenv("PVX_DAEMON"); other != "" {
		graphAt(b, os.Getenv("PVX_CTRL"), func() string { return graph(consumer.PID, provider.PID, "other") })
		// The runtime starts such a daemon with SIGPIPE ignored.
		all = append(all, daemonRoute(b, consumer, "other", "other", exec.Command("sh", "-c", `trap "" PIPE; exec "$0"`, other)))
	}
	return all
}

// program is pv-xconnect as it is now.
func program(b *testing.B) string {
	b.Helper()
	bin := filepath.Join(b.TempDir(), "pv-xconnect")
	if out, err := exec.Command("go", "build", "-o", bin, "../../../cmd/pv-xconnect").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return bin
}

func daemonRoute(b *testing.B, c *testns.Container, way, dir string, cmd *exec.Cmd) route {
	at := func(name string) string { return c.Path("/run/pv/" + dir + "-" + name + ".sock") }
	r := route{way: way, raw: at("raw"), http: at("http"), bus: at("bus"), name: at("name"), pid: start(b, cmd)}
	wait(b, r.raw)
	wait(b, r.http)
	return r
}

func start(b *testing.B, cmd *exec.Cmd) int {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

func listen(b *testing.B, path string) net.Listener {
	b.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

func serve(b *testing.B, path string, f func(net.Conn)) {
	l := listen(b, path)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
}

// graph has a link of each kind; the last one is for one bus name only.
func graph(consumer, provider int, dir string) string {
	var entries []string
	for _, l := range []struct{ kind, name, iface, socket string }{
		{"unix", "raw", "unix", "raw"}, {"rest", "http", "rest", "http"}, {"dbus", "bus", "dbus", "bus"}, {"dbus", "name", busName, "bus"},
	} {
		entries = append(entries, fmt.Sprintf(`{"consumer":"c","consumer_pid":%d,"provider":"p","provider_pid":%d,"name":%q,"type":%q,"role":"admin","interface":%q,"target":"/run/pv/%s-%s.sock","socket":"/run/%s.sock"}`,
			consumer, provider, l.name, l.kind, l.iface, dir, l.name, l.socket))
	}
	return "[" + strings.Join(entries, ",") + "]"
}

// graphAt is a pv-ctrl that answers as the runtime does, in one write.
func graphAt(b *testing.B, path string, graph func() string) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	serve(b, path, func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"+graph())
		}
	})
}

func wait(b *testing.B, path string) {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

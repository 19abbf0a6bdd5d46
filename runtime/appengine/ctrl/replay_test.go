package ctrl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// as is an owner for whom every process is of one container.
func as(name string) ctrl.Owner { return func(int) (string, bool) { return name, true } }

// serve starts a server and gives its socket.
func serve(t testing.TB, o ctrl.Options) string {
	t.Helper()
	s, err := ctrl.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, s)
}

func serveOn(t testing.TB, s *ctrl.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pv-ctrl")
	l, err := ctrl.Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Serve = %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not stop")
		}
	})
	return path
}

// dialer connects to sockets by the name of the caller for whom each is.
func dialer(ctx context.Context, sockets map[string]string) func(string) (net.Conn, error) {
	return func(caller string) (net.Conn, error) { return unixsock.Dial(ctx, "unix", sockets[caller]) }
}

// TestReplay answers the captured requests with a machine in memory that is
// loaded with the captured documents. Each caller has a server of its own, for
// whom every process is that caller's.
func TestReplay(t *testing.T) {
	all, err := ctrltest.Captures()
	if err != nil {
		t.Fatal(err)
	}
	m := ctrltest.NewMachine(nil)
	m.AddDaemon(pvctrl.Daemon{Name: "pv-dbus", PID: 1100, Respawn: true})
	load(t, m, all)
	sockets := map[string]string{}
	for caller, name := range map[string]string{ctrltest.Host: pvctrl.HostName, ctrltest.Norole: ctrltest.Norole, ctrltest.Client: ctrltest.Client} {
		sockets[caller] = serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(name)})
	}
	ctrltest.Replay(t, ctrltest.Target{
		Dial: dialer(t.Context(), sockets),
		Before: func(c ctrltest.Capture) {
			switch c.Index {
			case 85, // a while after the request before
				190, 128, // the same
				133, 136, 151: // the update goes on
				m.Tick()
			}
		},
	}, differences)
}

// load puts the captured documents into the machine.
func load(t *testing.T, m *ctrltest.Machine, all []ctrltest.Capture) {
	t.Helper()
	var (
		objects  []pvctrl.Object
		settings []pvctrl.Setting
		sizes    = map[string]int64{}
	)
	decode := func(i int, v any) {
		if err := json.Unmarshal([]byte(all[i].Body), v); err != nil {
			t.Fatalf("capture %d: %v", i, err)
		}
	}
	decode(36, &objects)
	decode(11, &settings)
	for _, o := range objects {
		var n json.Number = json.Number(o.Size)
		size, err := n.Int64()
		if err != nil {
			t.Fatal(err)
		}
		sizes[o.SHA256] = size
	}
	var aliases []pvctrl.Alias
	for key, value := range members(t, all[10].Body) {
		aliases = append(aliases, pvctrl.Alias{Name: key, Value: value})
	}
	var device []pvctrl.MetaEntry
	for key, value := range members(t, all[12].Body) {
		text := string(value)
		if value[0] == '"' {
			json.Unmarshal(value, &text)
		}
		device = append(device, pvctrl.MetaEntry{Key: key, Value: text})
	}
	m.Load([]byte(all[5].Body), sizes, aliases, settings, device)
}

// members gives an object's in their order.
func members(t *testing.T, text string) func(func(string, json.RawMessage) bool) {
	return func(yield func(string, json.RawMessage) bool) {
		dec := json.NewDecoder(bytes.NewReader([]byte(text)))
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				t.Fatal(err)
			}
			var value json.RawMessage
			if err := dec.Decode(&value); err != nil {
				t.Fatal(err)
			}
			if !yield(key.(string), value) {
				return
			}
		}
	}
}

// differences are those of the server, and of the machine.
var differences = slices.Concat(ctrltest.ServerDifferences(), ctrltest.StopDifferences(), []ctrltest.Difference{
	{Captures: []int{86}, Part: ctrltest.Body, Reason: "no wakelocks: the mode is disabled"},
})

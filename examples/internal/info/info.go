// Package info is a mock of a network manager's REST service, and its client:
// the programs pv-example-rest-server and pv-example-rest-client.
package info

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/pvkit/pvkit/examples/internal/unixsocket"
)

// ServerSocket is where the server listens in its container.
const ServerSocket = "/run/nm/api.sock"

// ClientSocket is where the mesh puts the service in the client's container.
const ClientSocket = "/run/pv/services/network-manager.sock"

// Server answers GET /info with who asked, as the mesh's headers say.
type Server struct {
	Socket string
	Now    func() time.Time
}

// Serve serves until ctx ends. Each request is a line on log, in the form that
// Python's http.server has.
func (s Server) Serve(ctx context.Context, out, log io.Writer) error {
	l, err := unixsocket.Listen(ctx, s.Socket)
	if err != nil {
		return err
	}
	lines := &lineWriter{w: log}
	srv := &http.Server{
		Handler:           s.handler(lines),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	// One request for each connection, as the server this stands in for does.
	srv.SetKeepAlivesEnabled(false)
	stopped := make(chan error, 1)
	release := context.AfterFunc(ctx, func() { stopped <- srv.Close() })
	fmt.Fprintf(out, "Starting mock REST server on %s...\n", s.Socket)
	err = srv.Serve(l)
	if !release() {
		return <-stopped
	}
	return errors.Join(err, srv.Close())
}

func (s Server) handler(log io.Writer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		switch {
		case r.Method != http.MethodGet:
			status = http.StatusNotImplemented
			w.WriteHeader(status)
		case r.RequestURI != "/info":
			status = http.StatusNotFound
			w.WriteHeader(status)
		default:
			w.Header().Set("Content-Type", "application/json")
			// What cannot be written to a peer that has gone is its loss.
			_, _ = w.Write(document(r.Header))
		}
		fmt.Fprintf(log, "unix-client - - [%s] \"%s %s %s\" %d -\n", s.Now().Format("02/Jan/2006 15:04:05"), r.Method, r.RequestURI, r.Proto, status)
	})
}

// document has its blanks where json.dumps of Python has them.
func document(h http.Header) []byte {
	var b []byte
	for i, m := range []struct{ key, value string }{
		{"service", "network-manager-mock"},
		{"status", "online"},
		{"role", header(h, "X-PV-Role")},
		{"client", header(h, "X-PV-Client")},
	} {
		if b = append(b, ", "...); i == 0 {
			b = append(b[:0], '{')
		}
		b = append(append(append(b, quote(m.key)...), ": "...), quote(m.value)...)
	}
	return append(b, '}')
}

func header(h http.Header, name string) string {
	if v := h.Values(name); len(v) > 0 {
		return v[0]
	}
	return "unknown"
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`) // a string always has a JSON form
	}
	return b
}

// Client asks for /info every interval and prints the answer.
type Client struct {
	Socket   string
	Interval time.Duration
	Timeout  time.Duration // for one request
}

// maxAnswer bounds what is printed of one answer.
const maxAnswer = 64 << 10

// Run polls until ctx ends.
func (c Client) Run(ctx context.Context, out, errOut io.Writer) error {
	client := &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", c.Socket)
			},
		},
	}
	headline := fmt.Sprintf("--- Requesting info from network-manager service via %s ---", c.Socket)
	return unixsocket.Poll(ctx, out, errOut, headline, c.Socket, c.Interval, func(ctx context.Context) error {
		return ask(ctx, client, out)
	})
}

func ask(ctx context.Context, client *http.Client, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/info", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(out, io.LimitReader(res.Body, maxAnswer)); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

package pvtx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/pvrexport"
)

// Sockets is where pv-ctrl may be, in the order in which it is looked for
// (pvtx_ctrl.c, connect_sock).
func Sockets() []string {
	return []string{"/run/pantavisor/pv/pv-ctrl", "/pv/pv-ctrl", "/pantavisor/pv-ctrl"}
}

// How long a server may take (pvtx_ctrl.c): five attempts to connect, two
// seconds apart, and ten seconds without a byte. While it stores an object, it
// gets more, by its size.
const (
	connectAttempts = 5
	connectPause    = 2 * time.Second
	idleTime        = 10 * time.Second
	storeRate       = 4 << 20 // bytes a second, at least
)

// maxAnswer is how much of an answer is read: a state is the largest.
const maxAnswer = pvrexport.MaxStateSize

// PVControl is a pv-ctrl server as a Remote.
type PVControl struct {
	sockets []string
}

// NewPVControl makes a Remote of the first of the sockets that is there.
func NewPVControl(sockets ...string) *PVControl { return &PVControl{sockets} }

// StatusError is an answer that is not a success.
type StatusError struct {
	Status string // the status line's code and reason
	Body   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("pv-ctrl answers %s: %s", e.Status, e.Body) }

// Step fetches the state of a revision.
func (c *PVControl) Step(ctx context.Context, rev string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/steps/"+rev, "", nil, 0)
}

// PutStep makes a revision.
func (c *PVControl) PutStep(ctx context.Context, rev string, state []byte) error {
	_, err := c.do(ctx, http.MethodPut, "/steps/"+rev, "application/json", bytes.NewReader(state), int64(len(state)))
	return err
}

// PutObject stores an object.
func (c *PVControl) PutObject(ctx context.Context, id string, content io.ReadSeeker, size int64) error {
	_, err := c.do(ctx, http.MethodPut, "/objects/"+id, "application/octet-stream", content, size)
	return err
}

// do asks over a connection of its own. A connection that could not be made is
// tried again; a request that was sent is not, because it may have worked.
func (c *PVControl) do(ctx context.Context, method, path, contentType string, body io.ReadSeeker, size int64) ([]byte, error) {
	if strings.ContainsAny(path, " ?#%") {
		return nil, fmt.Errorf("ask pv-ctrl: %q cannot be asked for: the server takes names as they stand, without escapes", path)
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	wait := idleTime + time.Duration(size/storeRate)*time.Second
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return &idleConn{conn, wait}, nil },
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	defer conn.Close()
	var content io.Reader // a nil interface, not a nil *Reader, means no body
	if size > 0 {
		content = body
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost", content)
	if err != nil {
		return nil, err
	}
	// The server splits the path as it stands, without decoding.
	req.URL.Opaque = path
	req.ContentLength = size
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask pv-ctrl: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("ask pv-ctrl: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, &StatusError{Status: resp.Status, Body: strings.TrimSpace(string(answer[:min(len(answer), 500)]))}
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("ask pv-ctrl: the answer has more than %d bytes", maxAnswer)
	}
	return answer, nil
}

// connect tries again and again, as a server may be starting.
func (c *PVControl) connect(ctx context.Context) (net.Conn, error) {
	var socket string
	for _, s := range c.sockets {
		if _, err := os.Stat(s); err == nil {
			socket = s
			break
		}
	}
	if socket == "" {
		return nil, fmt.Errorf("pv-ctrl: there is no socket at %s: %w", strings.Join(c.sockets, ", "), fs.ErrNotExist)
	}
	for attempt := 1; ; attempt++ {
		conn, err := unixsock.Dial(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		if attempt == connectAttempts {
			return nil, fmt.Errorf("connect to pv-ctrl at %s, %d attempts: %w", socket, connectAttempts, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to pv-ctrl at %s: %w", socket, errors.Join(ctx.Err(), err))
		case <-time.After(connectPause):
		}
	}
}

// idleConn ends a connection on which nothing moves for a while.
type idleConn struct {
	net.Conn
	wait time.Duration
}

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.wait)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *idleConn) Write(p []byte) (int, error) {
	now := time.Now()
	if err := c.SetWriteDeadline(now.Add(idleTime)); err != nil {
		return 0, err
	}
	// The answer's time runs from the last byte that was sent.
	if err := c.SetReadDeadline(now.Add(c.wait)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// uploads is the sink of a remote transaction. An object waits in a file until
// its digest has been found right, then it is sent.
type uploads struct {
	ctx context.Context
	dir string
	to  Remote
}

func (u *uploads) CreateObject(id string, _ int64) (pvrexport.ObjectWriter, error) {
	f, err := os.CreateTemp(u.dir, "object-*")
	if err != nil {
		return nil, err
	}
	return &upload{f: f, id: id, uploads: u}, nil
}

type upload struct {
	*uploads
	f    *os.File
	id   string
	size int64
}

func (w *upload) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.size += int64(n)
	return n, err
}

func (w *upload) Commit() error {
	if _, err := w.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return w.to.PutObject(w.ctx, w.id, w.f, w.size)
}

// Abort drops the file, after Commit as well.
func (w *upload) Abort() {
	_ = w.f.Close()
	_ = os.Remove(w.f.Name())
}

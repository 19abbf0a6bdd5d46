package pvtx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Sockets is where pv-ctrl may be, in the order in which it is looked for
// (pvtx_ctrl.c, connect_sock).
func Sockets() []string {
	return []string{"/run/pantavisor/pv/pv-ctrl", "/pv/pv-ctrl", "/pantavisor/pv-ctrl"}
}

// How long a server may take: five attempts to connect, two seconds apart, and
// ten seconds for an answer (pvtx_ctrl.c); to that we add what an object takes
// on its way through a slow device's disk.
const (
	connectAttempts = 5
	connectPause    = 2 * time.Second
	answerTime      = 10 * time.Second
	storeRate       = 1 << 20 // bytes a second, at least
)

// PVControl is a pv-ctrl server as a Remote. A connection that cannot be made
// is tried again; a request that was sent is not, because it may have worked.
type PVControl struct {
	sockets []string
}

// NewPVControl makes a Remote of the first of the sockets that is there.
func NewPVControl(sockets ...string) *PVControl { return &PVControl{sockets} }

// Step fetches the state of a revision.
func (c *PVControl) Step(ctx context.Context, rev string) (state []byte, err error) {
	err = c.try(ctx, answerTime, func(ctx context.Context, client *pvctrl.Client) (err error) {
		state, err = client.Step(ctx, rev)
		return err
	})
	return state, err
}

// PutStep makes a revision.
func (c *PVControl) PutStep(ctx context.Context, rev string, state []byte) error {
	return c.try(ctx, answerTime, func(ctx context.Context, client *pvctrl.Client) error {
		return client.PutStep(ctx, rev, state)
	})
}

// PutObject stores an object.
func (c *PVControl) PutObject(ctx context.Context, id string, content io.ReadSeeker, size int64) error {
	limit := answerTime + time.Duration(size/storeRate)*time.Second
	return c.try(ctx, limit, func(ctx context.Context, client *pvctrl.Client) error {
		if _, err := content.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return client.PutObject(ctx, id, size, io.NopCloser(content)) // another attempt reads it again
	})
}

// try asks until somebody listens.
func (c *PVControl) try(ctx context.Context, limit time.Duration, ask func(context.Context, *pvctrl.Client) error) error {
	socket, err := c.socket()
	if err != nil {
		return err
	}
	client := pvctrl.NewClient(socket)
	for attempt := 1; ; attempt++ {
		limited, cancel := context.WithTimeout(ctx, limit)
		err := ask(limited, client)
		cancel()
		if !unheard(err) {
			return err
		}
		if attempt == connectAttempts {
			return fmt.Errorf("pv-ctrl at %s, %d attempts: %w", socket, connectAttempts, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pv-ctrl at %s: %w", socket, errors.Join(ctx.Err(), err))
		case <-time.After(connectPause):
		}
	}
}

// unheard reports whether an error means that nobody listened yet, or that too
// many were waiting.
func unheard(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOENT)
}

func (c *PVControl) socket() (string, error) {
	for _, s := range c.sockets {
		if st, err := os.Stat(s); err == nil && st.Mode()&fs.ModeSocket != 0 {
			return s, nil
		}
	}
	return "", fmt.Errorf("pv-ctrl: there is no socket at %s: %w", strings.Join(c.sockets, ", "), fs.ErrNotExist)
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

// Package echo is a raw Unix socket service that sends back what it gets, and
// its client: the programs pv-example-unix-server and pv-example-unix-client.
package echo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pvkit/pvkit/examples/internal/unixsocket"
)

// ServerSocket is where the server listens in its container.
const ServerSocket = "/run/example/raw.sock"

// ClientSocket is where the mesh puts the service in the client's container.
const ClientSocket = "/run/pv/services/raw-unix.sock"

// maxConns bounds the connections at one time; more wait in the kernel's queue.
const maxConns = 64

// Serve echoes on a socket until ctx ends. Every connection is echoed until
// the peer has sent everything; then both directions are closed.
func Serve(ctx context.Context, out io.Writer, socket string) error {
	l, err := unixsocket.Listen(ctx, socket)
	if err != nil {
		return err
	}
	defer l.Close()                                      // again is harmless, and waits until the socket is gone
	defer context.AfterFunc(ctx, func() { l.Close() })() // Accept ends then
	fmt.Fprintf(out, "Starting raw Unix socket server on %s...\n", socket)

	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, maxConns)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return errors.Join(fmt.Errorf("accept: %w", err), l.Close())
		}
		running.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			// What goes wrong on one connection is the peer's business.
			_, _ = io.Copy(c, c)
		})
	}
}

// Client sends a greeting every interval and prints the answer.
type Client struct {
	Socket   string
	Interval time.Duration
	Timeout  time.Duration // for one greeting
	Now      func() time.Time
}

// maxAnswer bounds what is printed of one answer.
const maxAnswer = 64 << 10

// Run polls until ctx ends.
func (c Client) Run(ctx context.Context, out, errOut io.Writer) error {
	headline := fmt.Sprintf("--- Sending data to raw Unix service via %s ---", c.Socket)
	return unixsocket.Poll(ctx, out, errOut, headline, c.Socket, c.Interval, func(ctx context.Context) error {
		return c.greet(ctx, out)
	})
}

func (c Client) greet(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "Hello from client at %s\n", c.Now().Format(time.UnixDate)); err != nil {
		return fmt.Errorf("send greeting: %w", err)
	}
	if half, ok := conn.(*net.UnixConn); ok {
		if err := half.CloseWrite(); err != nil {
			return fmt.Errorf("end greeting: %w", err)
		}
	}
	if _, err := io.Copy(out, io.LimitReader(conn, maxAnswer)); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// Package unixsocket opens and probes the sockets of the example programs.
package unixsocket

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Listen makes the directory of path and listens there. A socket that an
// earlier run left is removed; anything else in its place is an error. Closing
// the listener removes the socket.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if Exists(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", path)
}

// Exists reports whether path is a socket, or a link to one: test -S.
func Exists(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().Type() == fs.ModeSocket
}

// Poll calls once now and after every interval until ctx ends, and prints what
// the shell programs of the same name print around it: a headline, a line when
// there is no socket, and a blank line. An error of once goes to stderr and
// does not end the polling, because the service may come back.
func Poll(ctx context.Context, out, errOut io.Writer, headline, socket string, interval time.Duration, once func(context.Context) error) error {
	for {
		if _, err := fmt.Fprintln(out, headline); err != nil {
			return err
		}
		if !Exists(socket) {
			fmt.Fprintf(out, "Socket %s not found!\n", socket)
		} else if err := once(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(errOut, err)
		}
		if _, err := fmt.Fprint(out, "\n\n"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}

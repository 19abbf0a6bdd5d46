// Package unixsock dials unix sockets by what they are, not by what they are
// called: through a descriptor, so that the 108 bytes of sun_path do not bite
// and nothing can be swapped between a check and the connection. It also reads
// the credentials of the other side.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to the socket at path; network is "unix", "unixpacket" or
// "unixgram". While the listener's queue is full it waits, until ctx is done.
func Dial(ctx context.Context, network, path string) (*net.UnixConn, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", path, err)
	}
	defer unix.Close(fd)
	c, err := DialFD(ctx, network, fd)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", path, err)
	}
	return c, nil
}

// DialFD connects to the socket file that the O_PATH descriptor holds. The
// connect(2) happens on the caller's thread.
func DialFD(ctx context.Context, network string, fd int) (*net.UnixConn, error) {
	if _, err := Kind(network); err != nil {
		return nil, err
	}
	to := &net.UnixAddr{Name: "/proc/self/fd/" + strconv.Itoa(fd), Net: network}
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		// A full queue is EAGAIN at once on a socket that does not block, and
		// poll(2) does not tell when there is room (unix(7)).
		c, err := net.DialUnix(network, nil, to)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			if op, ok := errors.AsType[*net.OpError](err); ok {
				err = op.Err // without our name for the path
			}
			return nil, err
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("the socket's queue is full: %w", ctx.Err())
		case <-t.C:
		}
	}
}

// Conn makes a connection of a socket's descriptor, which it takes.
func Conn(s int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(s), "")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// Duplicate returns a descriptor of a connection or listener beside its own.
func Duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(cerr, err); err != nil {
		return -1, err
	}
	return fd, nil
}

// Kind is the socket type behind a network's name.
func Kind(network string) (int, error) {
	switch network {
	case "unix":
		return unix.SOCK_STREAM, nil
	case "unixpacket":
		return unix.SOCK_SEQPACKET, nil
	case "unixgram":
		return unix.SOCK_DGRAM, nil
	}
	return 0, fmt.Errorf("network %q: %w", network, errors.ErrUnsupported)
}

// Peer is who connected to, or listens at, the other side: its process when
// the connection was made.
type Peer struct {
	PID      int
	UID, GID uint32
}

// PeerOf reads SO_PEERCRED.
func PeerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var u *unix.Ucred
	var opt error
	err = raw.Control(func(fd uintptr) { u, opt = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, opt); err != nil {
		return Peer{}, fmt.Errorf("read the peer's credentials: %w", err)
	}
	return Peer{PID: int(u.Pid), UID: u.Uid, GID: u.Gid}, nil
}

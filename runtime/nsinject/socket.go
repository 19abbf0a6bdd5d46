package nsinject

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

// backlog is what net.core.somaxconn allows since Linux 5.4.
const backlog = 4096

// Listen implements xconnect.Root.
func (r *root) Listen(ctx context.Context, network, path string, mode fs.FileMode) (net.Listener, error) {
	fd, remove, err := r.bind(ctx, network, path, mode)
	if err != nil {
		return nil, r.fail("listen at", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		remove()
		return nil, r.fail("listen at", path, err)
	}
	return &listener{UnixListener: l.(*net.UnixListener), remove: remove}, nil
}

// ListenPacket implements xconnect.Root.
func (r *root) ListenPacket(ctx context.Context, path string, mode fs.FileMode) (*net.UnixConn, func() error, error) {
	fd, remove, err := r.bind(ctx, "unixgram", path, mode)
	if err != nil {
		return nil, nil, r.fail("listen at", path, err)
	}
	c, err := unixsock.Conn(fd)
	if err != nil {
		remove()
		return nil, nil, r.fail("listen at", path, err)
	}
	return c, remove, nil
}

// listener takes its path away when it is closed.
type listener struct {
	*net.UnixListener
	remove func() error
}

func (l *listener) Close() error {
	err := l.remove() // first, so that nobody meets a path that nobody serves
	if cerr := l.UnixListener.Close(); cerr != nil {
		return cerr
	}
	return err
}

// Detach implements xconnect.Detacher.
func (l *listener) Detach() (fd int, remove func() error, err error) {
	if fd, err = unixsock.Duplicate(l); err != nil {
		return -1, nil, err
	}
	return fd, l.remove, l.UnixListener.Close()
}

// bind makes the socket, listening if its kind does, at path. remove may be
// called more than once.
func (r *root) bind(ctx context.Context, network, path string, mode fs.FileMode) (fd int, remove func() error, err error) {
	if err := r.usable(ctx); err != nil {
		return -1, nil, err
	}
	kind, err := unixsock.Kind(network)
	if err != nil {
		return -1, nil, err
	}
	s, err := r.handle.spotFor(path)
	if err != nil {
		return -1, nil, err
	}
	if fd, err = unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		s.close()
		return -1, nil, os.NewSyscallError("socket", err)
	}
	id, err := r.handle.put(s, func(tmp spot) error { return bindAt(fd, kind, tmp, mode) }, staleSocket)
	if err != nil {
		unix.Close(fd)
		s.close()
		return -1, nil, err
	}
	return fd, r.keep(s, path, id), nil
}

func bindAt(fd, kind int, at spot, mode fs.FileMode) error {
	// bind(2) never follows or replaces the last name.
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: fdPath(at.dir) + "/" + at.name}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	file, st, err := at.open()
	if err != nil {
		return err
	}
	defer unix.Close(file)
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return inTheWay(at.name, &st)
	}
	if err := chmod(file, uint32(mode.Perm())); err != nil {
		return err
	}
	if kind == unix.SOCK_DGRAM {
		return nil
	}
	return os.NewSyscallError("listen", unix.Listen(fd, backlog))
}

// staleSocket reports whether nothing is bound to the socket file any more. A
// datagram connect finds out without waking a listener: a bound socket of
// another type answers EPROTOTYPE, none at all ECONNREFUSED.
func staleSocket(fd int, st *unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return false
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(s)
	return unix.Connect(s, &unix.SockaddrUnix{Name: fdPath(fd)}) == unix.ECONNREFUSED
}

// Dial implements xconnect.Root.
func (r *root) Dial(ctx context.Context, network, path string) (*net.UnixConn, error) {
	return r.dial(ctx, network, path, func(f func() error) error { return f() })
}

// DialAs implements xconnect.Root.
func (r *root) DialAs(ctx context.Context, network, path string, as xconnect.Cred) (*net.UnixConn, error) {
	return r.dial(ctx, network, path, func(f func() error) error { return withCred(as, f) })
}

func (r *root) dial(ctx context.Context, network, path string, run func(func() error) error) (*net.UnixConn, error) {
	if err := r.usable(ctx); err != nil {
		return nil, r.fail("dial", path, err)
	}
	fd, err := r.handle.resolve(path, unix.O_PATH)
	if err != nil {
		return nil, r.fail("dial", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, r.fail("dial", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, r.fail("dial", path, fmt.Errorf("it is not a socket: %w", unix.ENOTSOCK))
	}
	if answersAtOnce(fd) {
		r.handle.prompt.Store(st.Dev)
	}
	var c *net.UnixConn
	err = run(func() (err error) { c, err = unixsock.DialFD(ctx, network, fd); return err })
	if err != nil {
		return nil, r.fail("dial", path, err)
	}
	return c, nil
}

package ctrl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/unixsock"
)

// ErrInUse: another server listens at the path.
var ErrInUse = errors.New("another server listens there")

// Listen makes the server's socket file, with the mode. A file that a server
// left behind is replaced; one where a server listens, and anything that is no
// socket, is left alone. The new file is renamed over the old one, so a client
// finds either, and each with somebody or nobody behind it, never a half-made
// one.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	l, err := listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return l, nil
}

// Listener is a listening socket and its file.
type Listener struct {
	*net.UnixListener
	path string
	file fs.FileInfo
}

// Close ends listening and takes the file away, unless another server has put
// its own in the place since.
func (l *Listener) Close() error {
	err := l.UnixListener.Close()
	if info, serr := os.Lstat(l.path); serr == nil && os.SameFile(info, l.file) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}

func listen(path string, mode fs.FileMode) (*Listener, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// Two servers that start at the same time do so one after the other.
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock the directory: %w", err)
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	// Through the directory's descriptor, because sun_path has 108 bytes.
	name := filepath.Base(path)
	temp := "." + name + "." + strconv.Itoa(os.Getpid())
	unix.Unlinkat(int(dir.Fd()), temp, 0)
	short := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + temp
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(short, mode)
	var info fs.FileInfo
	if err == nil {
		info, err = os.Lstat(short)
	}
	if err == nil {
		err = unix.Renameat(int(dir.Fd()), temp, int(dir.Fd()), name)
	}
	if err != nil {
		l.Close()
		unix.Unlinkat(int(dir.Fd()), temp, 0)
		return nil, err
	}
	return &Listener{l, path, info}, nil
}

// vacant tells whether the path may be taken.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is a %s, not a socket", info.Mode().Type())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := unixsock.Dial(ctx, "unix", path)
	switch {
	case err == nil:
		c.Close()
		return ErrInUse
	case errors.Is(err, context.DeadlineExceeded): // its queue is full
		return ErrInUse
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EPROTOTYPE), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

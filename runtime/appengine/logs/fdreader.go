package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// fdReader is a descriptor that can be read without blocking the program and
// without changing what its other holders see.
type fdReader struct {
	*os.File
	socket  int // -1 for the others, which are File
	regular bool
}

// Close closes the descriptor.
func (r fdReader) Close() error {
	if r.File == nil {
		return unix.Close(r.socket)
	}
	return r.File.Close()
}

// reader makes one of a passed descriptor, which it takes. A pipe or terminal
// is opened again: O_NONBLOCK is of the open file, and the container has the
// same one. A descriptor that could not be read itself is refused, since the
// second open is ours.
func reader(fd int) (fdReader, error) {
	r, keep, err := readerOf(fd)
	if err != nil || !keep {
		err = errors.Join(err, unix.Close(fd))
	}
	return r, err
}

// readerOf is reader; keep says that the descriptor itself is in use.
func readerOf(fd int) (r fdReader, keep bool, err error) {
	var st unix.Stat_t
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err = errors.Join(err, unix.Fstat(fd, &st)); err != nil {
		return r, false, fmt.Errorf("look at a passed descriptor: %w", err)
	}
	if flags&unix.O_PATH != 0 || flags&unix.O_ACCMODE == unix.O_WRONLY {
		return r, false, errors.New("the passed descriptor cannot be read")
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return fdReader{socket: fd}, true, nil
	case unix.S_IFREG:
		return fdReader{File: os.NewFile(uintptr(fd), "passed file"), socket: -1, regular: true}, true, nil
	case unix.S_IFCHR:
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return r, false, errors.New("the passed descriptor is of a device that is no terminal")
		}
	case unix.S_IFIFO:
	default:
		return r, false, errors.New("the passed descriptor is no pipe, terminal, socket or file")
	}
	again, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return r, false, fmt.Errorf("open a passed descriptor: %w", err)
	}
	return fdReader{File: again, socket: -1}, false, nil
}

// copy logs what can be read until the end or until ctx is done.
func (r fdReader) copy(ctx context.Context, src *Source) {
	if r.File == nil {
		r.copySocket(ctx, src)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		n, err := r.Read(buf)
		_, _ = src.Write(buf[:n])
		if err != nil {
			return
		}
		for r.regular && ctx.Err() == nil && src.pending.Load() > src.limit/2 {
			sleep(ctx, 10*time.Millisecond) // a file waits, and may be huge
		}
	}
}

// copySocket reads without O_NONBLOCK, which is the container's to set.
func (r fdReader) copySocket(ctx context.Context, src *Source) {
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		poll := []unix.PollFd{{Fd: int32(r.socket), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 500); n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		n, _, err := unix.Recvfrom(r.socket, buf, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil || n <= 0:
			return
		}
		_, _ = src.Write(buf[:n])
	}
}

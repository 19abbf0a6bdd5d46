package ctrltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/unixsock"
)

// insideMarker is the first argument of a process that [Child] recognises.
const insideMarker = "pv-ctrl-test-inside"

// Child does what [DialInside] starts this program again for, and does not
// return then. Call it first in TestMain.
func Child() {
	if len(os.Args) != 2 || os.Args[0] != insideMarker {
		return
	}
	if err := inside(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, insideMarker+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inside connects, hands the connection over, and stays until it is given up:
// the server looks at who connected with every request.
func inside(socket string) error {
	c, err := unixsock.Dial(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	f, err := c.File()
	if err != nil {
		return err
	}
	const handOver = 3
	if err := unix.Sendmsg(handOver, []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		return fmt.Errorf("hand the connection over: %w", err)
	}
	f.Close()
	c.Close()
	var end [1]byte
	_, err = unix.Read(handOver, end[:])
	return err
}

// DialInside connects to the socket as a process in the cgroup (a directory of
// the cgroup2 file system) would, so that the connection is of whatever the
// server takes the cgroup for.
func DialInside(cgroup, socket string) (net.Conn, error) {
	dir, err := os.Open(cgroup)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "")
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{insideMarker, socket}, ExtraFiles: []*os.File{theirs}, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())},
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("start a process in %s: %w", cgroup, err)
	}
	c, err := receive(pair[0])
	if err != nil {
		unix.Close(pair[0])
		return nil, errors.Join(fmt.Errorf("take the connection of process %s over: %w", strconv.Itoa(cmd.Process.Pid), err), cmd.Wait())
	}
	return &insideConn{c, pair[0], cmd}, nil
}

// receive takes a connection that comes over the socket.
func receive(fd int) (*net.UnixConn, error) {
	var data [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := unix.Recvmsg(fd, data[:], control, unix.MSG_CMSG_CLOEXEC)
	if err == nil && n == 0 {
		err = errors.New("it gives none")
	}
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	return unixsock.Conn(fds[0])
}

// insideConn ends the process when it is closed.
type insideConn struct {
	*net.UnixConn
	handOver int
	cmd      *exec.Cmd
}

func (c *insideConn) Close() error {
	return errors.Join(c.UnixConn.Close(), unix.Close(c.handOver), c.cmd.Wait())
}

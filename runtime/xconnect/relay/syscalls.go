package relay

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

var ownPid = int32(os.Getpid())

// recvmsg and sendmsg are the bare calls, which never wait: those of x/sys
// allocate an address for each message.
func recvmsg(fd int, p, oob []byte) (n, oobn, flags int, err error) {
	var iov unix.Iovec
	var msg unix.Msghdr
	fill(&msg, &iov, p, oob)
	for {
		r, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, 0, 0, e
		}
		return int(r), int(msg.Controllen), int(msg.Flags), nil
	}
}

func sendmsg(fd int, p, oob []byte) (int, error) {
	var iov unix.Iovec
	var msg unix.Msghdr
	fill(&msg, &iov, p, oob)
	r, _, e := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	if e != 0 {
		return 0, e
	}
	return int(r), nil
}

// acceptNow takes a consumer that waits. Its socket does not block.
func acceptNow(listener int) (int, error) {
	r, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(r), nil
}

// connectPath connects a stream, which does not block, to the socket file of an
// O_PATH descriptor. It must be one that nobody can keep us waiting for.
func connectPath(path int) (int, error) {
	r, _, e := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if e != 0 {
		return -1, e
	}
	var name [32]byte // sun_path: "/proc/self/fd/" and a number
	sa := append(name[:0:32], 0, 0)
	*(*uint16)(unsafe.Pointer(&sa[0])) = unix.AF_UNIX // in the machine's byte order
	sa = strconv.AppendInt(append(sa, "/proc/self/fd/"...), int64(path), 10)
	sa = append(sa, 0)
	if _, _, e := unix.RawSyscall(unix.SYS_CONNECT, r, uintptr(unsafe.Pointer(&sa[0])), uintptr(len(sa))); e != 0 {
		closePath(int(r))
		return -1, e
	}
	return int(r), nil
}

// closePath closes what has nothing to flush: an O_PATH descriptor, or a socket
// that nobody has been connected to.
func closePath(fd int) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

func fill(msg *unix.Msghdr, iov *unix.Iovec, p, oob []byte) {
	if len(p) > 0 {
		iov.Base = &p[0]
		iov.SetLen(len(p))
		msg.Iov = iov
		msg.SetIovlen(1)
	}
	if len(oob) > 0 {
		msg.Control = &oob[0]
		msg.SetControllen(len(oob))
	}
}

package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFiles is SCM_MAX_FD of the kernel's include/net/scm.h: the most
// descriptors that one message can carry.
const maxFiles = 253

// oobSize holds the ancillary data of one message: a full SCM_RIGHTS and an
// SCM_CREDENTIALS.
var oobSize = unix.CmsgSpace(maxFiles*4) + unix.CmsgSpace(unix.SizeofUcred)

// ErrLostFiles says that a message's descriptors could not be taken, because
// the process has too many open. The connection is cut: bytes whose
// descriptors are missing would be misread.
var ErrLostFiles = errors.New("descriptors of a message were lost: too many are open")

// ErrTruncated says that a message was larger than the buffer for it.
var ErrTruncated = errors.New("the message is larger than its buffer")

// A Conn is one end of a relay. One goroutine may receive while another sends.
type Conn struct {
	net     *net.UnixConn
	raw     syscall.RawConn
	packets bool // it keeps the edges of messages
}

// NewConn prepares c: from here on messages carry their sender's credentials.
func NewConn(c *net.UnixConn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var opt error
	err = raw.Control(func(fd uintptr) { opt = askForCredentials(int(fd)) })
	if err = errors.Join(err, opt); err != nil {
		return nil, err
	}
	return &Conn{net: c, raw: raw, packets: c.LocalAddr().Network() != "unix"}, nil
}

func askForCredentials(fd int) error {
	on := int32(1)
	if _, _, err := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, uintptr(unsafe.Pointer(&on)), unsafe.Sizeof(on), 0); err != 0 {
		return fmt.Errorf("ask for credentials: %w", err)
	}
	return nil
}

// Net is the connection beneath, for deadlines and closing.
func (c *Conn) Net() *net.UnixConn { return c.net }

// Peer is the identity of the other side, from SO_PEERCRED; a zero Pid means
// that the kernel does not say.
func (c *Conn) Peer() unix.Ucred {
	var peer unix.Ucred
	c.raw.Control(func(fd uintptr) { peer = peerOf(int(fd)) })
	return peer
}

func peerOf(fd int) unix.Ucred {
	if u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
		return *u
	}
	return unix.Ucred{}
}

// Ancillary is what travels beside a message's bytes.
type Ancillary struct {
	Files []int       // open descriptors; whoever holds the value closes them
	Cred  *unix.Ucred // nil: none
}

// CloseFiles closes the descriptors.
func (a *Ancillary) CloseFiles() {
	for _, fd := range a.Files {
		unix.Close(fd)
	}
	a.Files = nil
}

// Receive reads a message or a stream's next bytes into p and takes the
// descriptors that came with them. The end of the stream is io.EOF. What was
// received must be sent on or closed.
func (c *Conn) Receive(p []byte) (int, Ancillary, error) {
	oob := make([]byte, oobSize)
	var n, oobn, flags int
	var err error
	rerr := c.raw.Read(func(fd uintptr) bool {
		n, oobn, flags, err = recvmsg(int(fd), p, oob)
		return err != unix.EAGAIN
	})
	if rerr != nil {
		return 0, Ancillary{}, rerr
	}
	return c.received(n, oob[:max(oobn, 0)], flags, err)
}

// received makes sense of what recvmsg returned.
func (c *Conn) received(n int, oob []byte, flags int, err error) (int, Ancillary, error) {
	return sense(n, oob, flags, err, c.packets, c.Peer)
}

// sense makes sense of what recvmsg returned; peer is asked when the kernel
// does not say who sent it.
func sense(n int, oob []byte, flags int, err error, packets bool, peer func() unix.Ucred) (int, Ancillary, error) {
	if err != nil {
		return 0, Ancillary{}, err
	}
	a, perr := parse(oob)
	if n == 0 && (!packets || len(oob) == 0) {
		a.CloseFiles()
		return 0, a, io.EOF // an empty packet would bring credentials
	}
	switch {
	case perr != nil:
	case flags&unix.MSG_CTRUNC != 0:
		perr = ErrLostFiles
	case flags&unix.MSG_TRUNC != 0:
		perr = ErrTruncated
	}
	if perr != nil {
		a.CloseFiles()
		return 0, a, perr
	}
	if a.Cred != nil && a.Cred.Pid == 0 { // sent before we asked for credentials
		cred := peer()
		a.Cred = &cred
	}
	return n, a, nil
}

// onlyCredentials reports whether the control data is one SCM_CREDENTIALS of a
// process that is known: then it can be sent as it was received.
func onlyCredentials(oob []byte) bool {
	if len(oob) < unix.CmsgLen(unix.SizeofUcred) || len(oob) > unix.CmsgSpace(unix.SizeofUcred) {
		return false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	u := (*unix.Ucred)(unsafe.Pointer(&oob[unix.CmsgLen(0)]))
	return h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_CREDENTIALS && int(h.Len) == unix.CmsgLen(unix.SizeofUcred) && u.Pid != 0
}

func parse(oob []byte) (Ancillary, error) {
	var a Ancillary
	for len(oob) >= unix.CmsgLen(0) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		if uint64(h.Len) < uint64(unix.CmsgLen(0)) || uint64(h.Len) > uint64(len(oob)) {
			return a, errors.New("the kernel's control message is damaged")
		}
		data := oob[unix.CmsgLen(0):h.Len]
		switch {
		case h.Level != unix.SOL_SOCKET:
		case h.Type == unix.SCM_RIGHTS:
			for i := 0; i+4 <= len(data); i += 4 {
				a.Files = append(a.Files, int(*(*int32)(unsafe.Pointer(&data[i]))))
			}
		case h.Type == unix.SCM_CREDENTIALS && len(data) >= unix.SizeofUcred:
			u := *(*unix.Ucred)(unsafe.Pointer(&data[0]))
			a.Cred = &u
		}
		oob = oob[min(unix.CmsgSpace(int(h.Len)-unix.CmsgLen(0)), len(oob)):]
	}
	return a, nil
}

// Send writes all of p, the ancillary data with its first byte, and closes the
// descriptors in every case.
func (c *Conn) Send(p []byte, a Ancillary) error {
	defer a.CloseFiles()
	oob := encode(a)
	cred := a.Cred
	var err error
	werr := c.raw.Write(func(fd uintptr) bool {
		for {
			var n int
			n, err = sendmsg(int(fd), p, oob)
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
			case (err == unix.ESRCH || err == unix.EPERM) && cred != nil && cred.Pid != ownPid:
				// The sender has ended, or only root may name another process.
				// Its user and group still count; the pid must be one that
				// exists, or ours.
				cred = &unix.Ucred{Pid: ownPid, Uid: cred.Uid, Gid: cred.Gid}
				a.Cred = cred
				oob = encode(a)
			case err == unix.EMSGSIZE && grow(int(fd), len(p)):
			case err != nil:
				return true
			default:
				p = p[n:]
				if len(p) == 0 {
					return true
				}
				if len(a.Files) > 0 { // they went with the first byte
					oob = encode(Ancillary{Cred: cred})
				}
			}
		}
	})
	return errors.Join(werr, err)
}

// grow makes room for a packet that is larger than the send buffer; its sender
// had the room, so we take it too. It reports whether another try makes sense.
func grow(fd, size int) bool {
	const most = 16 << 20
	have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil || size > most || have > 2*size+4096 {
		return false
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size+4096) == nil
}

// encode returns the control messages.
func encode(a Ancillary) []byte {
	var b []byte
	if len(a.Files) > 0 {
		var data []byte
		b, data = control(b, unix.SCM_RIGHTS, 4*len(a.Files))
		for i, fd := range a.Files {
			*(*int32)(unsafe.Pointer(&data[4*i])) = int32(fd)
		}
	}
	if a.Cred != nil {
		var data []byte
		b, data = control(b, unix.SCM_CREDENTIALS, unix.SizeofUcred)
		*(*unix.Ucred)(unsafe.Pointer(&data[0])) = *a.Cred
	}
	return b
}

// control appends the header of a message with n bytes and returns where they go.
func control(b []byte, kind, n int) (all, data []byte) {
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(n))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
	h.Level, h.Type = unix.SOL_SOCKET, int32(kind)
	h.SetLen(unix.CmsgLen(n))
	return b, b[at+unix.CmsgLen(0):]
}

func (c *Conn) shutdown(how int) error {
	var err error
	cerr := c.raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), how) })
	return errors.Join(cerr, err)
}

// gone reports whether the other side has closed the socket altogether.
func (c *Conn) gone() bool {
	gone := false
	c.raw.Control(func(fd uintptr) { gone = hungUp(fd) })
	return gone
}

// waitHangup returns when the other side has closed the socket altogether, or
// on the read deadline.
func (c *Conn) waitHangup() error { return c.raw.Read(hungUp) }

func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

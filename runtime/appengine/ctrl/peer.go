package ctrl

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Owner tells which container the process belongs to: its name, or
// [pvctrl.HostName] for one of no container. ok is false when it cannot be
// told, above all because the process is gone. It looks at the pid alone; the
// server sees to it that the pid is still the process it was.
type Owner func(pid int) (name string, ok bool)

// identity is who sent a request.
type identity struct {
	Name string // a container's name or [pvctrl.HostName]
	Mgmt bool   // what needs the role mgmt is allowed
}

// errCaller: nobody knows who sent the request.
var errCaller = errors.New("the caller cannot be identified")

// peer is the process that connected. The kernel notes it when the connection
// is made (SO_PEERCRED); by the time somebody looks, its pid may belong to
// another process. So it is held by a pidfd that the kernel made for the
// connection (SO_PEERPIDFD, since 6.5), and what is read about the pid counts
// only if the process behind the descriptor still had it afterwards: a pid is
// free for another only when its process is gone and was waited for, and then
// a signal through the descriptor is ESRCH.
//
// The identity is taken when the connection is accepted and taken again with
// each request. A process that has ended since keeps the first one: it did
// connect, and it can give its connection to nobody who could not connect
// himself. A living process whose identity is another one now, or cannot be
// told any more, has none.
type peer struct {
	pid   int
	fd    int // pidfd; -1: none
	name  string
	known bool
	cause error // why it is not known
}

// identify asks the kernel who is on the other side. It needs close.
func identify(c *net.UnixConn, owner Owner) *peer {
	p := &peer{fd: -1}
	cred, err := unixsock.PeerOf(c)
	if err == nil {
		p.pid = cred.PID
		p.fd, err = pidfdOf(c, cred.PID)
	}
	if err != nil {
		p.cause = err
		return p
	}
	p.name, p.known = p.look(owner)
	if !p.known {
		p.cause = fmt.Errorf("process %d is gone, or in no known place", p.pid)
	}
	return p
}

// pidfdOf gives the descriptor of the process that connected. Before Linux 6.5
// it is opened by pid: a process that ended before this server accepted its
// connection, and whose pid was taken in that time, is then not noticed.
func pidfdOf(c *net.UnixConn, pid int) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var opt error
	err = raw.Control(func(s uintptr) { fd, opt = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PEERPIDFD) })
	if errors.Is(opt, unix.ENOPROTOOPT) {
		if pid <= 0 { // of a pid namespace that we do not see
			return -1, fmt.Errorf("the peer's process has no pid here")
		}
		fd, opt = unix.PidfdOpen(pid, 0)
	}
	if err = errors.Join(err, opt); err != nil {
		return -1, fmt.Errorf("hold the peer's process: %w", err)
	}
	return fd, nil
}

// look asks for the owner and makes sure that the answer is about the process
// behind the descriptor.
//
// The kernel shows a process that exits, on a cgroup v1 hierarchy, in the root
// (proc_cgroup_show), so that it looks like one of the host; it stays so while
// it is not waited for, and a container can leave it so for as long as it
// likes: the first thread ends and another one connects. So the host's name
// counts only for a process whose first thread is not exiting afterwards.
func (p *peer) look(owner Owner) (string, bool) {
	if p.pid <= 0 {
		return "", false
	}
	name, ok := owner(p.pid)
	if !ok || name == "" || name == pvctrl.HostName && exiting(p.pid) {
		return "", false
	}
	if errors.Is(unix.PidfdSendSignal(p.fd, 0, nil, 0), unix.ESRCH) {
		return "", false // what was read may be another process's
	}
	return name, true
}

// exiting tells whether the process's first thread has begun to exit, or is
// gone: PF_EXITING among the flags, which are the ninth field (proc_pid_stat(5)).
func exiting(pid int) bool {
	const pfExiting = 0x4 // include/linux/sched.h
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	i := bytes.LastIndexByte(text, ')') // the name before it may be anything
	fields := bytes.Fields(text[i+1:])
	if len(fields) < 7 {
		return true
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	return err != nil || flags&pfExiting != 0
}

// ended tells whether the process has, or is about to.
func (p *peer) ended() bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || n > 0 || exiting(p.pid)
		}
	}
}

// now is the identity at the time of a request.
func (p *peer) now(owner Owner) (string, error) {
	if !p.known {
		return "", fmt.Errorf("%w: %w", errCaller, p.cause)
	}
	if p.ended() {
		return p.name, nil
	}
	name, ok := p.look(owner)
	switch {
	case ok && name == p.name, !ok && p.ended():
		return p.name, nil
	case !ok:
		return "", fmt.Errorf("%w: process %d was %s, and cannot be told now", errCaller, p.pid, p.name)
	}
	return "", fmt.Errorf("%w: process %d was %s when it connected and is %s now", errCaller, p.pid, p.name, name)
}

func (p *peer) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// caller finds out what the process's container may do. Where no container has
// the name and it ends in a counter, as parallel runs of upstream's appengine
// give it, the name without the counter is tried.
func (s *Server) caller(p *peer) (identity, error) {
	name, err := p.now(s.o.Owner)
	if err != nil {
		return identity{}, err
	}
	if name == pvctrl.HostName {
		return identity{name, true}, nil
	}
	mgmt, known := s.o.Backend.Containers.Mgmt(name)
	if !known {
		if i := strings.LastIndexByte(name, '-'); i > 0 && i+1 < len(name) && strings.Trim(name[i+1:], "0123456789") == "" {
			name = name[:i]
			mgmt, known = s.o.Backend.Containers.Mgmt(name)
		}
	}
	if !known {
		return identity{}, fmt.Errorf("%w: process %d is in %q, which is no container of the running state", errCaller, p.pid, p.name)
	}
	return identity{name, mgmt}, nil
}

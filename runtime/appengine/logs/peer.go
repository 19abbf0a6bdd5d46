package logs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Identity says who sends on a socket. What a message claims counts only for
// senders on the host.
type Identity struct {
	// Platform is who, for a socket that only one container has. It names
	// senders that have ended before they are looked at, such as logger(1),
	// which Owner cannot.
	Platform string
	// Owner tells which container a process belongs to; an empty name is the
	// host, and false means that it cannot be told: then the sender is nobody.
	// It is asked where Platform is empty. A process that has ended when Owner
	// returns is nobody too: its number may be another's.
	Owner func(pid int) (container string, ok bool)
}

// sender is who a message is from.
type sender struct {
	platform string
	host     bool
}

// of asks about a process that pidfd holds; -1 means that the kernel has none.
func (id Identity) of(pid, pidfd int) sender {
	if id.Platform != "" {
		return sender{platform: id.Platform, host: id.Platform == Pantavisor}
	}
	if id.Owner == nil || pid <= 0 {
		return sender{platform: unknown}
	}
	// Without a pidfd from the kernel, one of our own at least ends the race
	// with what happens from now on.
	if pidfd < 0 {
		own, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return sender{platform: unknown}
		}
		defer unix.Close(own)
		pidfd = own
	}
	name, ok := id.Owner(pid)
	switch {
	case !ok || ended(pidfd):
		return sender{platform: unknown}
	case name == "":
		return sender{platform: Pantavisor, host: true}
	}
	return sender{platform: name}
}

// ended says whether the process of a pidfd is gone.
func ended(pidfd int) bool {
	return errors.Is(unix.PidfdSendSignal(pidfd, 0, nil, 0), unix.ESRCH)
}

// peer is who connected: a process at the time of the connection.
func (id Identity) peer(c *net.UnixConn) sender {
	if id.Platform != "" {
		return id.of(0, -1)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return sender{platform: unknown}
	}
	who := sender{platform: unknown}
	_ = raw.Control(func(fd uintptr) {
		u, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		pidfd, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD) // Linux 6.5
		switch {
		case err == nil:
			defer unix.Close(pidfd)
		case errors.Is(err, unix.ENOPROTOOPT):
			pidfd = -1
		default: // it has ended already
			return
		}
		who = id.of(int(u.Pid), pidfd)
	})
	return who
}

// passCredentials makes the kernel say with each datagram who sent it.
func passCredentials(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var opt error
	err = raw.Control(func(fd uintptr) {
		if opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1); opt == nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1) // Linux 6.5
		}
	})
	if err = errors.Join(err, opt); err != nil {
		return fmt.Errorf("ask for the credentials of datagrams: %w", err)
	}
	return nil
}

// datagram is who sent a datagram, from its control messages. It closes every
// descriptor among them.
func (id Identity) datagram(oob []byte) sender {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return sender{platform: unknown}
	}
	pid, pidfd := 0, -1
	for i := range list {
		if list[i].Header.Level != unix.SOL_SOCKET {
			continue
		}
		switch list[i].Header.Type {
		case unix.SCM_CREDENTIALS:
			if u, err := unix.ParseUnixCredentials(&list[i]); err == nil {
				pid = int(u.Pid)
			}
		case unix.SCM_PIDFD, unix.SCM_RIGHTS:
			held := list[i].Header.Type == unix.SCM_PIDFD
			list[i].Header.Type = unix.SCM_RIGHTS // the same bytes
			fds, _ := unix.ParseUnixRights(&list[i])
			for _, fd := range fds {
				if held {
					pidfd = fd
				}
				defer unix.Close(fd)
			}
		}
	}
	if pidfd >= 0 && pidOf(pidfd) != pid {
		return id.of(0, -1) // it has ended, and the number says nothing
	}
	return id.of(pid, pidfd)
}

// pidOf is the process of a pidfd, 0 for one that has ended.
func pidOf(pidfd int) int {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(info)) {
		if rest, ok := strings.CutPrefix(l, "Pid:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return max(n, 0)
		}
	}
	return 0
}

package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netns is an open network namespace. While it is open it lives, with or
// without a process in it.
type netns struct {
	file *os.File
	id   nsID
}

// nsID tells namespaces apart while they live (namespaces(7)).
type nsID struct{ dev, ino uint64 }

func openNetNS(path string) (*netns, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	n, err := newNetNS(f)
	if err != nil {
		f.Close()
	}
	return n, err
}

func newNetNS(f *os.File) (*netns, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat network namespace %s: %w", f.Name(), err)
	}
	return &netns{f, nsID{uint64(st.Dev), st.Ino}}, nil
}

func (n *netns) fd() int { return int(n.file.Fd()) }

func (n *netns) close() error { return n.file.Close() }

// do runs f on a thread that is in the namespace. The thread is not used for
// anything else after: it ends with its goroutine, so nothing has to bring it
// back, and nothing can go wrong when doing so.
func (n *netns) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", n.file.Name(), err)
			return
		}
		done <- f()
	}()
	return <-done
}

// handle gives a route netlink socket in the namespace; the caller closes it.
func (n *netns) handle() (h *netlink.Handle, err error) {
	err = n.do(func() (err error) {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return h, nil
}

// sysctl reads and, with a new value, writes below /proc/sys/net. The kernel
// shows there the values of the reading thread's namespace.
func (n *netns) sysctl(name string, value ...byte) (old byte, err error) {
	path := filepath.Join("/proc/sys/net", name)
	err = n.do(func() error {
		text, err := os.ReadFile(path)
		if err != nil || len(text) == 0 {
			return err
		}
		old = text[0]
		if len(value) == 0 || value[0] == old {
			return nil
		}
		return os.WriteFile(path, value[:1], 0)
	})
	return old, err
}

// link finds an interface. It is nil where there is none.
func link(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for interface %s: %w", name, err)
	}
	return l, nil
}

func missing(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok
}

// links lists all interfaces. The kernel may say that the list changed while it
// was read; then it is read again.
func links(h *netlink.Handle) ([]netlink.Link, error) {
	for range 5 {
		list, err := h.LinkList()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return h.LinkList()
}

// addresses lists an interface's (all interfaces' for nil), read again like links.
func addresses(h *netlink.Handle, l netlink.Link) ([]netlink.Addr, error) {
	for range 5 {
		list, err := h.AddrList(l, netlink.FAMILY_ALL)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return h.AddrList(l, netlink.FAMILY_ALL)
}

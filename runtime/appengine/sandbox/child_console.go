package sandbox

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mnt"
)

// pty is a pseudo terminal of the container's.
type pty struct {
	master, slave int
	number        int
}

// openPTY makes a pseudo terminal in the devpts that dir is open on.
func openPTY(dir int) (*pty, error) {
	master, err := unix.Openat(dir, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open ptmx: %w", err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	}
	slave := -1
	if err == nil {
		// TIOCGPTPEER opens the other end without a name that could be a trap.
		fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if slave = int(fd); errno != 0 {
			err = errno
		}
	}
	if err != nil {
		unix.Close(master)
		return nil, fmt.Errorf("open a pseudo terminal: %w", err)
	}
	return &pty{master, slave, n}, nil
}

// setUpConsole gives the container a terminal as /dev/console, its standard
// input and output, and more as /dev/tty1 and so on. The runtime gets the other
// ends. As under lxc it is nobody's controlling terminal, so that a getty can
// take it, and with lxc.console.path = none there is /dev/null instead.
func (c *child) setUpConsole() error {
	if c.Config.NoConsole {
		null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return c.stdio(null)
	}
	console, err := openPTY(c.pts)
	if err != nil {
		return err
	}
	unix.Fchown(console.slave, int(c.Config.Init.UID), -1) // the group stays tty
	if err := send(report{Console: true}, console.master); err != nil {
		return err
	}
	unix.Close(console.master)
	c.bindTerminal(console, "/dev/console")
	if err := c.makeTTYs(min(c.Config.TTYs, maxTTYs)); err != nil {
		return err
	}
	return c.stdio(console.slave)
}

// bindTerminal shows a terminal under a name in /dev.
func (c *child) bindTerminal(p *pty, name string) {
	err := func() error {
		at, err := c.root.Create(name, 0o600)
		if err != nil {
			return err
		}
		defer at.Close()
		fd, err := mnt.CloneAt(c.pts, strconv.Itoa(p.number), false)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return mnt.Attach(fd, at.FD)
	}()
	if err != nil {
		c.warn("%s is not there: %v", name, err)
	}
}

func (c *child) makeTTYs(n int) error {
	if n == 0 || !c.devIsOurs() {
		return nil
	}
	var masters []int
	for i := 1; i <= n; i++ {
		p, err := openPTY(c.pts)
		if err != nil {
			return fmt.Errorf("tty%d: %w", i, err)
		}
		c.bindTerminal(p, "/dev/tty"+strconv.Itoa(i))
		unix.Close(p.slave)
		masters = append(masters, p.master)
	}
	err := send(report{TTYs: n}, masters...)
	for _, fd := range masters {
		unix.Close(fd)
	}
	return err
}

func (c *child) stdio(fd int) error {
	for std := range 3 {
		if err := unix.Dup3(fd, std, 0); err != nil {
			return err
		}
	}
	return unix.Close(fd)
}

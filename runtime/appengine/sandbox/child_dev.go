package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/inroot"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mnt"
)

// nodes are the devices that every program may expect.
var nodes = []device{
	{"null", false, 1, 3, 0, 0, 0o666}, {"zero", false, 1, 5, 0, 0, 0o666}, {"full", false, 1, 7, 0, 0, 0o666},
	{"random", false, 1, 8, 0, 0, 0o666}, {"urandom", false, 1, 9, 0, 0, 0o666}, {"tty", false, 5, 0, 0, 0, 0o666},
}

// links are the symbolic links in /dev; proc(5) and pts(4) have their reasons.
var links = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
}

// mountDev gives the container a /dev of its own.
func (c *child) mountDev() error {
	c.pts = -1
	if !c.Config.Autodev {
		return nil
	}
	at, err := c.root.Mkdir("/dev", 0o755)
	if err != nil {
		return fmt.Errorf("make /dev: %w", err)
	}
	defer at.Close()
	fd, err := mnt.FS("tmpfs", "none", mnt.Options{
		Set: unix.MOUNT_ATTR_NOSUID, Data: []string{"mode=0755", "size=" + strconv.FormatInt(c.Config.AutodevMax, 10)}})
	if err == nil {
		defer unix.Close(fd)
		err = mnt.Attach(fd, at.FD)
	}
	if err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	c.rootDev = st.Dev
	return nil
}

// fillDev puts nodes into /dev if it is still ours: with PV_SECURITY_FULLDEV the
// host's own /dev lies over it, where nothing may be made.
func (c *child) fillDev() error {
	dev, err := c.root.Lookup("/dev")
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open /dev: %w", err)
	}
	defer dev.Close()
	ours := c.rootDev != 0 && dev.Dev == c.rootDev
	if ours {
		if err := c.makeNodes(dev.FD); err != nil {
			return err
		}
	}
	root, err := c.root.Lookup("/")
	if err != nil {
		return fmt.Errorf("open the root: %w", err)
	}
	root.Close()
	if err := c.mountPTS(ours || dev.Dev == root.Dev); err != nil {
		return err
	}
	if !ours {
		return nil
	}
	if err := c.devDir("shm", "tmpfs", mnt.Options{Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Data: []string{"mode=1777"}}); err != nil {
		return err
	}
	if err := c.devDir("mqueue", "mqueue", mnt.Options{Set: quiet}); err != nil {
		c.warn("/dev/mqueue is not mounted: %v", err)
	}
	return nil
}

// devIsOurs reports whether /dev is the file system that mountDev made.
func (c *child) devIsOurs() bool {
	dev, err := c.root.Lookup("/dev")
	if err != nil {
		return false
	}
	dev.Close()
	return c.rootDev != 0 && dev.Dev == c.rootDev
}

func (c *child) devDir(name, kind string, o mnt.Options) error {
	at, err := c.root.Mkdir("/dev/"+name, 0o755)
	if err != nil {
		return fmt.Errorf("make /dev/%s: %w", name, err)
	}
	defer at.Close()
	fd, err := mnt.FS(kind, kind, o)
	if err == nil {
		defer unix.Close(fd)
		err = mnt.Attach(fd, at.FD)
	}
	if err != nil {
		return fmt.Errorf("mount /dev/%s: %w", name, err)
	}
	return nil
}

func (c *child) makeNodes(dev int) error {
	for _, d := range nodes {
		if err := c.makeNode(dev, d); err != nil {
			return fmt.Errorf("make /dev/%s: %w", d.Name, err)
		}
	}
	for _, d := range c.Devices {
		if err := c.makeNode(dev, d); err != nil {
			c.warn("mdev: /dev/%s is not there: %v", d.Name, err)
		}
	}
	for _, l := range links {
		if err := unix.Symlinkat(l[0], dev, l[1]); err != nil && err != unix.EEXIST {
			return fmt.Errorf("make /dev/%s: %w", l[1], err)
		}
	}
	return nil
}

// makeNode makes a device node; without the right to, it binds the host's.
func (c *child) makeNode(dev int, d device) error {
	if dir := path.Dir(d.Name); dir != "." {
		f, err := c.root.Mkdir("/dev/"+dir, 0o755)
		if err != nil {
			return err
		}
		defer f.Close()
		dev, d.Name = f.FD, path.Base(d.Name)
	}
	mode := uint32(unix.S_IFCHR)
	if d.Block {
		mode = unix.S_IFBLK
	}
	if !c.Rootless {
		unix.Unlinkat(dev, d.Name, 0) // an mdev rule for a node that is there
		err := unix.Mknodat(dev, d.Name, mode|d.Mode, int(unix.Mkdev(d.Major, d.Minor)))
		if err == nil {
			return unix.Fchownat(dev, d.Name, int(d.UID), int(d.GID), unix.AT_SYMLINK_NOFOLLOW)
		}
		if err != unix.EPERM {
			return err
		}
	}
	host, err := unix.Open("/dev/"+d.Name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(host)
	return c.bindFile(host, dev, d.Name)
}

// bindFile binds what is open over a new file.
func (c *child) bindFile(source, dir int, name string) error {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0o644)
	if err == nil {
		unix.Close(fd)
	} else if err != unix.ENXIO {
		return err
	}
	clone, err := mnt.Clone(source, false)
	if err != nil {
		return err
	}
	defer unix.Close(clone)
	at, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return mnt.Attach(clone, at)
}

// mountPTS gives the container its own pseudo terminals. Where /dev has no
// place for them they still serve as the console.
func (c *child) mountPTS(mayMake bool) error {
	o := mnt.Options{Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, Data: []string{"newinstance", "ptmxmode=0666", "mode=0620"}}
	if c.Config.PTYs > 0 {
		o.Data = append(o.Data, "max="+strconv.Itoa(c.Config.PTYs+c.Config.TTYs)) // lxc counts those apart
	}
	if c.MaxID >= ttyGroup {
		o.Data = append(o.Data, "gid="+strconv.Itoa(ttyGroup))
	}
	fd, err := mnt.FS("devpts", "devpts", o)
	if err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	c.pts = fd
	var at *inroot.File
	if mayMake {
		at, err = c.root.Mkdir("/dev/pts", 0o755)
	} else {
		at, err = c.root.Lookup("/dev/pts")
	}
	if err != nil {
		c.warn("/dev/pts is not mounted: %v", err)
		return nil
	}
	defer at.Close()
	if err := mnt.Attach(fd, at.FD); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	return nil
}

// ttyGroup is the group tty of every distribution; grantpt(3) wants it.
const ttyGroup = 5

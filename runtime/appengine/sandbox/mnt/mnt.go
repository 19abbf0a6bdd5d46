// Package mnt makes mounts with the kernel's calls that work on descriptors
// (fsopen(2), fsmount(2), open_tree(2), mount_setattr(2), move_mount(2)): a
// mount is whole, with its attributes, before it is anywhere, and it is attached
// to a directory that is held open and not to a name. They need Linux 5.12.
package mnt

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// attrs are the mount options that belong to the mount and not to the file
// system on it; the second number is what is taken away.
var attrs = map[string][2]uint64{
	"ro":            {unix.MOUNT_ATTR_RDONLY, 0},
	"rw":            {0, unix.MOUNT_ATTR_RDONLY},
	"nosuid":        {unix.MOUNT_ATTR_NOSUID, 0},
	"suid":          {0, unix.MOUNT_ATTR_NOSUID},
	"nodev":         {unix.MOUNT_ATTR_NODEV, 0},
	"dev":           {0, unix.MOUNT_ATTR_NODEV},
	"noexec":        {unix.MOUNT_ATTR_NOEXEC, 0},
	"exec":          {0, unix.MOUNT_ATTR_NOEXEC},
	"nodiratime":    {unix.MOUNT_ATTR_NODIRATIME, 0},
	"diratime":      {0, unix.MOUNT_ATTR_NODIRATIME},
	"nosymfollow":   {unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	"noatime":       {unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME},
	"strictatime":   {unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME},
	"relatime":      {unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR__ATIME},
	"atime":         {unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR__ATIME},
	"norelatime":    {0, 0},
	"nostrictatime": {0, 0},
	"defaults":      {0, 0},
	"auto":          {0, 0},
	"noauto":        {0, 0},
}

var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "shared": unix.MS_SHARED, "slave": unix.MS_SLAVE, "unbindable": unix.MS_UNBINDABLE,
}

// Options are the options of mount(8), sorted by what they are about.
type Options struct {
	Set, Clear  uint64
	Propagation uint64
	Bind        bool
	Recursive   bool
	Data        []string // for the file system
}

// ParseOptions takes options apart, without those in skip.
func ParseOptions(list []string, skip ...string) Options {
	var o Options
	for _, s := range list {
		a, attr := attrs[s]
		p, propagation := propagations[s]
		if !propagation && s != "" {
			p, propagation = propagations[s[1:]]
			propagation = propagation && s[0] == 'r'
		}
		switch {
		case attr:
			o.Set = o.Set&^a[1] | a[0]
			o.Clear |= a[1]
		case s == "bind" || s == "rbind":
			o.Bind, o.Recursive = true, o.Recursive || s == "rbind"
		case propagation:
			o.Propagation = p
		case !slices.Contains(skip, s):
			o.Data = append(o.Data, s)
		}
	}
	return o
}

// FS makes a mount of a new file system, attached to nowhere. Its descriptor
// can be used like an O_PATH one of its root.
func FS(kind, source string, o Options) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		if errors.Is(err, unix.ENODEV) {
			err = fmt.Errorf("this kernel has no file system %s: %w", kind, err)
		}
		return -1, err
	}
	defer unix.Close(fs)
	if source != "" && source != "none" {
		if err := unix.FsconfigSetString(fs, "source", source); err != nil {
			return -1, explain(fs, "source="+source, err)
		}
	}
	for _, d := range o.Data {
		key, value, ok := strings.Cut(d, "=")
		if ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return -1, explain(fs, "option "+d, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, explain(fs, "", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(o.Set))
	if err != nil {
		return -1, explain(fs, "", err)
	}
	return fd, nil
}

// explain adds what the kernel says about a failure, which it keeps with the
// file system's context.
func explain(fs int, what string, err error) error {
	buf := make([]byte, 1024)
	var words []string
	for range 8 {
		n, rerr := unix.Read(fs, buf)
		if rerr != nil || n < 2 {
			break
		}
		words = append(words, strings.TrimSpace(string(buf[2:n])))
	}
	if what != "" {
		words = append(words, what)
	}
	if len(words) > 0 {
		return fmt.Errorf("%s: %w", strings.Join(words, "; "), err)
	}
	return err
}

// Clone makes a copy of a mount, or of the part of it below what fd is open on,
// attached to nowhere. The mount itself has to be attached before Linux 6.15.
func Clone(fd int, recursive bool) (int, error) { return CloneAt(fd, "", recursive) }

// CloneAt is Clone of a name below fd, which is trusted.
func CloneAt(fd int, name string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_NO_AUTOMOUNT | unix.AT_SYMLINK_NOFOLLOW)
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.OpenTree(fd, name, flags)
}

// Change gives a mount its attributes.
func Change(fd int, o Options) error {
	set := o.Set
	if set == 0 && o.Propagation == 0 {
		return nil
	}
	attr := unix.MountAttr{Attr_set: set, Propagation: o.Propagation}
	if set&(unix.MOUNT_ATTR_NOATIME|unix.MOUNT_ATTR_STRICTATIME) != 0 || o.Clear&unix.MOUNT_ATTR__ATIME != 0 {
		attr.Attr_clr = unix.MOUNT_ATTR__ATIME
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if o.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(fd, "", flags, &attr)
}

// Attach puts a mount on a directory or file that is held open. Afterwards the
// mount's descriptor is one of what is there now.
func Attach(fd, target int) error {
	return unix.MoveMount(fd, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// Private cuts the mounts of this namespace off from all others.
func Private() error {
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// Pivot makes an attached mount the root and takes the old root away.
func Pivot(root int) error {
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	// Stacking the old root on the new one saves a directory for it
	// (pivot_root(2), "pivot_root(".", ".")").
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return os.Chdir("/")
}

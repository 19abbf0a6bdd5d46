package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Skip is something of a tree that a directory did not take.
type Skip struct {
	Path string
	What string // "owner", "device", "xattr NAME", "setuid and setgid"
	Err  error
}

func (s Skip) String() string { return fmt.Sprintf("%s: %s: %v", printable(s.Path), s.What, s.Err) }

// Extract writes a tree to dest, which must not exist or be an empty
// directory. It builds beside dest and renames at the end, so dest is whole or
// not there.
//
// Everything is made with one-part names relative to open directories that
// Extract has made itself: no name and no symlink of the tree can lead out of
// dest. What the caller may not do (owners and devices without root) or the
// file system cannot hold is left out and returned; without its owner a file
// does not keep setuid or setgid.
func Extract(ctx context.Context, t *Tree, dest string) ([]Skip, error) {
	skips, err := extract(ctx, t, filepath.Clean(dest))
	if err != nil {
		return nil, fmt.Errorf("extract to %s: %w", dest, err)
	}
	return skips, nil
}

func extract(ctx context.Context, t *Tree, dest string) (_ []Skip, err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dest), "."+filepath.Base(dest)+".*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(tmp))
		}
	}()
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	x := &extraction{ctx: ctx, root: root, names: map[*Node]string{}, buf: make([]byte, spoolBlock)}
	if err := x.directory(root, ".", t.root); err != nil {
		return nil, err
	}
	if err := x.directories(root, ".", t.root); err != nil {
		return nil, err
	}
	d, err := os.Open(tmp)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := x.finish(d, "", ".", t.root); err != nil {
		return nil, err
	}
	// The kernel renames a directory over an empty one only; os.Rename refuses both.
	if err := unix.Rename(tmp, dest); err != nil {
		return nil, fmt.Errorf("rename: %w", err)
	}
	return x.skips, nil
}

// removeAll is os.RemoveAll for a tree with directories that may not be written.
func removeAll(dir string) error {
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(name, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}

type extraction struct {
	ctx   context.Context
	root  *os.Root
	names map[*Node]string // where a node was written first
	buf   []byte
	skips []Skip
}

// directory writes the entries of n into the open root of it.
func (x *extraction) directory(root *os.Root, name string, n *Node) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	for base, child := range n.Entries() {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		full := path.Join(name, base)
		if first, ok := x.names[child]; ok {
			if err := x.root.Link(first, full); err != nil {
				return err
			}
			continue
		}
		made, err := x.make(root, d, base, full, child)
		if err != nil {
			return fmt.Errorf("%s: %w", printable(full), err)
		}
		if !made {
			continue
		}
		if child.Kind == Dir {
			continue
		}
		x.names[child] = full
		if err := x.finish(d, base, full, child); err != nil {
			return fmt.Errorf("%s: %w", printable(full), err)
		}
	}
	return nil
}

// directories finishes the directories below n, the deepest first. It comes
// last: hard links go through directories that may not be searched later, and
// every entry changes its directory's time.
func (x *extraction) directories(root *os.Root, name string, n *Node) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	for base, child := range n.Entries() {
		if child.Kind != Dir {
			continue
		}
		full := path.Join(name, base)
		sub, err := root.OpenRoot(base)
		if err != nil {
			return fmt.Errorf("%s: %w", printable(full), err)
		}
		err = x.directories(sub, full, child)
		if err = errors.Join(err, sub.Close()); err != nil {
			return err
		}
		if err := x.finish(d, base, full, child); err != nil {
			return fmt.Errorf("%s: %w", printable(full), err)
		}
	}
	return nil
}

// make makes the node with its content, readable by nobody else yet. It
// reports whether there is one now.
func (x *extraction) make(root *os.Root, d *os.File, base, full string, n *Node) (bool, error) {
	switch n.Kind {
	case Dir:
		if err := root.Mkdir(base, 0o700); err != nil {
			return false, err
		}
		sub, err := root.OpenRoot(base)
		if err != nil {
			return false, err
		}
		defer sub.Close()
		return true, x.directory(sub, full, n)
	case File:
		return true, x.file(root, base, n)
	case Symlink:
		return true, root.Symlink(n.Target, base)
	}
	types := map[Kind]uint32{BlockDevice: unix.S_IFBLK, CharDevice: unix.S_IFCHR, Fifo: unix.S_IFIFO, Socket: unix.S_IFSOCK}
	err := unix.Mknodat(int(d.Fd()), base, types[n.Kind]|0o600, int(unix.Mkdev(n.Major, n.Minor)))
	return err == nil, x.allow(full, "device", err)
}

func (x *extraction) file(root *os.Root, base string, n *Node) (err error) {
	f, err := root.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if n.Content == nil {
		return nil
	}
	r, err := n.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := f.Truncate(n.Size()); err != nil {
		return err
	}
	for off := int64(0); off < n.Size(); {
		block := x.buf[:min(n.Size()-off, int64(len(x.buf)))]
		if _, err := io.ReadFull(r, block); err != nil {
			return fmt.Errorf("read content: %w", err)
		}
		if !allZero(block) { // what is not written stays a hole
			if _, err := f.WriteAt(block, off); err != nil {
				return err
			}
		}
		off += int64(len(block))
		if err := x.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// finish gives a node its owner, mode, attributes and time, in the order in
// which none of them takes back another: chown clears setuid and
// security.capability. base is "" for d itself.
func (x *extraction) finish(d *os.File, base, full string, n *Node) error {
	fd, flags := int(d.Fd()), unix.AT_SYMLINK_NOFOLLOW
	if base == "" {
		base = "."
	}
	mode := uint32(n.Mode)
	err := unix.Fchownat(fd, base, int(n.UID), int(n.GID), flags)
	if err != nil && mode&0o6000 != 0 && n.Kind != Symlink {
		mode &^= 0o6000
		x.skips = append(x.skips, Skip{full, "setuid and setgid", errors.New("the owner could not be set")})
	}
	if err := x.allow(full, "owner", err); err != nil {
		return err
	}
	if n.Kind != Symlink {
		if err := unix.Fchmodat(fd, base, mode, 0); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	for _, a := range n.Xattrs {
		if err := x.allow(full, "xattr "+a.Name, unix.Lsetxattr(procPath(d, base), a.Name, a.Value, 0)); err != nil {
			return err
		}
	}
	at, err := unix.TimeToTimespec(timeOf(n))
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if err := unix.UtimesNanoAt(fd, base, []unix.Timespec{at, at}, flags); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}

// allow turns a lack of permission or of support into a Skip.
func (x *extraction) allow(full, what string, err error) error {
	if err == nil {
		return nil
	}
	for _, soft := range []error{unix.EPERM, unix.EACCES, unix.ENOTSUP, unix.EINVAL, unix.ENOSPC, unix.E2BIG, unix.ERANGE} {
		isXattr := strings.HasPrefix(what, "xattr")
		if errors.Is(err, soft) && (isXattr || errors.Is(err, unix.EPERM) || what == "owner" && errors.Is(err, unix.EINVAL)) {
			x.skips = append(x.skips, Skip{full, what, err})
			return nil
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

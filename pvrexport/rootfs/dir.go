package rootfs

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// DirOptions says how FromDir reads a directory; the zero value takes
// everything as it is.
type DirOptions struct {
	Owner     func(uid, gid uint32) (uint32, uint32) // nil keeps the host's ids; see AllRoot
	ClampTime time.Time                              // later times become this one, as SOURCE_DATE_EPOCH asks
	Excludes  *Excludes                              // paths that are not read at all
	OneDevice bool                                   // do not enter other file systems: a mount point stays as an empty directory
	Skipped   func(name, what string)                // told about what a tree cannot hold, such as POSIX ACLs; may be nil
}

// FromDir reads a directory of the host into a Tree: every kind of node, all
// mode bits, owners, times in whole seconds, hard links and the extended
// attributes below user, trusted and security. Symlinks are data and never
// followed.
//
// Contents are read when they are asked for, through an os.Root of dir, so dir
// must stay as it is until the tree has been used. A file that is another one
// by then, or that has changed its size, is an error that names it.
func FromDir(ctx context.Context, dir string, opts DirOptions) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read root filesystem: %w", err)
	}
	w := &dirWalk{
		ctx: ctx, dir: dir, root: root, opts: opts,
		in:    intake{opts.Owner, opts.ClampTime, opts.Skipped},
		links: map[inode]*Node{},
	}
	t, err := w.run()
	if err != nil {
		return nil, fmt.Errorf("read root filesystem %s: %w", dir, err)
	}
	return t, nil
}

// inode identifies a file of the host.
type inode struct {
	major, minor uint32
	ino          uint64
}

func inodeOf(st *unix.Statx_t) inode { return inode{st.Dev_major, st.Dev_minor, st.Ino} }

type dirWalk struct {
	ctx   context.Context
	dir   string
	root  *os.Root
	opts  DirOptions
	in    intake
	links map[inode]*Node // files with more than one name
	top   inode
	buf   []byte // reused for attribute lists
}

func (w *dirWalk) run() (*Tree, error) {
	f, err := w.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := statAt(f, "")
	if err != nil {
		return nil, err
	}
	w.top = inodeOf(st)
	t := New()
	if t.root, err = w.node(f, "", ".", st); err != nil {
		return nil, err
	}
	return t, w.read(f, ".", t.root)
}

// read fills n with the entries of the open directory f. Every entry is looked
// at relative to f, so a directory that is moved meanwhile cannot lead the walk
// elsewhere, and paths longer than PATH_MAX are no problem.
func (w *dirWalk) read(f *os.File, name string, n *Node) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list %s: %w", name, err)
	}
	slices.Sort(names) // the first error, and which name a link's content is read by, are the same every time
	for _, base := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		full := path.Join(name, base)
		if w.opts.Excludes.Match(full) {
			continue
		}
		if err := w.entry(f, base, full, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *dirWalk) entry(f *os.File, base, full string, parent *Node) error {
	st, err := statAt(f, base)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if n := w.links[inodeOf(st)]; n != nil {
		parent.add(base, n)
		return nil
	}
	n, err := w.node(f, base, full, st)
	if err != nil {
		return err
	}
	parent.add(base, n)
	if n.Kind != Dir {
		if st.Nlink > 1 {
			w.links[inodeOf(st)] = n
		}
		return nil
	}
	if w.opts.OneDevice && (st.Dev_major != w.top.major || st.Dev_minor != w.top.minor) {
		return nil
	}
	sub, err := openDirAt(f, base)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", full, err)
	}
	defer sub.Close()
	now, err := statAt(sub, "")
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if inodeOf(now) != inodeOf(st) {
		return fmt.Errorf("%s: %w", full, ErrChanged)
	}
	return w.read(sub, full, n)
}

// node makes the Node of one entry of the open directory f; base is "" for f
// itself.
func (w *dirWalk) node(f *os.File, base, full string, st *unix.Statx_t) (*Node, error) {
	n := &Node{
		Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, ModTime: st.Mtime.Sec,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		n.Kind = Dir
	case unix.S_IFREG:
		n.Kind = File
		if st.Size > 0 {
			n.Content = &hostFile{w.root, w.dir, full, int64(st.Size), inodeOf(st)}
		}
	case unix.S_IFLNK:
		n.Kind = Symlink
		target, err := readlinkAt(f, base)
		if err != nil {
			return nil, fmt.Errorf("read link %s: %w", full, err)
		}
		n.Target = target
	case unix.S_IFBLK, unix.S_IFCHR:
		n.Kind = BlockDevice
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			n.Kind = CharDevice
		}
		n.Major, n.Minor = st.Rdev_major, st.Rdev_minor
	case unix.S_IFIFO:
		n.Kind = Fifo
	case unix.S_IFSOCK:
		n.Kind = Socket
	default:
		return nil, fmt.Errorf("%s: file type %#o is not known", full, st.Mode&unix.S_IFMT)
	}
	if err := w.xattrs(f, base, full, n); err != nil {
		return nil, fmt.Errorf("extended attributes of %s: %w", full, err)
	}
	w.in.apply(n)
	return n, nil
}

func (w *dirWalk) xattrs(f *os.File, base, full string, n *Node) error {
	if w.buf == nil {
		w.buf = make([]byte, 64<<10) // XATTR_LIST_MAX and XATTR_SIZE_MAX of the kernel
	}
	names, err := listXattrs(f, base, w.buf)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !storableXattr(name) {
			w.in.skip(full, "extended attribute "+name)
			continue
		}
		value, err := getXattr(f, base, name, w.buf)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		n.SetXattr(name, value)
	}
	return nil
}

package nsinject

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	pathpkg "path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// spot is a name in a directory that is held open.
type spot struct {
	*directory
	name string
}

// directory is shared by all spots in it: ten thousand sockets in one directory
// hold one descriptor for it.
type directory struct {
	dir   int // O_PATH
	owner *handle
	id    inode
	refs  int // guarded by handle.dirsMu
}

// spotFor opens the directory of path and makes what is missing of it.
func (h *handle) spotFor(path string) (spot, error) {
	clean := pathpkg.Clean("/" + path)
	if clean == "/" || strings.HasSuffix(path, "/") {
		return spot{}, fmt.Errorf("it names a directory: %w", fs.ErrInvalid)
	}
	fd, err := h.makeDirs(pathpkg.Dir(clean))
	if err != nil {
		return spot{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return spot{}, err
	}
	h.dirsMu.Lock()
	defer h.dirsMu.Unlock()
	d := h.dirs[inodeOf(&st)]
	if d == nil {
		d = &directory{dir: fd, owner: h, id: inodeOf(&st)}
		h.dirs[d.id] = d
	} else {
		unix.Close(fd)
	}
	d.refs++
	return spot{d, pathpkg.Base(clean)}, nil
}

func (s spot) close() {
	h := s.owner
	h.dirsMu.Lock()
	defer h.dirsMu.Unlock()
	if s.refs--; s.refs == 0 {
		delete(h.dirs, s.id)
		unix.Close(s.dir)
	}
}

func (h *handle) makeDirs(dir string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	fd, err := h.resolve(dir, flags)
	if err != unix.ENOENT {
		return fd, wrapDir(dir, err)
	}
	at, err := h.resolve("/", flags)
	if err != nil {
		return -1, err
	}
	made := "/"
	for name := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		made = pathpkg.Join(made, name)
		next, err := h.resolve(made, flags)
		if err == unix.ENOENT {
			next, err = h.makeDir(at, name, made)
		}
		unix.Close(at)
		if err != nil {
			return -1, wrapDir(made, err)
		}
		at = next
	}
	return at, nil
}

func wrapDir(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("open directory %s: %w", dir, err)
}

// makeDir makes one directory. Its mode is set on what was opened again inside
// the peer, whatever our umask.
func (h *handle) makeDir(at int, name, path string) (int, error) {
	err := h.do(func() error { return unix.Mkdirat(at, name, 0o755) })
	if err != nil && err != unix.EEXIST { // a link to nowhere, or somebody was faster
		return -1, err
	}
	made := err == nil
	fd, err := h.resolve(path, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil && made {
		err = h.do(func() error { return chmod(fd, 0o755) })
		if err != nil {
			unix.Close(fd)
		}
	}
	return fd, err
}

// chmod works on O_PATH descriptors, which fchmod(2) refuses. /proc/self/fd
// follows to the very inode.
func chmod(fd int, mode uint32) error { return unix.Chmod(fdPath(fd), mode) }

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// temp is the name under which s is prepared. It is made from s, so that what a
// killed daemon left there is found again.
func (s spot) temp() spot {
	sum := sha256.Sum256([]byte(s.name))
	return spot{s.directory, ".pvx-" + hex.EncodeToString(sum[:6])}
}

// inode tells files apart for as long as one of them is known to exist.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

// open holds what is at s now, without following or waking it.
func (s spot) open() (int, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := unix.Openat(s.dir, s.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, st, err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// put makes something at s in one step: create makes it under another name and
// finishes it there. What is at s already goes only if stale says so, and comes
// back if it was swapped meanwhile. It returns what s is now.
func (h *handle) put(s spot, create func(tmp spot) error, stale func(fd int, st *unix.Stat_t) bool) (inode, error) {
	h.place.Lock()
	defer h.place.Unlock()
	tmp := s.temp()
	if err := tmp.clear(stale); err != nil {
		return inode{}, err
	}
	if err := h.do(func() error { return create(tmp) }); err != nil {
		unix.Unlinkat(tmp.dir, tmp.name, 0)
		return inode{}, err
	}
	fd, st, err := tmp.open()
	if err != nil {
		return inode{}, err
	}
	unix.Close(fd)
	if err := h.do(func() error { return tmp.moveTo(s, stale) }); err != nil {
		unix.Unlinkat(tmp.dir, tmp.name, 0)
		return inode{}, err
	}
	return inodeOf(&st), nil
}

// clear takes a leftover away.
func (s spot) clear(stale func(fd int, st *unix.Stat_t) bool) error {
	fd, st, err := s.open()
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !stale(fd, &st) {
		return inTheWay(s.name, &st)
	}
	return unix.Unlinkat(s.dir, s.name, 0)
}

func (s spot) moveTo(to spot, stale func(fd int, st *unix.Stat_t) bool) error {
	err := unix.Renameat2(s.dir, s.name, to.dir, to.name, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // a filesystem without it
		if err = unix.Linkat(s.dir, s.name, to.dir, to.name, 0); err == nil {
			return unix.Unlinkat(s.dir, s.name, 0)
		}
	}
	if err != unix.EEXIST {
		return err
	}
	fd, st, err := to.open()
	if errors.Is(err, unix.ENOENT) {
		return s.moveTo(to, func(int, *unix.Stat_t) bool { return false }) // it went away just now
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !stale(fd, &st) {
		return inTheWay(to.name, &st)
	}
	if err := unix.Renameat2(s.dir, s.name, to.dir, to.name, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	old, now, err := s.open()
	if err == nil {
		unix.Close(old)
		if inodeOf(&now) != inodeOf(&st) { // not what we looked at: give it back
			unix.Renameat2(s.dir, s.name, to.dir, to.name, unix.RENAME_EXCHANGE)
			return inTheWay(to.name, &now)
		}
	}
	return unix.Unlinkat(s.dir, s.name, 0)
}

// take removes s if it is still the one we made. What the container has put
// there instead is its own.
func (s spot) take(id inode) error {
	var st unix.Stat_t
	err := unix.Fstatat(s.dir, s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && inodeOf(&st) == id {
		err = unix.Unlinkat(s.dir, s.name, 0)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func inTheWay(name string, st *unix.Stat_t) error {
	kind := "a file"
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		kind = "a directory"
	case unix.S_IFLNK:
		kind = "a symbolic link"
	case unix.S_IFSOCK:
		kind = "a socket in use"
	case unix.S_IFIFO:
		kind = "a FIFO"
	case unix.S_IFCHR, unix.S_IFBLK:
		kind = "a device node"
	}
	return fmt.Errorf("%s is in the way, %s: %w", name, kind, os.ErrExist)
}

package nsinject

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// ReadFile implements xconnect.Root. The file is looked at before it is opened,
// so a FIFO or a device is never woken.
func (r *root) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	data, err := r.readFile(ctx, path, limit)
	if err != nil {
		return nil, r.fail("read", path, err)
	}
	return data, nil
}

func (r *root) readFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	if err := r.usable(ctx); err != nil {
		return nil, err
	}
	fd, err := r.handle.resolve(path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("it is not a regular file: %w", fs.ErrInvalid)
	}
	f, err := os.OpenFile(fdPath(fd), os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is larger than %d bytes", limit)
	}
	return data, nil
}

// Node implements xconnect.Root.
func (r *root) Node(ctx context.Context, path string) (xconnect.Node, error) {
	if err := r.usable(ctx); err != nil {
		return xconnect.Node{}, r.fail("look at", path, err)
	}
	fd, err := r.handle.resolve(path, unix.O_PATH)
	if err != nil {
		return xconnect.Node{}, r.fail("look at", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return xconnect.Node{}, r.fail("look at", path, err)
	}
	n := xconnect.Node{
		Path:  r.handle.found(fd, path),
		Mode:  fs.FileMode(st.Mode&0o777) | fs.ModeDevice,
		Major: unix.Major(uint64(st.Rdev)), Minor: unix.Minor(uint64(st.Rdev)),
		UID: st.Uid, GID: st.Gid,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		n.Mode |= fs.ModeCharDevice
	case unix.S_IFBLK:
	default:
		return xconnect.Node{}, r.fail("look at", path, fmt.Errorf("it is not a device node: %w", fs.ErrInvalid))
	}
	return n, nil
}

// found is where path led to inside the peer, or path where the kernel cannot
// say.
func (h *handle) found(fd int, path string) string {
	top, err := os.Readlink(fdPath(h.root))
	if err != nil {
		return path
	}
	at, err := os.Readlink(fdPath(fd))
	if err != nil {
		return path
	}
	if rest, ok := strings.CutPrefix(at, strings.TrimSuffix(top, "/")); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

// PutNode implements xconnect.Root.
func (r *root) PutNode(ctx context.Context, n xconnect.Node, path string) (func() error, error) {
	if err := r.usable(ctx); err != nil {
		return nil, r.fail("make node", path, err)
	}
	s, err := r.handle.spotFor(path)
	if err != nil {
		return nil, r.fail("make node", path, err)
	}
	kind := uint32(unix.S_IFBLK)
	if n.Mode&fs.ModeCharDevice != 0 {
		kind = unix.S_IFCHR
	}
	rdev := unix.Mkdev(n.Major, n.Minor)
	id, err := r.handle.put(s,
		func(tmp spot) error { return makeNode(tmp, n, kind, rdev) },
		func(_ int, st *unix.Stat_t) bool {
			return st.Mode&unix.S_IFMT == kind && uint64(st.Rdev) == rdev // left by a daemon before us
		})
	if err != nil {
		s.close()
		return nil, r.fail("make node", path, err)
	}
	return r.keep(s, path, id), nil
}

func makeNode(at spot, n xconnect.Node, kind uint32, rdev uint64) error {
	if err := unix.Mknodat(at.dir, at.name, kind|uint32(n.Mode.Perm()), int(rdev)); err != nil {
		return os.NewSyscallError("mknod", err)
	}
	fd, st, err := at.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if st.Mode&unix.S_IFMT != kind || uint64(st.Rdev) != rdev {
		return inTheWay(at.name, &st)
	}
	if err := unix.Fchownat(fd, "", int(n.UID), int(n.GID), unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	return chmod(fd, uint32(n.Mode.Perm())) // after chown, which clears bits
}

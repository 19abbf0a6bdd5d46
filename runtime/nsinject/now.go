package nsinject

import (
	"context"

	"golang.org/x/sys/unix"
)

// resolveCached is RESOLVE_CACHED of linux/openat2.h, Linux 5.12 and later.
const resolveCached = 0x20

// FindNow implements xconnect.NowFinder. Only what the kernel has cached of the
// path is looked at, and only a socket on a file system of which Dial has found
// that nobody can keep us waiting there.
func (r *root) FindNow(path string) (int, error) {
	if err := r.usable(context.Background()); err != nil {
		return -1, err
	}
	fd, err := r.handle.resolveOnce(path, unix.O_PATH, resolveCached)
	if err != nil {
		return -1, err
	}
	var st unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	if dev := unix.Mkdev(st.Dev_major, st.Dev_minor); err == nil && (dev == 0 || dev != r.handle.prompt.Load()) {
		err = unix.EAGAIN
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// answersAtOnce reports whether the file is on a file system of the kernel's
// own, as against one that a process or another machine serves.
func answersAtOnce(fd int) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil {
		return false
	}
	switch int64(fs.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC,
		unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC:
		return true
	}
	return false
}

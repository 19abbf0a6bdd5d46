package rootfs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// statAt is statx(2), whose times are 64 bits wide on every architecture; base
// "" is the open directory itself.
func statAt(dir *os.File, base string) (*unix.Statx_t, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if base == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	err := retry(func() error { return unix.Statx(int(dir.Fd()), base, flags, unix.STATX_BASIC_STATS, &st) })
	if err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	return &st, nil
}

func openDirAt(dir *os.File, base string) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), base), nil
}

func readlinkAt(dir *os.File, base string) (string, error) {
	buf := make([]byte, 4096) // PATH_MAX: no file system of Linux holds a longer target
	n, err := unix.Readlinkat(int(dir.Fd()), base, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// procPath names an entry of an open directory for the xattr calls, which have
// no *at form before Linux 6.13. Only the last part is not resolved by the
// kernel from the descriptor, and the l-calls do not follow it.
func procPath(dir *os.File, base string) string {
	if base == "" {
		base = "."
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), base)
}

// listXattrs returns the sorted names; a file system without attributes has none.
func listXattrs(dir *os.File, base string, buf []byte) ([]string, error) {
	n, err := unix.Llistxattr(procPath(dir, base), buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	return names, nil
}

func getXattr(dir *os.File, base, name string, buf []byte) ([]byte, error) {
	n, err := unix.Lgetxattr(procPath(dir, base), name, buf)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, buf[:n]...), nil
}

// storableXattr reports whether squashfs has a prefix for the name
// (SQUASHFS_XATTR_USER, _TRUSTED and _SECURITY in fs/squashfs/squashfs_fs.h).
func storableXattr(name string) bool {
	prefix, rest, found := strings.Cut(name, ".")
	return found && rest != "" && (prefix == "user" || prefix == "trusted" || prefix == "security")
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

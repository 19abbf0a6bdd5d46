// Package inroot opens and makes things below a directory whose content is not
// trusted, a container's root for instance: openat2(2) with RESOLVE_IN_ROOT, so
// that absolute symbolic links start there and ".." stops there, and
// RESOLVE_NO_MAGICLINKS, so that links of /proc lead nowhere.
package inroot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is a directory and what is below it.
type Root struct {
	fd   int
	name string
}

// Open opens the directory that becomes the root.
func Open(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Root{fd, dir}, nil
}

// FD is an O_PATH descriptor of the root.
func (r *Root) FD() int { return r.fd }

// Close closes the root.
func (r *Root) Close() error { return unix.Close(r.fd) }

// File is an O_PATH descriptor of something below a root.
type File struct {
	FD   int
	Mode uint32 // with the type bits of stat(2)
	Dev  uint64
}

// Close closes it.
func (f *File) Close() { unix.Close(f.FD) }

// IsDir reports whether it is a directory.
func (f *File) IsDir() bool { return f.Mode&unix.S_IFMT == unix.S_IFDIR }

// Path names the very thing, for calls that only take a path.
func (f *File) Path() string { return FDPath(f.FD) }

// FDPath names what a descriptor is open on.
func FDPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Lookup opens a path below the root, through symbolic links.
func (r *Root) Lookup(name string) (*File, error) {
	fd, err := r.open(name, unix.O_PATH)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return &File{fd, st.Mode, st.Dev}, nil
}

func (r *Root) open(name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for try := 1; ; try++ {
		fd, err := unix.Openat2(r.fd, rel(name), &how)
		// EAGAIN means that something was renamed meanwhile, which somebody may
		// do all the time.
		if err != unix.EINTR && (err != unix.EAGAIN || try > 1000) {
			return fd, err
		}
	}
}

func rel(name string) string {
	if name = strings.TrimLeft(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

// Read returns the content of a regular file, at most limit bytes.
func (r *Root) Read(name string, limit int) ([]byte, error) {
	fd, err := r.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, limit)
	n := 0
	for n < limit {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: name, Err: err}
		}
		if m == 0 {
			break
		}
		n += m
	}
	return buf[:n], nil
}

// Mkdir opens a directory and makes what is missing of it. The umask applies: a
// chmod would go by name, and names here cannot be trusted.
func (r *Root) Mkdir(name string, mode uint32) (*File, error) {
	f, err := r.Lookup(name)
	if err == nil {
		if !f.IsDir() {
			f.Close()
			return nil, &os.PathError{Op: "mkdir", Path: name, Err: unix.ENOTDIR}
		}
		return f, nil
	}
	if !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	clean := rel(name)
	if clean == "." {
		return nil, err
	}
	parent, err := r.Mkdir(path.Dir(clean), mode)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := unix.Mkdirat(parent.FD, path.Base(clean), mode); err != nil && err != unix.EEXIST {
		return nil, &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	if f, err = r.Lookup(clean); errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("mkdir %s: a symbolic link there leads to nothing", name)
	}
	return f, err
}

// Create opens a file and makes an empty one if it is missing, with its
// directories.
func (r *Root) Create(name string, mode uint32) (*File, error) {
	f, err := r.Lookup(name)
	if !errors.Is(err, unix.ENOENT) {
		return f, err
	}
	clean := rel(name)
	parent, err := r.Mkdir(path.Dir(clean), 0o755)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	fd, err := unix.Openat(parent.FD, path.Base(clean), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	switch {
	case err == unix.EEXIST:
		return nil, fmt.Errorf("create %s: a symbolic link there leads to nothing", name)
	case err != nil:
		return nil, &os.PathError{Op: "create", Path: name, Err: err}
	}
	unix.Fchmod(fd, mode)
	unix.Close(fd)
	return r.Lookup(clean)
}

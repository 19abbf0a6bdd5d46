package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/inroot"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mnt"
)

// mountRoot makes the container's root and attaches it to the stage.
func (c *child) mountRoot() error {
	if err := mnt.Private(); err != nil {
		if c.Rootless { // kernel.apparmor_restrict_unprivileged_userns, for one
			err = fmt.Errorf("%w (a user namespace was made, and a policy of this machine takes its rights away)", err)
		}
		return fmt.Errorf("make the mounts private: %w", err)
	}
	r := c.Config.Rootfs
	lower := r.Lower
	if c.Overlay != "" {
		lower = append([]string{c.Overlay}, lower...)
	}
	var fd int
	var err error
	switch {
	case len(lower) == 0:
		return errors.New("lxc.rootfs.path: the configuration has none")
	case r.Upper == "" && len(lower) == 1:
		fd, err = c.bindRoot(lower[0])
	default:
		var data []string
		if data, err = c.overlay(lower, r.Upper, workFor(r.Upper)); err == nil {
			fd, err = c.mountOverlay(mnt.Options{Data: data})
		}
	}
	if err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	stage, err := unix.Open(c.Stage, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", c.Stage, err)
	}
	if err := mnt.Attach(fd, stage); err != nil {
		return fmt.Errorf("attach the root to %s: %w", c.Stage, err)
	}
	c.root, err = inroot.Open(inroot.FDPath(fd))
	return err
}

// workFor is the work directory that lxc takes for an upper directory.
func workFor(upper string) string { return path.Join(path.Dir(upper), "work") }

// bindRoot has a directory itself as the root. One of the machine's is refused:
// the container's mount points would be made in it.
func (c *child) bindRoot(dir string) (int, error) {
	if volume, _, err := c.place(dir); err == nil && volume == "" {
		return -1, fmt.Errorf("lxc.rootfs.path: %s is the machine's, want a directory in a volume, such as /volumes/NAME/root.squashfs", dir)
	}
	src, err := c.source(dir)
	if err != nil {
		return -1, err
	}
	defer src.Close()
	return mnt.Clone(src.FD, c.Rootless)
}

// mountOverlay waits for an earlier container's overlay on the same directories:
// the kernel takes it away a little after the last process, and with its index
// on refuses a second one until then.
func (c *child) mountOverlay(o mnt.Options) (int, error) {
	for wait := time.Millisecond; ; wait *= 2 {
		fd, err := mnt.FS("overlay", "overlay", o)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EBUSY) && wait < 2*time.Second:
			time.Sleep(wait)
		case c.Rootless:
			return -1, fmt.Errorf("%w (overlays in a user namespace need Linux 5.11 and an upper directory on a file system with user attributes)", err)
		default:
			return -1, err
		}
	}
}

// overlay gives the options of an overlay. Directories are handed over as
// descriptors, which have no names with colons and cannot be swapped. upper and
// work are made if they are missing.
func (c *child) overlay(lower []string, upper, work string) ([]string, error) {
	open := func(name string, made bool) (string, error) {
		if made {
			if err := c.makeSource(name); err != nil {
				return "", err
			}
		}
		f, err := c.source(name)
		if err != nil {
			return "", err
		}
		if !f.IsDir() {
			return "", fmt.Errorf("%s is not a directory", name)
		}
		return f.Path(), nil // stays open until exec
	}
	var names []string
	for _, l := range lower {
		name, err := open(l, false)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l, err)
		}
		names = append(names, name)
	}
	data := []string{"lowerdir=" + strings.Join(names, ":")}
	if upper != "" {
		u, err := open(upper, true)
		if err != nil {
			return nil, fmt.Errorf("upper layer %s: %w", upper, err)
		}
		w, err := open(work, true)
		if err != nil {
			return nil, fmt.Errorf("work directory %s: %w", work, err)
		}
		data = append(data, "upperdir="+u, "workdir="+w)
	}
	if c.Rootless {
		data = append(data, "userxattr")
	}
	return data, nil
}

// place finds the volume that a path of the configuration is in.
func (c *child) place(name string) (dir, rest string, err error) {
	clean := path.Clean(name)
	for at := clean; ; at = path.Dir(at) {
		if d, ok := c.Volumes[at]; ok {
			return d, strings.TrimPrefix(strings.TrimPrefix(clean, at), "/"), nil
		}
		if at == "/" || at == "." {
			break
		}
	}
	if strings.HasPrefix(clean, "/volumes/") {
		return "", "", fmt.Errorf("the volume %s is not mounted: %w", clean, unix.ENOENT)
	}
	return "", "", nil
}

// source opens a path of the configuration: in a volume, where links stay
// inside, or of the host.
func (c *child) source(name string) (*inroot.File, error) {
	dir, rest, err := c.place(name)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		dir = path.Clean(name)
	}
	if rest != "" {
		r, err := inroot.Open(dir)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return r.Lookup(rest)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return &inroot.File{FD: fd, Mode: st.Mode, Dev: st.Dev}, nil
}

// makeSource makes a directory in a volume, or on the host.
func (c *child) makeSource(name string) error {
	dir, rest, err := c.place(name)
	if err != nil {
		return err
	}
	if dir == "" {
		return os.MkdirAll(name, 0o755)
	}
	if rest == "" {
		return nil
	}
	r, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := r.Mkdir(rest, 0o755)
	if err == nil {
		f.Close()
	}
	return err
}

func (c *child) pivot() error { return mnt.Pivot(c.root.FD()) }

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/inroot"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mnt"
)

// A container's exports are paths of it that others mount as
// /exports/<container>/<path> (scripts/hooks_lxc-mount.d/export.sh). The child
// makes a copy of each mount, attached to nowhere, and hands it over; the
// runtime attaches it below ExportDir. What the container mounts there later
// does not come along.

// ExportDir is where the exports of containers are, those of each in a
// directory of its name. It is what "/exports" is in Spec.Volumes.
func (h *Host) ExportDir() string { return filepath.Join(h.opts.RunDir, "exports") }

// export is the child's part. All mounts are there, and nothing of the container
// has run yet, so a path that is missing is in neither its image nor its volumes.
func (c *child) export() error {
	for _, name := range c.Exports {
		if c.Rootless {
			c.warn("%s is not exported: a user's mounts cannot be shown outside the container", name)
			continue
		}
		if err := c.exportOne(name); err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
	}
	return nil
}

func (c *child) exportOne(name string) error {
	at, err := c.root.Lookup(name)
	if err != nil {
		return err
	}
	defer at.Close()
	fd, err := mnt.Clone(at.FD, true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return send(report{Export: name}, fd)
}

// show attaches an export. Its place may lie in one that was shown before, which
// is the container's, so it is looked for inside.
func (c *Container) show(name string, mount *os.File) error {
	dir := filepath.Join(c.host.ExportDir(), c.name)
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		return err
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(mount.Fd()), &st); err != nil {
		return err
	}
	var at *inroot.File
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		at, err = root.Mkdir(name, 0o755)
	} else {
		at, err = root.Create(name, 0o644)
	}
	if err != nil {
		return err
	}
	defer at.Close()
	if err := mnt.Attach(int(mount.Fd()), at.FD); err != nil {
		return err
	}
	c.exports = append(c.exports, filepath.Join(dir, name))
	return nil
}

// hide takes the exports away. The shortest path comes first and takes along
// what is attached inside it, so no path that is used here leads through
// directories of the container.
func (c *Container) hide() error {
	slices.SortFunc(c.exports, func(a, b string) int { return len(a) - len(b) })
	for _, at := range c.exports {
		if err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return fmt.Errorf("detach %s: %w", at, err)
		}
	}
	for _, at := range slices.Backward(c.exports) {
		for ; at != c.host.ExportDir(); at = filepath.Dir(at) {
			if os.Remove(at) != nil { // not empty: another export is in it
				break
			}
		}
	}
	c.exports = nil
	return nil
}

// errExport is a report without the mount that it is about.
var errExport = errors.New("the mount did not arrive")

func (c *Container) exported(r report, files []*os.File) error {
	if len(files) != 1 {
		return fmt.Errorf("export %s: %w", r.Export, errExport)
	}
	defer files[0].Close()
	if err := c.show(r.Export, files[0]); err != nil {
		return fmt.Errorf("export %s: %w", r.Export, err)
	}
	return nil
}

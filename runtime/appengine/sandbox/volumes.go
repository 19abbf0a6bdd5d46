package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/cgroup"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/loop"
)

// ErrVerity is a volume whose image is to be checked by dm-verity, which the
// appengine does not do.
var ErrVerity = errors.New("dm-verity volumes (dm:) are not supported: export the container without dm")

// Mounted are a container's volumes, in place.
type Mounted struct {
	host    *Host
	name    string
	dir     string
	paths   map[string]string
	mounted []string // what is to be unmounted, in the order of mounting
	made    []string // what is to be removed: files of rootless tmpfs volumes
}

// Mount places a container's volumes below VolDir. When it fails none is left.
func (h *Host) Mount(ctx context.Context, container string, volumes []Volume) (_ *Mounted, err error) {
	m := &Mounted{host: h, name: container, dir: filepath.Join(h.opts.VolDir, container), paths: map[string]string{}}
	if !cgroup.ValidName(container) {
		return nil, fmt.Errorf("mount volumes: %q is not the name of a container", container)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("mount volumes of %s: %w", container, err), m.Unmount(ctx))
		}
	}()
	if err := os.Mkdir(m.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	for _, v := range volumes {
		if err := m.add(ctx, v); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	return m, nil
}

// Volumes maps the paths that lxc.container.conf has to where things are.
func (m *Mounted) Volumes() map[string]string { return maps.Clone(m.paths) }

// Dir is where a volume is, "" if there is none of that name.
func (m *Mounted) Dir(volume string) string { return m.paths["/volumes/"+m.name+"/"+volume] }

func (m *Mounted) add(ctx context.Context, v Volume) error {
	if strings.HasPrefix(v.Name, "dm:") || strings.HasPrefix(filepath.Base(v.Image), "dm:") {
		return ErrVerity
	}
	if v.Name == "" || v.Name != filepath.Base(v.Name) || v.Name == "." || v.Name == ".." {
		return errors.New("it is not a name of a volume")
	}
	key := "/volumes/" + m.name + "/" + v.Name
	if m.paths[key] != "" {
		return errors.New("there are two of that name")
	}
	at := filepath.Join(m.dir, v.Name)
	if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var err error
	switch {
	case v.Image != "" && v.Dir == "" && !v.Tmpfs:
		at, err = m.image(ctx, v, at)
	case v.Dir != "" && v.Image == "" && !v.Tmpfs:
		at, err = m.directory(v.Dir)
	case v.Tmpfs && v.Image == "" && v.Dir == "":
		err = m.tmpfs(at)
	default:
		err = errors.New("want one of image, directory and tmpfs")
	}
	m.paths[key] = at
	return err
}

func (m *Mounted) mount(source, at, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, at, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, at, err)
	}
	m.mounted = append(m.mounted, at)
	return nil
}

// directory is used where it is: a mount below VolDir that a killed runtime
// leaves would lead whoever removes VolDir into what shall last.
func (m *Mounted) directory(dir string) (string, error) {
	return dir, os.MkdirAll(dir, 0o755)
}

func (m *Mounted) tmpfs(at string) error {
	if m.host.rootless {
		m.made = append(m.made, at)
		return nil
	}
	return m.mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")
}

// image mounts an image. Where the machine has no loop devices for us, its
// files are unpacked instead.
func (m *Mounted) image(ctx context.Context, v Volume, at string) (string, error) {
	h := m.host
	if !h.rootless && !h.opts.NoLoop {
		err := loop.Mount(v.Image, at)
		if err == nil {
			m.mounted = append(m.mounted, at)
			return at, nil
		}
		if !loop.Refused(err) {
			return "", err
		}
		h.log.Warn("an image is not mounted: its files are unpacked, which takes time and space", "container", m.name, "volume", v.Name, "reason", err)
	}
	dir, err := h.unpacked(ctx, v)
	if err != nil {
		return "", err
	}
	if h.rootless {
		return dir, nil
	}
	if err := m.mount(dir, at, "", unix.MS_BIND, ""); err != nil {
		return "", err
	}
	return at, unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NODEV, "")
}

// Unmount takes the volumes away; what is in directories stays. It may be
// called twice.
func (m *Mounted) Unmount(ctx context.Context) error {
	var errs []error
	for _, at := range slices.Backward(m.mounted) {
		errs = append(errs, unmount(ctx, at))
	}
	for _, dir := range m.made {
		errs = append(errs, removeAll(dir))
	}
	m.mounted, m.made = nil, nil
	if err := errors.Join(errs...); err != nil {
		return err
	}
	entries, err := os.ReadDir(m.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs = append(errs, err)
	for _, e := range entries {
		errs = append(errs, os.Remove(filepath.Join(m.dir, e.Name()))) // empty directories, or it fails
	}
	return errors.Join(append(errs, os.Remove(m.dir))...)
}

// removeAll is os.RemoveAll for a tree with directories that may not be read,
// as an overlay's work directory.
func removeAll(dir string) error {
	filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// unmount waits a little for what still uses a mount, a container that starts
// at this moment for instance; then it is detached.
func unmount(ctx context.Context, at string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW)
		if err == nil || err == unix.EINVAL || err == unix.ENOENT { // not a mount any more
			return nil
		}
		if err != unix.EBUSY {
			return fmt.Errorf("unmount %s: %w", at, err)
		}
		select {
		case <-time.After(wait):
			if wait < 200*time.Millisecond {
				continue
			}
		case <-ctx.Done():
		}
		if err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
			return fmt.Errorf("detach %s: %w", at, err)
		}
		return nil
	}
}

// unmountBelow detaches everything that is mounted below a directory.
func unmountBelow(dir string) error {
	top, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	var found []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			continue
		}
		at := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		if strings.HasPrefix(at, top+"/") {
			found = append(found, at)
		}
	}
	errs := []error{s.Err()}
	for _, at := range slices.Backward(found) {
		if err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil && err != unix.EINVAL {
			errs = append(errs, fmt.Errorf("detach %s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}

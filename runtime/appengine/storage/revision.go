package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxRevision is how long a revision's name may be, after "locals/"
// (pantavisor's storage.h, SIZE_LOCAL_REV).
const maxRevision = 64

const (
	localPrefix = "locals/"
	currentLink = "current"
)

// CheckRevision says whether a name can be a revision's: "locals/" and a name,
// or a name alone, which only the cloud side and the factory give. The error
// matches ErrRevision.
func CheckRevision(rev string) error {
	bad := func(reason string) error { return fmt.Errorf("%w: %q %s", ErrRevision, rev, reason) }
	name, local := strings.CutPrefix(rev, localPrefix)
	switch {
	case name == "":
		return bad("is empty")
	case strings.Contains(name, "/"):
		return bad(`has a "/" other than the one of "locals/"`)
	case name == "." || name == "..":
		return bad("is a directory's name")
	case !local && (name == "locals" || name == currentLink):
		return bad("is taken")
	case len(name) > maxRevision:
		return bad(fmt.Sprintf("is longer than %d bytes", maxRevision))
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7f {
			return bad("holds a control character")
		}
	}
	return nil
}

// CheckLocalRevision is CheckRevision for the names that a client may give:
// they begin with "locals/".
func CheckLocalRevision(rev string) error {
	if !strings.HasPrefix(rev, localPrefix) {
		return fmt.Errorf("%w: %q does not begin with %q", ErrRevision, rev, localPrefix)
	}
	return CheckRevision(rev)
}

// trail is the directory of a revision, whether it exists or not.
func (s *Store) trail(rev string) string { return filepath.Join(s.dir, "trails", rev) }

// resolve checks a name and turns "current" into the revision it stands for.
func (s *Store) resolve(rev string) (string, error) {
	if rev == currentLink {
		return s.Current()
	}
	return rev, CheckRevision(rev)
}

// Current returns the revision that SetCurrent named last. The error matches
// ErrNotExist before the first.
func (s *Store) Current() (string, error) {
	rev, err := os.Readlink(s.trail(currentLink))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("current revision: %w", ErrNotExist)
	}
	if err != nil {
		return "", err
	}
	return rev, CheckRevision(rev)
}

// SetCurrent lets trails/current and logs/current point to a revision.
func (s *Store) SetCurrent(rev string) error {
	if err := CheckRevision(rev); err != nil {
		return err
	}
	if err := makeDirs(s.LogDir(rev)); err != nil {
		return err
	}
	for _, dir := range []string{"logs", "trails"} {
		if err := s.replaceLink(rev, filepath.Join(s.dir, dir, currentLink)); err != nil {
			return fmt.Errorf("set the current revision: %w", err)
		}
	}
	return nil
}

func (s *Store) replaceLink(target, name string) error {
	temp, err := os.MkdirTemp(s.temp(), "link-*")
	if err != nil {
		return full(err)
	}
	link := filepath.Join(temp, "link")
	err = os.Symlink(target, link)
	if err == nil {
		err = os.Rename(link, name)
	}
	return full(errors.Join(err, os.RemoveAll(temp), syncPath(filepath.Dir(name))))
}

// Dir is the storage's directory.
func (s *Store) Dir() string { return s.dir }

// TrailDir is where the files of a revision lie. It says nothing of whether
// they are there: see Install.
func (s *Store) TrailDir(rev string) string { return s.trail(rev) }

// LogDir is where the log server keeps the logs of a revision.
func (s *Store) LogDir(rev string) string { return filepath.Join(s.dir, "logs", rev) }

// Persistence says how long a container's volume lives.
type Persistence string

// The persistences that lie in the storage; the third, "boot", is a tmpfs.
const (
	Permanent Persistence = "permanent"
	Revision  Persistence = "revision"
)

// Volume is a container's storage, as its run.json asks for it.
type Volume struct {
	Container, Name string
	Persistence     Persistence
	// Disk is the disk of device.json on which it lies, with its type; "" is
	// the storage's own place.
	Disk, DiskType string
}

// VolumeDir makes the directory of a volume, for a revision, and returns it
// (pantavisor's paths.c, pv_paths_storage_disks_*).
func (s *Store) VolumeDir(rev string, v Volume) (string, error) {
	bad := func(format string, a ...any) (string, error) {
		return "", fmt.Errorf("volume %q of container %q: %w", v.Name, v.Container, fmt.Errorf(format, a...))
	}
	for _, name := range []string{v.Container, v.Name} {
		if name == "" {
			return bad("both need a name")
		}
	}
	for _, name := range []string{v.Container, v.Name, v.DiskType, v.Disk} {
		if strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
			return bad("%q cannot be a directory's name", name)
		}
	}
	base := filepath.Join(s.dir, "disks")
	if v.Disk != "" {
		base = filepath.Join(s.dir, "pv", v.DiskType, v.Disk)
	}
	switch v.Persistence {
	case Permanent:
		base = filepath.Join(base, "perm")
	case Revision:
		if err := CheckRevision(rev); err != nil {
			return bad("%w", err)
		}
		base = filepath.Join(base, "rev", rev)
	default:
		return bad("persistence %q does not lie in the storage", v.Persistence)
	}
	dir := filepath.Join(base, v.Container, v.Name)
	return dir, makeDirs(dir)
}

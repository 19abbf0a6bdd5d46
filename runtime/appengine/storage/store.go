package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options shapes a Store. The zero value is fine.
type Options struct {
	// Location of the dates of steps; nil is the machine's own zone, as the
	// device has it.
	Location *time.Location
	// Reserved is the part of the disk, in percent, that uploads leave free.
	Reserved int
	// Holder is what a second engine is told about this one; "" is the
	// process's id and name.
	Holder string
}

// Store is a storage that this process works on, and no other one. Its methods
// may be called from many goroutines.
type Store struct {
	dir     string
	opts    Options
	lock    *os.File
	objects *Objects
	user    *Meta
	device  *Meta

	// work is held by what makes, replaces or removes revisions: garbage
	// collection must not see one that is half made.
	work sync.Mutex
}

const (
	createdMark = ".created"
	appliedMark = ".pvtx-done"
	tempDir     = ".tmp"
)

// Open takes the storage in dir, makes what is missing of its skeleton, and
// cleans up after an engine that was killed. The error is a *LockedError if
// another engine has it.
func Open(dir string, opts Options) (_ *Store, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeDirs(dir); err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	if opts.Holder == "" {
		opts.Holder = holderName()
	}
	s := &Store{dir: dir, opts: opts}
	if s.lock, err = lockDir(dir, opts.Holder); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open storage %s: %w", dir, err), unlock(s.lock))
		}
	}()
	if err := s.skeleton(); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		return nil, err
	}
	s.objects = &Objects{dir: filepath.Join(dir, "objects"), temp: s.temp(), reserved: opts.Reserved}
	for _, m := range []struct {
		to  **Meta
		dir string
	}{{&s.user, "usrmeta"}, {&s.device, "devmeta"}} {
		if *m.to, err = openMeta(filepath.Join(dir, "cache", m.dir), s.temp()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close lets others have the storage.
func (s *Store) Close() error { return unlock(s.lock) }

// Objects is the storage's content store.
func (s *Store) Objects() *Objects { return s.objects }

// UserMeta is the metadata that users give.
func (s *Store) UserMeta() *Meta { return s.user }

// DeviceMeta is the metadata that the device and its containers give.
func (s *Store) DeviceMeta() *Meta { return s.device }

func (s *Store) temp() string { return filepath.Join(s.dir, tempDir) }

// skeleton makes the directories that everything else relies on. The mark is
// last, and there for the tools that look for it: a directory that went
// missing later is made again.
func (s *Store) skeleton() error {
	for _, name := range []string{
		tempDir, "boot", "config", "objects", "trails/locals", "logs",
		"cache/usrmeta", "cache/devmeta", "disks/perm", "disks/rev",
	} {
		if err := makeDirs(filepath.Join(s.dir, name)); err != nil {
			return err
		}
	}
	mark := filepath.Join(s.dir, createdMark)
	if _, err := os.Lstat(mark); err == nil {
		return nil
	}
	return replaceFile(s.temp(), mark, nil)
}

// recover ends what a killed engine began: a directory that was moved aside
// for a new one which did not come returns to its place, and the rest of .tmp
// goes.
func (s *Store) recover() error {
	entries, err := os.ReadDir(s.temp())
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(s.temp(), e.Name())
		if err := restore(name, s.dir); err != nil {
			return fmt.Errorf("recover %s: %w", name, err)
		}
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	return syncPath(s.temp())
}

// Space is how full the disk of the storage is, in bytes.
type Space struct {
	Total, Free int64
	Reserved    int64 // what uploads leave free
	RealFree    int64 // Free without Reserved
}

// Space asks the file system.
func (s *Store) Space() (Space, error) { return diskSpace(s.dir, s.opts.Reserved) }

func diskSpace(dir string, reserved int) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	free := st.Bavail
	if os.Geteuid() == 0 {
		free = st.Bfree
	}
	sp := Space{Total: int64(st.Blocks) * int64(st.Bsize), Free: int64(free) * int64(st.Bsize)}
	sp.Reserved = sp.Total / 100 * int64(reserved)
	sp.RealFree = max(0, sp.Free-sp.Reserved)
	return sp, nil
}

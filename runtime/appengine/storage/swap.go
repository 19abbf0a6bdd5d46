package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// swapIn gives the directory made, which lies under .tmp and is on the disk
// already, the place of a revision's. What was there goes. A reader sees the
// old directory or the new one.
func (s *Store) swapIn(made, rev string) error {
	to := s.trail(rev)
	if err := makeDirs(filepath.Dir(to)); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, made, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		err = unix.Renameat2(unix.AT_FDCWD, made, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		// Not every file system knows the flags (overlayfs, for one, refuses
		// them for directories of its lower layer).
		err = s.swapInSteps(made, rev)
	}
	if err != nil {
		return full(fmt.Errorf("replace revision %s: %w", rev, err))
	}
	return errors.Join(syncPath(filepath.Dir(to)), syncPath(s.temp()), os.RemoveAll(made))
}

// The files of a directory under .tmp that holds what had to make room.
const (
	asideOld  = "old" // the directory
	asideFrom = "rev" // the revision that it is
)

// swapInSteps is swapIn with two renames. If the process dies between them,
// restore puts the old directory back.
func (s *Store) swapInSteps(made, rev string) error {
	aside, err := os.MkdirTemp(s.temp(), "aside-*")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(aside, asideFrom), []byte(rev), 0o644); err != nil {
		return errors.Join(err, os.RemoveAll(aside))
	}
	if err := syncTree(aside); err != nil {
		return errors.Join(err, os.RemoveAll(aside))
	}
	to, old := s.trail(rev), filepath.Join(aside, asideOld)
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, os.RemoveAll(aside))
	}
	if err := os.Rename(made, to); err != nil {
		if back := restore(aside, s.dir); back != nil {
			return errors.Join(err, back) // what is aside is all there is of it: Open tries again
		}
		return errors.Join(err, os.RemoveAll(aside))
	}
	return errors.Join(syncPath(filepath.Dir(to)), os.RemoveAll(aside))
}

// restore returns a directory that was set aside to its place, if that is
// empty. aside may be any entry of .tmp; only one with both files is meant.
func restore(aside, dir string) error {
	rev, err := os.ReadFile(filepath.Join(aside, asideFrom))
	if err != nil || CheckRevision(string(rev)) != nil {
		return nil
	}
	to, old := filepath.Join(dir, "trails", string(rev)), filepath.Join(aside, asideOld)
	if _, err := os.Lstat(old); err != nil {
		return nil
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(old, to); err != nil {
		return err
	}
	return syncPath(filepath.Dir(to))
}

// discard removes a tree so that it is whole until it is gone: nobody meets a
// revision that is half deleted. A tree that is not there is no error.
func (s *Store) discard(name string) error {
	aside, err := os.MkdirTemp(s.temp(), "gone-*")
	if err != nil {
		return full(err)
	}
	err = os.Rename(name, filepath.Join(aside, "tree"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	} else if err == nil {
		err = syncPath(filepath.Dir(name))
	}
	return errors.Join(err, os.RemoveAll(aside))
}

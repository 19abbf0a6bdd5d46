// Package atomicfile replaces files so that a reader, or a machine that loses
// power, sees the old content or the new one and never a part of either.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a new version of a file that does not exist under its name until
// Commit. Exactly one of Commit and Abort takes effect; Abort after Commit is
// a no-op, so that `defer f.Abort()` is the idiom.
type File struct {
	*os.File
	name string
	mode fs.FileMode
	done bool
}

// Create opens a temporary file beside name. The directory of name must
// exist. The mode of the final file is mode exactly, whatever the umask.
func Create(name string, mode fs.FileMode) (*File, error) {
	dir, base := filepath.Split(name)
	if dir == "" {
		dir = "."
	}
	return create(dir, "."+base+".*.tmp", name, mode)
}

// CreateIn is Create with the temporary file in another directory of the same
// file system, so that whoever lists the directory of name never meets it.
func CreateIn(tempDir, name string, mode fs.FileMode) (*File, error) {
	return create(tempDir, "file-*", name, mode)
}

func create(tempDir, pattern, name string, mode fs.FileMode) (*File, error) {
	f, err := os.CreateTemp(tempDir, pattern)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return &File{File: f, name: name, mode: mode}, nil
}

// Commit syncs the content to disk and gives it its name.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("commit %s: %w", f.name, os.ErrClosed)
	}
	f.done = true
	err := errors.Join(f.Chmod(f.mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.File.Name(), f.name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", f.name, err), os.Remove(f.File.Name()))
	}
	return syncDir(filepath.Dir(f.name))
}

// Abort drops the new version. The file keeps the content it had.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	_ = f.Close()
	_ = os.Remove(f.File.Name())
}

// WriteFile replaces the content of name by data.
func WriteFile(name string, data []byte, mode fs.FileMode) error {
	f, err := Create(name, mode)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Commit()
}

// syncDir makes the rename itself durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	// Some file systems refuse to sync a directory; the rename stands anyway.
	_ = d.Sync()
	return d.Close()
}

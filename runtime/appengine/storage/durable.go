package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/atomicfile"
)

// replaceFile gives name the new content, by way of a temporary file in temp.
func replaceFile(temp, name string, data []byte) error {
	f, err := atomicfile.CreateIn(temp, name, 0o644)
	if err != nil {
		return full(err)
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return full(fmt.Errorf("write %s: %w", name, err))
	}
	return full(f.Commit())
}

// makeDirs is os.MkdirAll whose new directories survive a loss of power.
func makeDirs(dir string) error {
	if st, err := os.Stat(dir); err == nil {
		if !st.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := makeDir(dir); err != nil {
		return full(err)
	}
	return syncPath(parent)
}

// makeDir makes one directory, with mode 0755 whatever the umask.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	return err
}

// makeDirsIn makes the directories below base that lead to the file name.
func makeDirsIn(base, name string) error {
	dir := base
	for part := range strings.SplitSeq(filepath.Dir(name), string(filepath.Separator)) {
		dir = filepath.Join(dir, part)
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a file that is not there yet, with mode 0644 whatever the
// umask. It leaves none if it fails.
func writeNew(name string, content io.Reader) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return full(err)
	}
	defer func() {
		if err = full(errors.Join(err, f.Close())); err != nil {
			_ = os.Remove(name)
		}
	}()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	return f.Chmod(0o644)
}

// syncPath brings a file, or the entries of a directory, to the disk.
func syncPath(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil // a file system without fsync for directories
	}
	return full(errors.Join(err, f.Close()))
}

// remove removes a file whose going is to survive a loss of power.
func remove(name string) error {
	if err := os.Remove(name); err != nil {
		return err
	}
	return syncPath(filepath.Dir(name))
}

// syncs runs syncs side by side: one journal commit then serves many files.
type syncs struct {
	wg    sync.WaitGroup
	slots chan struct{}
	mu    sync.Mutex // guards err
	err   error
}

func newSyncs() *syncs { return &syncs{slots: make(chan struct{}, 8)} }

// start runs f beside the others. It waits while too many run.
func (s *syncs) start(f func() error) {
	s.slots <- struct{}{}
	s.wg.Go(func() {
		defer func() { <-s.slots }()
		if err := f(); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.err = errors.Join(s.err, err)
		}
	})
}

// wait returns when all have ended, with their errors.
func (s *syncs) wait() error {
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// syncTree syncs the directories below dir, and its files unless they have
// other names: those are objects, and on the disk already.
func syncTree(dir string) error {
	all := newSyncs()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() {
			var st unix.Stat_t
			if err := unix.Lstat(name, &st); err != nil {
				return &fs.PathError{Op: "lstat", Path: name, Err: err}
			}
			if st.Nlink > 1 {
				return nil
			}
		} else if !e.IsDir() {
			return nil
		}
		all.start(func() error { return syncPath(name) })
		return nil
	})
	return errors.Join(err, all.wait())
}

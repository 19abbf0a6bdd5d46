package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const lockFile = ".lock"

// lockDir takes the storage for this process. The lock goes with the process,
// however it ends. The file stays: who removed it would let two processes
// hold the lock of two files.
func lockDir(dir, holder string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, full(err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		other, _ := io.ReadAll(io.LimitReader(f, 256))
		e := &LockedError{Dir: dir, Holder: strings.TrimSpace(string(other))}
		if e.Holder == "" {
			e.Holder = "another process"
		}
		return nil, errors.Join(e, f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(holder+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, full(err)), f.Close())
	}
	return f, nil
}

// unlock gives the storage back. Closing the file alone does that only when no
// process that is just being made has a copy of the descriptor (flock(2)).
func unlock(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// holderName is what a process says of itself in the lock.
func holderName() string {
	name := filepath.Base(os.Args[0])
	return fmt.Sprintf("pid %d (%s)", os.Getpid(), name)
}

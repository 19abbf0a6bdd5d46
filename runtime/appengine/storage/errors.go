package storage

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	// ErrNoSpace is a disk that is full, or would be. Nothing was stored.
	ErrNoSpace = errors.New("not enough disk space")
	// ErrBadChecksum is content that is not what its object's name says; the
	// error is also a *pvrexport.DigestError.
	ErrBadChecksum = errors.New("object has bad checksum")
	// ErrRevision is a name that no revision can have.
	ErrRevision = errors.New("no name for a revision")
	// ErrKey is a name that no metadata entry can have.
	ErrKey = errors.New("no key for metadata")
	// ErrNotExist is a revision, object or key that is not there.
	ErrNotExist = errors.New("does not exist")
	// ErrTooLarge is a document that is larger than any real one.
	ErrTooLarge = errors.New("too large")
	// ErrBootState is a boot state that cannot be read, or not be written.
	ErrBootState = errors.New("bad boot state")
)

// LockedError is a storage that another engine runs on.
type LockedError struct {
	Dir    string
	Holder string // what the other one says of itself, such as "pid 12 (pv-appengine)"
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("storage %s is in use by %s", e.Dir, e.Holder)
}

// RejectError is a step that the device does not take. Text is the reason in
// the words of the pv-ctrl API, Err says more.
type RejectError struct {
	Text string
	Err  error
}

func (e *RejectError) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

func (e *RejectError) Unwrap() error { return e.Err }

// ApplyError is the export that kept a storage from being filled.
type ApplyError struct {
	File string
	Err  error
}

func (e *ApplyError) Error() string { return fmt.Sprintf("export %s: %v", e.File, e.Err) }

func (e *ApplyError) Unwrap() error { return e.Err }

// full makes errors of a full disk match ErrNoSpace.
func full(err error) error {
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	for _, no := range []syscall.Errno{unix.ENOSPC, unix.EDQUOT} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
	}
	return err
}

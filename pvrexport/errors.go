package pvrexport

import (
	"errors"
	"fmt"
)

// The reasons for which a bundle is refused. They are found with errors.Is in
// what Write, Import and OpenBundle return; *EntryError says where.
var (
	ErrObjectID      = errors.New("not a SHA-256 in lower-case hexadecimal")
	ErrMissingObject = errors.New("the object is missing")
	ErrUnknownObject = errors.New("the state does not name this object")
	ErrNoState       = errors.New(`the bundle has no entry "json"`)
	ErrTwoStates     = errors.New(`the bundle has a second entry "json"`)
	ErrEntryName     = errors.New("no name for an entry of a bundle")
	ErrEntryType     = errors.New("not a regular file")
	ErrFormat        = errors.New("not a tar archive, plain or compressed with gzip or zstd")
	ErrLimit         = errors.New("limit exceeded")
	ErrTrailing      = errors.New("data after the end of the archive")
	ErrTruncated     = errors.New("the archive ends too early")
)

// DigestError is an object whose content is not what its id says.
type DigestError struct {
	ID  string
	Got string // the SHA-256 of what is there
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("object %s: the content has the digest %s", e.ID, e.Got)
}

// SizeError is an object that turned out longer or shorter than announced.
type SizeError struct {
	ID        string
	Want, Got int64 // Got counts no further than Want+1
}

func (e *SizeError) Error() string {
	if e.Got > e.Want {
		return fmt.Sprintf("object %s: announced with %d bytes, has more", e.ID, e.Want)
	}
	return fmt.Sprintf("object %s: announced with %d bytes, has %d", e.ID, e.Want, e.Got)
}

// EntryError is what is wrong in a bundle, with its place. Offset counts the
// bytes of the tar archive, after decompression.
type EntryError struct {
	Entry  string // the name of the entry, "" between entries
	Offset int64
	Err    error
}

func (e *EntryError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("at byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("entry %q at byte %d: %v", e.Entry, e.Offset, e.Err)
}

func (e *EntryError) Unwrap() error { return e.Err }

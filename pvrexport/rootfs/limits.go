package rootfs

import (
	"cmp"
	"fmt"
)

// Limits bound what a tar stream may cost. A zero field is its default.
type Limits struct {
	MaxBytes      int64 // of the unpacked stream, and of all file contents together (holes count); default 64 GiB
	MaxRatio      int64 // unpacked bytes for each packed one, once 64 MiB are unpacked; default 250
	MaxEntries    int64 // entries of the archive and directories they imply; default 1,048,576
	MaxNameLen    int64 // bytes of a path and of a link's target; default 4,096 (PATH_MAX)
	MaxXattrBytes int64 // names and values of one entry; default 1 MiB. One value is never above 64 KiB (XATTR_SIZE_MAX)
	MaxMetaBytes  int64 // names, targets and attributes of all entries: they stay in memory; default 256 MiB
}

func (l Limits) withDefaults() Limits {
	return Limits{
		MaxBytes:      cmp.Or(l.MaxBytes, 64<<30),
		MaxRatio:      cmp.Or(l.MaxRatio, 250),
		MaxEntries:    cmp.Or(l.MaxEntries, 1<<20),
		MaxNameLen:    cmp.Or(l.MaxNameLen, 4096),
		MaxXattrBytes: cmp.Or(l.MaxXattrBytes, 1<<20),
		MaxMetaBytes:  cmp.Or(l.MaxMetaBytes, 256<<20),
	}
}

// LimitError is an input that asks for more than Limits allow.
type LimitError struct {
	What  string // what there is too much of
	Got   int64  // how much, as far as it was counted or announced
	Limit int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: %d is above the limit of %d", e.What, e.Got, e.Limit)
}

func within(what string, got, limit int64) error {
	if got > limit {
		return &LimitError{what, got, limit}
	}
	return nil
}

package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Keep says which revisions garbage collection leaves. Empty names are none.
type Keep struct {
	Running   string
	Updating  string // the one that is being installed or tried
	Committed string // the last one that ran well: the boot state's
	Factory   bool   // revision 0
}

// Collected is what garbage collection removed.
type Collected struct {
	Reclaimed int64 // bytes of the objects
	Objects   []string
	Revisions []string
}

// GC removes every revision that is not kept, with its logs and the volumes
// that live as long as it, and then every object that no file is linked to and
// no kept revision names (pantavisor's storage.c, pv_storage_gc_run).
func (s *Store) GC(keep Keep) (Collected, error) {
	s.work.Lock()
	defer s.work.Unlock()
	var c Collected
	revs, err := s.Revisions()
	if err != nil {
		return c, err
	}
	kept := []string{keep.Running, keep.Updating, keep.Committed}
	if keep.Factory {
		kept = append(kept, "0")
	}
	named := map[string]bool{}
	for _, rev := range revs {
		if !slices.Contains(kept, rev) {
			if err := s.removeRevision(rev); err != nil {
				return c, fmt.Errorf("garbage collection: revision %s: %w", rev, err)
			}
			c.Revisions = append(c.Revisions, rev)
			continue
		}
		state, err := s.State(rev)
		if errors.Is(err, ErrNotExist) {
			continue // a commit message came before its step
		}
		if err != nil {
			return c, fmt.Errorf("garbage collection: %w", err)
		}
		for _, id := range state.Objects() {
			named[id] = true
		}
	}
	err = s.objects.each(func(id string, st fs.FileInfo) error {
		sys, ok := st.Sys().(*syscall.Stat_t)
		if named[id] || !ok || sys.Nlink > 1 {
			return nil
		}
		if err := os.Remove(s.objects.path(id)); err != nil {
			return err
		}
		c.Objects = append(c.Objects, id)
		c.Reclaimed += st.Size()
		return nil
	})
	return c, errors.Join(err, syncPath(s.objects.dir))
}

// removeRevision removes what belongs to a revision alone; the revision itself
// is the last to go, so that one whose removal was cut short is removed again.
func (s *Store) removeRevision(rev string) error {
	gone := []string{s.LogDir(rev), filepath.Join(s.dir, "disks", "rev", rev)}
	disks, err := fs.Glob(os.DirFS(s.dir), "pv/*/*/rev")
	if err != nil {
		return err
	}
	for _, dir := range disks {
		gone = append(gone, filepath.Join(s.dir, filepath.FromSlash(dir), rev))
	}
	for _, dir := range append(gone, s.trail(rev)) {
		if err := s.discard(dir); err != nil {
			return err
		}
	}
	return nil
}

package storage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
)

// ApplyOptions shapes Apply. The zero value makes revision 0, as an appengine
// does at its first start.
type ApplyOptions struct {
	Rev string // "" is "0"
	// Done marks the revision as one that ran: an initial revision that is not
	// 0 is the one to roll back to from the start.
	Done   bool
	Limits pvrexport.Limits
	// Progress, if not nil, is called before each export is read.
	Progress func(file string)
	// Replaced, if not nil, is told of a container that an export has with
	// another content than an earlier one: the later one counts.
	Replaced func(container, later, earlier string)
}

// Filled says whether the storage in a directory has had its exports: then
// Apply does nothing there.
func Filled(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, appliedMark))
	return err == nil
}

// Apply fills a fresh storage with the exports of some directories, once: each
// regular file of the first directory, in the order of the names, then those of
// the next; files whose name begins with a dot are left out, and a directory
// that is not there is empty. An export is a bundle or a state. What they
// amount to becomes a revision, and the boot state names it if there was none.
//
// The mark .pvtx-done is the last thing written; with it Apply does nothing
// and returns false. If anything is wrong, the error is an *ApplyError with
// the file, and the storage is as it was.
func (s *Store) Apply(ctx context.Context, dirs []string, opts ApplyOptions) (applied bool, err error) {
	rev := cmp.Or(opts.Rev, "0")
	if err := CheckRevision(rev); err != nil {
		return false, err
	}
	mark := filepath.Join(s.dir, appliedMark)
	if _, err := os.Lstat(mark); err == nil {
		return false, s.firstBoot(rev)
	}
	files, err := exportsIn(dirs)
	if err != nil {
		return false, err
	}
	s.work.Lock()
	defer s.work.Unlock()
	state, b, err := s.takeIn(ctx, files, opts)
	if err != nil {
		return false, err
	}
	err = s.deploy(ctx, rev, state.Encode(), state, func(dir string) error {
		if !opts.Done {
			return nil
		}
		return errors.Join(writeNew(filepath.Join(dir, doneFile), strings.NewReader("")),
			writeProgress(filepath.Join(dir, progressFile), Factory()))
	})
	if err != nil {
		return false, errors.Join(err, b.undo())
	}
	if err := s.firstBoot(rev); err != nil {
		return false, err
	}
	return true, replaceFile(s.temp(), mark, nil)
}

// Import takes exports as Apply does, at any time, and returns the state that
// they amount to. It makes no revision of it; their objects are in the store.
func (s *Store) Import(ctx context.Context, dirs []string, opts ApplyOptions) (*pvrexport.State, error) {
	files, err := exportsIn(dirs)
	if err != nil {
		return nil, err
	}
	s.work.Lock()
	defer s.work.Unlock()
	state, _, err := s.takeIn(ctx, files, opts)
	return state, err
}

// takeIn puts the objects of exports into the store and returns what they amount
// to, and the batch, which is committed and can be undone.
func (s *Store) takeIn(ctx context.Context, files []string, opts ApplyOptions) (*pvrexport.State, *Batch, error) {
	b, err := s.objects.NewBatch()
	if err != nil {
		return nil, nil, err
	}
	defer b.Abort()
	state, err := merge(ctx, b, files, opts)
	if err != nil {
		return nil, nil, err
	}
	if err := b.Commit(ctx); err != nil {
		return nil, nil, errors.Join(err, b.undo())
	}
	return state, b, nil
}

// firstBoot lets a storage boot that has never booted.
func (s *Store) firstBoot(rev string) error {
	if _, err := s.Boot(); !errors.Is(err, ErrNotExist) {
		return err
	}
	return s.SetBoot(Boot{Rev: rev})
}

// exportsIn lists what Apply reads, as the shell's "dir"/* does.
func exportsIn(dirs []string) ([]string, error) {
	var files []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list exports: %w", err)
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			st, err := os.Stat(name) // through links, as the shell does
			if err != nil {
				return nil, &ApplyError{File: name, Err: err}
			}
			if st.Mode().IsRegular() {
				files = append(files, name)
			}
		}
	}
	return files, nil
}

// merge reads the exports into the batch and returns what they amount to.
func merge(ctx context.Context, b *Batch, files []string, opts ApplyOptions) (*pvrexport.State, error) {
	state := pvrexport.NewState()
	wanted := map[string]string{} // objects that an export lacks, and the export
	origin := origins{report: opts.Replaced, of: map[string]string{}}
	for _, name := range files {
		if opts.Progress != nil {
			opts.Progress(name)
		}
		taken, err := addExport(ctx, b, name, opts.Limits)
		if err == nil {
			origin.note(state, taken.State, name)
			err = state.Merge(taken.State)
		}
		if err != nil {
			return nil, &ApplyError{File: name, Err: err}
		}
		for _, id := range taken.Missing {
			wanted[id] = cmp.Or(wanted[id], name)
		}
	}
	for _, id := range state.Objects() {
		if name, ok := wanted[id]; ok && !b.Has(ctx, id) {
			return nil, &ApplyError{File: name, Err: fmt.Errorf("object %s: %w", id, pvrexport.ErrMissingObject)}
		}
	}
	return state, nil
}

// origins knows which export each container is of.
type origins struct {
	report func(container, later, earlier string)
	of     map[string]string
}

// note compares what an export has with what is there.
func (o origins) note(have, add *pvrexport.State, name string) {
	for _, part := range add.Parts() {
		earlier, known := o.of[part]
		o.of[part] = name
		if known && o.report != nil && !sameFiles(have, add, part) {
			o.report(part, name, earlier)
		}
	}
}

// sameFiles compares what two states have below a name.
func sameFiles(a, b *pvrexport.State, part string) bool {
	x, errA := a.Subset(part)
	y, errB := b.Subset(part)
	return errA == nil && errB == nil && bytes.Equal(x.Encode(), y.Encode())
}

// addExport takes an export's objects.
func addExport(ctx context.Context, b *Batch, name string, lim pvrexport.Limits) (*pvrexport.Taken, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	taken, err := pvrexport.Take(ctx, f, b, lim)
	if err != nil {
		return nil, err
	}
	return taken, checkKeys(taken.State)
}

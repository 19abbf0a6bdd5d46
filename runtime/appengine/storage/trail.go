package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Install lays out the files of a revision below its directory: hard links to
// the objects, JSON values as files. What is there and right stays; a file that
// is not the object's, or not the value, is replaced. A missing object is an
// error that matches pvrexport.ErrMissingObject and names the key.
func (s *Store) Install(ctx context.Context, rev string) error {
	state, err := s.State(rev)
	if err != nil {
		return err
	}
	if rev, err = s.resolve(rev); err != nil {
		return err
	}
	s.work.Lock()
	defer s.work.Unlock()
	if err := s.objects.layOut(ctx, state, s.trail(rev)); err != nil {
		return fmt.Errorf("install revision %s: %w", rev, err)
	}
	return syncTree(s.trail(rev))
}

// Deploy makes a whole revision of a state whose objects are in the store, or
// replaces one, with its files laid out.
func (s *Store) Deploy(ctx context.Context, rev string, state *pvrexport.State) error {
	if err := CheckRevision(rev); err != nil {
		return err
	}
	s.work.Lock()
	defer s.work.Unlock()
	return s.deploy(ctx, rev, state.Encode(), state, nil)
}

// Copy makes a revision, or replaces it, with the state of another.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	src, err := s.Step(from)
	if err != nil {
		return err
	}
	state, err := s.State(from)
	if err != nil {
		return err
	}
	if err := CheckRevision(to); err != nil {
		return err
	}
	s.work.Lock()
	defer s.work.Unlock()
	return s.deploy(ctx, to, src, state, nil)
}

// deploy builds a revision beside its place; finish adds to it.
func (s *Store) deploy(ctx context.Context, rev string, src []byte, state *pvrexport.State, finish func(dir string) error) error {
	made, err := s.newTrail(src)
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	if err := s.objects.layOut(ctx, state, made); err != nil {
		return fmt.Errorf("deploy revision %s: %w", rev, err)
	}
	if finish != nil {
		if err := finish(made); err != nil {
			return err
		}
	}
	return s.place(made, rev)
}

// BuildTrail makes the files of a revision in the empty directory dir, which
// may lie anywhere: a trail that is not, or not yet, a Store's.
func (o *Objects) BuildTrail(ctx context.Context, state *pvrexport.State, dir string) error {
	if err := writeTrail(dir, state.Encode(), o.dir); err != nil {
		return err
	}
	if err := o.layOut(ctx, state, dir); err != nil {
		return err
	}
	return syncTree(dir)
}

// checkKeys refuses a state with files in the places of our own.
func checkKeys(state *pvrexport.State) error {
	for key := range state.All() {
		if first, _, _ := strings.Cut(key, "/"); first == ".pv" || first == ".pvr" {
			return &pvrexport.KeyError{Key: key, Reason: "lies where the storage keeps its own files"}
		}
	}
	return nil
}

// layOut writes the files that a state describes.
func (o *Objects) layOut(ctx context.Context, state *pvrexport.State, dir string) error {
	if err := checkKeys(state); err != nil {
		return err
	}
	for key, v := range state.All() {
		if key == pvrexport.SpecKey {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(key))
		if err := makeDirsIn(dir, filepath.FromSlash(key)); err != nil {
			return fmt.Errorf("%s: %w", key, full(err))
		}
		var err error
		if id, ok := v.Object(); ok {
			err = o.putLink(id, to)
		} else {
			err = putValue(v.JSON(), to)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, full(err))
		}
	}
	return bootLinks(state, dir)
}

// putLink makes a file that is an object. A name that ends in ".bind" is a
// copy, because the container writes to it (pantavisor's storage.c,
// pv_storage_link_trail_object).
func (o *Objects) putLink(id, to string) error {
	st, err := os.Lstat(o.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("object %s: %w", id, pvrexport.ErrMissingObject)
	}
	if err != nil {
		return err
	}
	bind := path.Ext(to) == ".bind"
	if old, err := os.Lstat(to); err == nil {
		if bind || os.SameFile(st, old) {
			return nil
		}
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	if bind {
		return o.copyTo(id, to)
	}
	err = os.Link(o.path(id), to)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) {
		return o.copyTo(id, to) // another file system, or one with few links
	}
	return err
}

func (o *Objects) copyTo(id, to string) error {
	in, _, err := o.OpenObject(id)
	if err != nil {
		return err
	}
	return errors.Join(writeNew(to, in), in.Close())
}

func putValue(value []byte, to string) error {
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, value) {
		return nil
	}
	// Never through a link: it may be an object's file that another state had
	// under this name.
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeNew(to, bytes.NewReader(value))
}

// Verify reads every file of a revision that is an object and compares its
// digest. progress, if not nil, is called after each. A revision that is not
// installed is verified in the object store, so that it says which objects are
// missing. All failures are joined; each names its key.
func (s *Store) Verify(ctx context.Context, rev string, progress func(done, total int)) error {
	state, err := s.State(rev)
	if err != nil {
		return err
	}
	if rev, err = s.resolve(rev); err != nil {
		return err
	}
	byID := map[string]string{} // a key for each object
	keys := []string{}
	for key, v := range state.All() {
		if id, ok := v.Object(); ok && byID[id] == "" {
			byID[id] = key
			keys = append(keys, key)
		}
	}
	var bad error
	for i, key := range keys {
		v, _ := state.Get(key)
		id, _ := v.Object()
		if err := s.verifyFile(ctx, rev, key, id); err != nil {
			if ctx.Err() != nil {
				return err
			}
			bad = errors.Join(bad, fmt.Errorf("revision %s: %s: %w", rev, key, err))
		}
		if progress != nil {
			progress(i+1, len(keys))
		}
	}
	return bad
}

// verifyFile checks the file that will be used: the one in the trail, unless
// it is a copy that the container may have written to.
func (s *Store) verifyFile(ctx context.Context, rev, key, id string) error {
	name := filepath.Join(s.trail(rev), filepath.FromSlash(key))
	if _, err := os.Lstat(name); err != nil || path.Ext(key) == ".bind" {
		return s.objects.Check(ctx, id)
	}
	return checkFile(ctx, name, id)
}

// Factory is the progress of the revision that a storage was filled with.
func Factory() pvctrl.Progress {
	return pvctrl.Progress{Status: "DONE", StatusMsg: "Factory revision", Percent: 100}
}

package appengine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

// refresh makes a local revision of the exports if the storage's own is another
// one, and lets the next cycle try it.
func (e *engine) refresh(ctx context.Context) error {
	state, err := e.merge(ctx)
	if err != nil {
		return err
	}
	boot, err := e.store.Boot()
	if err != nil {
		return err
	}
	if old, err := e.store.State(boot.Rev); err == nil && bytes.Equal(old.Encode(), state.Encode()) {
		return nil
	}
	sum := sha256.Sum256(state.Encode())
	rev := "locals/up-" + hex.EncodeToString(sum[:6])
	if err := e.store.Deploy(ctx, rev, state); err != nil {
		return err
	}
	if err := e.store.SetProgress(rev, lifecycle.NewProgress(lifecycle.ProgressNew, lifecycle.MsgInstalled, 0)); err != nil {
		return err
	}
	return e.store.SetBoot(storage.Boot{Rev: boot.Rev, Try: rev})
}

// merge adds up the exports; their objects go into the store.
func (e *engine) merge(ctx context.Context) (*pvrexport.State, error) {
	state := pvrexport.NewState()
	for _, dir := range e.opts.Exports {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("list exports: %w", err)
		}
		slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		for _, entry := range entries {
			name := filepath.Join(dir, entry.Name())
			if st, err := os.Stat(name); strings.HasPrefix(entry.Name(), ".") || err == nil && !st.Mode().IsRegular() {
				continue
			}
			e.events.send(Event{Kind: EventApply, Text: name})
			if err := e.add(ctx, state, name); err != nil {
				return nil, &storage.ApplyError{File: name, Err: err}
			}
		}
	}
	return state, nil
}

func (e *engine) add(ctx context.Context, state *pvrexport.State, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	taken, err := pvrexport.Take(ctx, f, e.store.Objects(), pvrexport.Limits{})
	if err != nil {
		return err
	}
	return state.Merge(taken.State)
}

// Forget removes the storage of an engine that does not run, and all that is in
// it. A directory that is not a storage is left alone.
func Forget(opts Options) error {
	opts, err := complete(opts)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(opts.Storage, ".created")); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	store, err := storage.Open(opts.Storage, storage.Options{})
	if err != nil {
		return err
	}
	return errors.Join(removeAll(opts.Storage), store.Close())
}

// removeAll removes a storage's content. The containers of an engine that was
// killed have their volumes in mounts of its run directory, not here.
func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != ".lock" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

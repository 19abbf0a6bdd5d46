package appengine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

// refresh makes a local revision of the exports if the storage's own is another
// one, and lets the next cycle try it.
func (e *engine) refresh(ctx context.Context) error {
	state, err := e.store.Import(ctx, e.opts.Exports, e.applying())
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

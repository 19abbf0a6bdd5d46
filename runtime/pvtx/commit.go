package pvtx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

func decodeState(src []byte) (*pvrexport.State, error) {
	return pvrexport.DecodeState(bytes.NewReader(src))
}

// Commit ends a remote transaction: the state becomes a step of that name.
// "" makes a name up, of the time and the content (pvtx_txn.c, get_rev_name).
func (t *Tx) Commit(ctx context.Context, name string) (rev string, err error) {
	if err := t.active(); err != nil {
		return "", err
	}
	if t.status.Local() {
		return "", fmt.Errorf("commit: %w: it is local, end it with deploy", ErrKind)
	}
	if t.opts.Remote == nil {
		return "", errors.New("commit: there is no pv-ctrl to send the step to")
	}
	src := t.state.Encode()
	if name == "" {
		name = revisionName(t.opts.Now(), src)
	}
	if err := storage.CheckLocalRevision(name); err != nil {
		return "", err
	}
	if err := t.opts.Remote.PutStep(ctx, name, src); err != nil {
		return "", fmt.Errorf("commit %s: %w", name, err)
	}
	return name, t.save(Status{Phase: Committed, Revision: name}, nil)
}

// revisionName ends in a number below 1000 that tells two commits of one
// second and content apart.
func revisionName(now time.Time, src []byte) string {
	return fmt.Sprintf("locals/pvtx-%d-%s-%d", now.Unix(), pvrexport.ObjectID(src)[:8], now.Nanosecond()/1e6)
}

// Deploy ends a local transaction: the state becomes the directory dir, with
// its files as links to the objects. What was at dir is replaced whole; a
// reader sees the old directory or the new one, as far as the file system can
// exchange directories. A process that was killed on the way leaves either,
// or the old one as <dir>.bak, which the next Deploy to dir puts back first.
func (t *Tx) Deploy(ctx context.Context, dir string) error {
	if err := t.active(); err != nil {
		return err
	}
	if !t.status.Local() {
		return fmt.Errorf("deploy: %w: it is remote, end it with commit", ErrKind)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := t.deploy(ctx, dir); err != nil {
		return fmt.Errorf("deploy to %s: %w", dir, err)
	}
	return t.save(Status{Phase: Deployed, Revision: dir}, nil)
}

func (t *Tx) deploy(ctx context.Context, dir string) (err error) {
	parent, base := filepath.Split(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if err := finishDeploy(dir); err != nil {
		return err
	}
	objects, err := storage.OpenObjects(t.status.Objects)
	if err != nil {
		return err
	}
	made, err := os.MkdirTemp(parent, "."+base+deployInfix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	if err := objects.BuildTrail(ctx, t.state, made); err != nil {
		return err
	}
	if err := keepConfig(dir, made); err != nil {
		return err
	}
	return replace(made, dir)
}

// deployInfix stands in the names of directories that Deploy builds.
const deployInfix = ".pvkit-tx-"

// finishDeploy ends what a killed Deploy to dir began.
func finishDeploy(dir string) error {
	bak := dir + ".bak"
	if _, err := os.Lstat(bak); err == nil {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			if err := os.Rename(bak, dir); err != nil {
				return err
			}
		}
	}
	parent, base := filepath.Split(dir)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+base+deployInfix) {
			if err := os.RemoveAll(filepath.Join(parent, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepConfig lets a repository keep its own configuration.
func keepConfig(old, made string) error {
	config, err := os.ReadFile(filepath.Join(old, ".pvr", "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(made, ".pvr", "config"), config, 0o644)
}

// replace puts the directory made in the place of dir.
func replace(made, dir string) error {
	err := unix.Renameat2(unix.AT_FDCWD, made, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		err = unix.Renameat2(unix.AT_FDCWD, made, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		// The file system does not know the flags.
		bak := dir + ".bak"
		if err := os.RemoveAll(bak); err != nil {
			return err
		}
		if err := os.Rename(dir, bak); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Rename(made, dir); err != nil {
			return errors.Join(err, os.Rename(bak, dir))
		}
		if err := os.RemoveAll(bak); err != nil {
			return err
		}
	}
	d, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

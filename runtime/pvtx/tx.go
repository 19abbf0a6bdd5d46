package pvtx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

var (
	// ErrNoTransaction is work on a transaction that has not begun.
	ErrNoTransaction = errors.New("no transaction is active: begin one first")
	// ErrActive is a second begin.
	ErrActive = errors.New("a transaction is active already: commit, deploy or abort it first")
	// ErrKind is an end that the other kind of transaction has.
	ErrKind = errors.New("not for this kind of transaction")
	// ErrNoQueue is work on a queue that was not made.
	ErrNoQueue = errors.New("there is no queue: make one first")
)

// Remote is a running Pantavisor, as far as transactions need it.
type Remote interface {
	Step(ctx context.Context, rev string) ([]byte, error)
	PutStep(ctx context.Context, rev string, state []byte) error
	PutObject(ctx context.Context, id string, content io.ReadSeeker, size int64) error
}

// Options shapes a Tx. The zero value knows the local kind only.
type Options struct {
	Remote Remote           // nil: there is none
	Now    func() time.Time // for the names of revisions; nil is time.Now
	Limits pvrexport.Limits // of a bundle
}

// Tx is the transaction of a directory, while this process works on it.
type Tx struct {
	dir    string
	opts   Options
	lock   *os.File
	status Status
	state  *pvrexport.State // of an active one
}

const (
	recordFile = "pvkit-tx.json"
	lockFile   = "pvkit-tx.lock"
	uploadDir  = "pvkit-tx.tmp" // objects on their way to pv-ctrl
)

// Open takes hold of the transaction in dir, which is made if it is missing.
// If another process has it, Open waits until ctx ends. The caller closes it.
func Open(ctx context.Context, dir string, opts Options) (_ *Tx, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open transaction: %w", err)
	}
	t := &Tx{dir: dir, opts: opts}
	if t.lock, err = lock(ctx, filepath.Join(dir, lockFile)); err != nil {
		return nil, fmt.Errorf("open transaction in %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open transaction in %s: %w", dir, err), t.lock.Close())
		}
	}()
	if err := os.RemoveAll(t.path(uploadDir)); err != nil { // of a process that was killed
		return nil, err
	}
	f, err := os.Open(t.path(recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t.status, t.state, err = DecodeStatus(f)
	return t, err
}

// lock waits for the lock. The kernel has no flock with a time limit, hence
// the polling.
func lock(ctx context.Context, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another process works on it: %w", ctx.Err()), f.Close())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close lets others have the transaction.
func (t *Tx) Close() error { return t.lock.Close() }

func (t *Tx) path(name string) string { return filepath.Join(t.dir, name) }

// Status says what the transaction is about.
func (t *Tx) Status() Status { return t.status }

// State returns the state of the active transaction. It is the caller's own.
func (t *Tx) State() (*pvrexport.State, error) {
	if err := t.active(); err != nil {
		return nil, err
	}
	return t.state.Clone(), nil
}

func (t *Tx) active() error {
	if t.status.Phase != Active {
		return ErrNoTransaction
	}
	return nil
}

// save makes a status and a state the transaction's.
func (t *Tx) save(s Status, state *pvrexport.State) error {
	src, err := EncodeStatus(s, state)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(t.path(recordFile), src, 0o644); err != nil {
		return err
	}
	t.status, t.state = s, state
	return nil
}

// Begin starts a transaction. from is "empty", "current" for the state that
// the remote runs, or the path of a revision's directory or of a state.
// objects is where the objects of a local transaction go; "" makes a remote
// one. A queue that was made before stays, with its own directory for objects.
func (t *Tx) Begin(ctx context.Context, from, objects string) error {
	if t.status.Phase == Active {
		return ErrActive
	}
	next := Status{Phase: Active}
	if objects != "" {
		abs, err := filepath.Abs(objects)
		if err != nil {
			return err
		}
		next.Objects = abs
	}
	if t.status.Phase == Queueing {
		if next.Objects != "" && next.Objects != t.status.Objects {
			return fmt.Errorf("begin transaction: the queue's objects are in %s, not in %s", t.status.Objects, next.Objects)
		}
		next.Objects, next.Queue = t.status.Objects, t.status.Queue
	}
	state, err := t.start(ctx, from)
	if err != nil {
		return fmt.Errorf("begin transaction from %s: %w", from, err)
	}
	return t.save(next, state)
}

// start finds the state that a transaction starts from.
func (t *Tx) start(ctx context.Context, from string) (*pvrexport.State, error) {
	switch from {
	case "empty":
		return pvrexport.NewState(), nil
	case "current":
		if t.opts.Remote == nil {
			return nil, errors.New("there is no pv-ctrl to ask")
		}
		src, err := t.opts.Remote.Step(ctx, "current")
		if err != nil {
			return nil, err
		}
		return decodeState(src)
	}
	if st, err := os.Stat(from); err == nil && st.IsDir() {
		from = filepath.Join(from, ".pvr", "json")
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return pvrexport.DecodeState(f)
}

// Added is what Add took in.
type Added struct {
	State   *pvrexport.State // of the bundle
	Missing []string         // objects that neither the bundle nor the store has
}

// Add takes a bundle, or a state by itself, into the transaction: its objects
// are stored, each after its digest has been found right, then its state is
// merged (pvrexport.State.Merge). If anything fails, the transaction is what it
// was.
func (t *Tx) Add(ctx context.Context, r io.Reader) (*Added, error) {
	if err := t.active(); err != nil {
		return nil, err
	}
	taken, err := t.take(ctx, r)
	if err != nil {
		return nil, err
	}
	next := t.state.Clone()
	if err := next.Merge(taken.State); err != nil {
		return nil, err
	}
	return taken, t.save(t.status, next)
}

// take stores the objects of a bundle, where the transaction's kind has them.
func (t *Tx) take(ctx context.Context, r io.Reader) (*Added, error) {
	if t.status.Local() {
		return takeLocal(ctx, r, t.status.Objects, t.opts.Limits)
	}
	if t.opts.Remote == nil {
		return nil, errors.New("there is no pv-ctrl to send objects to")
	}
	if err := os.MkdirAll(t.path(uploadDir), 0o700); err != nil {
		return nil, err
	}
	taken, err := pvrexport.Take(ctx, r, &uploads{ctx: ctx, dir: t.path(uploadDir), to: t.opts.Remote}, t.opts.Limits)
	if err = errors.Join(err, os.RemoveAll(t.path(uploadDir))); err != nil {
		return nil, err
	}
	return &Added{State: taken.State}, nil // whether the device has the rest, it does not say
}

func takeLocal(ctx context.Context, r io.Reader, objects string, lim pvrexport.Limits) (*Added, error) {
	store, err := storage.OpenObjects(objects)
	if err != nil {
		return nil, err
	}
	b, err := store.NewBatch()
	if err != nil {
		return nil, err
	}
	defer b.Abort()
	taken, err := pvrexport.Take(ctx, r, b, lim)
	if err != nil {
		return nil, err
	}
	added := &Added{State: taken.State}
	for _, id := range taken.Missing {
		if !b.Has(ctx, id) {
			added.Missing = append(added.Missing, id)
		}
	}
	return added, b.Commit(ctx)
}

// Remove takes a part out (pvrexport.State.Remove). The error matches
// pvrexport.ErrNoPart if the transaction has nothing of it.
func (t *Tx) Remove(part string) error {
	if err := t.active(); err != nil {
		return err
	}
	next := t.state.Clone()
	if err := next.Remove(part); err != nil {
		return err
	}
	return t.save(t.status, next)
}

// Abort forgets the transaction and the queue, if there are any. Objects that
// were stored stay.
func (t *Tx) Abort() error {
	err := os.Remove(t.path(recordFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("abort transaction: %w", err)
	}
	t.status, t.state = Status{}, nil
	return nil
}

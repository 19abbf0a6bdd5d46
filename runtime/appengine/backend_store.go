package appengine

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// refusal turns the storage's errors into the API's.
func refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrNotExist), errors.Is(err, storage.ErrRevision), errors.Is(err, storage.ErrKey):
		return errors.Join(ctrl.ErrNotFound, err)
	case errors.Is(err, storage.ErrNoSpace):
		return errors.Join(ctrl.ErrNoSpace, err)
	case errors.Is(err, storage.ErrBadChecksum):
		return errors.Join(ctrl.ErrBadObject, err)
	}
	return err
}

// objects answers for the content store.
type objects struct{ *cycle }

func (o objects) Objects(context.Context) ([]pvctrl.Object, error) {
	return o.store.Objects().List()
}

func (o objects) OpenObject(_ context.Context, sha256 string) (io.ReadCloser, error) {
	r, _, err := o.store.Objects().OpenObject(sha256)
	if errors.Is(err, pvrexport.ErrMissingObject) {
		return nil, errors.Join(ctrl.ErrNotFound, err)
	}
	return r, refusal(err)
}

func (o objects) PutObject(ctx context.Context, sha256 string, size int64, r io.Reader) error {
	return refusal(o.store.Objects().Put(ctx, sha256, r, size))
}

// steps answers for the revisions.
type steps struct{ *cycle }

func (s steps) Steps(context.Context) ([]pvctrl.Step, error) { return s.store.Steps() }

func (s steps) Step(_ context.Context, rev string) ([]byte, error) {
	b, err := s.store.Step(rev)
	return b, refusal(err)
}

func (s steps) StepProgress(_ context.Context, rev string) ([]byte, error) {
	b, err := s.store.Progress(rev)
	return b, refusal(err)
}

func (s steps) PutCommitMsg(_ context.Context, rev, msg string) error {
	return refusal(s.store.SetMessage(rev, msg))
}

// PutStep takes what this runtime would run; whether its objects are there is
// seen when it is run.
func (s steps) PutStep(ctx context.Context, rev string, state []byte) error {
	if rev == s.running() {
		// The files of containers that run would be exchanged under them.
		return &ctrl.StateError{Text: ctrl.StateUnreadable, Err: errors.New("this revision runs now: put the state under another name")}
	}
	err := s.store.PutStep(ctx, rev, bytes.NewReader(state), func(state *pvrexport.State) error {
		if err := s.trust(state); err != nil {
			return &ctrl.StateError{Text: "Secureboot: " + err.Error(), Err: err}
		}
		if _, err := system.Parse(state, s.systemOptions()); err != nil {
			return &ctrl.StateError{Text: ctrl.StateBadFormat, Err: err}
		}
		return nil
	})
	if rejected, ok := errors.AsType[*storage.RejectError](err); ok {
		return &ctrl.StateError{Text: rejected.Text, Err: rejected.Err}
	}
	return refusal(err)
}

// collector answers for the garbage collection.
type collector struct{ *cycle }

func (g collector) CollectGarbage(ctx context.Context) (int64, error) {
	c, err := g.collect(ctx)
	return c.Reclaimed, err
}

// buildInfo is the text of /buildinfo.
type buildInfo []byte

func (b buildInfo) BuildInfo() []byte { return b }

// wakelocks is the mode of PV_POWER_MODE at the start. A process of a host
// keeps nothing awake, so a mode that would is degraded, as upstream's is on a
// kernel without wakelocks (power/wakelock.c).
type wakelocks string

func (w wakelocks) Wakelocks(context.Context) (pvctrl.Wakelocks, error) {
	return pvctrl.Wakelocks{Mode: string(w), Degraded: w != "disabled"}, nil
}

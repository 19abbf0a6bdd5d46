package appengine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// What the update machine wants is carried out here. Whatever reaches the disk
// goes through the scribe, in the order in which it was wanted.

// updateOptions are the settings of the update machine.
func (c *cycle) updateOptions() lifecycle.UpdateOptions {
	return lifecycle.UpdateOptions{
		CommitDelay: time.Duration(c.settings.Int(settings.UpdaterCommitDelay)) * time.Second,
		Retries:     c.settings.Int(settings.RevisionRetries),
	}
}

// storedProgress is what a revision's progress file says, its zero value
// without one.
func storedProgress(store *storage.Store, rev string) (p pvctrl.Progress, err error) {
	src, err := store.Progress(rev)
	if errors.Is(err, storage.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(src, &p)
	}
	return p, err
}

// booted tells the update machine what was going on before this cycle.
func (s *supervisor) booted(rev string) {
	of := rev
	if s.c.boot.Try != "" {
		of = s.c.boot.Try
	}
	p, err := storedProgress(s.c.store, of)
	if err != nil {
		s.c.log.Warn("the stored progress cannot be read", "revision", of, "error", err)
	}
	s.updated(lifecycle.Booted{Running: rev, Boot: lifecycle.Boot(s.c.boot), Progress: p})
	s.startLogs(of)
	if !s.update.OnTrial() {
		s.finishLogs() // a runtime that was killed may have left some
	}
}

// updated gives the update machine an event and does what it wants.
func (s *supervisor) updated(ev lifecycle.UpdateEvent) {
	s.act(s.update.Handle(time.Now(), ev))
}

// observe lets the two machines know of each other.
func (s *supervisor) observe() {
	if s.machine == nil {
		return
	}
	if on := s.update.OnTrial(); on != s.onTrial {
		s.onTrial = on
		s.handle(lifecycle.Updating{On: on})
	}
	if s.ending == outcomeNone {
		s.updated(lifecycle.Observed{Goals: s.machine.Goals(), Stable: s.machine.Stable()})
	}
}

// install carries out an action of the update machine.
func (s *supervisor) install(a lifecycle.Action) {
	switch a := a.(type) {
	case lifecycle.Load:
		s.load(a.Revision)
	case lifecycle.CopyFactory:
		s.write(func() error { return s.copyFactory(a.From) }, func(err error) lifecycle.UpdateEvent { return lifecycle.Copied{Err: err} })
	case lifecycle.SetTry:
		b := storage.Boot{Rev: s.update.Boot().Rev, Try: a.Revision}
		s.write(func() error { return s.c.store.SetBoot(b) }, func(err error) lifecycle.UpdateEvent { return lifecycle.TrySet{Err: err} })
	case lifecycle.ClearTry:
		b := storage.Boot{Rev: s.update.Boot().Rev}
		s.write(func() error { return s.c.store.SetBoot(b) }, nil)
	case lifecycle.Commit:
		s.write(func() error {
			// Done first: killed in between, the revision is tried again and kept.
			return errors.Join(s.c.store.SetDone(a.Revision), s.c.store.SetBoot(storage.Boot{Rev: a.Revision}))
		}, func(err error) lifecycle.UpdateEvent { return lifecycle.Committed{Err: err} })
	case lifecycle.MarkDone:
		s.write(func() error { return s.c.store.SetDone(a.Revision) }, nil)
	case lifecycle.SetProgress:
		s.setProgress(a.Revision, a.Progress)
	case lifecycle.Switch:
		s.replace()
	case lifecycle.Reboot:
		s.c.log.Info("setting device for reboot", "reason", a.Reason)
		s.end(outcomeReboot, nil)
	case lifecycle.GiveUp:
		s.end(outcomeReboot, s.hopeless(a.Reason))
	case lifecycle.Finished:
		s.finishLogs()
	}
}

// hopeless is the error of a revision for which there is no other.
func (s *supervisor) hopeless(reason string) *RevisionError {
	e := &RevisionError{Revision: s.update.Revision(), Err: errors.New(reason)}
	switch {
	case s.problem != nil && s.problem.Revision == e.Revision:
		return s.problem
	case s.problem != nil:
		e.Err = s.problem
	case s.broken != nil && s.broken.Kind == lifecycle.MissingServices:
		e.Err = &serviceError{reason}
	}
	return e
}

// serviceError is ErrMissingService with its details.
type serviceError struct{ reason string }

func (e *serviceError) Error() string { return e.reason }

// Unwrap gives ErrMissingService.
func (e *serviceError) Unwrap() error { return ErrMissingService }

// write does something to the storage in its turn, and answers if an answer is
// wanted. One that is not wanted is an error for the log.
func (s *supervisor) write(f func() error, answer func(error) lifecycle.UpdateEvent) {
	s.scribe.add(func() {
		err := f()
		if answer != nil {
			s.post(func() { s.updated(answer(err)) })
		} else if err != nil {
			s.c.log.Error("the storage was not written", "error", err)
		}
	})
}

func (s *supervisor) setProgress(rev string, p pvctrl.Progress) {
	s.c.events.send(Event{Kind: EventProgress, Revision: rev, Status: p.Status, Text: p.StatusMsg})
	s.stream(pvctrl.EventProgress, pvctrl.StepProgress{Name: rev, Progress: p})
	s.write(func() error {
		err := s.c.store.SetProgress(rev, p)
		if errors.Is(err, storage.ErrNotExist) || errors.Is(err, storage.ErrRevision) {
			return nil // a revision that nobody put
		}
		return err
	}, nil)
}

// copyFactory replaces revision 0, which must not be in use.
func (s *supervisor) copyFactory(from string) error {
	if n := s.snap.Load(); n != nil && n.revision == FactoryRevision {
		return errors.New("the factory revision runs: its files cannot be replaced under it")
	}
	return s.c.store.Copy(s.ctx, from, FactoryRevision)
}

// load reads a revision that is to be tried.
func (s *supervisor) load(rev string) {
	old := s.rev
	s.startLogs(rev)
	s.group.Go(func() {
		r, err := s.c.load(s.ctx, rev, old)
		s.post(func() {
			ev := lifecycle.Loaded{}
			if err != nil {
				ev.Problem = &problemOf(err).Problem
			} else {
				change := system.Diff(old.state, old.sys, r.state, r.sys)
				ev.Reboot = change.Reboot
				s.next, s.change = r, change
			}
			s.updated(ev)
		})
	})
}

// replace begins the change to the next revision: containers that differ go,
// and when they are down, retired goes on.
func (s *supervisor) replace() {
	s.c.log.Info("transitioning...", "from", s.rev.name, "to", s.next.name)
	s.handle(lifecycle.Retire{Containers: s.change.Containers})
}

// retired: what the next revision does not keep is down.
func (s *supervisor) retired() {
	next := s.next
	s.next = nil
	if next == nil || s.ending != outcomeNone {
		return
	}
	err := errors.Join(s.c.store.SetCurrent(next.name), s.c.logs.SetRevision(next.name))
	if s.c.net != nil {
		if nerr := s.c.net.Setup(next.network); nerr != nil {
			s.c.note(nerr.Error()) // the containers of the pool say so too
		}
	}
	if err == nil {
		s.rev = next
		s.handle(lifecycle.Adopt{System: next.sys, Revision: next.name})
		name := next.name
		s.scribe.add(func() {
			if err := s.c.deviceMeta().tell("pantavisor.revision", name); err != nil {
				s.c.log.Warn("the revision is not in device-meta", "error", err)
			}
		})
	}
	s.updated(lifecycle.Switched{Err: err})
}

// startLogs begins to collect the errors of an update.
func (s *supervisor) startLogs(rev string) {
	s.finishLogs()
	file := filepath.Join(s.c.store.TrailDir(rev), ".pv", "logs.tmp")
	stop := s.c.logs.StartUpdate(file)
	s.keepLogs = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Second)
		defer cancel()
		if err := stop(ctx); err != nil {
			s.c.log.Warn("the log of the update is not complete", "error", err)
		}
		if err := s.c.keepUpdateLog(file, rev); err != nil {
			s.c.log.Warn("the log of the update is not kept", "error", err)
		}
	}
}

// finishLogs gives the errors of an update their place, after its last progress.
func (s *supervisor) finishLogs() {
	if s.keepLogs != nil {
		s.scribe.add(s.keepLogs)
		s.keepLogs = nil
	}
}

// maxProgressLogs is how much of an update's errors its progress shows
// (UPDATE_PROGRESS_LOGS_SIZE).
const maxProgressLogs = 4096

// keepUpdateLog makes what was logged during an update the revision's logs, and
// shows the beginning in its progress. An update without an error has none.
func (c *cycle) keepUpdateLog(name, rev string) error {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(text) > 0 {
		err = errors.Join(c.store.SetStepLogs(rev, text), c.showLogs(rev, text[:min(len(text), maxProgressLogs)]))
	}
	return errors.Join(err, os.Remove(name))
}

func (c *cycle) showLogs(rev string, text []byte) error {
	p, err := storedProgress(c.store, rev)
	if err != nil {
		return err
	}
	p.Logs = strings.ToValidUTF8(string(text), "")
	return c.store.SetProgress(rev, p)
}

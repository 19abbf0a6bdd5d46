package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Files of a revision, below its directory.
const (
	stateFile    = ".pvr/json"
	pvrConfig    = ".pvr/config"
	doneFile     = ".pv/done"
	progressFile = ".pv/progress"
	messageFile  = ".pv/commitmsg"
	logsFile     = ".pv/logs"
)

// NewProgress is the progress of a step that has just been put.
func NewProgress() pvctrl.Progress {
	return pvctrl.Progress{Status: "NEW", StatusMsg: "Update ready to be run"}
}

// PutStep stores a new revision, or replaces one: body is its state, which is
// kept byte for byte. check, if not nil, judges what was read, and returns a
// *RejectError for what the device does not take; a body that is no state is a
// *RejectError by itself. What a revision had before stays if anything goes
// wrong. The objects need not be there yet.
func (s *Store) PutStep(ctx context.Context, rev string, body io.Reader, check func(*pvrexport.State) error) error {
	if err := CheckLocalRevision(rev); err != nil {
		return err
	}
	src, err := io.ReadAll(io.LimitReader(contextReader{ctx, body}, pvrexport.MaxStateSize+1))
	if err != nil {
		return fmt.Errorf("read step %s: %w", rev, err)
	}
	if len(src) > pvrexport.MaxStateSize {
		return fmt.Errorf("step %s: %w: more than %d bytes", rev, ErrTooLarge, pvrexport.MaxStateSize)
	}
	state, err := pvrexport.DecodeState(bytes.NewReader(src))
	if err == nil {
		err = checkKeys(state)
	}
	if err != nil {
		return &RejectError{Text: "Parser: State JSON has bad format", Err: err}
	}
	if check != nil {
		if err := check(state); err != nil {
			return err
		}
	}
	s.work.Lock()
	defer s.work.Unlock()
	if old, err := os.ReadFile(filepath.Join(s.trail(rev), stateFile)); err == nil && bytes.Equal(old, src) {
		src, err := encodeProgress(NewProgress())
		if err != nil {
			return err
		}
		return s.replace(rev, progressFile, src) // its files are right, and may be in use
	}
	made, err := s.newTrail(src)
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	if err := s.keepMessage(rev, made); err != nil {
		return err
	}
	if err := writeProgress(filepath.Join(made, progressFile), NewProgress()); err != nil {
		return err
	}
	return s.place(made, rev)
}

// newTrail begins a revision's directory under .tmp.
func (s *Store) newTrail(src []byte) (string, error) {
	made, err := os.MkdirTemp(s.temp(), "trail-*")
	if err != nil {
		return "", full(err)
	}
	if err := writeTrail(made, src, s.objects.dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(made))
	}
	return made, nil
}

// writeTrail writes what every revision has.
func writeTrail(dir string, src []byte, objects string) error {
	config, err := json.Marshal(struct{ ObjectsDir string }{objects})
	if err != nil {
		return err
	}
	err = os.Chmod(dir, 0o755) // os.MkdirTemp gives 0700
	for _, name := range []string{".pvr", ".pv"} {
		err = errors.Join(err, makeDir(filepath.Join(dir, name)))
	}
	if err == nil {
		err = writeNew(filepath.Join(dir, stateFile), bytes.NewReader(src))
	}
	if err == nil {
		err = writeNew(filepath.Join(dir, pvrConfig), bytes.NewReader(config))
	}
	return full(err)
}

// keepMessage takes over a commit message that came before its step.
func (s *Store) keepMessage(rev, made string) error {
	text, err := os.ReadFile(filepath.Join(s.trail(rev), messageFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(made, messageFile), bytes.NewReader(text))
}

// place syncs a directory and makes it the revision's.
func (s *Store) place(made, rev string) error {
	if err := syncTree(made); err != nil {
		return err
	}
	return s.swapIn(made, rev)
}

// read reads a small file of a revision, which may be "current".
func (s *Store) read(rev, name string) ([]byte, error) {
	rev, err := s.resolve(rev)
	if err != nil {
		return nil, err
	}
	src, err := os.ReadFile(filepath.Join(s.trail(rev), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s of revision %s: %w", name, rev, ErrNotExist)
	}
	return src, err
}

// write replaces a small file of a revision, whose directory need not exist. It
// waits for work on revisions: what is written while a step is being replaced
// must not go with the old one.
func (s *Store) write(rev, name string, data []byte) error {
	if err := CheckRevision(rev); err != nil {
		return err
	}
	s.work.Lock()
	defer s.work.Unlock()
	return s.replace(rev, name, data)
}

// replace is write for who holds work.
func (s *Store) replace(rev, name string, data []byte) error {
	to := filepath.Join(s.trail(rev), name)
	if err := makeDirs(filepath.Dir(to)); err != nil {
		return err
	}
	return replaceFile(s.temp(), to, data)
}

// Step returns the state of a revision as it was put. The error matches
// ErrNotExist if there is none. rev may be "current".
func (s *Store) Step(rev string) ([]byte, error) { return s.read(rev, stateFile) }

// State returns the state of a revision.
func (s *Store) State(rev string) (*pvrexport.State, error) {
	src, err := s.Step(rev)
	if err != nil {
		return nil, err
	}
	state, err := pvrexport.DecodeState(bytes.NewReader(src))
	if err != nil {
		return nil, fmt.Errorf("revision %s: %w", rev, err)
	}
	return state, nil
}

// Progress returns what SetProgress stored, as it lies on the disk. The error
// matches ErrNotExist if there is none.
func (s *Store) Progress(rev string) (json.RawMessage, error) { return s.read(rev, progressFile) }

// SetProgress stores how far the installation of a revision has come.
func (s *Store) SetProgress(rev string, p pvctrl.Progress) error {
	src, err := encodeProgress(p)
	if err != nil {
		return err
	}
	return s.write(rev, progressFile, src)
}

func writeProgress(name string, p pvctrl.Progress) error {
	src, err := encodeProgress(p)
	if err != nil {
		return err
	}
	return writeNew(name, bytes.NewReader(src))
}

func encodeProgress(p pvctrl.Progress) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("encode progress: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// SetMessage stores the commit message of a revision, which need not exist.
func (s *Store) SetMessage(rev, text string) error { return s.write(rev, messageFile, []byte(text)) }

// Message returns the commit message of a revision, "" if it has none.
func (s *Store) Message(rev string) (string, error) {
	text, err := s.read(rev, messageFile)
	if errors.Is(err, ErrNotExist) {
		err = nil
	}
	return string(text), err
}

// SetStepLogs stores the messages of a revision's installation.
func (s *Store) SetStepLogs(rev string, text []byte) error { return s.write(rev, logsFile, text) }

// SetDone marks a revision as one that ran well: it can be rolled back to.
func (s *Store) SetDone(rev string) error { return s.write(rev, doneFile, nil) }

// Done reports whether SetDone was called for the revision.
func (s *Store) Done(rev string) bool {
	_, err := s.read(rev, doneFile)
	return err == nil
}

// Revisions returns the names of all revisions: plain ones in order, then
// local ones.
func (s *Store) Revisions() ([]string, error) {
	var revs []string
	for _, prefix := range []string{"", localPrefix} {
		entries, err := os.ReadDir(filepath.Join(s.dir, "trails", prefix))
		if err != nil {
			return nil, fmt.Errorf("list revisions: %w", err)
		}
		var names []string
		for _, e := range entries {
			if rev := prefix + e.Name(); e.IsDir() && CheckRevision(rev) == nil {
				names = append(names, rev)
			}
		}
		slices.Sort(names)
		revs = append(revs, names...)
	}
	return revs, nil
}

// Steps lists all revisions as GET /steps does. The Z at the end of a date is
// the runtime's; the time is local all the same.
func (s *Store) Steps() ([]pvctrl.Step, error) {
	revs, err := s.Revisions()
	if err != nil {
		return nil, err
	}
	zone := s.opts.Location
	if zone == nil {
		zone = time.Local
	}
	steps := []pvctrl.Step{}
	for _, rev := range revs {
		st, err := os.Stat(s.trail(rev))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list steps: %w", err)
		}
		step := pvctrl.Step{Name: rev, Date: st.ModTime().In(zone).Format("2006-01-02T15:04:05Z"), Progress: json.RawMessage("{}")}
		if step.CommitMsg, err = s.Message(rev); err != nil {
			return nil, fmt.Errorf("list steps: %w", err)
		}
		if p, err := s.Progress(rev); err == nil && json.Valid(p) {
			step.Progress = p
		}
		steps = append(steps, step)
	}
	return steps, nil
}

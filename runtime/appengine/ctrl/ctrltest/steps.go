package ctrltest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Steps lists the revisions, all of one date.
func (m *Machine) Steps(context.Context) ([]pvctrl.Step, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []pvctrl.Step
	for _, rev := range m.sorted() {
		s := m.steps[rev]
		if s.state != nil {
			all = append(all, pvctrl.Step{Name: rev, Date: "2026-11-22T23:01:56Z", CommitMsg: s.commitMsg, Progress: encoded(s.progress)})
		}
	}
	return all, nil
}

func (m *Machine) step(rev string) *step {
	if rev == "current" {
		rev = m.current
	}
	return m.steps[rev]
}

// Step gives a state.
func (m *Machine) Step(_ context.Context, rev string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.step(rev); s != nil && s.state != nil {
		return s.state, nil
	}
	return nil, ctrl.ErrNotFound
}

// PutStep takes what could be a state: an object of the right kind whose
// manifests are objects.
func (m *Machine) PutStep(_ context.Context, rev string, text []byte) error {
	var state map[string]json.RawMessage
	if err := json.Unmarshal(text, &state); err != nil {
		return &ctrl.StateError{Text: ctrl.StateBadFormat, Err: err}
	}
	if string(state["#spec"]) != `"pantavisor-service-system@1"` {
		return &ctrl.StateError{Text: ctrl.StateBadFormat, Err: errors.New("#spec is another one")}
	}
	for key, value := range state {
		if strings.HasSuffix(key, "/run.json") && value[0] != '{' {
			return &ctrl.StateError{Text: ctrl.StateBadFormat, Err: errors.New(key + " is no object")}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps[rev] = &step{state: text, progress: pvctrl.Progress{Status: "NEW", StatusMsg: "Update ready to be run"}}
	return nil
}

// StepProgress gives a revision's progress.
func (m *Machine) StepProgress(_ context.Context, rev string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.step(rev); s != nil {
		return encoded(s.progress), nil
	}
	return nil, ctrl.ErrNotFound
}

// PutCommitMsg needs the revision.
func (m *Machine) PutCommitMsg(_ context.Context, rev, msg string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.step(rev)
	if s == nil {
		return ctrl.ErrNotFound
	}
	s.commitMsg = msg
	return nil
}

// updating tells whether a revision is being tried.
func (m *Machine) updating() bool {
	s := m.steps[m.current]
	return s != nil && s.progress.Status == "TESTING"
}

// Command takes one command, which is done with the next [Machine.Tick].
func (m *Machine) Command(_ context.Context, c pvctrl.Command) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch c.Op {
	case pvctrl.OpUpdateMetadata:
		return ctrl.ErrLocalMode
	case pvctrl.OpRebootDevice, pvctrl.OpPoweroffDevice, pvctrl.OpLocalRun, pvctrl.OpLocalRunCommit, pvctrl.OpMakeFactory:
		if m.updating() {
			return ctrl.ErrUpdateOngoing
		}
	case pvctrl.OpGoRemote:
		return ctrl.ErrRemoteDisabled
	case pvctrl.OpUnclaim:
		if m.updating() {
			return ctrl.ErrUpdateOngoing
		}
		return ctrl.ErrAlreadyUnclaimed
	}
	if m.command != nil {
		return ctrl.ErrCommandBusy
	}
	m.command = &c
	return nil
}

// Tick is a pass of the supervisor's loop: a revision that is tried proves
// good, or else the command that waits is done.
func (m *Machine) Tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.updating() {
		m.progress(m.current, pvctrl.Progress{Status: "UPDATED", StatusMsg: "Update finished, revision not set as rollback point", Percent: 100})
		return
	}
	c := m.command
	if c == nil {
		return
	}
	m.command = nil
	switch c.Op {
	case pvctrl.OpRunGC:
		m.collect()
	case pvctrl.OpLocalRun, pvctrl.OpLocalRunCommit:
		if s := m.steps[c.Payload]; s == nil || s.state == nil {
			m.progress(c.Payload, pvctrl.Progress{Status: "WONTGO", StatusMsg: "State JSON not found", Percent: 100})
			return
		}
		m.current = c.Payload
		m.progress(c.Payload, pvctrl.Progress{Status: "TESTING", StatusMsg: "Awaiting to see if update is stable", Percent: 75})
	}
}

func (m *Machine) progress(rev string, p pvctrl.Progress) {
	s := m.steps[rev]
	if s == nil {
		s = &step{}
		m.steps[rev] = s
	}
	s.progress = p
	m.publish(pvctrl.EventProgress, pvctrl.StepProgress{Name: rev, Progress: p})
}

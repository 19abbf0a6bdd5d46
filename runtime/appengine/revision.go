package appengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/manifest"
	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/network"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/appengine/system"
)

// revision is a state that can run: understood, its signatures accepted, its
// objects whole, its files laid out.
type revision struct {
	name       string
	state      *pvrexport.State
	sys        *system.System
	containers map[string]*definition
	network    *network.Plan
}

// definition is what a revision's files say about a container beyond its
// run.json.
type definition struct {
	*system.Container
	config  *lxcconf.Config // nil: it is only mounted
	net     []network.LXCInterface
	overlay string // _config of the container, "" for none
	mdev    []string
}

// RevisionError is a revision that does not run, and why.
type RevisionError struct {
	Revision string
	Problem  lifecycle.Problem // as the update machine takes it
	Err      error
}

func (e *RevisionError) Error() string {
	return fmt.Sprintf("revision %s does not run: %v", e.Revision, e.Err)
}

// Unwrap gives the reason.
func (e *RevisionError) Unwrap() error { return e.Err }

// ErrMissingService is a required service that no container of the state
// offers. The real runtime restarts for ever over it.
var ErrMissingService = errors.New("a required service is missing")

// problemOf makes a RevisionError of any error.
func problemOf(err error) *RevisionError {
	if e, ok := errors.AsType[*RevisionError](err); ok {
		return e
	}
	return &RevisionError{Problem: lifecycle.Problem{Kind: lifecycle.ProblemInternal, Err: err}, Err: err}
}

// load makes a revision ready to run: its state is understood, its signatures
// hold, its files are laid out and their objects are what they should be.
// previous, if there is one, is the revision that runs: containers keep their
// addresses. The error is a *RevisionError.
func (c *cycle) load(ctx context.Context, rev string, previous *revision) (*revision, error) {
	refuse := func(kind lifecycle.ProblemKind, err error) (*revision, error) {
		return nil, &RevisionError{Revision: rev, Problem: lifecycle.Problem{Kind: kind, Err: err}, Err: err}
	}
	state, err := c.store.State(rev)
	switch {
	case errors.Is(err, storage.ErrNotExist), errors.Is(err, storage.ErrRevision):
		return refuse(lifecycle.ProblemNoState, err)
	case err != nil:
		return refuse(lifecycle.ProblemFormat, err)
	}
	if err := c.trust(state); err != nil {
		return refuse(lifecycle.ProblemSignature, err)
	}
	sys, err := system.Parse(state, c.systemOptions())
	if err != nil {
		return refuse(lifecycle.ProblemFormat, err)
	}
	for _, f := range sys.Findings {
		c.noteAs("parser", f.String())
	}
	if err := c.verify(ctx, rev); err != nil {
		return refuse(lifecycle.ProblemChecksum, err)
	}
	r := &revision{name: rev, state: state, sys: sys}
	if err := c.describe(r, previous); err != nil {
		return refuse(lifecycle.ProblemInternal, err)
	}
	return r, nil
}

// verify lays out the files of a revision and compares each object with its
// digest; a corrupt one is named with its key.
func (c *cycle) verify(ctx context.Context, rev string) error {
	if err := c.store.Install(ctx, rev); err != nil {
		return err
	}
	return c.store.Verify(ctx, rev, nil)
}

// describe reads the files that say how containers run and plans their network.
func (c *cycle) describe(r *revision, previous *revision) error {
	r.containers = map[string]*definition{}
	var wants []network.Want
	for _, ct := range r.sys.Containers {
		d := &definition{Container: ct}
		r.containers[ct.Name] = d
		if err := errors.Join(c.read(r, d), c.run.container(ct.Name)); err != nil {
			return fmt.Errorf("container %s: %w", ct.Name, err)
		}
		if d.config != nil {
			wants = append(wants, want(d))
		}
	}
	var old *network.Plan
	if previous != nil {
		old = previous.network
	}
	r.network = network.NewPlan(pools(r.sys), wants, old)
	return nil
}

// read reads a container's own files.
func (c *cycle) read(r *revision, d *definition) error {
	trail := c.store.TrailDir(r.name)
	if dir := filepath.Join(trail, "_config", d.Name); isDir(dir) {
		d.overlay = dir
	}
	if err := d.readMdev(filepath.Join(trail, d.Name, "mdev.json")); err != nil {
		return err
	}
	if d.Config == "" {
		return nil
	}
	src, err := os.ReadFile(filepath.Join(trail, d.Name, filepath.FromSlash(d.Config)))
	if err != nil {
		return fmt.Errorf("its configuration: %w", err)
	}
	if d.config, err = lxcconf.Parse(bytes.NewReader(src)); err != nil {
		return fmt.Errorf("%s: %w", d.Config, err)
	}
	for _, w := range d.config.Warnings {
		c.noteAs("pantavisor", fmt.Sprintf("%s/%s: %s", d.Name, d.Config, w))
	}
	var warnings []string
	if d.net, warnings, err = network.LXCInterfaces(lines(src)); err != nil {
		return fmt.Errorf("%s: %w", d.Config, err)
	}
	for _, w := range warnings {
		c.noteAs("pantavisor", fmt.Sprintf("%s/%s: %s", d.Name, d.Config, w))
	}
	return nil
}

// lines yields the keys and values of a configuration.
func lines(src []byte) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range bytes.Lines(src) {
			key, value, ok := strings.Cut(string(line), "=")
			if key = strings.TrimSpace(key); ok && !strings.HasPrefix(key, "#") && !yield(key, strings.TrimSpace(value)) {
				return
			}
		}
	}
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

func (d *definition) readMdev(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if d.mdev, err = manifest.ParseMdev(f); err != nil {
		return fmt.Errorf("mdev.json: %w", err)
	}
	if err := sandbox.CheckMdev(d.mdev); err != nil {
		return fmt.Errorf("mdev.json: %w", err)
	}
	return nil
}

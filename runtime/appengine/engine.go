package appengine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// FactoryRevision is the name of the revision that a storage is filled with.
const FactoryRevision = "0"

// Options say where an appengine lives and what it runs. Storage and RunDir
// are needed.
type Options struct {
	// Storage is the directory that lasts. One engine at a time has it.
	Storage string
	// RunDir is the directory of this run: sockets, metadata, and what
	// containers see of the runtime below /pantavisor. It is emptied.
	RunDir string

	// Exports are directories of pvrexports that the first revision is made
	// of, the files of each in alphabetical order. They are used when the
	// storage is new.
	Exports []string
	// Refresh makes a revision of Exports also when the storage is not new and
	// runs something else; it is tried as any update.
	Refresh bool
	// Revision is the first revision's name; "" is FactoryRevision.
	Revision string

	// Settings are read at every start of a cycle. Without Config there, it is
	// the appengine's own with the directories of this engine.
	Settings settings.Sources
	// Boot, if it names a revision, is used instead of the storage's boot
	// state for the first cycle.
	Boot storage.Boot

	// XConnect is the program of the service mesh with its arguments; the
	// socket is added. Empty is none.
	XConnect []string
	// Executable is what containers are started with; "" is this program,
	// which then calls sandbox.Child first.
	Executable string
	// NetNS is the network namespace that has the bridges of pools and of
	// lxc.net.* lines; nil is the process's own, which containers of the mode
	// host share.
	NetNS *os.File
	// Extract makes copies of images instead of mounting them.
	Extract bool
	// Trust judges the signatures of states; nil does what PV_SECUREBOOT_MODE
	// says, with the stores of a device below PV_SYSTEM_ETCDIR.
	Trust Trust

	// RestartDelay is the pause between two cycles.
	RestartDelay time.Duration
	// Restart is asked before a restart; false ends the engine. Nil is always.
	Restart func(context.Context) bool

	Version   string    // pantavisor.version in device-meta
	BuildInfo []byte    // GET /buildinfo
	Stdout    io.Writer // of the log outputs that have stdout in their name; nil drops it
	// Watch is told what happens, one event after the other; it must not wait.
	Watch func(Event)
}

// Ending is how an engine came to its end.
type Ending int

// The endings.
const (
	Stopped    Ending = iota // its context ended, or Options.Restart said no
	PoweredOff               // by the command, or the context's cause was ErrPowerOff
)

// ErrPowerOff as the cause of the context's end powers off instead of stopping.
var ErrPowerOff = errors.New("power off")

// engine is what lasts longer than a cycle.
type engine struct {
	opts   Options
	store  *storage.Store
	events *watcher
	trying string   // the revision on trial that the last cycle ran
	early  []string // warnings from before there was a log
}

// Run runs an appengine until it is powered off or ctx ends, and leaves
// nothing running behind. The error says why it cannot go on: a storage in use
// (*storage.LockedError), an export that cannot be applied
// (*storage.ApplyError), a revision that does not run and has none before it
// (*RevisionError).
func Run(ctx context.Context, opts Options) (_ Ending, err error) {
	opts, err = complete(opts)
	if err != nil {
		return Stopped, err
	}
	e := &engine{opts: opts, events: newWatcher(opts.Watch)}
	table, _, err := e.load()
	if err != nil {
		return Stopped, err
	}
	e.store, err = storage.Open(opts.Storage, storage.Options{Reserved: table.Int(settings.StorageGCReserved)})
	if err != nil {
		return Stopped, err
	}
	defer func() { err = errors.Join(err, e.store.Close()) }()
	if err := e.prepare(ctx); err != nil {
		return Stopped, err
	}
	return e.cycles(ctx)
}

// Prepare makes the storage ready and runs nothing: the first steps of Run.
func Prepare(ctx context.Context, opts Options) (err error) {
	if opts, err = complete(opts); err != nil {
		return err
	}
	e := &engine{opts: opts, events: newWatcher(opts.Watch)}
	if e.store, err = storage.Open(opts.Storage, storage.Options{}); err != nil {
		return err
	}
	return errors.Join(e.prepare(ctx), e.store.Close())
}

func complete(opts Options) (Options, error) {
	if opts.Storage == "" || opts.RunDir == "" {
		return opts, errors.New("an appengine needs a storage and a run directory")
	}
	for _, dir := range []*string{&opts.Storage, &opts.RunDir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return opts, err
		}
		*dir = abs
	}
	opts.Revision = cmp.Or(opts.Revision, FactoryRevision)
	if opts.Settings.Policy == nil {
		opts.Settings.Policy = os.ReadFile
	}
	if opts.Settings.Config == nil {
		run := filepath.Dir(opts.RunDir)
		opts.Settings.Config = settings.AppengineConfig(settings.Dirs{Storage: opts.Storage, Run: run})
		opts.Settings.ConfigName = "pantavisor-appengine.config"
	}
	return opts, storage.CheckRevision(opts.Revision)
}

// load reads the settings, and says what in them is not taken.
func (e *engine) load() (*settings.Table, []settings.Problem, error) {
	table, problems, err := settings.Load(e.opts.Settings)
	if err != nil {
		return nil, nil, err
	}
	// What the caller chose is what is shown, whatever the file says.
	for key, value := range map[settings.Key]string{
		settings.StorageMntpoint: e.opts.Storage, settings.SystemRundir: e.opts.RunDir,
	} {
		if table.Text(key) != value {
			if err := table.Set(string(key), value, settings.Args); err != nil {
				return nil, nil, err
			}
		}
	}
	return table, problems, nil
}

// prepare fills a new storage. Applying is atomic: either all exports are in,
// or the storage is as it was and the next start tries again.
func (e *engine) prepare(ctx context.Context) error {
	fresh, err := e.store.Apply(ctx, e.opts.Exports, e.applying())
	if err == nil && !fresh && e.opts.Refresh {
		err = e.refresh(ctx)
	}
	return err
}

// applying says how exports are taken, and tells what they are.
func (e *engine) applying() storage.ApplyOptions {
	return storage.ApplyOptions{
		Rev: e.opts.Revision, Done: e.opts.Revision != FactoryRevision,
		Progress: func(file string) { e.events.send(Event{Kind: EventApply, Revision: e.opts.Revision, Text: file}) },
		Replaced: func(container, later, earlier string) {
			text := fmt.Sprintf("container %s is that of %s, and another one of %s is dropped: of exports with the same container the last counts", container, later, earlier)
			e.events.send(Event{Kind: EventNote, Container: container, Text: text})
			e.early = append(e.early, text)
		},
	}
}

// outcome is why a cycle ended.
type outcome int

const (
	outcomeNone     outcome = iota
	outcomeStop             // the context ended
	outcomePowerOff         // the command, or ErrPowerOff
	outcomeReboot           // a command, an update, a rollback, or a container that cannot be recovered
)

// cycles is the wrapper's loop (pv-appengine.in, exec_run).
func (e *engine) cycles(ctx context.Context) (Ending, error) {
	for {
		boot, rev, err := e.choose()
		if err != nil {
			return Stopped, err
		}
		out, err := e.cycle(ctx, boot, rev)
		if bad, ok := errors.AsType[*RevisionError](err); ok {
			out, err = outcomeReboot, e.fallBack(ctx, bad)
		}
		switch {
		case err != nil:
			return Stopped, err
		case out == outcomePowerOff:
			return PoweredOff, nil
		case out == outcomeStop, !e.pause(ctx):
			return Stopped, nil
		}
	}
}

// choose reads the boot state. A revision on trial is run once; when the cycle
// that tried it has not committed it, the next one runs the good revision.
func (e *engine) choose() (boot storage.Boot, rev string, err error) {
	if boot, err = e.store.Boot(); err != nil {
		return boot, "", err
	}
	if e.opts.Boot.Rev != "" {
		boot, e.opts.Boot = e.opts.Boot, storage.Boot{}
	}
	var p pvctrl.Progress
	if boot.Try != "" {
		// One that cannot be read is not one of a failure.
		p, _ = storedProgress(e.store, boot.Try)
	}
	rev = lifecycle.Boot(boot).Choose(e.trying, p)
	e.trying = ""
	if rev == boot.Try {
		e.trying = rev
	}
	return boot, rev, nil
}

// pause waits before a restart. It is false when there is to be none.
func (e *engine) pause(ctx context.Context) bool {
	if e.opts.Restart != nil && !e.opts.Restart(ctx) {
		return false
	}
	e.events.send(Event{Kind: EventRestart, Text: "in " + e.opts.RestartDelay.String()})
	t := time.NewTimer(e.opts.RestartDelay)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// fallBack finds the revision to run after one that does not and has no other
// beside it. Without an error, the boot state names it now.
func (e *engine) fallBack(ctx context.Context, bad *RevisionError) error {
	good, err := e.lastGood(ctx, bad.Revision)
	if err != nil || good == "" {
		return errors.Join(bad, err)
	}
	e.events.send(Event{Kind: EventError, Revision: bad.Revision, Text: fmt.Sprintf("%v; revision %s, which ran well before, is used", bad, good)})
	return e.store.SetBoot(storage.Boot{Rev: good})
}

// lastGood is the newest revision other than not that ran well once and is
// whole now, "" if there is none.
func (e *engine) lastGood(ctx context.Context, not string) (string, error) {
	revs, err := e.store.Revisions()
	if err != nil {
		return "", err
	}
	done := map[string]time.Time{}
	for _, rev := range revs {
		if st, err := os.Stat(filepath.Join(e.store.TrailDir(rev), ".pv", "done")); err == nil && rev != not {
			done[rev] = st.ModTime()
		}
	}
	for _, rev := range slices.SortedFunc(maps.Keys(done), func(a, b string) int { return done[b].Compare(done[a]) }) {
		if e.store.Verify(ctx, rev, nil) == nil {
			return rev, nil
		}
	}
	return "", nil
}

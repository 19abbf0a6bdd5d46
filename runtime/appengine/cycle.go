package appengine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/daemons"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
	"github.com/pvkit/pvkit/runtime/appengine/network"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// cycle is one run of the runtime, between two restarts. Its fields do not
// change once it has begun; what moves belongs to the supervisor.
type cycle struct {
	*engine
	settings *settings.Table
	run      *runDir
	logs     *logs.Server
	log      *slog.Logger // source "pantavisor"
	host     *sandbox.Host
	net      *network.Host // nil where no network can be made
	noNet    error         // why
	daemons  *daemons.Supervisor
	boot     storage.Boot
	sup      *supervisor
	stream   *ctrl.Events // GET /events
	status   atomic.Value // string: pantavisor.status

	shared  map[string]string // paths of configurations that every container has
	mounted volumeMap
	device  *sandbox.Mounted // the device's own volumes, nil for none

	sources sync.Map // name → *logs.Source of the runtime's parts
	stops   []func() // what began, the last first
}

// cycle runs a revision until the runtime is to restart or to end. The order
// is that of pantavisor's init: run directory, log, pv-ctrl, daemons, state,
// network, containers; and backwards at the end.
func (e *engine) cycle(ctx context.Context, boot storage.Boot, rev string) (out outcome, err error) {
	c := &cycle{engine: e, boot: boot, stream: ctrl.NewEvents()}
	defer func() {
		for i := len(c.stops) - 1; i >= 0; i-- {
			c.stops[i]()
		}
	}()
	// Whatever runs is stopped in its turn, not by the end of ctx.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.stop(cancel)
	if err := c.begin(life, rev); err != nil {
		return outcomeNone, err
	}
	defer c.sup.finish()
	return c.sup.loop(ctx, rev)
}

// stop adds something to be done at the end, before all that was added earlier.
func (c *cycle) stop(f func()) { c.stops = append(c.stops, f) }

// begin starts what does not depend on the revision's content.
func (c *cycle) begin(ctx context.Context, rev string) error {
	var problems []settings.Problem
	var err error
	if c.settings, problems, err = c.engine.load(); err != nil {
		return err
	}
	if c.run, err = newRunDir(c.opts.RunDir); err != nil {
		return err
	}
	c.stop(func() {
		if err := c.run.clear(); err != nil {
			c.events.send(Event{Kind: EventError, Text: err.Error()})
		}
	})
	if err := c.startLogs(ctx, rev); err != nil {
		return err
	}
	for _, text := range c.early {
		c.log.Warn(text)
	}
	c.early = nil
	for _, p := range problems {
		if errors.Is(p, settings.ErrLegacy) { // it is taken
			c.log.Warn("settings: " + p.Error())
			continue
		}
		c.note("settings: " + p.Error())
	}
	if !c.settings.Bool(settings.SecurebootChecksum) {
		c.note("settings: " + string(settings.SecurebootChecksum) + " is off, and objects are checked all the same")
	}
	c.vendorSettings(rev)
	c.checkLogFormats()
	if err := c.credentials(); err != nil {
		return err
	}
	if err := c.run.facts(c.settings.Text(settings.PHCredsHost), c.settings.Int(settings.PHCredsPort)); err != nil {
		return err
	}
	if err := c.introduce(rev); err != nil {
		return fmt.Errorf("fill in device-meta: %w", err)
	}
	for _, m := range []meta{c.userMeta(), c.deviceMeta()} {
		if err := m.show(); err != nil {
			return err
		}
	}
	if err := c.openHost(ctx); err != nil {
		return err
	}
	if err := c.serveLogs(ctx); err != nil {
		return err
	}
	c.sup = newSupervisor(ctx, c)
	if err := c.serve(ctx); err != nil {
		return err
	}
	return c.startDaemons(ctx)
}

// background runs something that blocks until its context ends, which is in
// its turn when the cycle stops.
func (c *cycle) background(ctx context.Context, run func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	c.stop(func() { cancel(); <-done })
}

// startLogs starts the log server and its socket.
func (c *cycle) startLogs(ctx context.Context, rev string) error {
	conf, err := c.logConfig()
	if err != nil {
		return err
	}
	if c.logs, err = logs.New(filepath.Join(c.store.Dir(), "logs"), conf, logs.Options{
		Stdout: c.opts.Stdout,
		Note:   func(text string) { c.events.send(Event{Kind: EventNote, Text: text}) },
	}); err != nil {
		return err
	}
	c.background(ctx, func(ctx context.Context) { _ = c.logs.Run(ctx) })
	if err := c.store.SetCurrent(rev); err != nil {
		return err
	}
	if err := c.logs.SetRevision(rev); err != nil {
		return err
	}
	c.log = c.logger("pantavisor")
	return nil
}

// logger makes a logger of one of the runtime's parts.
func (c *cycle) logger(source string) *slog.Logger { return c.logs.Logger(source) }

// source is the log source of one of the runtime's parts.
func (c *cycle) source(name string) *logs.Source {
	if s, ok := c.sources.Load(name); ok {
		return s.(*logs.Source)
	}
	s, _ := c.sources.LoadOrStore(name, c.logs.Source(logs.Pantavisor, name, logs.Info))
	return s.(*logs.Source)
}

// configureLogs lets the log server follow a changed setting.
func (c *cycle) configureLogs() {
	if c.logs == nil {
		return // it starts with the setting
	}
	conf, err := c.logConfig()
	if err != nil {
		c.log.Warn("the log server keeps its settings", "error", err)
		return
	}
	c.logs.Configure(conf)
	c.checkLogFormats()
}

// checkLogFormats says which times will not be in the log.
func (c *cycle) checkLogFormats() {
	for _, key := range []settings.Key{
		settings.LogFiletreeTimestampFormat, settings.LogSinglefileTimestampFormat, settings.LogStdoutTimestampFormat,
	} {
		if err := logs.CheckTimeFormat(c.settings.Text(key)); err != nil {
			c.note(fmt.Sprintf("%s: %v", key, err))
		}
	}
}

// logConfig reads the log server's settings.
func (c *cycle) logConfig() (logs.Config, error) {
	t := c.settings
	total, tmpfs, err := logs.FileSystem(c.store.Dir())
	if err != nil {
		return logs.Config{}, err
	}
	size, err := t.LogLimit(total, tmpfs)
	outputs := logs.Outputs(t.Int(settings.LogServerOutputs)) | logs.OutputUpdate
	if !t.Bool(settings.LogCapture) {
		outputs = logs.OutputNull
	}
	return logs.Config{
		Absolute: t.Word(settings.LogTimestamp) == "absolute",
		Level:    logs.Level(t.Int(settings.LogLevel)), Outputs: outputs,
		MaxSize:    size,
		Hysteresis: t.Int(settings.LogHysteresisFactor), Rotate: t.Int(settings.LogRotateFactor),
		FileTreeTime: t.Text(settings.LogFiletreeTimestampFormat), SingleFileTime: t.Text(settings.LogSinglefileTimestampFormat),
		StdoutTime: t.Text(settings.LogStdoutTimestampFormat),
	}, err
}

// credentials reads the hub's credentials file and makes one where there is
// none, as the real program does. Nothing here talks to a hub.
func (c *cycle) credentials() error {
	name := filepath.Join(c.store.Dir(), "config", "pantahub.config")
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		data = c.settings.CredsFile()
		err = os.WriteFile(name, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("credentials of the hub: %w", err)
	}
	problems, err := c.settings.Creds(filepath.Base(name), data, c.opts.Settings.Cmdline)
	for _, p := range problems {
		c.log.Warn("a setting is not taken", "error", p)
	}
	return err
}

// openHost opens the places on the machine where containers live.
func (c *cycle) openHost(ctx context.Context) error {
	var err error
	c.host, err = sandbox.Open(ctx, sandbox.Options{
		RunDir: c.run.path(sandboxDir), ImageDir: filepath.Join(c.store.Dir(), "cache", "images"),
		Cgroup: c.cgroup(), Executable: c.opts.Executable, NoLoop: c.opts.Extract, Log: c.logger("sandbox"),
	})
	if err != nil {
		return err
	}
	for _, text := range c.host.Notes() {
		c.events.send(Event{Kind: EventNote, Text: text}) // the log has them
	}
	c.stop(func() {
		if err := c.host.Close(context.WithoutCancel(ctx)); err != nil {
			c.log.Error("what containers had is not all taken away", "error", err)
		}
	})
	return nil
}

// serve opens pv-ctrl. Before the state is loaded it says so.
func (c *cycle) serve(ctx context.Context) error {
	server, err := ctrl.New(ctrl.Options{
		Backend: c.backend(), Owner: c.owner, Events: c.stream, Log: c.logger("ctrl"),
	})
	if err != nil {
		return err
	}
	socket := c.run.path(ctrlSocket)
	l, err := ctrl.Listen(socket, 0o666)
	if err != nil {
		return err
	}
	c.background(ctx, func(ctx context.Context) {
		if err := server.Serve(ctx, l); err != nil {
			c.log.Error("pv-ctrl does not answer any more", "error", err)
		}
	})
	c.events.send(Event{Kind: EventServing, Text: socket})
	return nil
}

// systemOptions are the settings that change what a state means.
func (c *cycle) systemOptions() system.Options {
	return system.Options{
		GoalTimeout: time.Duration(c.settings.Int(settings.UpdaterGoalsTimeout)) * time.Second,
		DevLog:      c.settings.Bool(settings.LogAutoDevlog),
	}
}

// cgroup is the name of the cgroup that everything runs below. Engines with
// different storages do not meet.
func (c *cycle) cgroup() string {
	sum := sha256.Sum256([]byte(c.store.Dir()))
	return "pantavisor-" + hex.EncodeToString(sum[:4])
}

// owner tells which container a process is of; the host is one too.
func (c *cycle) owner(pid int) (string, bool) {
	name, ok := c.host.Owner(pid)
	if ok && name == "" {
		name = pvctrl.HostName
	}
	return name, ok
}

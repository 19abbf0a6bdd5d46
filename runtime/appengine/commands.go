package appengine

import (
	"context"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// commands carries out what POST /commands asks for. There is one place for a
// command (ctrl/ctrl_cmd.c); here it is taken only while the command is worked
// on, and not for the time until a loop comes round.
type commands struct{ *cycle }

// Command accepts a command, or says why not. The appengine has no client of a
// hub: it stays local and unclaimed.
func (c commands) Command(ctx context.Context, cmd pvctrl.Command) error {
	return answer(c.sup.ask(ctx, func() error {
		s := c.sup
		err := lifecycle.Decide(cmd.Op, lifecycle.Situation{
			Updating: s.update.Ongoing() || s.ending != outcomeNone, Busy: s.busy,
			DebugShell: c.settings.Bool(settings.DebugShell),
		})
		if err == nil {
			s.command(cmd)
		}
		return err
	}))
}

// command carries out an accepted command.
func (s *supervisor) command(cmd pvctrl.Command) {
	c := s.c
	c.log.Debug("command received", "op", cmd.Op, "payload", cmd.Payload)
	switch cmd.Op {
	case pvctrl.OpRebootDevice:
		s.end(outcomeReboot, nil)
	case pvctrl.OpPoweroffDevice:
		s.end(outcomePowerOff, nil)
	case pvctrl.OpLocalRun:
		s.updated(lifecycle.RunRevision{Revision: cmd.Payload})
	case pvctrl.OpLocalRunCommit:
		s.updated(lifecycle.RunRevision{Revision: cmd.Payload, Commit: true})
	case pvctrl.OpMakeFactory:
		s.updated(lifecycle.MakeFactory{Revision: cmd.Payload})
	case pvctrl.OpRunGC:
		s.background(func() {
			if _, err := c.collect(s.ctx); err != nil {
				c.log.Error("garbage collection", "error", err)
			}
		})
	case pvctrl.OpEnableSSH, pvctrl.OpDisableSSH:
		value := map[string]string{pvctrl.OpEnableSSH: "1", pvctrl.OpDisableSSH: "0"}[cmd.Op]
		if err := c.settings.Set(string(settings.DebugSSH), value, settings.Command); err != nil {
			c.log.Warn("debug.ssh is not set", "error", err)
		}
		c.log.Warn("there is no ssh server here: use pventer", "op", cmd.Op)
	case pvctrl.OpDeferReboot:
		c.log.Debug("no debug shell is open: there is no reboot to put off")
	default:
		c.log.Warn("unknown command received. Ignoring...", "op", cmd.Op)
	}
}

// background carries out a command that takes time; no other is accepted
// meanwhile.
func (s *supervisor) background(f func()) {
	s.busy, s.dirty = true, true
	s.group.Go(func() {
		f()
		s.post(func() { s.busy, s.dirty = false, true })
	})
}

// keep are the revisions that garbage collection leaves.
func (c *cycle) keep(ctx context.Context) (storage.Keep, error) {
	boot, err := c.store.Boot()
	if err != nil {
		return storage.Keep{}, err
	}
	k := storage.Keep{Committed: boot.Rev, Updating: boot.Try, Factory: c.settings.Bool(settings.StorageGCKeepFactory)}
	if _, err := c.snapshot(); err != nil {
		k.Running = c.boot.Rev // it is being loaded
		return k, nil
	}
	err = c.sup.ask(ctx, func() error {
		k.Running = c.sup.rev.name
		if c.sup.next != nil {
			k.Updating = c.sup.next.name
		}
		return nil
	})
	return k, err
}

// collect removes what no kept revision needs.
func (c *cycle) collect(ctx context.Context) (storage.Collected, error) {
	k, err := c.keep(ctx)
	if err != nil {
		return storage.Collected{}, err
	}
	got, err := c.store.GC(k)
	if err == nil {
		c.log.Info("garbage collected", "revisions", len(got.Revisions), "objects", len(got.Objects), "bytes", got.Reclaimed)
	}
	return got, err
}

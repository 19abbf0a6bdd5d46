package appengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
)

// serveLogs opens the sockets on which programs log: pv-ctrl-log for all
// containers, pv-fd-log for those with the role mgmt. Whom a message is from is
// what the sandbox says of its sender.
func (c *cycle) serveLogs(ctx context.Context) error {
	id := logs.Identity{Owner: c.host.Owner}
	for name, serve := range map[string]func(context.Context, *net.UnixListener, logs.Identity) error{
		logSocket: c.logs.ServeLog, fdSocket: c.logs.ServeFD,
	} {
		l, err := logs.Listen(c.run.path(name))
		if err != nil {
			return fmt.Errorf("open the socket %s: %w", name, err)
		}
		c.background(ctx, func(ctx context.Context) {
			if err := serve(ctx, l, id); err != nil {
				c.log.Error("nobody answers any more", "socket", name, "error", err)
			}
		})
	}
	return nil
}

// devLog gives a container its own /dev/log, so that who ends right after
// logging is known as well.
func (b *box) devLog() (lxcconf.Mount, error) {
	name := filepath.Join(b.s.c.run.path(sandboxDir), "log."+b.name)
	if b.syslog == nil {
		l, err := logs.ListenDatagrams(name)
		if err != nil {
			return lxcconf.Mount{}, fmt.Errorf("open its /dev/log: %w", err)
		}
		b.syslog = l
		b.s.logging.Go(func() {
			if err := b.s.c.logs.ServeDatagrams(b.s.logCtx, l, logs.Identity{Platform: b.name}); err != nil {
				b.s.c.log.Error("nobody reads /dev/log any more", "container", b.name, "error", err)
			}
			os.Remove(name) // the next start would
		})
	}
	return sandbox.Bind(name, "dev/log", false, true), nil
}

// follow logs the files of a running container that its run.json names, until
// it ends.
func (b *box) follow(p *sandbox.Container) {
	if !b.s.c.settings.Bool(settings.LogLoggers) {
		return
	}
	specs, err := logs.ContainerLogs(b.def.Logs)
	if err != nil {
		b.s.c.log.Warn("a log file is not followed", "container", b.name, "error", err)
	}
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", p.PID()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // it has ended already
	}
	b.s.logging.Go(func() {
		defer root.Close()
		ctx, cancel := context.WithCancel(b.s.logCtx)
		var tails sync.WaitGroup
		for _, spec := range specs {
			tails.Go(func() { b.s.c.logs.Tail(ctx, root, b.name, spec) })
		}
		select {
		case <-p.Done():
		case <-ctx.Done():
		}
		cancel()
		tails.Wait()
	})
}

// failText is the reason of a failed start, for the log and the machine.
func failText(err error) string {
	if e, ok := errors.AsType[*sandbox.StartError](err); ok {
		return e.Err.Error() // the machine says which container
	}
	return err.Error()
}

package appengine

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/lifecycle"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
	"github.com/pvkit/pvkit/runtime/appengine/network"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// box carries out what the machine wants of one container, one thing after the
// other, in a goroutine of its own. Stop and Kill do not wait in the line.
type box struct {
	s       *supervisor
	name    string
	work    queue
	console *logs.Source

	// Of the queue's goroutine.
	def     *definition
	mounted *sandbox.Mounted
	syslog  *net.UnixConn // its /dev/log, nil before the first start that wants one

	// Of the supervisor's goroutine.
	process *sandbox.Container // while one runs
	run     lifecycle.Run
}

// mount places the volumes of a definition.
func (b *box) mount(run lifecycle.Run, rev *revision) {
	def := rev.containers[b.name]
	b.work.add(func() {
		b.def = def
		m, err := b.s.c.place(b.s.ctx, rev, def)
		b.mounted = m
		if err != nil {
			b.failed(run, err.Error(), true)
			return
		}
		b.s.tell(lifecycle.Mounted{Run: run})
	})
}

// start runs the container on its volumes.
func (b *box) start(run lifecycle.Run, rev *revision) {
	b.work.add(func() {
		p, err := b.launch(rev)
		if err != nil {
			_, refused := network.IsRefusal(err)
			b.failed(run, failText(err), refused || errors.Is(err, unix.ENOEXEC))
			return
		}
		b.s.post(func() {
			b.process, b.run = p, run
			b.s.handle(lifecycle.Started{Run: run, PID: p.PID()})
		})
		b.s.group.Go(func() { b.watch(run, p) })
	})
}

func (b *box) launch(rev *revision) (*sandbox.Container, error) {
	spec, err := b.s.c.spec(rev, b.def, b.mounted)
	if err != nil {
		return nil, err
	}
	if b.def.DevLog {
		m, err := b.devLog()
		if err != nil {
			return nil, err
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	spec.Console = b.console
	p, err := b.s.c.host.Start(b.s.ctx, spec)
	if err == nil {
		b.follow(p)
	}
	return p, err
}

// watch waits for the end of a container's process.
func (b *box) watch(run lifecycle.Run, p *sandbox.Container) {
	// It ends when everything of the container is gone; Kill sees to that.
	exit, err := p.Wait(context.WithoutCancel(b.s.ctx))
	status := exit.String()
	if err != nil {
		status = err.Error()
	}
	b.console.Close()
	b.s.post(func() {
		if b.process == p {
			b.process = nil
		}
		b.s.ended(lifecycle.Exited{Run: run, Status: status}, status)
	})
}

// failed tells that there is no process; refused, that there never will be one.
func (b *box) failed(run lifecycle.Run, reason string, refused bool) {
	b.s.post(func() { b.s.ended(lifecycle.Failed{Run: run, Reason: reason, Refused: refused}, reason) })
}

// stop asks a container to end; kill ends every process of it. Neither waits in
// the line, and what they do takes its time elsewhere. A container that is not
// started yet is not there to be told; the machine says it again.
func (b *box) stop(run lifecycle.Run) {
	p := b.process
	if p == nil || b.run != run {
		return
	}
	b.s.group.Go(func() {
		deaf := p.Deaf()
		b.halt(p)
		if deaf && p.Deaf() { // a handler that is gone after it ran does not count
			b.insist(run, p)
		}
	})
}

func (b *box) halt(p *sandbox.Container) {
	if err := p.Halt(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.s.c.log.Warn("container did not take its halt signal", "container", b.name, "error", err)
	}
}

// settleTime is what a program without a handler for the halt signal gets to
// install one.
const settleTime = 500 * time.Millisecond

// insist deals with a program that the halt signal did not reach. One that
// handles it a little later, as it has only begun, gets it again and has the
// whole grace period; for any other one the rest of that would be spent for
// nothing.
func (b *box) insist(run lifecycle.Run, p *sandbox.Container) {
	tick := time.NewTicker(settleTime / 25)
	defer tick.Stop()
	for end := time.Now().Add(settleTime); time.Now().Before(end); {
		select {
		case <-p.Done():
			return
		case <-tick.C:
		}
		if !p.Deaf() {
			b.halt(p)
			return
		}
	}
	b.s.c.log.Info("container does not handle its halt signal, and is killed", "container", b.name)
	b.s.post(func() { b.kill(run) })
}

func (b *box) kill(run lifecycle.Run) {
	if p := b.process; p != nil && b.run == run {
		b.s.group.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(b.s.ctx), cleanTime)
			defer cancel()
			if err := p.Kill(ctx); err != nil {
				b.s.c.log.Error("container cannot be killed", "container", b.name, "error", err)
			}
		})
	}
}

// cleanTime bounds what ending a container and taking its volumes away may take,
// also when the engine is being stopped.
const cleanTime = 10 * time.Second

func (b *box) unmount() {
	b.work.add(func() {
		if b.mounted == nil {
			return
		}
		b.s.c.mounted.set(b.name, nil)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.s.ctx), cleanTime)
		defer cancel()
		err := b.mounted.Unmount(ctx)
		if b.s.c.net != nil {
			err = errors.Join(err, b.s.c.net.Detach(b.name))
		}
		if err != nil {
			b.s.c.log.Error("volumes could not be taken away", "container", b.name, "error", err)
		}
		b.mounted = nil
	})
}

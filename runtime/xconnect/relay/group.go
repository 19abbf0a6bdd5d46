package relay

import (
	"cmp"
	"context"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Group is the connections of one link that a loop moves after a plugin has
// looked at their beginnings.
type Group struct {
	fw   *forwarder     // the loop, and what is counted; it accepts nobody
	work sync.WaitGroup // goroutines beside the loop
}

// ServeGroup is Serve for a plugin that hands its connections over to a loop.
// start must not wait. It hands the connection over with [Group.Join] or
// [Group.Tap], or closes it and calls done.
func ServeGroup(ctx context.Context, loops *Loops, env xconnect.Env, l xconnect.Link, ln net.Listener,
	start func(ctx context.Context, g *Group, c *net.UnixConn, done func(error))) error {
	g := &Group{fw: &forwarder{
		env: env, link: l, loop: loops.pick(), listener: -1, near: -1, place: -1, watched: unwatched, ending: true,
		count: [2]func(int){consumer: env.Stats.ToProvider, provider: env.Stats.ToConsumer},
		flows: map[*flow]struct{}{},
		dial:  func(ctx context.Context) (*net.UnixConn, error) { return Dial(ctx, env, l, "unix") },
	}}
	defer g.work.Wait()
	var stop func() bool
	var once sync.Once
	err := serve(ctx, env, ln, func(ctx context.Context, c *net.UnixConn, done func(error)) {
		once.Do(func() { // ctx is the same for all
			g.fw.dialCtx = ctx
			stop = context.AfterFunc(ctx, func() { g.fw.loop.post(g.fw.revoke) })
		})
		start(ctx, g, c, done)
	})
	if stop != nil {
		stop()
	}
	return err
}

// Join relays between two connections, after what has been read of them
// already. It takes them over and calls done when they have ended.
func (g *Group) Join(c, p *net.UnixConn, fromConsumer, fromProvider []byte, done func(error)) {
	cfd, cerr := detach(c)
	pfd, perr := detach(p)
	if cerr != nil || perr != nil {
		closeAll(cfd, pfd)
		done(cmp.Or(cerr, perr))
		return
	}
	g.fw.loop.post(func() {
		if g.fw.revoked {
			closeAll(cfd, pfd)
			done(nil)
			return
		}
		f := &flow{fw: g.fw, fd: [2]int{cfd, pfd}, watched: [2]uint32{unwatched, unwatched}, closed: func() { done(nil) }}
		f.place = g.fw.loop.enter(f)
		g.fw.flows[f] = struct{}{}
		g.fw.loop.buffer()
		var err error
		for side, b := range [2][]byte{fromConsumer, fromProvider} {
			if err == nil && len(b) > 0 {
				f.dirs[side].out = outgoing{buf: smallPool.Get().(*buffer), rest: b}
				err = f.flush(side)
			}
		}
		if err == nil {
			err = f.settle()
		}
		g.fw.after(f, err)
	})
}

// Park calls wake, on a goroutine of its own, when c can be read or its other
// side has ended. Until then c stays open; to be done with it, shut it down.
func (g *Group) Park(c *net.UnixConn, wake func()) {
	raw, err := c.SyscallConn()
	fd := -1
	if err == nil {
		err = raw.Control(func(f uintptr) { fd = int(f) })
	}
	if err != nil {
		go wake()
		return
	}
	g.fw.loop.post(func() {
		p := &parked{loop: g.fw.loop, fd: fd, wake: wake}
		p.place = p.loop.enter(p)
		if p.loop.watch(p.place, 0, fd, unwatched, unix.EPOLLIN) != nil {
			p.loop.leave(p.place)
			go wake()
		}
	})
}

type parked struct {
	loop  *loop
	fd    int
	place int32
	wake  func()
}

// ready implements watcher.
func (p *parked) ready(int, uint32) {
	_ = p.loop.watch(p.place, 0, p.fd, unix.EPOLLIN, unwatched) // it was added, so it can be taken away
	p.loop.leave(p.place)
	go p.wake()
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

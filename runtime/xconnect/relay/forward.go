package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Forward accepts consumers on ln, a stream, and relays each to the link's
// provider, as Serve with Both would. One of the loops moves all connections of
// the link, so one that nobody uses costs a few hundred bytes, and a message
// one wake-up.
//
// A provider that cannot be reached at once is dialed with dial, on a goroutine
// of its own.
func Forward(ctx context.Context, loops *Loops, env xconnect.Env, l xconnect.Link, ln net.Listener, dial func(ctx context.Context) (*net.UnixConn, error)) error {
	fd, remove, err := takeOver(ln)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer remove()
	dialCtx, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	fw := &forwarder{
		env: env, link: l, loop: loops.pick(), listener: fd, watched: unwatched,
		count: [2]func(int){consumer: env.Stats.ToProvider, provider: env.Stats.ToConsumer},
		flows: map[*flow]struct{}{}, dial: dial, dialCtx: dialCtx, done: make(chan error, 1),
	}
	fw.loop.post(fw.begin)
	stop := context.AfterFunc(ctx, func() {
		remove() // nobody gets in any more
		fw.loop.post(func() { fw.end(nil) })
		time.AfterFunc(env.DrainFor(ctx), func() {
			cut(context.Cause(ctx)) // dials end
			fw.loop.post(fw.revoke)
		})
	})
	defer stop()
	return <-fw.done
}

// forwarder is a running Forward. Only its loop touches it.
type forwarder struct {
	env      xconnect.Env
	link     xconnect.Link
	loop     *loop
	count    [2]func(int) // bytes of a direction
	listener int          // -1: closed
	near     int          // the provider's socket while consumers are taken; -1: to be found
	dial     func(ctx context.Context) (*net.UnixConn, error)
	dialCtx  context.Context

	place   int32  // in the loop
	watched uint32 // what the loop looks for on the listener
	pause   time.Duration
	flows   map[*flow]struct{}
	dials   int
	ending  bool // no consumers are taken any more
	revoked bool // those that are there are cut
	err     error
	done    chan error
}

// acceptBatch is how many consumers are taken before other connections of the
// loop have their turn.
const acceptBatch = 16

func (fw *forwarder) begin() {
	fw.place = fw.loop.enter(fw)
	fw.listen(true)
}

// end takes no consumers any more; err, which may be nil, is what Forward
// returns when the last connection has ended.
func (fw *forwarder) end(err error) {
	if !fw.ending {
		fw.listen(false)
		unix.Close(fw.listener)
		fw.listener = -1
		fw.ending, fw.err = true, err
	}
	if err != nil {
		fw.revoke()
	}
	fw.finish()
}

// revoke cuts what is open.
func (fw *forwarder) revoke() {
	fw.revoked = true
	for f := range fw.flows {
		fw.after(f, io.EOF)
	}
}

// finish returns from Forward if nothing is left.
func (fw *forwarder) finish() {
	if fw.ending && fw.place >= 0 && fw.dials == 0 && len(fw.flows) == 0 {
		fw.loop.leave(fw.place)
		fw.place = -1
		fw.done <- fw.err
	}
}

func (fw *forwarder) full() bool { return fw.dials+len(fw.flows) >= max(fw.env.MaxConns, 1) }

// listen starts or stops taking consumers.
func (fw *forwarder) listen(on bool) {
	want := unwatched
	if on {
		want = unix.EPOLLIN
	}
	if fw.ending {
		return
	}
	err := fw.loop.watch(fw.place, 0, fw.listener, fw.watched, want)
	fw.watched = want
	if err != nil {
		fw.end(err)
	}
}

// ready implements watcher: there are consumers.
func (fw *forwarder) ready(int, uint32) {
	if err := fw.accept(); err != nil {
		fw.end(err)
	}
}

// accept takes the consumers that wait, at most env.MaxConns at once. A
// shortage of descriptors or memory pauses it; any other error is returned.
func (fw *forwarder) accept() error {
	// Whoever comes at the same time meets the same provider, looked up once.
	fw.near = -1
	defer func() {
		if fw.near >= 0 {
			closePath(fw.near)
		}
	}()
	for range acceptBatch {
		if fw.ending || fw.watched == unwatched {
			return nil
		}
		fd, err := acceptNow(fw.listener)
		switch {
		case err == nil:
			fw.pause = 0
			fw.connect(fd)
			if fw.full() {
				fw.listen(false)
			}
		case err == unix.EAGAIN, err == unix.EINTR:
			return nil
		case shortage(err):
			fw.rest(err)
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
	return nil
}

// rest stops accepting for a while.
func (fw *forwarder) rest(err error) {
	fw.pause = nextPause(fw.pause)
	fw.env.Stats.Fail(err)
	fw.env.Log.Warn("Accepting pauses", "err", err, "for", fw.pause)
	fw.listen(false)
	fw.dials++ // the timer holds the forwarder as a dial does
	time.AfterFunc(fw.pause, func() {
		fw.loop.post(func() {
			fw.dials--
			fw.listen(!fw.full())
			fw.finish()
		})
	})
}

// connect dials the provider for a consumer.
func (fw *forwarder) connect(fd int) {
	closed := fw.env.Stats.Open()
	if p, ok := fw.connectNow(); ok {
		fw.start(fd, p, closed)
		return
	}
	fw.dials++
	go func() {
		p, err := fw.dialSlowly()
		fw.loop.post(func() {
			fw.dials--
			switch {
			case err != nil:
				unix.Close(fd)
				fw.gone(err, closed)
			case fw.revoked:
				unix.Close(fd)
				unix.Close(p)
				fw.gone(nil, closed)
			default:
				fw.start(fd, p, closed)
			}
		})
	}()
}

// connectNow connects to the provider if that needs no waiting.
func (fw *forwarder) connectNow() (fd int, ok bool) {
	finder, ok := fw.env.Provider.(xconnect.NowFinder)
	if !ok {
		return -1, false
	}
	start := time.Now()
	if fw.near < 0 {
		var err error
		if fw.near, err = finder.FindNow(fw.link.Socket); err != nil {
			return -1, false
		}
	}
	fd, err := connectPath(fw.near)
	if err != nil {
		return -1, false
	}
	fw.env.Stats.Connected(time.Since(start))
	return fd, true
}

func (fw *forwarder) dialSlowly() (int, error) {
	c, err := fw.dial(fw.dialCtx)
	if err != nil {
		return -1, err
	}
	return detach(c)
}

// detach takes the descriptor out of a connection.
func detach(c *net.UnixConn) (int, error) {
	defer c.Close()
	return unixsock.Duplicate(c)
}

// takeOver takes the socket of a listener, so that only a loop waits for
// consumers. remove takes the listener's path away.
func takeOver(ln net.Listener) (fd int, remove func() error, err error) {
	remove = ln.Close
	if d, ok := ln.(xconnect.Detacher); ok {
		fd, remove, err = d.Detach()
	} else {
		fd, err = unixsock.Duplicate(ln.(syscall.Conn))
	}
	if err != nil {
		return -1, nil, err
	}
	// Accepted sockets inherit this, and so lack it at no time.
	if err := askForCredentials(fd); err != nil {
		unix.Close(fd)
		return -1, nil, errors.Join(err, remove())
	}
	return fd, remove, nil
}

// start relays between two connected sockets.
func (fw *forwarder) start(c, p int, closed func()) {
	f := &flow{fw: fw, fd: [2]int{c, p}, watched: [2]uint32{unwatched, unwatched}, closed: closed}
	f.place = fw.loop.enter(f)
	fw.flows[f] = struct{}{}
	err := askForCredentials(p) // the consumer's has it from the listener
	if err == nil {
		err = f.move(consumer) // who connects has something to say, most often
	}
	if err == nil {
		err = f.settle()
	}
	fw.after(f, err)
}

// after ends a flow for an error of it.
func (fw *forwarder) after(f *flow, err error) {
	if err == nil {
		return
	}
	if err == io.EOF {
		err = nil
	}
	for side, fd := range f.fd {
		f.drop(side)
		unix.Close(fd)
	}
	fw.loop.leave(f.place)
	delete(fw.flows, f)
	fw.gone(err, f.closed)
}

// gone ends the accounting of a consumer's connection.
func (fw *forwarder) gone(err error, closed func()) {
	if err != nil && !fw.revoked {
		fw.env.Stats.Fail(err)
		fw.env.Log.Warn("Connection failed", "err", err)
	}
	closed()
	if fw.watched == unwatched && fw.pause == 0 {
		fw.listen(true)
	}
	fw.finish()
}

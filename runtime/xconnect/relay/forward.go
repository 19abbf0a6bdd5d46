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
	defer ln.Close()
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	dialCtx, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	fw := &forwarder{
		env: env, link: l, loop: loops.pick(), listener: raw, watched: unwatched,
		count: [2]func(int){consumer: env.Stats.ToProvider, provider: env.Stats.ToConsumer},
		flows: map[*flow]struct{}{}, dial: dial, dialCtx: dialCtx, done: make(chan error, 1),
	}
	fw.loop.post(fw.begin)
	stop := context.AfterFunc(ctx, func() {
		ln.Close() // nobody gets in any more
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
	listener syscall.RawConn
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
	var err error
	cerr := fw.listener.Control(func(fd uintptr) { err = fw.loop.watch(fw.place, 0, int(fd), fw.watched, want) })
	fw.watched = want
	if cerr == nil && err != nil { // a listener that is closed belongs to a context that has ended
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
	for range acceptBatch {
		if fw.ending || fw.watched == unwatched {
			return nil
		}
		var fd int
		var err error
		cerr := fw.listener.Control(func(ln uintptr) {
			fd, _, err = unix.Accept4(int(ln), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		})
		switch {
		case cerr != nil:
			return nil
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
	if now, ok := fw.env.Provider.(xconnect.NowDialer); ok {
		start := time.Now()
		if p, err := now.DialNow(fw.link.Socket); err == nil {
			fw.env.Stats.Connected(time.Since(start))
			fw.start(fd, p, closed)
			return
		}
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
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var fd int
	cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(cerr, err); err != nil {
		return -1, err
	}
	return fd, nil
}

// start relays between two connected sockets.
func (fw *forwarder) start(c, p int, closed func()) {
	f := &flow{fw: fw, fd: [2]int{c, p}, watched: [2]uint32{unwatched, unwatched}, closed: closed}
	f.place = fw.loop.enter(f)
	fw.flows[f] = struct{}{}
	err := errors.Join(askForCredentials(c), askForCredentials(p))
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

package relay

import (
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/unixsock"
)

// A Tap makes of a consumer's bytes what the provider gets. Its methods are
// called one at a time and, but for Fail, must not wait.
type Tap interface {
	State() TapState

	// Up appends to dst what the provider gets for in and says how many bytes of
	// in that accounts for. The others come again: when out has gone if the state
	// is Full, else with more behind them. Where bytes pass as they are and dst
	// is empty, out may be in, all of it.
	Up(dst, in []byte) (out []byte, used int, err error)

	// End says that the consumer has ended its direction, with bytes left that
	// Up has made nothing of. Without an error the end is passed on.
	End(left []byte) error

	// Late says that such bytes have not been completed in time.
	Late() error

	// Down shows what the provider says while the state is Awaits; nil is its
	// end.
	Down(b []byte) error

	// Fail says why the connection ends, on a goroutine of its own. While
	// nothing has reached the provider, c is the consumer's connection, to give
	// an answer; it is nil afterwards. Fail returns what is an error of the
	// link.
	Fail(c *net.UnixConn, err error) error
}

// TapState is what a Tap is about.
type TapState struct {
	Body     int64         // bytes that pass as they are, to be read in large pieces
	Patience time.Duration // how long bytes that Up has made nothing of may wait for more; 0: for ever
	Full     bool          // Up has more to make of what it left
	Awaits   bool          // the consumer is not read until Down has seen enough
	Opaque   bool          // everything passes, in both directions, with its descriptors
}

// tapRead is how much is read at once of what is not a body.
const tapRead = smallSize

// tapped is a flow with a tap in its consumer's direction. The provider is
// dialed when there is something for it.
type tapped struct {
	flow
	group   *Group
	tap     Tap
	held    []byte // what the tap has made nothing of
	timer   *time.Timer
	late    int  // tells a timer that has been stopped too late
	asked   bool // the provider has been dialed
	dialing bool
}

// Tap relays between a consumer and the link's provider, as tap says. It takes
// the connection over and calls done when it has ended.
func (g *Group) Tap(c *net.UnixConn, tap Tap, done func(error)) {
	fd, err := detach(c)
	if err != nil {
		done(err)
		return
	}
	g.fw.loop.post(func() {
		if g.fw.revoked {
			unix.Close(fd)
			done(nil)
			return
		}
		t := &tapped{group: g, tap: tap}
		t.flow = flow{fw: g.fw, fd: [2]int{fd, -1}, watched: [2]uint32{unwatched, unwatched}, closed: func() { done(nil) }}
		t.place = g.fw.loop.enter(t)
		g.fw.flows[&t.flow] = struct{}{}
		t.after(t.take())
	})
}

func (t *tapped) alive() bool {
	_, ok := t.fw.flows[&t.flow]
	return ok
}

// ready implements watcher.
func (t *tapped) ready(side int, events uint32) { t.after(t.event(side, events)) }

// event is flow's, with take and give for move.
func (t *tapped) event(side int, events uint32) error {
	const ends = unix.EPOLLHUP | unix.EPOLLERR
	if events&ends != 0 {
		t.hup[side] = true
		if t.dirs[side].over || side == consumer && t.tap.State().Awaits {
			return io.EOF
		}
	}
	t.fw.loop.buffer() // so that no small one becomes the loop's
	if back := 1 - side; t.dirs[back].out.buf != nil && events&(unix.EPOLLOUT|ends) != 0 {
		if err := t.flush(back); err != nil {
			return err
		}
		if back == consumer {
			if err := t.again(); err != nil {
				return err
			}
		}
	}
	if events&^uint32(unix.EPOLLOUT) == 0 {
		return nil
	}
	rounds := 1
	if t.hup[side] {
		rounds = 2 // what came last, and the end
	}
	for ; rounds > 0 && t.reads(side); rounds-- {
		var err error
		if side == consumer {
			err = t.take()
		} else {
			err = t.give()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reads reports whether a side is to be read now.
func (t *tapped) reads(side int) bool {
	return t.flow.reads(side) && (side == provider || !t.dialing && !t.tap.State().Awaits)
}

// receive reads once; end says that there is nothing more.
func (t *tapped) receive(side, most int) (b []byte, end bool, err error) {
	buf := t.fw.loop.buffer().data
	n, _, _, err := recvmsg(t.fd[side], buf[:min(most, len(buf))], nil)
	switch {
	case err == unix.EAGAIN:
		return nil, false, nil
	case err == unix.ECONNRESET, err == nil && n == 0:
		return nil, true, nil
	}
	return buf[:max(n, 0)], false, err
}

// take reads the consumer.
func (t *tapped) take() error {
	s := t.tap.State()
	if s.Opaque {
		return t.move(consumer)
	}
	b, end, err := t.receive(consumer, int(min(max(s.Body, tapRead), largeSize)))
	switch {
	case err != nil || len(b) == 0 && !end:
		return err
	case end:
		if err := t.tap.End(t.held); err != nil {
			return err
		}
		if !t.asked {
			return io.EOF
		}
		return t.ended(consumer)
	}
	if len(t.held) > 0 {
		t.held = append(t.held, b...)
		b = t.held
	}
	return t.pass(b)
}

// pass has the tap make something of b: what was read just now, or held.
func (t *tapped) pass(b []byte) error {
	room := smallPool.Get().(*buffer)
	out, used, err := t.tap.Up(room.data[:0], b)
	if err != nil {
		putBuffer(room)
		return err
	}
	read := t.fw.loop.buffer()
	switch {
	case len(out) == 0:
		putBuffer(room)
	case &out[0] == &read.data[0]: // it goes as it came
		putBuffer(room)
		t.dirs[consumer].out = outgoing{buf: read, rest: out}
		t.fw.loop.buf = nil
	default:
		t.dirs[consumer].out = outgoing{buf: room, rest: out}
	}
	t.hold(b[used:], used > 0)
	switch {
	case len(out) == 0:
		return nil
	case !t.asked:
		return t.dial()
	}
	if err := t.flush(consumer); err != nil {
		return err
	}
	return t.again()
}

// again has the tap make something of what it left because it had made enough.
func (t *tapped) again() error {
	if t.dirs[consumer].out.buf != nil || t.dirs[consumer].over || !t.tap.State().Full {
		return nil
	}
	return t.pass(t.held)
}

// hold keeps what the tap has made nothing of; moved says that it has made
// something of what came before.
func (t *tapped) hold(b []byte, moved bool) {
	if moved || len(b) == 0 {
		t.late++
		if t.timer != nil {
			t.timer.Stop()
			t.timer = nil
		}
	}
	if len(b) == 0 {
		t.held = nil
		return
	}
	t.held = append(t.held[:0], b...)
	s := t.tap.State()
	if s.Patience == 0 || s.Full || t.timer != nil {
		return
	}
	this := t.late
	t.timer = time.AfterFunc(s.Patience, func() {
		t.fw.loop.post(func() {
			if this == t.late && t.alive() {
				t.after(t.tap.Late())
			}
		})
	})
}

// dial connects to the provider, for which something waits.
func (t *tapped) dial() error {
	t.fw.near = -1
	fd, ok := t.fw.connectNow()
	if t.fw.near >= 0 {
		closePath(t.fw.near)
	}
	if ok {
		return t.connected(fd)
	}
	t.dialing = true
	t.group.work.Go(func() {
		fd, err := t.fw.dialSlowly()
		t.fw.loop.post(func() {
			t.dialing = false
			switch {
			case !t.alive():
				closeAll(fd)
			case err != nil:
				t.after(err)
			default:
				t.after(t.connected(fd))
			}
		})
	})
	return nil
}

func (t *tapped) connected(fd int) error {
	t.fd[provider], t.asked = fd, true
	if err := t.flush(consumer); err != nil {
		return err
	}
	return t.again()
}

// give reads the provider.
func (t *tapped) give() error {
	if !t.tap.State().Awaits {
		return t.move(provider)
	}
	b, end, err := t.receive(provider, largeSize)
	if err != nil || len(b) == 0 && !end {
		return err
	}
	if err := t.tap.Down(b); err != nil {
		return err
	}
	if end {
		err = t.ended(provider)
	} else {
		t.dirs[provider].out = outgoing{buf: t.fw.loop.buffer(), rest: b}
		t.fw.loop.buf = nil
		err = t.flush(provider)
	}
	// What the consumer has sent meanwhile comes after what it was told.
	if held := t.held; err == nil && len(held) > 0 && !t.tap.State().Awaits {
		err = t.pass(held)
	}
	return err
}

// settle has the loop look for what is waited for now.
func (t *tapped) settle() error { return t.await([2]bool{t.reads(consumer), t.reads(provider)}) }

// after ends the connection for an error of it, and settles it otherwise.
func (t *tapped) after(err error) {
	if err == nil {
		err = t.settle()
	}
	if err == nil {
		return
	}
	t.late++
	if t.timer != nil {
		t.timer.Stop()
	}
	if err == io.EOF || t.fw.revoked {
		t.fw.after(&t.flow, io.EOF)
		return
	}
	// The tap has the last word; the connection counts until it was said.
	c, closed := -1, t.closed
	if !t.asked {
		c = t.fd[consumer]
		_ = t.fw.loop.watch(t.place, consumer, c, t.watched[consumer], unwatched)
		t.fd[consumer] = -1
	}
	t.closed = func() {}
	t.fw.after(&t.flow, io.EOF)
	t.group.work.Go(func() {
		err := t.fail(c, err)
		t.fw.loop.post(func() { t.fw.gone(err, closed) })
	})
}

func (t *tapped) fail(fd int, err error) error {
	if fd < 0 {
		return t.tap.Fail(nil, err)
	}
	c, cerr := unixsock.Conn(fd)
	if cerr != nil {
		return cerr
	}
	defer c.Close()
	stop := context.AfterFunc(t.fw.dialCtx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return t.tap.Fail(c, err)
}

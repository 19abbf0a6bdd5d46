package relay

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// manyParked is how many connections come to rest before their memory is given
// back to the system at once. Otherwise the collector does it in its own time.
const manyParked = 256

// session is a consumer's connection and the provider's.
type session struct {
	c, p *Conn
	done func(error) // closes c and ends its accounting
}

// lot runs sessions and parks those that are idle. A parked one costs no
// goroutine: one epoll instance watches them all.
type lot struct {
	ctx    context.Context
	counts Counts
	after  time.Duration // looks at a session are this far apart; two idle ones park it

	mu      sync.Mutex
	closed  bool
	running map[*session]*rest
	parked  map[int32]*session
	lastID  int32
	sweeper *time.Timer // nil: none is armed
	freed   int         // sessions parked since memory was given back
	poll    *os.File    // an epoll instance; nil until a session is parked
	raw     syscall.RawConn
	polling sync.WaitGroup
}

func newLot(ctx context.Context, counts Counts, after time.Duration) *lot {
	return &lot{ctx: ctx, counts: counts, after: after, running: map[*session]*rest{}, parked: map[int32]*session{}}
}

// run relays until the session is over or has been parked.
func (l *lot) run(s *session) {
	for {
		r := newRest(l.ctx)
		l.started(s, r)
		err := join(l.ctx, s.c, s.p, l.counts, nil, nil, r)
		l.stopped(s)
		if !errors.Is(err, errParked) {
			s.p.net.Close()
			s.done(err)
			return
		}
		if l.park(s) {
			return
		}
		s.wake() // there is no room to park it
	}
}

func (l *lot) started(s *session, r *rest) {
	if l.after <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[s] = r
	if l.sweeper == nil && !l.closed {
		l.sweeper = time.AfterFunc(l.after, l.sweep)
	}
}

func (l *lot) stopped(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, s)
}

// sweep asks the sessions that were idle at two looks to rest.
func (l *lot) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweeper = nil
	if l.closed {
		return
	}
	for _, r := range l.running {
		if r.idle() {
			r.ask()
		}
	}
	if l.freed >= manyParked {
		l.freed = 0
		go debug.FreeOSMemory()
	}
	if len(l.running) > 0 || l.freed >= manyParked {
		l.sweeper = time.AfterFunc(l.after, l.sweep)
	}
}

// park takes over a session at rest. It reports false when it cannot.
func (l *lot) park(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !l.watch() {
		return false
	}
	l.lastID++
	id := l.lastID
	l.parked[id] = s
	if !l.add(s.c, id) || !l.add(s.p, id) {
		delete(l.parked, id)
		l.forget(s)
		return false
	}
	l.freed++
	return true
}

// watch makes the epoll instance when there is none. Go's own poller watches
// it in turn, so no thread waits in the kernel.
func (l *lot) watch() bool {
	if l.poll != nil {
		return true
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return false
	}
	f := os.NewFile(uintptr(fd), "epoll")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return false
	}
	l.poll, l.raw = f, raw
	l.polling.Go(l.wait)
	return true
}

// wait wakes parked sessions until the lot closes.
func (l *lot) wait() {
	events := make([]unix.EpollEvent, 64)
	for {
		var n int
		err := l.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, ev := range events[:n] {
			l.unpark(ev.Fd)
		}
	}
}

func (l *lot) unpark(id int32) {
	l.mu.Lock()
	s, ok := l.parked[id] // its other side may have woken it already
	if ok {
		delete(l.parked, id)
		l.forget(s)
	}
	l.mu.Unlock()
	if ok {
		s.wake()
		go l.run(s)
	}
}

// wake undoes what brought the session to rest.
func (s *session) wake() {
	s.c.net.SetReadDeadline(time.Time{})
	s.p.net.SetReadDeadline(time.Time{})
}

// close ends what is parked. What runs is ended by the context.
func (l *lot) close() {
	l.mu.Lock()
	l.closed = true
	if l.sweeper != nil {
		l.sweeper.Stop()
	}
	parked := l.parked
	l.parked = nil
	if l.poll != nil {
		l.poll.Close()
	}
	l.mu.Unlock()
	for _, s := range parked {
		s.p.net.Close()
		s.done(nil)
	}
	l.polling.Wait()
}

// add watches one side for bytes, an end or a hang-up.
func (l *lot) add(c *Conn, id int32) bool {
	return l.control(unix.EPOLL_CTL_ADD, c, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: id}) == nil
}

func (l *lot) forget(s *session) {
	l.control(unix.EPOLL_CTL_DEL, s.c, nil)
	l.control(unix.EPOLL_CTL_DEL, s.p, nil)
}

func (l *lot) control(op int, c *Conn, ev *unix.EpollEvent) error {
	var ctl error
	var side error
	poll := l.raw.Control(func(poll uintptr) {
		side = c.raw.Control(func(fd uintptr) { ctl = unix.EpollCtl(int(poll), op, int(fd), ev) })
	})
	return errors.Join(poll, side, ctl)
}

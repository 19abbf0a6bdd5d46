package relay

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Loops are goroutines that each serve many connections of many links. A link
// stays with one loop.
type Loops struct {
	loops []*loop
	next  atomic.Uint32
}

// NewLoops starts n loops. Close ends them; every Forward on them must have
// returned before.
//
// A loop that has just had an event waits for the next one without telling Go's
// scheduler, and keeps one of its processors meanwhile, until the scheduler asks
// for it: a program gives Go n more of them (runtime.GOMAXPROCS).
func NewLoops(n int) (*Loops, error) {
	ls := new(Loops)
	for range n {
		l, err := newLoop()
		if err != nil {
			ls.Close()
			return nil, err
		}
		ls.loops = append(ls.loops, l)
	}
	return ls, nil
}

// Close ends the loops.
func (ls *Loops) Close() {
	for _, l := range ls.loops {
		l.close()
	}
}

// DefaultLoops is how many loops suit the machine: they move bytes, and those
// who send and receive them need processors too.
func DefaultLoops() int { return min(max(runtime.NumCPU()/2, 1), 4) }

func (ls *Loops) pick() *loop { return ls.loops[int(ls.next.Add(1)-1)%len(ls.loops)] }

// loop is an epoll instance and the goroutine that serves it. Everything below
// but post runs on that goroutine.
type loop struct {
	epoll  int
	bell   int // an eventfd: something was posted
	done   chan struct{}
	closed bool
	slots  []slot
	free   []int32 // places in slots
	buf    *buffer // for the next message; nil: none is at hand

	mu     sync.Mutex
	posted []func()
}

// slot is the place of a watcher. gen tells the events of one from those of the
// next in its place.
type slot struct {
	w   watcher
	gen int32
}

// watcher is told what happens to the descriptors that it has watched; side is
// the number that it gave them, 0 or 1.
type watcher interface {
	ready(side int, events uint32)
}

const (
	manyEvents = 4
	bellToken  = -1
	hotTime    = 50 // milliseconds
)

func newLoop() (*loop, error) {
	l := &loop{epoll: -1, bell: -1, done: make(chan struct{})}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	if l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: bellToken})
	}
	if err != nil {
		unix.Close(l.epoll)
		unix.Close(l.bell)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	go l.run()
	return l, nil
}

func (l *loop) close() {
	l.post(func() { l.closed = true })
	<-l.done
}

// post has f called by the loop. It may be used from any goroutine. On a loop
// that has ended it does nothing.
func (l *loop) post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bell < 0 {
		return
	}
	l.posted = append(l.posted, f)
	unix.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // fails only when it rings already
}

func (l *loop) run() {
	defer close(l.done)
	defer l.end()
	var events [64]unix.EpollEvent
	for !l.closed {
		now := events[:l.wait(events[:])]
		if len(now) >= manyEvents {
			l.receiveEarly(now)
		}
		for _, ev := range now {
			if ev.Fd == bellToken {
				l.answer()
				continue
			}
			if s := l.slots[ev.Fd>>1]; s.w != nil && s.gen == ev.Pad {
				s.w.ready(int(ev.Fd&1), ev.Events)
			}
		}
	}
}

// receiveEarly receives what has come on many connections before any of it is
// sent: whoever takes it is then woken for much at a time.
func (l *loop) receiveEarly(events []unix.EpollEvent) {
	for _, ev := range events {
		if ev.Fd == bellToken {
			continue
		}
		if s := l.slots[ev.Fd>>1]; s.gen == ev.Pad {
			if f, ok := s.w.(*flow); ok { // and no tap's, which has to see it first
				f.receiveEarly(int(ev.Fd&1), ev.Events)
			}
		}
	}
}

func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	unix.Close(l.epoll)
	unix.Close(l.bell)
	l.bell = -1
	if l.buf != nil {
		putBuffer(l.buf)
	}
}

// wait returns the number of events. While they come quickly the scheduler is
// left out: its own wake-ups for a thread that it knows to wait cost more than
// a small message does. It gets the thread back with a signal, which it sends
// after some ten milliseconds or when it collects garbage; the limit is for a
// program whose scheduler sends none (GODEBUG=asyncpreemptoff=1), and so long
// that no timer of the processor is set for it.
func (l *loop) wait(events []unix.EpollEvent) int {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), hotTime, 0, 0)
	if e == 0 && n > 0 {
		return int(n)
	}
	if l.buf != nil { // an idle loop holds none
		putBuffer(l.buf)
		l.buf = nil
	}
	slow, _ := unix.EpollWait(l.epoll, events, -1)
	return max(slow, 0)
}

func (l *loop) answer() {
	var b [8]byte
	unix.Read(l.bell, b[:])
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

// buffer returns one for the next message; whoever keeps it sets l.buf to nil.
func (l *loop) buffer() *buffer {
	if l.buf == nil {
		l.buf = getBuffer()
	}
	return l.buf
}

// giveBack takes a buffer that is no longer needed.
func (l *loop) giveBack(b *buffer) {
	if l.buf == nil && b.large {
		l.buf = b
	} else {
		putBuffer(b)
	}
}

// enter gives a watcher its place; leave takes it away. The watcher closes what
// it watches before it leaves.
func (l *loop) enter(w watcher) (place int32) {
	if n := len(l.free); n > 0 {
		place = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		place = int32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	l.slots[place].w = w
	return place
}

func (l *loop) leave(place int32) {
	l.slots[place].w = nil
	l.slots[place].gen++
	l.free = append(l.free, place)
}

// unwatched stands for no interest at all: with 0 a hang-up would still be
// reported, for ever.
const unwatched = ^uint32(0)

// watch changes what the loop looks for on a descriptor.
func (l *loop) watch(place int32, side, fd int, have, want uint32) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case have == want:
		return nil
	case want == unwatched:
		op = unix.EPOLL_CTL_DEL
	case have == unwatched:
		op = unix.EPOLL_CTL_ADD
	}
	ev := unix.EpollEvent{Events: want, Fd: place<<1 | int32(side), Pad: l.slots[place].gen}
	if err := unix.EpollCtl(l.epoll, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

package relay

import (
	"io"

	"golang.org/x/sys/unix"
)

// The two sides of a flow; a direction is named for the side it comes from.
const (
	consumer = 0
	provider = 1
)

// flow is a consumer's connection and the provider's, both streams, moved by a
// loop: what Both does with goroutines, without any.
//
// A direction reads only when its last message has gone out. It is over when
// its sender has ended it or its receiver takes no more, and the flow is when
// both are.
type flow struct {
	fw      *forwarder
	fd      [2]int
	dirs    [2]direction
	watched [2]uint32 // what the loop looks for
	hup     [2]bool   // the side has closed altogether
	place   int32     // in the loop
	closed  func()    // ends its accounting
}

type direction struct {
	out   outgoing
	over  bool
	early bool  // out was received early and waits for its turn
	fault error // met by receiving early
	bulk  bool  // the last message filled a small buffer
}

// outgoing is a message that has not gone out completely.
type outgoing struct {
	buf   *buffer // nil: there is none
	rest  []byte  // of buf
	oob   []byte  // goes with the first byte
	files []int   // in oob; closed once they are sent
}

// receiveEarly receives before the turn of the event comes, which sends.
func (f *flow) receiveEarly(side int, events uint32) {
	d := &f.dirs[side]
	if events != unix.EPOLLIN || d.over || d.out.buf != nil || d.bulk {
		return
	}
	b := smallPool.Get().(*buffer)
	got, err := f.receive(side, b)
	d.early = got
	if !got {
		putBuffer(b)
		if err != io.EOF { // which comes again
			d.fault = err
		}
	}
}

// ready implements watcher.
func (f *flow) ready(side int, events uint32) { f.fw.after(f, f.event(side, events)) }

// event does what can be done now. An error ends the flow; io.EOF is one: it
// ended as flows do.
func (f *flow) event(side int, events uint32) error {
	if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		f.hup[side] = true
		if f.dirs[side].over { // it had ended its direction, and now nobody listens either
			return io.EOF
		}
	}
	if back := &f.dirs[1-side]; back.out.buf != nil && events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		if err := f.flush(1 - side); err != nil {
			return err
		}
	}
	if d := &f.dirs[side]; d.fault != nil {
		return d.fault
	} else if d.early {
		d.early = false
		if err := f.flush(side); err != nil {
			return err
		}
		return f.settle()
	}
	if events&^uint32(unix.EPOLLOUT) != 0 {
		rounds := 1
		if f.hup[side] {
			rounds = 2 // what came last, and the end
		}
		for d := &f.dirs[side]; rounds > 0 && !d.over && d.out.buf == nil; rounds-- {
			if err := f.move(side); err != nil {
				return err
			}
		}
	}
	return f.settle()
}

// move takes one message of a direction and sends it on.
func (f *flow) move(side int) error {
	l := f.fw.loop
	got, err := f.receive(side, l.buffer())
	if err == io.EOF {
		return f.ended(side)
	}
	if err != nil || !got {
		return err
	}
	l.buf = nil // out has it
	return f.flush(side)
}

// receive takes one message of a direction into b, which is out's then; got is
// false if there was none. io.EOF is the direction's end.
func (f *flow) receive(side int, b *buffer) (got bool, err error) {
	n, oobn, flags, err := recvmsg(f.fd[side], b.data, b.oob)
	switch {
	case err == unix.EAGAIN:
		return false, nil
	case err == unix.ECONNRESET, err == nil && n == 0:
		return false, io.EOF
	}
	f.dirs[side].bulk = n >= smallSize
	out := &f.dirs[side].out
	oob := b.oob[:max(oobn, 0)]
	if err == nil && flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) == 0 && onlyCredentials(oob) {
		*out = outgoing{buf: b, rest: b.data[:n], oob: oob}
	} else {
		n, a, err := sense(n, oob, flags, err, false, func() unix.Ucred { return peerOf(f.fd[side]) })
		if err != nil {
			return false, err
		}
		if f.fw.env.Stats.HoldFiles(len(a.Files)) > MaxHeld {
			f.fw.env.Stats.HoldFiles(-len(a.Files))
			go a.CloseFiles()
			return false, ErrTooManyFiles
		}
		*out = outgoing{buf: b, rest: b.data[:n], oob: encode(a), files: a.Files}
	}
	return true, nil
}

// flush sends what a direction holds, as much as its receiver takes.
func (f *flow) flush(side int) error {
	out := &f.dirs[side].out
	for len(out.rest) > 0 {
		n, err := sendmsg(f.fd[1-side], out.rest, out.oob)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR:
			continue
		case unix.ESRCH, unix.EPERM: // only root may name another process
			if !out.disown() {
				return err
			}
			continue
		case unix.EPIPE, unix.ECONNRESET:
			// The receiver takes no more; its own direction may still bring data.
			unix.Shutdown(f.fd[side], unix.SHUT_RD)
			f.drop(side)
			f.dirs[side].over = true
			return nil
		default:
			return err
		}
		f.fw.count[side](n)
		out.rest = out.rest[n:]
		if len(out.files) > 0 { // they went with the first byte
			f.closeFiles(out)
			if a, err := parse(out.oob); err == nil {
				out.oob = encode(Ancillary{Cred: a.Cred})
			}
		}
	}
	f.drop(side)
	return nil
}

// disown replaces the sender's pid, which is gone or not ours to name, by ours;
// the user and the group still count. It reports false when that has been done
// already.
func (o *outgoing) disown() bool {
	a, err := parse(o.oob)
	if err != nil || a.Cred == nil || a.Cred.Pid == ownPid {
		return false
	}
	a.Cred = &unix.Ucred{Pid: ownPid, Uid: a.Cred.Uid, Gid: a.Cred.Gid}
	o.oob = encode(a)
	return true
}

// drop gives up what is left of a direction's message.
func (f *flow) drop(side int) {
	out := &f.dirs[side].out
	if out.buf == nil {
		return
	}
	f.closeFiles(out)
	f.fw.loop.giveBack(out.buf)
	*out = outgoing{}
}

// closeFiles closes on a goroutine of its own: a descriptor may belong to a
// file system that somebody keeps waiting.
func (f *flow) closeFiles(out *outgoing) {
	if len(out.files) == 0 {
		return
	}
	a := Ancillary{Files: out.files}
	out.files = nil
	go func(n int) {
		a.CloseFiles()
		f.fw.env.Stats.HoldFiles(-n)
	}(len(a.Files))
}

// ended passes the end of a direction on. A side that has closed altogether
// takes nothing any more either, so nothing is left to do for the other; when
// that becomes known later, event sees it.
func (f *flow) ended(side int) error {
	if f.hup[side] {
		return io.EOF
	}
	f.dirs[side].over = true
	unix.Shutdown(f.fd[1-side], unix.SHUT_WR)
	return nil
}

// settle has the loop look for what the flow waits for now.
func (f *flow) settle() error { return f.await([2]bool{f.reads(consumer), f.reads(provider)}) }

// reads reports whether a side is to be read next.
func (f *flow) reads(side int) bool {
	d := &f.dirs[side]
	return !d.over && (d.out.buf == nil || d.early)
}

// await has the loop look for what can be read, of the sides that are to be, and
// for room for what has not gone out. A side without a connection is left out.
func (f *flow) await(reads [2]bool) error {
	if f.dirs[consumer].over && f.dirs[provider].over {
		return io.EOF
	}
	for side, fd := range f.fd {
		if fd < 0 {
			continue
		}
		var want uint32
		if reads[side] {
			want |= unix.EPOLLIN
		}
		if d := &f.dirs[1-side]; d.out.buf != nil && !d.early {
			want |= unix.EPOLLOUT
		}
		if want == 0 && f.hup[side] {
			want = unwatched
		}
		if err := f.fw.loop.watch(f.place, side, fd, f.watched[side], want); err != nil {
			return err
		}
		f.watched[side] = want
	}
	return nil
}

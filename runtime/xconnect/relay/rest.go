package relay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// errParked ends a run whose connection has been brought to rest: nothing is
// on its way, and another run goes on where this one stopped.
var errParked = errors.New("the connection is at rest")

// meetTime bounds how long one direction waits for the other to rest. The other
// may just have got a message; then both go on.
const meetTime = 50 * time.Millisecond

// rest stops the two pumps of a connection between two messages.
//
//	none ──ask──▶ asked ──both pumps meet──▶ parked, the run is over
//	 ▲              │ one waits in vain
//	 └──the other───┴▶ calledOff
//	    sees it
type rest struct {
	ctx    context.Context
	pumps  [2]*pump
	before [2]uint32   // what the pumps showed at the last look
	ready  atomic.Bool // pumps is set
	state  atomic.Int32
	met    chan struct{}
}

const (
	restNone int32 = iota
	restAsked
	restCalledOff
)

func newRest(ctx context.Context) *rest { return &rest{ctx: ctx, met: make(chan struct{})} }

// idle reports whether both pumps have waited ever since the last call.
func (r *rest) idle() bool {
	idle := r.ready.Load()
	if !idle {
		return false
	}
	for i, p := range r.pumps {
		now := p.seen.Load()
		if now&1 == 0 || now != r.before[i] {
			idle = false
		}
		r.before[i] = now
	}
	return idle
}

// ask wakes both pumps; they find each other in meet.
func (r *rest) ask() {
	if !r.state.CompareAndSwap(restNone, restAsked) {
		return
	}
	for _, p := range r.pumps {
		p.from.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// meet is called by a pump whose read was ended by a deadline, ask's or the
// context's. It reports whether both pumps rest now.
func (r *rest) meet() bool {
	if r.ctx.Err() != nil || r.state.Load() != restAsked {
		return false
	}
	t := time.NewTimer(meetTime)
	defer t.Stop()
	select {
	case r.met <- struct{}{}:
		return true
	case <-r.met:
		return true
	case <-t.C:
		return false
	}
}

// goOn lets a pump that did not rest read again. It reports false when the
// context has ended.
func (r *rest) goOn(p *pump) bool {
	if !r.state.CompareAndSwap(restAsked, restCalledOff) {
		r.state.Store(restNone) // the other one called it off
	}
	p.from.net.SetReadDeadline(time.Time{})
	return r.ctx.Err() == nil // after the reset, which may have undone the context's deadline
}

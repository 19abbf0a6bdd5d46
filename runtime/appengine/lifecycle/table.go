package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// phase is what a container is doing. The statuses of the API follow from it;
// see enter and doc.go.
type phase int

const (
	waiting    phase = iota // for the groups before its own: INSTALLED or BLOCKED
	mounting                // a Mount is on its way: INSTALLED or BLOCKED
	resting                 // mounted, and that is its goal: MOUNTED
	starting                // a Start is on its way: STARTING
	started                 // STARTED
	ready                   // STARTED, and it said so: READY
	stopping                // the halt signal is sent: STOPPING
	killing                 // the grace period is over: STOPPING
	recovering              // waits for its retry: RECOVERING
	stopped                 // STOPPED
	phases
)

var phaseNames = [phases]string{"waiting", "mounting", "resting", "starting", "started", "ready",
	"stopping", "killing", "recovering", "stopped"}

func (p phase) String() string { return phaseNames[p] }

// input is what can happen to a container.
type input int

const (
	inGo      input = iota // the groups before it let it start
	inHold                 // they do not
	inMounted              // the volumes are in place
	inStarted              // the process runs
	inFailed               // the mount or the start did not work
	inRefused              // and it never will
	inReady                // the container says that it is ready
	inExited               // the process is gone
	inTimer                // the phase's time is over
	inStop                 // the user's stop
	inStart                // the user's start
	inRestart              // the user's restart
	inDown                 // an update or a shutdown stops it
	inputs
)

var inputNames = [inputs]string{"go", "hold", "mounted", "started", "failed", "refused", "ready",
	"exited", "timer", "stop", "start", "restart", "down"}

func (i input) String() string { return inputNames[i] }

// news is what comes with an input.
type news struct {
	text string
	pid  int
}

// move is a row of the table: what an input does in a phase, and where that
// can lead.
type move struct {
	from phase
	on   input
	to   []phase
	do   func(*Machine, *unit, news) phase
}

// moves is the table. What is not in it does not happen: late news is
// dropped, and what a user may not ask for is refused before it gets here.
//
//	          go            mounted            started           ready
//	waiting -----> mounting -------> starting ---------> started -----> ready
//	 ^  ^  ^          |                  |                  |             |
//	 |  |  |          | mounted,         +------------------+-------------+
//	 |  |  |          | the goal           |                       |
//	 |  |  |          v                    | exited, failed        | stop, restart,
//	 |  |  |       resting                 v                       v down
//	 |  |  | no delay                   (crash)                 stopping
//	 |  |  +-------------------------------+                       |
//	 |  |   timer                          |                       | timer
//	 |  +--------- recovering <------------+                       v
//	 |                       retries left  |                    killing
//	 |  start, restart                     | none left             |
//	 +---------------------------------- stopped <-----------------+ exited
//	 |                                                             |
//	 +-------------------------------------------------------------+
//	                  restart, or a start after the stop
//
// A stop and an end (down) lead straight to stopped from waiting, mounting,
// resting and recovering; refused does from mounting and starting. A killed
// container that is still there is killed again. Where each phase can lead:
//
//	waiting: mounting, stopped
//	mounting: resting, starting, stopped
//	resting: stopped
//	starting: started, ready, recovering, waiting, stopped, stopping
//	started: ready, recovering, waiting, stopped, stopping
//	ready: recovering, waiting, stopped, stopping
//	stopping: waiting, stopped, killing
//	killing: waiting, stopped
//	recovering: waiting, stopped
//	stopped: waiting
var moves = []move{
	{waiting, inGo, []phase{mounting}, (*Machine).mount},
	{waiting, inHold, []phase{waiting}, (*Machine).block},
	{waiting, inStop, []phase{stopped}, (*Machine).userStop},
	{waiting, inDown, []phase{stopped}, (*Machine).halt},

	{mounting, inMounted, []phase{resting, starting}, (*Machine).mounted},
	{mounting, inFailed, []phase{stopped}, (*Machine).refuse},
	{mounting, inRefused, []phase{stopped}, (*Machine).refuse},
	{mounting, inStop, []phase{stopped}, (*Machine).userStop},
	{mounting, inDown, []phase{stopped}, (*Machine).halt},

	{resting, inStop, []phase{stopped}, (*Machine).userStop},
	{resting, inDown, []phase{stopped}, (*Machine).halt},

	{starting, inStarted, []phase{started, ready}, (*Machine).start},
	{starting, inReady, []phase{starting}, (*Machine).readyEarly},
	{starting, inFailed, []phase{recovering, waiting, stopped}, (*Machine).crash},
	{starting, inRefused, []phase{stopped}, (*Machine).refuse},
	{starting, inExited, []phase{recovering, waiting, stopped}, (*Machine).crash},
	{starting, inStop, []phase{stopping}, (*Machine).stopForUser},
	{starting, inStart, []phase{starting}, (*Machine).stay},
	{starting, inRestart, []phase{stopping}, (*Machine).stopForRestart},
	{starting, inDown, []phase{stopping}, (*Machine).stop},

	{started, inReady, []phase{ready}, (*Machine).toReady},
	{started, inExited, []phase{recovering, waiting, stopped}, (*Machine).crash},
	{started, inStop, []phase{stopping}, (*Machine).stopForUser},
	{started, inStart, []phase{started}, (*Machine).stay},
	{started, inRestart, []phase{stopping}, (*Machine).stopForRestart},
	{started, inDown, []phase{stopping}, (*Machine).stop},

	{ready, inReady, []phase{ready}, (*Machine).stay},
	{ready, inExited, []phase{recovering, waiting, stopped}, (*Machine).crash},
	{ready, inStop, []phase{stopping}, (*Machine).stopForUser},
	{ready, inStart, []phase{ready}, (*Machine).stay},
	{ready, inRestart, []phase{stopping}, (*Machine).stopForRestart},
	{ready, inDown, []phase{stopping}, (*Machine).stop},

	{stopping, inStarted, []phase{stopping}, (*Machine).stopAgain},
	{stopping, inFailed, []phase{waiting, stopped}, (*Machine).ended},
	{stopping, inRefused, []phase{waiting, stopped}, (*Machine).ended},
	{stopping, inExited, []phase{waiting, stopped}, (*Machine).ended},
	{stopping, inTimer, []phase{killing}, (*Machine).kill},
	{stopping, inStop, []phase{stopping}, (*Machine).thenUser},
	{stopping, inStart, []phase{stopping}, (*Machine).thenAgain},
	{stopping, inRestart, []phase{stopping}, (*Machine).thenAgain},
	{stopping, inDown, []phase{stopping}, (*Machine).stay},

	{killing, inStarted, []phase{killing}, (*Machine).killAgain},
	{killing, inFailed, []phase{waiting, stopped}, (*Machine).ended},
	{killing, inRefused, []phase{waiting, stopped}, (*Machine).ended},
	{killing, inExited, []phase{waiting, stopped}, (*Machine).ended},
	{killing, inTimer, []phase{killing}, (*Machine).killAgain},
	{killing, inStop, []phase{killing}, (*Machine).thenUser},
	{killing, inStart, []phase{killing}, (*Machine).thenAgain},
	{killing, inRestart, []phase{killing}, (*Machine).thenAgain},
	{killing, inDown, []phase{killing}, (*Machine).stay},

	{recovering, inTimer, []phase{waiting}, (*Machine).retry},
	{recovering, inStop, []phase{stopped}, (*Machine).userStop},
	{recovering, inStart, []phase{waiting}, (*Machine).afresh},
	{recovering, inRestart, []phase{waiting}, (*Machine).afresh},
	{recovering, inDown, []phase{stopped}, (*Machine).halt},

	{stopped, inStop, []phase{stopped}, (*Machine).userStop},
	{stopped, inStart, []phase{waiting}, (*Machine).afresh},
	{stopped, inRestart, []phase{waiting}, (*Machine).afresh},
	{stopped, inDown, []phase{stopped}, (*Machine).stay},
}

// find returns the row for an input, or nil.
func find(from phase, on input) *move {
	for i := range moves {
		if m := &moves[i]; m.from == from && m.on == on {
			return m
		}
	}
	return nil
}

// Leads says where each phase of a container can lead, a line for each. The
// picture above has the same lines.
func Leads() string {
	var b strings.Builder
	for p := range phases {
		var to []string
		for _, m := range moves {
			for _, q := range m.to {
				if m.from == p && q != p && !slices.Contains(to, q.String()) {
					to = append(to, q.String())
				}
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", p, strings.Join(to, ", "))
	}
	return b.String()
}

// step makes a move of the table, if it has one.
func (m *Machine) step(u *unit, on input, n news) {
	row := find(u.phase, on)
	if row == nil {
		return
	}
	from, to := u.phase, row.do(m, u, n)
	if m.watch != nil {
		m.watch(from, on, to)
	}
	if to != stopping && to != killing && to != recovering {
		u.timer = time.Time{}
	}
	u.phase = to
}

// Package appengine is the supervisor: it runs revisions of containers as
// Pantavisor's appengine does. Run is the way in.
//
//	Run ── storage, exports ──▶ cycle ──▶ cycle ──▶ … until powered off
//	                              │
//	      revision: state ─▶ system ─▶ files, objects, configurations, network
//	                              │
//	   events ──▶ supervisor ──▶ lifecycle machine ──▶ actions ──▶ boxes (sandbox)
//	                 │  ▲
//	     snapshot ◀──┘  └── pv-ctrl, update, signals
//
// A cycle is what is between two starts of the real program: everything that
// runs is started in it and gone after it. In a cycle, one goroutine owns the
// supervisor's state: others hand it functions to run, and what takes time is
// done by the boxes, one for each container, which tell when it is done. What
// readers see is a snapshot that is replaced as a whole, so no request waits
// for work in progress.
//
// The order of starting and stopping is that of pantavisor.c and init.c of
// github.com/pantavisor/pantavisor, the wrapper around it that of
// appengine/pv-appengine.in.
package appengine

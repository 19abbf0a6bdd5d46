// Package lifecycle decides when containers start and stop and how a new
// revision is tried. It holds pure state machines: they are told what happened
// and when, and answer with what is to be done.
package lifecycle

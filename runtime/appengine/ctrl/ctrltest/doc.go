// Package ctrltest is what tests of, and against, a pv-ctrl server need: a
// [Machine] that answers for a whole supervisor in memory, and [Replay], which
// sends the requests recorded from upstream's appengine to any server and
// compares the replies. [DialInside] connects as a container's process does.
package ctrltest

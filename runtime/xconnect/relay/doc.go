// Package relay moves bytes between two unix sockets with everything that
// travels beside them: descriptors (SCM_RIGHTS), the sender's credentials
// (SCM_CREDENTIALS) and the end of each direction. [Serve] accepts a link's
// consumers under its limits, [Both] relays one of them, and [Forward] does the
// two with one goroutine for many connections. [ServeGroup] is for plugins that look at
// what passes: at its beginning, before they hand a connection over to such a
// goroutine, or all the way, with a [Tap].
//
// Data is read only when a buffer is at hand and the last one has gone out, so
// a side that does not read stops the other: nothing queues here. A connection
// that is idle holds no buffer.
//
// splice(2) is not used. It would be right only where no descriptor can appear,
// and on a unix socket one can appear with any byte: splice drops it without a
// word.
package relay

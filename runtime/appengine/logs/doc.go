// Package logs is the runtime's log server: it takes what containers print,
// what the runtime's own parts and daemons say, and what programs send to the
// log sockets, and writes it below the log directory:
//
//	<dir>/current                      a link to the running revision
//	<dir>/<rev>/pantavisor/pantavisor.log
//	<dir>/<rev>/<container>/lxc/console.log
//	<dir>/<rev>/<container>/<source>   as the container's programs name it
//	<dir>/<rev>/<…>.log.<n>.gz         older parts
//	<dir>/<rev>/.times                 when which byte was written, for readers
//
// New makes a Server and Server.Run writes. A Source is an io.Writer for one
// stream; it never blocks: what comes faster than it can be written is dropped
// at a bound, counted, and the count is logged. Server.Logger is a slog.Logger
// that writes pantavisor.log. Server.ServeLog and Server.ServeFD serve the
// sockets pv-ctrl-log, /dev/log and pv-fd-log; Server.Tail follows files inside
// containers. Open is the other side: it reads such a directory, merged and in
// order, and follows it.
//
// Paths, formats and thresholds are those of pantavisor's logserver (its
// logserver/ folder and docs/reference/logserver-sockets.md), except where a
// comment says otherwise.
package logs

// Package bench measures pv-xconnect beside a direct socket and socat.
//
//	go test -run '^$' -bench Routes -benchtime 1s ./runtime/xconnect/bench
//
// runs every load on every route in turn, as root, and prints a table at its
// end: rates, the median and the 99th percentile of latencies, the processor
// time of the process between, its memory, and how pv-xconnect compares. Only
// ratios within one run on one machine mean something. BenchmarkTenThousandLinks
// has the time from a graph to its sockets, and from an empty one to none.
//
// Another program that speaks the graph protocol is measured in the same run if
// PVX_DAEMON names it and PVX_CTRL the socket at which it looks for pv-ctrl:
//
//	PVX_DAEMON=./other PVX_CTRL=/run/pantavisor/pv/pv-ctrl go test …
//
// What is wanted, as ratios to such a daemon written in C with splice(2): 1.5
// times its throughput with 1 and 16 streams, with descriptors passed on and in
// less than 64 MB; a round trip no slower, at the median and the 99th
// percentile, with 1 and 64 connections; as many connections a second when the
// provider closes first, and 10,000 when the consumer does; 0.8 times its HTTP
// requests, each with an identity. A thousand idle connections take less than
// 10 MB, 10,000 links less than 2 s, a new link less than 100 ms, a restarted
// peer's less than 200 ms; the last two, through a runtime, are measured by
// BenchmarkNewLink and BenchmarkRestartedPeer in runtime/appengine.
package bench

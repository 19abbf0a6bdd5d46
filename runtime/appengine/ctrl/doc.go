// Package ctrl is the pv-ctrl server: the HTTP API on a unix socket through
// which containers and tools ask the runtime what runs and tell it what to do.
// Start at [New] and [Server.Serve]; the endpoints are one table, [Routes], and
// REFERENCE.md is made from it. What answers is a [Backend] of narrow
// interfaces, each of which the supervisor implements.
//
// # Why not net/http's server
//
// Clients of this API were written against another server, libevent's, and
// some depend on how it speaks: a reply to HTTP/1.0 has no header but
// Content-Type and ends with the connection, HTTP/1.1 without Host is served,
// "Transfer-Encoding: identity" is ignored on 1.1, any Host but localhost ends
// the connection without a word, an unknown method is 501 in HTTP/1.1 whatever
// the request's version was, and what is not HTTP gets a JSON body. net/http
// decides each of these before a handler runs. So the request line, the
// framing and the replies are ours (head.go, body.go, reply.go, some five
// hundred lines over bufio), and the parts of the standard library that can be
// had alone do the rest: net/textproto reads header fields, net/http/httputil
// the chunks.
//
// # Limits
//
// A client can hold a connection, a head of 64 KiB and the body of one request,
// and none of them for ever: heads, bodies and replies must make progress, and
// the number of connections is limited for all and for each container. An
// object is streamed in both directions.
//
// # Who calls
//
// The caller is the process that connected, held by a pidfd, and the container
// it belongs to is decided when it connects and again with every request, so
// that a pid which the kernel gave to another process is never believed. A
// client may close its sending side, or go, after its request: the work is done
// all the same.
package ctrl

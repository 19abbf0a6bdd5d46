// Package pvcurl sends one HTTP request over a unix socket: [Client.Do] is the
// wire, [Main] the program pvcurl around it, a work-alike of Pantavisor's
// tools/pvcurl, which is a shell script around nc.
//
// A request leaves as the script writes it, byte for byte: HTTP/1.0, Host,
// the given headers, Content-Type, Content-Length. What the script gets wrong
// is not copied: it shares /tmp/http_req between all that run at once, counts a
// body in characters, cuts an answer off when the server is silent for five
// seconds, and passes a chunked answer on undecoded. testdata/pvcurl.json lists
// every difference with its reason.
package pvcurl

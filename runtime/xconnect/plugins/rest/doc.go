// Package rest carries links of type "rest": HTTP/1.0 and 1.1 between a consumer
// and a provider, with X-PV-Client and X-PV-Role on every request, set by us and
// by nobody else.
//
// Requests are parsed strictly (RFC 9112) and written anew, so that the provider
// reads the same requests as we do: whatever two readers could understand
// differently is refused. Bodies are streamed. Responses pass as they are, for
// each consumer's connection has one of its own to the provider.
package rest

// Package pvctrl knows the documents of the pv-ctrl API and how to ask for
// them: pv-ctrl is the HTTP server that the Pantavisor runtime listens with on
// a unix socket. [DecodeGraph] reads the service graph, [Client] fetches it.
package pvctrl

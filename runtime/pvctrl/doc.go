// Package pvctrl knows the documents of the pv-ctrl API and how to ask for
// them: pv-ctrl is the HTTP server that the Pantavisor runtime listens with on
// a unix socket. [Client] has a method for each endpoint, [Client.Do] for any
// request, and [Client.Graph] and [Client.Events] to be told of changes;
// [DecodeGraph] and [EncodeGraph] are the service graph's two directions.
package pvctrl

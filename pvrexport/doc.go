// Package pvrexport knows Pantavisor's unit of delivery: a state, which maps
// file names to object ids or inline JSON, and the bundle (.pvrexport.tgz)
// that carries a state together with its objects.
//
// Start with [DecodeState] and [State] for the document, [Write] and [Import]
// for bundles as streams, [OpenBundle] to look inside one, and [Verify] for
// what a device would say about it.
//
// The format is the one of github.com/pantacor/pvr; the rules that Verify
// checks are those of the device side, github.com/pantavisor/pantavisor
// (parser/parser_system1.c, signature.c, pvtx/src).
package pvrexport

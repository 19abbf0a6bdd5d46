// Package pvtx puts a new revision together: a transaction starts from a state,
// takes in bundles, drops parts, and ends as a step that a running Pantavisor
// is given (the remote kind) or as a directory on this machine (the local
// kind). It does what pantavisor's pvtx does, by its rules.
//
// A transaction outlives the process: it lies in a directory, in one file that
// is replaced whole, and one process at a time works on it. Open gives access,
// Begin starts, Commit or Deploy ends, and Abort forgets. A queue collects what
// is to be added and removed before there is a transaction; Process applies it.
//
// The file is our own, next to those of pvtx (".status" and "current.json"),
// which are neither read nor touched. pvtx empties the directory when it
// begins, so that the two should not share one.
package pvtx

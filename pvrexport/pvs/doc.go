// Package pvs signs the parts of a state and checks such signatures: the values
// of _sigs/<part>.json.
//
// A signature is a JSON Web Signature (RFC 7515) in flattened form without its
// payload. The payload is made anew by whoever checks it: the canonical JSON of
// those members of the state that the patterns in the protected header choose.
// The format is that of github.com/pantacor/pvr (libpvr/pvslib.go), "pvs@2",
// and what devices make of it is in github.com/pantavisor/pantavisor
// (signature.c). The two do not agree everywhere; here counts only what they
// agree on. Anything else, and anything that two readers could take for two
// things, is refused: duplicate members, patterns with two meanings, headers
// that ask for something unknown.
//
// [Sign] makes a signature. [Verify] says of every signature in a state whether
// it is valid, who made it and what it covers, and of every key that none
// covers. [Enforce] turns that into what a device in one of its modes does.
package pvs

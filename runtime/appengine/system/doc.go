// Package system says what a state means to the runtime: which containers it
// has, in which groups and with which goals they start, what they need and
// offer to each other, and which disks, volumes and networks the device
// declares. Start with Parse.
//
// The formats are those that pantavisor reads (parser/parser_system1.c, and
// docs/reference/pantavisor-state-format-v2.md there). Where that parser
// refuses a state, or accepts one that it then crashes on or can never run,
// Parse fails with an *InvalidError that lists every such place. What that
// parser ignores in silence, Parse ignores with a finding in System.Findings.
// Three of its habits are not taken over: keys are compared in full and not by
// their first letters, a value is looked up only where it belongs and not at
// any depth, and a container's services.json counts wherever it stands among
// the keys.
//
// A System does not change after Parse; it can be shared.
package system

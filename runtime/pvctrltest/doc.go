// Package pvctrltest is the documented test plan of the pv-ctrl API as code: 31
// tests that ask any server behind a unix socket, ours or upstream's, and judge
// its answers. [Tests] lists them, [Run] runs them, and a [Report] writes itself
// as text, JSON, JUnit XML or TAP.
//
// The plan is meta-pantavisor's docs/testing/testplans/testplan-pvctrl.md. Where
// the plan and the server's code disagree, what the code does is right; a test
// that shows the known disagreement ends as [Expected].
//
// The tests leave a machine as they found it: keys that they overwrite get their
// value back, the daemon and the containers run again. There is no way to delete
// a revision or an object but to collect garbage, which test 27 does on purpose;
// without it the report says what is left.
package pvctrltest

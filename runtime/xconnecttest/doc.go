// Package xconnecttest is the documented test plan of the service mesh as code:
// seven tests that look at the links of a running appengine, ours or upstream's,
// from outside the containers. [Tests] lists them, [Run] runs them; the report
// is that of package testreport.
//
// The plan is meta-pantavisor's docs/testing/testplans/testplan-xconnect.md: its
// tests 1 to 4 are ours, and 5 to 7 are its proxy lifecycle checks. The plan
// starts each pair of its examples alone; here whatever runs is looked at, and a
// test whose pair does not run is skipped with the name of what is missing.
//
// The tests reach into containers by their pids in the graph, so they run where
// the runtime runs, with the rights to do so. They change nothing.
package xconnecttest

// Package settings holds the runtime's configuration: the PV_ and PH_ keys of
// the real program with their types, defaults and dotted aliases, where each
// value comes from, and the two documents that show them (GET /config and
// GET /config2).
//
// A value is set by an origin. Origins are ordered: what a higher one has set,
// a lower one does not change. Load reads the usual sources in their order;
// Table.Override and Table.Restore follow the user metadata while the program
// runs.
//
// The table, the origins and the texts are those of pantavisor's config.c and
// config_parser.c.
package settings

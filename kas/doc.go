// Package kas reads kas configurations (github.com/siemens/kas) as kas does
// and remembers which file and line set what.
//
// New gives a Resolver for a tree of files; Resolver.Resolve follows the chain
// of files of a command line with all includes and lock files, and returns a
// Config: the merged configuration, the repositories and layers it names, the
// local.conf and bblayers.conf that kas would write, and the dump that `kas
// dump` would print, byte for byte. Check looks for what kas accepts and
// nobody can have meant.
//
// There are two dialects: Stock is kas 5.4, Pantacor the fork of kas 4.5 that
// Pantavisor's build container runs. Rules are cited by the file of kas that
// holds them (includehandler.py, repos.py, libcmds.py, plugins/dump.py). YAML
// is read as PyYAML's safe_load reads it, which is YAML 1.1.
package kas

// Package bitbake reads BitBake metadata (.conf, .inc, .bb, .bbappend,
// .bbclass) and evaluates it with BitBake's own semantics, without Python.
//
// Parse turns one file into statements with exact positions. A Datastore
// holds variables, flags, overrides and the history of every statement that
// touched them; LoadConfig and LoadRecipe fill one from a layer stack in
// BitBake's file order. Datastore.Get answers with a Value, which says whether
// it is known: inline Python beyond what package pyexpr models, an include
// whose name is not known, anonymous Python and the environment of the build
// make a value unknown, with the reason, never wrong. A file that is missing
// is a finding, and evaluation goes on without it. Datastore.Explain tells how
// a variable came to its value and what became of each statement.
//
// The semantics are those of BitBake 2.8 (Yocto scarthgap); bb/data_smart.py,
// bb/parse/ast.py and bb/parse/parse_py/*.py are cited where a rule would
// surprise. A Datastore is not safe for concurrent use; a File and a Loader
// are.
package bitbake

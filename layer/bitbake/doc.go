// Package bitbake reads BitBake metadata (.conf, .inc, .bb, .bbappend,
// .bbclass) and evaluates it with BitBake's own semantics, without Python.
//
// Parse turns one file into statements with exact positions. A Datastore
// holds variables, flags, overrides and the history of every statement that
// touched them; LoadConfig and LoadRecipe fill one from a layer stack in
// BitBake's file order. Datastore.Get answers with a Value, which says whether
// it is known: inline Python beyond what package pyexpr models, files that
// are missing and anonymous Python make a value unknown, with the reason,
// never wrong.
//
// The semantics are those of BitBake 2.8 (Yocto scarthgap); bb/data_smart.py,
// bb/parse/ast.py and bb/parse/parse_py/*.py are cited where a rule would
// surprise. A Datastore is not safe for concurrent use; a File and a Cache
// are.
package bitbake

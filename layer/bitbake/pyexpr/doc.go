// Package pyexpr evaluates the part of Python's expression language that
// BitBake metadata uses inside ${@...}. Nothing is executed: an expression is
// parsed to a tree and walked with bounded steps, depth and sizes. Names that
// reach outside (d, bb, oe, os) go through the caller's Env.
//
// Three things can come out of Expr.Eval: a Value; an *Exception, where Python
// would raise one; an *Unsupported, where Python would give an answer that
// this package does not model. It never guesses between them.
//
// Grammar and semantics: The Python Language Reference, release 3.11,
// chapters 2, 5.5 and 6, and The Python Standard Library, "Built-in Types".
package pyexpr

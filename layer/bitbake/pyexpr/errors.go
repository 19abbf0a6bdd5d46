package pyexpr

import "fmt"

// SyntaxError says that Python would not compile the text.
type SyntaxError struct {
	Offset int // byte offset in the expression
	Msg    string
	// Unterminated is set for a string without its closing quote: BitBake
	// leaves the whole ${@...} alone in that case instead of failing.
	Unterminated bool
}

func (e *SyntaxError) Error() string { return "SyntaxError: " + e.Msg }

// Exception is an exception that Python would raise while evaluating.
type Exception struct {
	Type string // NameError, TypeError, ...
	Msg  string
}

func (e *Exception) Error() string {
	if e.Msg == "" {
		return e.Type
	}
	return e.Type + ": " + e.Msg
}

// Unsupported says why the value of an expression is not known.
type Unsupported struct {
	Reason string
}

func (e *Unsupported) Error() string { return e.Reason }

func raise(kind, format string, args ...any) error {
	return &Exception{Type: kind, Msg: fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &Unsupported{Reason: fmt.Sprintf(format, args...)}
}

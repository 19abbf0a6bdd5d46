package bitbake

import (
	"sort"

	"github.com/pvkit/pvkit/internal/diag"
)

// Span is a range of bytes of a file's source, [Start, End).
type Span struct {
	Start, End int
}

// File is a parsed file. It does not change after Parse.
type File struct {
	Name  string
	Src   string
	Stmts []Stmt
	// Err is the first problem that stops BitBake from reading the file, nil
	// when there is none. Statements around it are in Stmts all the same.
	Err *Error
	// Warnings are what BitBake logs while it reads the file.
	Warnings []diag.Diagnostic

	lines []int // offset of each line's first byte
}

// Position turns a byte offset into line and column.
func (f *File) Position(off int) diag.Position {
	i := sort.SearchInts(f.lines, off+1) - 1
	if i < 0 {
		return diag.Position{File: f.Name}
	}
	return diag.Position{File: f.Name, Line: i + 1, Col: off - f.lines[i] + 1}
}

// Text returns the source bytes of a span.
func (f *File) Text(s Span) string { return f.Src[s.Start:s.End] }

// Node is what every statement has.
type Node struct {
	File *File
	// Line is where the statement starts; LastLine is its last line, which is
	// the number that BitBake's own history shows.
	Line, LastLine int
	// Span covers the statement without its line end.
	Span Span
}

func (n *Node) node() *Node { return n }

// Pos is where the statement starts.
func (n *Node) Pos() diag.Position {
	if n.File == nil {
		return diag.Position{Line: n.Line}
	}
	return diag.Position{File: n.File.Name, Line: n.Line, Col: 1}
}

// Stmt is a statement: one of the pointer types below.
type Stmt interface {
	node() *Node
	Pos() diag.Position
}

// NodeOf returns the common part of a statement.
func NodeOf(s Stmt) *Node { return s.node() }

// Op is an assignment operator.
type Op uint8

// The operators, as they are written.
const (
	OpSet     Op = iota // =
	OpDefault           // ?=
	OpWeak              // ??=
	OpNow               // :=
	OpAppend            // +=
	OpPrepend           // =+
	OpPostdot           // .=
	OpPredot            // =.
)

func (o Op) String() string {
	return [...]string{"=", "?=", "??=", ":=", "+=", "=+", ".=", "=."}[o]
}

// Assign is an assignment. Name holds overrides and keywords ("A:append:foo").
type Assign struct {
	Node
	Export bool // written with "export" in front
	Name   string
	Flag   string // "" for the variable itself
	Op     Op
	Quote  byte
	Value  string // lines joined, quotes off, nothing else decoded

	NameSpan, FlagSpan, OpSpan Span
	ValueSpan                  Span // between the quotes, continuations as written
}

// Include is include or require.
type Include struct {
	Node
	Required bool
	Files    string
	ArgSpan  Span
}

// Inherit is inherit or inherit_defer.
type Inherit struct {
	Node
	Deferred bool
	Classes  string
	ArgSpan  Span
}

// Export is "export NAME".
type Export struct {
	Node
	Name     string
	NameSpan Span
}

// Unset is "unset NAME" or "unset NAME[flag]".
type Unset struct {
	Node
	Name, Flag string
	NameSpan   Span
}

// AddTask is addtask. Only Name is a task; Before and After are word lists.
type AddTask struct {
	Node
	Name                string
	Before, After       string
	Args                string // all behind "addtask", as written
	HasBefore, HasAfter bool
}

// DelTask is deltask.
type DelTask struct {
	Node
	Tasks string
}

// AddHandler is addhandler.
type AddHandler struct {
	Node
	Names string
}

// ExportFunctions is EXPORT_FUNCTIONS; Class is the name of its class.
type ExportFunctions struct {
	Node
	Names string
	Class string
}

// AddPyLib is addpylib, allowed only in layer.conf, bblayers.conf and
// bitbake.conf.
type AddPyLib struct {
	Node
	Dir, Namespace string
}

// Function is a shell or Python task function; Name is "" for an anonymous
// Python function.
type Function struct {
	Node
	Name             string
	Python, Fakeroot bool
	Body             []string
	NameSpan         Span
}

// Def is a plain Python function: Body starts with its "def" line.
type Def struct {
	Node
	Name string
	Body []string
}

// Comment is a comment, with its "#" and its lines as written.
type Comment struct {
	Node
	Lines []string
}

// Error is what makes BitBake stop: a file that it cannot read, an expansion
// that fails, a recursion without end.
type Error struct {
	Type string // BitBake's exception: ParseError, ExpansionError, BBHandledException, ...
	Msg  string
	Pos  diag.Position
	Err  error // what caused it, if anything
}

func (e *Error) Error() string {
	if e.Pos.File == "" && e.Pos.Line == 0 {
		return e.Msg
	}
	return e.Pos.String() + ": " + e.Msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Diagnostic turns the error into a finding.
func (e *Error) Diagnostic() diag.Diagnostic {
	return diag.Diagnostic{Pos: e.Pos, Severity: diag.Error, Rule: RuleParse, Message: e.Msg}
}

// Rules of the findings that this package makes.
const (
	RuleParse   = "bitbake-error"   // BitBake stops here
	RuleWarn    = "bitbake-warning" // BitBake logs a warning here
	RuleUnknown = "bitbake-unknown" // something outside the evaluator's sight
	RuleMissing = "bitbake-missing" // a file of the configuration is not there
)

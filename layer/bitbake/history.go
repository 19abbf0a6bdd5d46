package bitbake

import (
	"slices"

	"github.com/pvkit/pvkit/internal/diag"
)

// Event is one thing that was done to a variable.
type Event struct {
	// Op is BitBake's name of it: "set", "set?", "immediate", "append",
	// "prepend", "postdot", "predot", "exported", "del", "delFlag", "rename
	// from X", "rename (to)". For :append, :prepend and :remove it is "set"
	// or the operator beside them.
	Op string
	// Keyword is ":append", ":prepend" or ":remove" and Overrides the words
	// behind it, for a statement with a keyword.
	Keyword, Overrides string
	// Name is the variable as written: "A:append:foo" in the history of "A".
	Name string
	// Flag is the flag that was set; "_defaultval" is the weak default.
	Flag string
	// Operand is the right-hand side as written.
	Operand string
	Pos     diag.Position
	// Stmt is the statement, nil where BitBake itself acted.
	Stmt Stmt
	// Via is how the file came in, innermost first.
	Via []Via
	// Internal marks what BitBake does on its own account: renaming keys,
	// expanding LAYERDIR, the flags of functions.
	Internal bool
	seq      int
}

// Via is one step of the way to a file.
type Via struct {
	Pos  diag.Position // of the include, require or inherit
	Verb string        // include, require, inherit, INHERIT, parse
	File string        // what it brought in
}

// Label is the event's name as `bitbake -e` prints it: ":append[foo]", "set",
// "set?".
func (e Event) Label() string {
	if e.Keyword == "" {
		return e.Op
	}
	if e.Overrides == "" {
		return e.Keyword
	}
	return e.Keyword + "[" + e.Overrides + "]"
}

// Line is the line that BitBake shows: the last one of the statement.
func (e Event) Line() int {
	if e.Stmt != nil {
		return e.Stmt.node().LastLine
	}
	return e.Pos.Line
}

// frame is where evaluation stands: the chain of files.
type frame struct {
	up   *frame
	via  Via
	path []Via // this step and those above, innermost first
}

func (d *Datastore) enter(v Via) {
	path := []Via{v}
	if d.where != nil {
		path = append(path, d.where.path...)
	}
	d.where = &frame{up: d.where, via: v, path: path}
}

func (d *Datastore) leave() { d.where = d.where.up }

// record adds an event to a variable's history.
func (d *Datastore) record(name string, ev Event) {
	if ev.Op == "" {
		ev.Op = "set"
	}
	if ev.Name == "" {
		ev.Name = name
	}
	if d.where != nil {
		ev.Via = d.where.path
	}
	d.seq++
	ev.seq = d.seq
	d.history[name] = append(d.ownEvents(name), ev)
}

// events returns the history of a name, for reading.
func (d *Datastore) events(name string) []Event {
	for s := d; s != nil; s = s.parent {
		if h, ok := s.history[name]; ok {
			return h
		}
	}
	return nil
}

// ownEvents returns the history for appending: what a parent holds is not
// written over.
func (d *Datastore) ownEvents(name string) []Event {
	if h, ok := d.history[name]; ok {
		return h
	}
	return slices.Clip(d.events(name))
}

// History returns what was done to a variable, in order. Events on
// overriding names ("A:foo") are in the history of those names.
func (d *Datastore) History(name string) []Event { return slices.Clone(d.events(name)) }

package bitbake

import (
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// blind notes something that the evaluation cannot see into: an include whose
// name is not known. What it would have set is not in the datastore.
func (d *Datastore) blind(pos diag.Position, format string, args ...any) {
	d.report(diag.Note, RuleUnknown, pos, format, args...)
}

// missing is an error for BitBake; unless Options.Strict is set it becomes a
// finding, so that a layer can be looked at without the layers below it.
func (d *Datastore) missing(e *Error) error {
	if !d.keepGoing {
		return e
	}
	dg := e.Diagnostic()
	dg.Severity, dg.Rule = diag.Warning, RuleMissing
	*d.diags = append(*d.diags, dg)
	return nil
}

// addPyLib makes a Python namespace known. What is in it is modelled by name
// (pyFunctions); the files are not read.
func (d *Datastore) addPyLib(s *AddPyLib) error {
	// BB_GLOBAL_PYMODULES are imported with the first library.
	t, err := d.get("BB_GLOBAL_PYMODULES")
	if err != nil {
		return place(err, s.Pos())
	}
	for _, m := range strings.Fields(t.s) {
		d.special.modules[m] = true
	}
	d.special.modules[s.Namespace] = true
	return nil
}

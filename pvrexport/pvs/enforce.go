package pvs

import (
	"fmt"
	"slices"
)

// Mode is how much a device insists on signatures (PV_SECUREBOOT_MODE).
type Mode int

// The modes. The zero value is Pantavisor's default.
const (
	Lenient  Mode = iota // signatures that are there must be valid
	Strict               // and every key must be covered by one
	Audit                // as strict, but nothing fails: the reasons are for the log
	Disabled             // signatures are not looked at
)

var modeNames = [...]string{"lenient", "strict", "audit", "disabled"}

func (m Mode) String() string { return modeNames[m] }

// Modes lists the words for the modes.
func Modes() []string { return slices.Clone(modeNames[:]) }

// ParseMode reads the word for a mode.
func ParseMode(word string) (Mode, error) {
	for i, name := range modeNames {
		if word == name {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("secureboot mode %q: want disabled, audit, lenient or strict", word)
}

// What a device says of a state that it does not take: in the status-msg of its
// progress, and behind "Secureboot: " in an answer of status 422 (signature.c,
// pv_signature_sign_state_str; storage.c, pv_storage_verify_state_json).
const (
	TextInternal   = "Internal error"
	TextUncovered  = "State not fully covered by signatures"
	TextValidation = "Signature validation failed"
)

// Verdict is what a mode makes of a report.
type Verdict struct {
	OK   bool
	Text string // what a device would say; empty if there is nothing to say
	// Reasons says what is wrong, also where the mode lets it pass.
	Reasons []string
}

// RefusedError is a state that a mode refuses. It reads as what a device says.
type RefusedError struct {
	Text    string
	Reasons []string
}

func (e *RefusedError) Error() string { return e.Text }

// Err is a *[RefusedError], or nil if the verdict is good.
func (v Verdict) Err() error {
	if v.OK {
		return nil
	}
	return &RefusedError{v.Text, v.Reasons}
}

// Enforce applies a mode to a report. In the mode Disabled the report may be
// nil; in the others a nil report is refused.
//
// The modes are those of docs/overview/storage.md of Pantavisor. Its code
// differs in one: in audit it refuses signatures that are not valid and lets
// pass only what is not covered. The reasons say so where it matters.
func Enforce(mode Mode, r *Report) Verdict {
	if mode == Disabled {
		return Verdict{OK: true}
	}
	if r == nil {
		return Verdict{Text: TextInternal, Reasons: []string{"the signatures were not looked at"}}
	}
	v := Verdict{OK: true}
	fail := func(text, format string, args ...any) {
		if v.Text == "" {
			v.OK, v.Text = false, text
		}
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
	for _, s := range r.Signatures {
		if s.Err != nil {
			fail(TextValidation, "%s: %v", s.Key, s.Err)
		}
	}
	invalid := v.Text == TextValidation
	if mode == Strict || mode == Audit {
		for _, key := range r.Uncovered {
			fail(TextUncovered, "%s is not covered by any signature", key)
		}
	}
	if mode == Audit {
		v.OK = true
		if invalid {
			v.Reasons = append(v.Reasons, "in audit mode this passes here; devices of today refuse a signature that is not valid in this mode, too")
		}
	}
	return v
}

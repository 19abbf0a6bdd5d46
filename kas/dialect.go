package kas

import "fmt"

// Dialect is a program that reads kas files.
type Dialect uint8

// The dialects.
const (
	// Stock is kas 5.4 of github.com/siemens/kas.
	Stock Dialect = iota
	// Pantacor is the fork of kas 4.5 in Pantavisor's build container, whose
	// menu knows KAS_LOCAL_*.
	Pantacor
)

func (d Dialect) String() string {
	if d == Pantacor {
		return "pantacor"
	}
	return "stock"
}

// ParseDialect reads a dialect's name.
func ParseDialect(s string) (Dialect, error) {
	switch s {
	case "stock":
		return Stock, nil
	case "pantacor":
		return Pantacor, nil
	}
	return 0, fmt.Errorf("no dialect %q: it is stock or pantacor", s)
}

// MaxVersion is the highest header.version that the dialect accepts, and what
// its menu writes.
func (d Dialect) MaxVersion() int {
	if d == Pantacor {
		return 17
	}
	return 23
}

// Indent is the indentation of `kas dump` when no option sets it.
func (d Dialect) Indent() int {
	if d == Pantacor {
		return 4
	}
	return 2
}

// defaultDistro is what DISTRO becomes when no file sets it: since kas 5.3
// the one without a policy.
func (d Dialect) defaultDistro() string {
	if d == Pantacor {
		return "poky"
	}
	return "nodistro"
}

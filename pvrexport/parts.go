package pvrexport

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The top-level directories that belong to no part: overlays and signatures
// of parts.
const (
	configDir = "_config"
	sigsDir   = "_sigs"
)

// ErrNoPart is a part that the state does not hold.
var ErrNoPart = errors.New("the state has no such part")

// owner returns the part that a key belongs to: "app" for app/run.json,
// _config/app/etc/x and _sigs/app.json; "" for a file at the top.
func owner(key string) string {
	dir, rest, ok := strings.Cut(key, "/")
	switch {
	case !ok:
		return ""
	case dir == sigsDir:
		return strings.TrimSuffix(rest, ".json")
	case dir == configDir:
		part, _, _ := strings.Cut(rest, "/")
		return part
	}
	return dir
}

// Subset returns a state with only the given parts: their directories, their
// configuration overlays and their signatures. A part need not have a
// run.json, but it must have something.
func (s *State) Subset(parts ...string) (*State, error) {
	sub := NewState()
	seen := map[string]bool{}
	for key, v := range s.members {
		if part := owner(key); part != "" && slices.Contains(parts, part) {
			sub.members[key] = v
			seen[part] = true
		}
	}
	for _, part := range parts {
		if !seen[part] {
			return nil, fmt.Errorf("part %q: %w", part, ErrNoPart)
		}
	}
	return sub, nil
}

// ChangeKind says what became of a key.
type ChangeKind int

// The kinds of change.
const (
	Added ChangeKind = iota + 1
	Removed
	Changed
)

func (k ChangeKind) String() string {
	return [...]string{"none", "added", "removed", "changed"}[k]
}

// Change is a difference between two states. Old is empty for a key that was
// added, New for one that was removed.
type Change struct {
	Key      string
	Kind     ChangeKind
	Old, New Value
}

// Diff returns what must happen to a to become b, in the order of the keys.
func Diff(a, b *State) []Change {
	var changes []Change
	for key, old := range a.All() {
		now, ok := b.members[key]
		switch {
		case !ok:
			changes = append(changes, Change{Key: key, Kind: Removed, Old: old})
		case now != old:
			changes = append(changes, Change{Key: key, Kind: Changed, Old: old, New: now})
		}
	}
	for key, now := range b.All() {
		if _, ok := a.members[key]; !ok {
			changes = append(changes, Change{Key: key, Kind: Added, New: now})
		}
	}
	slices.SortFunc(changes, func(x, y Change) int { return strings.Compare(x.Key, y.Key) })
	return changes
}

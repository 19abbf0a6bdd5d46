package pvrexport

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Merge adds the members of o to s, as adding a bundle to a transaction does
// (pvtx/src/pvtx_state.c). A key of o replaces that key and all below it. A
// signature of o replaces, besides, what it covers and what the signature of
// the same name in s covered: the old files of a signed part do not survive
// it. What another signature of s covers, too, stays. The files of a part that
// o carries unsigned replace only themselves. If keys collide, the error is a
// *KeyError and s is unchanged.
//
// pvtx compares prefixes where Merge compares whole names, so that there "app"
// also hits "app-2"; and it ignores the coverage of the new signature, so that
// a part that was unsigned leaves files behind with which the new signature
// cannot be right. Merging the same state twice is merging it once.
func (s *State) Merge(o *State) error {
	merged := maps.Clone(s.members)
	old := s.coverage()
	var gone []string // patterns
	for name, patterns := range o.coverage() {
		gone = append(gone, patterns...)
		gone = append(gone, old[name]...)
		delete(old, name)
	}
	uncover(merged, gone, old)
	for key := range s.members {
		for dir := key; dir != "."; dir = path.Dir(dir) {
			if _, ok := o.members[dir]; ok {
				delete(merged, key)
			}
		}
	}
	maps.Copy(merged, o.members)
	result := &State{members: merged}
	for _, key := range result.keys() {
		if err := result.collides(key); err != nil {
			return fmt.Errorf("merge states: %w", err)
		}
	}
	s.members, s.from = merged, nil
	return nil
}

// Remove takes a part out of s: its files, its overlay, its signature and what
// that covers, except what another signature covers, too. A part may be named
// by its signature ("_sigs/<part>.json") or its overlay ("_config/<part>"),
// which then goes with what the signature covers; any other key names itself
// and what lies below it. The error matches ErrNoPart if there is nothing.
func (s *State) Remove(part string) error {
	part = strings.TrimSuffix(part, "/")
	name := part
	for _, dir := range []string{sigsDir, configDir} {
		if rest, ok := strings.CutPrefix(part, dir+"/"); ok {
			name = strings.TrimSuffix(rest, ".json")
		}
	}
	left := maps.Clone(s.members)
	others := s.coverage()
	gone := others[sigKey(name)]
	delete(others, sigKey(name))
	if part == name {
		gone = append(gone, literal(configDir+"/"+name))
	}
	uncover(left, append(gone, literal(sigKey(name))), others)
	for key := range s.members {
		// pvtx spares what more signatures cover than it has reasons to
		// remove: here the name alone is one.
		if key != SpecKey && covered(key, []string{literal(part)}) && count(key, others) < 2 {
			delete(left, key)
		}
	}
	if len(left) == len(s.members) {
		return fmt.Errorf("part %q: %w", part, ErrNoPart)
	}
	s.members, s.from = left, nil
	return nil
}

func sigKey(part string) string { return sigsDir + "/" + part + ".json" }

// coverage returns the patterns, inclusive and exclusive, of each signature:
// an excluded file belongs to the part as well. A signature that cannot be
// read has none.
func (s *State) coverage() map[string][]string {
	all := map[string][]string{}
	for _, sig := range s.Signatures() {
		all[sig.Key] = slices.Concat(sig.Include, sig.Exclude)
	}
	return all
}

// uncover deletes the keys that the patterns take in and no other signature
// does. A signature that goes on the way protects nothing any more.
func uncover(members map[string]Value, patterns []string, others map[string][]string) {
	for again := len(patterns) > 0; again; {
		again = false
		for key := range members {
			if key == SpecKey || !covered(key, patterns) || count(key, others) > 0 {
				continue
			}
			delete(members, key)
			if _, ok := others[key]; ok {
				delete(others, key)
				again = true
			}
		}
	}
}

// count is how many patterns take in the key.
func count(key string, coverage map[string][]string) int {
	n := 0
	for _, patterns := range coverage {
		for _, p := range patterns {
			if covered(key, []string{p}) {
				n++
			}
		}
	}
	return n
}

// covered reports whether one of the patterns takes in the key. They are
// compared name by name; "**" stands for all that follows, and a pattern that
// ends at a directory takes in what is below.
func covered(key string, patterns []string) bool {
	names := strings.Split(key, "/")
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "" {
			return false
		}
		parts := strings.Split(pattern, "/")
		for i, part := range parts {
			if part == "**" || part == "" && i == len(parts)-1 {
				return len(names) > i
			}
			if i >= len(names) {
				return false
			}
			if ok, err := path.Match(part, names[i]); (err != nil || !ok) && part != names[i] {
				return false
			}
		}
		return true
	})
}

// literal returns a pattern that takes in a key and what is below it only.
func literal(key string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(key)
}

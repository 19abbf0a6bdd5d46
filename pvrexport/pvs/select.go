package pvs

import (
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
)

// Selection says which keys of a state a signature covers: those that one of
// Include matches and none of Exclude. Patterns are exact keys, keys with * and
// ? for what is between two slashes, and "dir/**" for everything below dir.
type Selection struct {
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
}

// Part is the selection that `pvr sig add --part` makes: the part's directory,
// and unless noConfig is set its configuration overlay, without its src.json
// and its signature.
func Part(name string, noConfig bool) Selection {
	s := Selection{Include: []string{name + "/**"}, Exclude: []string{name + "/src.json", signatureKey(name)}}
	if !noConfig {
		s.Include = append(s.Include, "_config/"+name+"/**")
	}
	return s
}

const sigsDir = "_sigs/"

func signatureKey(name string) string { return sigsDir + name + ".json" }

// maxPatterns and maxPattern bound the work of matching.
const (
	maxPatterns = 1024
	maxPattern  = 4096
)

// check refuses patterns that cannot mean the same to everybody.
func (s Selection) check() error {
	if len(s.Include)+len(s.Exclude) > maxPatterns {
		return problemf(ErrPattern, "there are more than %d patterns", maxPatterns)
	}
	for _, p := range slices.Concat(s.Include, s.Exclude) {
		switch {
		case p == "":
			return problemf(ErrPattern, "a pattern is empty")
		case len(p) > maxPattern:
			return problemf(ErrPattern, "a pattern is longer than %d bytes", maxPattern)
		case p == "**":
			return problemf(ErrPattern, `the pattern "**" matches everything for pvr and nothing on devices: want "dir/**"`)
		case strings.ContainsAny(p, `[]{}\`):
			return problemf(ErrPattern, "the pattern %q has brackets, braces or a backslash, which pvr and devices read differently", p)
		}
	}
	return nil
}

// chosen is what a selection makes of a state. The lists are in the order of
// the keys.
type chosen struct {
	included []string
	excluded []string // matched by Exclude; devices count these as covered, too
}

// apply chooses the keys. Where pvr and devices would choose differently, the
// error matches ErrAmbiguous.
func (s Selection) apply(state *pvrexport.State) (chosen, error) {
	var c chosen
	if err := s.check(); err != nil {
		return c, err
	}
	for key := range state.All() {
		pvr := matchAny(s.Include, key, matchPvr) && !matchAny(s.Exclude, key, matchPvr)
		out := matchAny(s.Exclude, key, matchDevice)
		device := matchAny(s.Include, key, matchDevice) && !out
		if pvr != device {
			who := map[bool]string{true: "pvr", false: "a device"}[pvr]
			return chosen{}, problemf(ErrAmbiguous, "of the patterns %q without %q only %s takes in the key %q", s.Include, s.Exclude, who, key)
		}
		if device {
			c.included = append(c.included, key)
		} else if out {
			c.excluded = append(c.excluded, key)
		}
	}
	return c, nil
}

func matchAny(patterns []string, key string, match func(pattern, key string) bool) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, key) })
}

// matchDevice is what signature.c does: fnmatch with FNM_PATHNAME, in which **
// is another *, and for a pattern that ends in /** the directory of the
// pattern against the key or any directory above it (FNM_LEADING_DIR).
func matchDevice(pattern, key string) bool {
	dir, below := strings.CutSuffix(pattern, "/**")
	p, k := strings.Split(dir, "/"), strings.Split(key, "/")
	if below && len(k) > len(p) {
		k = k[:len(p)]
	}
	return len(p) == len(k) && matchEach(p, k)
}

// matchPvr is what doublestar v1 does: ** is any number of directories, and at
// the end of a pattern at least one more name.
func matchPvr(pattern, key string) bool {
	p, k := strings.Split(pattern, "/"), strings.Split(key, "/")
	// As in a glob with one wildcard, only the last ** needs to be tried again.
	back, resume := -1, 0
	i, j := 0, 0
	for j < len(k) {
		switch {
		case i < len(p) && p[i] == "**":
			if i == len(p)-1 {
				return true
			}
			back, resume = i, j
			i++
		case i < len(p) && matchName(p[i], k[j]):
			i, j = i+1, j+1
		case back >= 0:
			resume++
			i, j = back+1, resume
		default:
			return false
		}
	}
	return i == len(p)
}

func matchEach(patterns, names []string) bool {
	for i, p := range patterns {
		if !matchName(p, names[i]) {
			return false
		}
	}
	return true
}

// matchName matches one name against a pattern of *, ? and characters.
func matchName(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, resume := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, resume = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i, j = i+1, j+1
		case star >= 0:
			resume++
			i, j = star+1, resume
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// payload is the canonical JSON of the chosen members. Devices do not make it
// of values but of the state's text, and put quotes around what starts with
// neither { nor [: for values where that gives something else, the error
// matches ErrUncheckable.
func payload(state *pvrexport.State, keys []string) ([]byte, error) {
	out := []byte{'{'}
	for i, key := range keys {
		v, ok := state.Get(key)
		if !ok {
			return nil, problemf(ErrSignature, "the state has no key %q", key)
		}
		text := v.JSON()
		switch {
		case text[0] == '{' || text[0] == '[':
		case text[0] != '"':
			return nil, problemf(ErrUncheckable, "%s is %.20s: devices cannot check files of JSON that hold a bare number or word", key, text)
		case text[1] == '{' || text[1] == '[':
			return nil, problemf(ErrUncheckable, "%s is a string that begins with %c: devices take it for JSON", key, text[1])
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, pvrexport.CanonicalString(key)...), ':')
		out = append(out, text...)
	}
	return append(out, '}'), nil
}

package pvrexport

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Spec is the only format of states that current devices take; it stands under
// the key "#spec".
const Spec = "pantavisor-service-system@1"

// SpecKey is the member of a state that names its format. It names no file.
const SpecKey = "#spec"

// MaxStateSize is how many bytes of state are read at most.
const MaxStateSize = 16 << 20

// ErrSpec is a state of another format, or of none.
var ErrSpec = errors.New(`"#spec" must be "` + Spec + `"`)

// State maps file names to what the files hold: an object's id or inline
// JSON. The key "#spec" is a member like any other, except that it is always
// there. The zero value is not usable; see NewState and DecodeState.
type State struct {
	members map[string]Value
	from    []byte // the bytes that DecodeState read, nil otherwise
}

// NewState returns a state that holds only its "#spec".
func NewState() *State {
	return &State{members: map[string]Value{SpecKey: StringValue(Spec)}}
}

// KeyError is a state's key that cannot name a file, or not beside the others.
type KeyError struct {
	Key       string
	Reason    string
	Line, Col int // 0 if the state was not read from a file
}

func (e *KeyError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("key %q %s", e.Key, e.Reason)
	}
	return fmt.Sprintf("line %d, column %d: key %q %s", e.Line, e.Col, e.Key, e.Reason)
}

// DecodeState reads a state. It refuses duplicate keys, at any depth; keys
// that are not clean relative paths; keys that name a file where others need a
// directory; and formats other than Spec. It does not insist on the canonical
// form: see State.Canonical. Errors have type *SyntaxError or *KeyError or
// match ErrSpec, if the reader itself did not fail.
func DecodeState(r io.Reader) (*State, error) {
	src, err := io.ReadAll(io.LimitReader(r, MaxStateSize+1))
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if len(src) > MaxStateSize {
		return nil, fmt.Errorf("read state: larger than %d bytes", MaxStateSize)
	}
	s, err := decodeState(src)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return s, nil
}

func decodeState(src []byte) (*State, error) {
	c := newCanonicalizer(src, CanonicalOptions{})
	s := &State{members: map[string]Value{}, from: src}
	offsets := map[string]int{}
	if c.space(); c.peek() != '{' {
		return nil, c.unexpected("an object")
	}
	err := c.members(func(key string, at int) error {
		if _, twice := offsets[key]; twice {
			return c.errorf(at, "key %q appears twice", key)
		}
		offsets[key] = at
		if err := checkKey(key); err != nil {
			return locate(err, src, at)
		}
		c.out = c.out[:0]
		if err := c.value(1); err != nil {
			return err
		}
		s.members[key] = Value{string(c.out)}
		return nil
	})
	if err == nil {
		err = c.end()
	}
	if err != nil {
		return nil, err
	}
	if s.members[SpecKey] != StringValue(Spec) {
		return nil, fmt.Errorf("%w, not %s", ErrSpec, cmp.Or(s.members[SpecKey].json, "missing"))
	}
	for _, key := range slices.Sorted(maps.Keys(s.members)) {
		if err := s.collides(key); err != nil {
			return nil, locate(err, src, offsets[key])
		}
	}
	return s, nil
}

// locate gives a KeyError its place.
func locate(err error, src []byte, at int) error {
	if e, ok := errors.AsType[*KeyError](err); ok {
		e.Line, e.Col = position(src, at)
	}
	return err
}

// checkKey says whether a key names a file inside a directory and nothing
// else. Linux limits names to 255 bytes; pvtx keeps keys in buffers of
// PATH_MAX (pvtx_state.c, merge_state).
func checkKey(key string) error {
	bad := func(reason string) error { return &KeyError{Key: key, Reason: reason} }
	switch {
	case key == "":
		return bad("is empty")
	case len(key) > 4095:
		return bad("is longer than 4095 bytes")
	case key[0] == '/':
		return bad("is an absolute path")
	}
	for i := range len(key) {
		if key[i] < 0x20 || key[i] == 0x7f {
			return bad("holds a control character")
		}
	}
	for part := range strings.SplitSeq(key, "/") {
		switch {
		case part == "":
			return bad("has an empty part")
		case part == "." || part == "..":
			return bad(`has the part "` + part + `"`)
		case len(part) > 255:
			return bad("has a part longer than 255 bytes")
		}
	}
	return nil
}

// collides reports a key whose directory is a file under another key.
func (s *State) collides(key string) error {
	for i := strings.IndexByte(key, '/'); i >= 0; {
		if _, ok := s.members[key[:i]]; ok {
			return &KeyError{Key: key, Reason: fmt.Sprintf("needs a directory where the key %q is a file", key[:i])}
		}
		next := strings.IndexByte(key[i+1:], '/')
		if next < 0 {
			break
		}
		i += next + 1
	}
	return nil
}

// Canonical reports whether the state, if it came from DecodeState, was
// written in canonical form there. The device concatenates raw bytes to check
// signatures and so takes no other form.
func (s *State) Canonical() bool { return s.from == nil || bytes.Equal(s.from, s.Encode()) }

// All yields every member in the order of the canonical form, "#spec" among
// them.
func (s *State) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, key := range s.keys() {
			if !yield(key, s.members[key]) {
				return
			}
		}
	}
}

func (s *State) keys() []string { return slices.Sorted(maps.Keys(s.members)) }

// Len is the number of members, "#spec" included.
func (s *State) Len() int { return len(s.members) }

// Get returns the value of a key.
func (s *State) Get(key string) (Value, bool) {
	v, ok := s.members[key]
	return v, ok
}

// Set adds a member or replaces its value. The error is a *KeyError if the key
// is unclean or collides with another one.
func (s *State) Set(key string, v Value) error {
	if v.json == "" {
		return fmt.Errorf("set %q: the value is empty", key)
	}
	if key == SpecKey && v != StringValue(Spec) {
		return fmt.Errorf("set %q: %w", key, ErrSpec)
	}
	if err := checkKey(key); err != nil {
		return err
	}
	if err := s.collides(key); err != nil {
		return err
	}
	if _, ok := s.members[key]; !ok {
		for other := range s.members {
			if strings.HasPrefix(other, key) && other[len(key)] == '/' {
				return &KeyError{Key: key, Reason: fmt.Sprintf("is a file where the key %q needs a directory", other)}
			}
		}
	}
	s.members[key], s.from = v, nil
	return nil
}

// Delete removes a member and reports whether it was there. "#spec" stays.
func (s *State) Delete(key string) bool {
	if _, ok := s.members[key]; !ok || key == SpecKey {
		return false
	}
	delete(s.members, key)
	s.from = nil
	return true
}

// Clone returns a copy that shares nothing that can change.
func (s *State) Clone() *State {
	return &State{members: maps.Clone(s.members), from: s.from}
}

// Encode returns the canonical form, without a newline at the end.
func (s *State) Encode() []byte {
	out := []byte{'{'}
	for key, v := range s.All() {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(appendString(out, key), ':')
		out = append(out, v.json...)
	}
	return append(out, '}')
}

// Objects returns the ids of all objects that the state names, each once, in
// order.
func (s *State) Objects() []string {
	ids := map[string]struct{}{}
	for _, v := range s.members {
		if id, ok := v.Object(); ok {
			ids[id] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// Parts returns the names of the top-level directories that hold a run.json,
// in order: the containers, and "bsp" if there is one.
func (s *State) Parts() []string {
	var parts []string
	for key := range s.members {
		dir, file, ok := strings.Cut(key, "/")
		if ok && file == "run.json" && dir != configDir && dir != sigsDir {
			parts = append(parts, dir)
		}
	}
	slices.Sort(parts)
	return parts
}

// Containers is Parts without the board support package.
func (s *State) Containers() []string {
	return slices.DeleteFunc(s.Parts(), func(p string) bool { return p == "bsp" })
}

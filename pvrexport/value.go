package pvrexport

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
)

// Value is what a state holds under a key: the id of an object, or JSON that
// stands in the state itself. Values are comparable with ==.
type Value struct {
	json string // canonical
}

// ObjectValue returns the value that names an object.
func ObjectValue(id string) (Value, error) {
	if !IsObjectID(id) {
		return Value{}, fmt.Errorf("object id %q: %w", id, ErrObjectID)
	}
	return StringValue(id), nil
}

// StringValue returns a JSON string as a value. A string that looks like an
// object id is one.
func StringValue(s string) Value { return Value{string(CanonicalString(s))} }

// JSONValue returns the content of a JSON file as a value, the way pvr takes
// it in: of members with the same key the last one stays, and members that are
// null go. Errors are of type *SyntaxError.
func JSONValue(src []byte) (Value, error) {
	out, err := Canonical(src, CanonicalOptions{LastWins: true, DropNulls: true})
	return Value{string(out)}, err
}

// Inlined reports whether pvr keeps the content of a file of that name in the
// state itself instead of as an object.
func Inlined(key string) bool { return path.Ext(key) == ".json" }

// Object returns the id of the object that the value names; ok is false if
// the value is inline JSON.
func (v Value) Object() (id string, ok bool) {
	if len(v.json) != idLen+2 || v.json[0] != '"' {
		return "", false
	}
	id = v.json[1 : 1+idLen]
	return id, IsObjectID(id)
}

// JSON returns the value in canonical form; of an object it is its quoted id.
func (v Value) JSON() []byte { return []byte(v.json) }

// Unmarshal decodes the value as encoding/json does.
func (v Value) Unmarshal(to any) error { return json.Unmarshal([]byte(v.json), to) }

// String returns the canonical form.
func (v Value) String() string { return v.json }

// idLen is the length of a SHA-256 in hexadecimal.
const idLen = 64

// IsObjectID reports whether s is a SHA-256 in lower-case hexadecimal.
func IsObjectID(s string) bool {
	if len(s) != idLen {
		return false
	}
	for i := range len(s) {
		if b := s[i]; (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return false
		}
	}
	return true
}

// ObjectID returns the id of an object with that content.
func ObjectID(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

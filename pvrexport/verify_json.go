package pvrexport

import (
	"encoding/json"
	"maps"
	"slices"
)

// jsonKind is the type of a JSON value in words, with its article.
type jsonKind string

const (
	kindObject jsonKind = "an object"
	kindArray  jsonKind = "an array"
	kindString jsonKind = "a string"
	kindNumber jsonKind = "a number"
	kindBool   jsonKind = "a boolean"
	kindNull   jsonKind = "null"
)

// kindOf looks at the first byte of canonical JSON.
func kindOf(text string) jsonKind {
	switch text[0] {
	case '{':
		return kindObject
	case '[':
		return kindArray
	case '"':
		return kindString
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	}
	return kindNumber
}

// object is a JSON object whose members stay as they are written.
type object map[string]json.RawMessage

func asObject(raw json.RawMessage) (object, bool) {
	var o object
	return o, json.Unmarshal(raw, &o) == nil && o != nil
}

func asArray(raw json.RawMessage) ([]json.RawMessage, bool) {
	var a []json.RawMessage
	return a, json.Unmarshal(raw, &a) == nil && a != nil
}

func asString(raw json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

func (o object) keys() []string { return slices.Sorted(maps.Keys(o)) }

// str returns a member that is a string; it is "" otherwise.
func (o object) str(key string) string {
	s, _ := asString(o[key])
	return s
}

// kind returns the type of a member that is there.
func (o object) kind(key string) jsonKind { return kindOf(string(o[key])) }

// lookups complains of string values that the device takes for keys: its
// lookup (pv_json_get_value) goes through the strings of an object, values
// too, and returns what follows the first run of them that reads like the key.
func (c *stateCheck) lookups(file, where string, o object, keys ...string) {
	for _, key := range keys {
		culprit, found, hit := "", "", false
		for _, member := range o.keys() {
			if hit && member != key {
				found = "another member"
				break
			}
			hit = hit || member == key
			if s, ok := asString(o[member]); ok && s == key {
				culprit, hit = member, true
			} else if hit {
				found = member
				break
			}
		}
		if _, there := o[key]; found == "" && !there {
			continue // the value is the last string: nothing follows it
		}
		if hit && found != key && culprit != "" {
			c.errorf("value-like-key", file, "%q is %q: devices take this value for the key %q", where+"."+culprit, key, key)
		}
	}
}

package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of argument values: far more than any argument
// needs, and an end to values that hold themselves.
const maxDepth = 64

// plainObject copies m into the types that the rest of the package knows: nil,
// bool, string, json.Number, []any and map[string]any. Members that are null
// are left out, as canonical JSON has it.
func plainObject(at string, m map[string]any) (map[string]any, error) {
	if m == nil {
		return map[string]any{}, nil
	}
	v, err := plain(at, reflect.ValueOf(m), 0)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

func plain(at string, v reflect.Value, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: nested more than %d deep", at, maxDepth)
	}
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		if depth++; depth > maxDepth {
			return nil, fmt.Errorf("%s: nested more than %d deep", at, maxDepth)
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil, nil
	}
	if n, ok := v.Interface().(json.Number); ok {
		if !json.Valid([]byte(n)) || n == "" || n[0] != '-' && (n[0] < '0' || n[0] > '9') {
			return nil, fmt.Errorf("%s: %q is not a number", at, string(n))
		}
		return n, nil
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return nil, fmt.Errorf("%s: the text %q is not valid UTF-8", at, v.String())
		}
		return v.String(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return json.Number(strconv.FormatInt(v.Int(), 10)), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return json.Number(strconv.FormatUint(v.Uint(), 10)), nil
	case reflect.Float32, reflect.Float64:
		if math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			return nil, fmt.Errorf("%s: %v has no form in JSON", at, v.Float())
		}
		b, err := json.Marshal(v.Float())
		return json.Number(b), err
	case reflect.Slice, reflect.Array:
		return plainList(at, v, depth)
	case reflect.Map:
		return plainMap(at, v, depth)
	}
	return nil, fmt.Errorf("%s: a value of type %s has no form in JSON", at, v.Type())
}

func plainList(at string, v reflect.Value, depth int) (any, error) {
	list := make([]any, v.Len())
	for i := range list {
		x, err := plain(fmt.Sprintf("%s.%d", at, i), v.Index(i), depth+1)
		if err != nil {
			return nil, err
		}
		list[i] = x
	}
	return list, nil
}

func plainMap(at string, v reflect.Value, depth int) (any, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("%s: the keys of an object must be text, not %s", at, v.Type().Key())
	}
	m := make(map[string]any, v.Len())
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		key := k.String()
		if !utf8.ValidString(key) {
			return nil, fmt.Errorf("%s: the key %q is not valid UTF-8", at, key)
		}
		x, err := plain(at+"."+key, v.MapIndex(k), depth+1)
		if err != nil {
			return nil, err
		}
		if x != nil {
			m[key] = x
		}
	}
	return m, nil
}

// member and object are a JSON object with its members in a chosen order.
type member struct {
	key   string
	value any
}

type object []member

// add appends a member; addText only if the text is not empty.
func (o *object) add(key string, value any) { *o = append(*o, member{key, value}) }

func (o *object) addText(key, value string) {
	if value != "" {
		o.add(key, value)
	}
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encode(&b, m.key); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encode(&b, m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encode appends v without a newline, and without the escapes for HTML.
func encode(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1)
	return nil
}

// pretty returns the object indented by two blanks, with a final newline.
func (o object) pretty() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(o); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// maxInput bounds the files that ParseServices and ParseMdev read: a hundred
// times what a real one has.
const maxInput = 1 << 20

// ParseServices reads a services.json that somebody wrote: an object with
// "services", or the older bare list (parser_system1.c, parse_service_exports).
// It refuses keys it does not know; what the values say is checked by Render.
func ParseServices(r io.Reader) ([]Service, error) {
	data, err := readSmall(r)
	if err != nil {
		return nil, fmt.Errorf("read services: %w", err)
	}
	var file struct {
		Spec     string         `json:"#spec"`
		Services []serviceEntry `json:"services"`
	}
	into := any(&file)
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("[")) {
		into = &file.Services
	}
	if err := decodeStrict(data, into); err != nil {
		return nil, fmt.Errorf("read services: %w", err)
	}
	if file.Spec != "" && file.Spec != servicesSpec {
		return nil, fmt.Errorf("read services: #spec is %q, want %q", shorten(file.Spec), servicesSpec)
	}
	out := make([]Service, len(file.Services))
	for i, e := range file.Services {
		out[i] = Service(e)
	}
	return out, nil
}

// serviceEntry is Service with the names of JSON.
type serviceEntry struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Socket string   `json:"socket"`
	Bus    string   `json:"bus"`
	Owns   string   `json:"owns"`
	Role   string   `json:"role"`
	Allow  []string `json:"allow"`
}

// ParseMdev reads an mdev.json that somebody wrote: {"rules": [...]}.
func ParseMdev(r io.Reader) ([]string, error) {
	data, err := readSmall(r)
	if err != nil {
		return nil, fmt.Errorf("read device rules: %w", err)
	}
	var file struct {
		Rules []string `json:"rules"`
	}
	if err := decodeStrict(data, &file); err != nil {
		return nil, fmt.Errorf("read device rules: %w", err)
	}
	return file.Rules, nil
}

func readSmall(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("more than %d bytes", maxInput)
	}
	return data, err
}

// decodeStrict reads one JSON value, refusing unknown keys and anything behind.
func decodeStrict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		line := 1 + strings.Count(string(data[:min(int(dec.InputOffset()), len(data))]), "\n")
		return fmt.Errorf("line %d: %w", line, plainType(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON value")
	}
	return nil
}

// plainType says what a value is and should be, in the words of JSON instead of
// Go's types.
func plainType(err error) error {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	want := map[reflect.Kind]string{
		reflect.Struct: "an object", reflect.Map: "an object", reflect.Slice: "an array", reflect.String: "a string", reflect.Bool: "true or false",
	}[e.Type.Kind()]
	if want == "" {
		want = "a number"
	}
	at := "the file"
	if e.Field != "" {
		at = fmt.Sprintf("%q", e.Field)
	}
	return fmt.Errorf("%s: got %s, want %s", at, e.Value, want)
}

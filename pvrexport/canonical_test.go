package pvrexport_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
)

// TestPvrTree makes a state of files with awkward JSON; testdata/canonical
// holds what pvr made of them.
func TestPvrTree(t *testing.T) {
	const root = "testdata/canonical/tree"
	s := pvrexport.NewState()
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		key, _ := filepath.Rel(root, name)
		v, err := pvrexport.ObjectValue(pvrexport.ObjectID(content))
		if pvrexport.Inlined(key) {
			v, err = pvrexport.JSONValue(content)
		}
		if err != nil {
			return err
		}
		return s.Set(key, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/canonical/state.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Encode(); !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCanonical(t *testing.T) {
	zeros := strings.Repeat("0", 400)
	for in, want := range map[string]string{
		` { "b" : 1 , "a" : [ 1 , 2 ] } `: `{"a":[1,2],"b":1}`,
		`{"a":null,"b":[null]}`:           `{"a":null,"b":[null]}`,
		`{}`:                              `{}`,
		`[]`:                              `[]`,
		`-0`:                              `0`,
		`-0.0e9`:                          `0`,
		`1.0`:                             `1`,
		`-1.50`:                           `-1.5E0`,
		`0.1`:                             `1.0E-1`,
		`120e-1`:                          `12`,
		`1e+2`:                            `100`,
		`1E400`:                           `1` + zeros,
		`0.00000E-999999999`:              `0`,
		`1E-999999999`:                    `1.0E-999999999`,
		`18446744073709551616`:            `18446744073709551616`,
		`"\u0041\/\u001f\ud83d\ude00\b"`:  `"A/\u001F😀\b"`,
		`"` + "\x7f\u2028" + `<>&"`:       `"` + "\x7f\u2028" + `<>&"`,
		`{"é":1,"z":2,"":3}`:              `{"":3,"z":2,"é":1}`,
	} {
		got, err := pvrexport.Canonical([]byte(in), pvrexport.CanonicalOptions{})
		if err != nil || string(got) != want {
			t.Errorf("%s\ngot  %s %v\nwant %s", in, got, err, want)
		}
	}
}

func TestCanonicalLikePvr(t *testing.T) {
	got, err := pvrexport.JSONValue([]byte(`{"a":1,"b":{"x":null,"y":[{"z":null}]},"a":2,"c":3,"c":null}`))
	if want := `{"a":2,"b":{"y":[{}]}}`; err != nil || got.String() != want {
		t.Errorf("got %s %v, want %s", got, err, want)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                       `column 1 (byte 0): the text ends where a value should be`,
		`{"a":1,"a":2}`:          `column 8 (byte 7): key "a" appears twice`,
		"{\n  \"a\": 01}":        `line 2, column 8 (byte 9): a number must not begin with 0`,
		`[1,]`:                   `']' where a value should be`,
		`{"a" 1}`:                `'1' where ':' should be`,
		`{"a":1,}`:               `'}' where a key should be`,
		`[1 2]`:                  `'2' where ',' or ']' should be`,
		`1 2`:                    `'2' where the end should be`,
		`"abc`:                   `the string does not end`,
		`"\x"`:                   `unknown escape sequence`,
		`"\u12`:                  `four hexadecimal digits`,
		`"\ud83d x"`:             `half of a surrogate pair`,
		`"\ude00"`:               `half of a surrogate pair`,
		"\"\xff\"":               `byte 0xFF is not valid UTF-8`,
		"\"a\nb\"":               `control character 0x0A in a string`,
		`-`:                      `the text ends where a digit should be`,
		`1.`:                     `the text ends where a digit should be`,
		`1e`:                     `the text ends where a digit should be`,
		`1E999999999`:            `more than 4096 digits`,
		`1E9999999999`:           `exponent is out of range`,
		`nul`:                    `'n' where a value should be`,
		"\xff":                   `byte 0xFF where a value should be`,
		strings.Repeat("[", 300): `nested deeper than 200`,
		`"\`:                     `unknown escape sequence`,
	} {
		got, err := pvrexport.Canonical([]byte(in), pvrexport.CanonicalOptions{})
		if e, ok := errors.AsType[*pvrexport.SyntaxError](err); !ok || !strings.Contains(e.Error(), want) {
			t.Errorf("%.40q: got %s, %v; want %s", in, got, err, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, name := range []string{"testdata/state.json", "testdata/canonical/state.json", "testdata/canonical/tree/app/n.json", "testdata/canonical/tree/app/s.json"} {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	for _, s := range []string{`{"a":1,"a":null}`, `"\ud83d\ude00\`, `[1E-9,-0,1.50e1]`, `1E999999999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		once, err := pvrexport.Canonical(src, pvrexport.CanonicalOptions{})
		if err != nil {
			return
		}
		if !json.Valid(src) || !json.Valid(once) {
			t.Fatalf("encoding/json disagrees: %q -> %q", src, once)
		}
		twice, err := pvrexport.Canonical(once, pvrexport.CanonicalOptions{})
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q -> %q -> %q %v", src, once, twice, err)
		}
	})
}

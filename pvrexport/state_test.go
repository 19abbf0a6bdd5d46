package pvrexport_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
)

const spec = `"#spec":"pantavisor-service-system@1"`

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
)

// state decodes `"key":value,...` with the spec before it.
func state(t *testing.T, members string) *pvrexport.State {
	t.Helper()
	if members != "" {
		members = "," + members
	}
	s, err := pvrexport.DecodeState(strings.NewReader("{" + spec + members + "}"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keys lists a state's keys without the spec.
func keys(s *pvrexport.State) string {
	var list []string
	for key := range s.All() {
		if key != pvrexport.SpecKey {
			list = append(list, key)
		}
	}
	return strings.Join(list, " ")
}

func TestDecodeRealState(t *testing.T) {
	src, err := os.ReadFile("testdata/state.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := pvrexport.DecodeState(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Canonical() || !bytes.Equal(s.Encode(), src) {
		t.Errorf("a state of pvr is not reproduced:\n%s", s.Encode())
	}
	if got := s.Parts(); !slices.Equal(got, []string{"app"}) {
		t.Errorf("parts: %v", got)
	}
	if got := s.Objects(); len(got) != 3 || !slices.IsSorted(got) {
		t.Errorf("objects: %v", got)
	}
	v, ok := s.Get("app/root.squashfs")
	if id, isObject := v.Object(); !ok || !isObject || id != "21aca2f22e02b49fb5dee3c1750564f12a650968c6038079f23c34bd48b91a7c" {
		t.Errorf("root.squashfs: %v", v)
	}
	var run struct{ Name string }
	if v, _ := s.Get("app/run.json"); v.Unmarshal(&run) != nil || run.Name != "app" {
		t.Errorf("run.json: %v", v)
	}
}

func TestDecodeStateForms(t *testing.T) {
	for _, c := range []struct {
		src       string
		canonical bool
	}{
		{`{` + spec + `,"a":1}`, true},
		{`{` + spec + `,"a":1}` + "\n", false},
		{`{` + spec + `,"b":1,"a":1}`, false},
		{`{` + spec + `,"a":1.0}`, false},
		{`{"a":1,` + spec + `}`, false},
	} {
		s, err := pvrexport.DecodeState(strings.NewReader(c.src))
		if err != nil || s.Canonical() != c.canonical {
			t.Errorf("%s: %v, want canonical %v", c.src, err, c.canonical)
		}
	}
}

func TestDecodeStateRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`[]`:      `'[' where an object should be`,
		`{"a":1}`: `"#spec" must be "pantavisor-service-system@1", not missing`,
		`{"#spec":"pantavisor-multi-platform@1"}`:                 `not "pantavisor-multi-platform@1"`,
		`{` + spec + `,"a":1,"a":1}`:                              `column 46 (byte 45): key "a" appears twice`,
		`{` + spec + `,"a":{"b":1,"b":1}}`:                        `key "b" appears twice`,
		`{` + spec + `,"/a":1}`:                                   `line 1, column 40: key "/a" is an absolute path`,
		`{` + spec + `,"":1}`:                                     `is empty`,
		`{` + spec + `,"a/../b":1}`:                               `has the part ".."`,
		`{` + spec + `,"./b":1}`:                                  `has the part "."`,
		`{` + spec + `,"a//b":1}`:                                 `has an empty part`,
		`{` + spec + `,"a/":1}`:                                   `has an empty part`,
		`{` + spec + `,"a\u0000b":1}`:                             `holds a control character`,
		`{` + spec + `,"a\nb":1}`:                                 `holds a control character`,
		`{` + spec + `,"a/b/c":1,"a":1}`:                          `key "a/b/c" needs a directory where the key "a" is a file`,
		`{` + spec + `,"a/b":1,"a/b/c/d":1}`:                      `where the key "a/b" is a file`,
		`{` + spec + `} x`:                                        `'x' where the end should be`,
		`{` + spec + `,"` + strings.Repeat("x", 256) + `":1}`:     `part longer than 255`,
		`{` + spec + `,"` + strings.Repeat("x/", 3000) + `":1}`:   `longer than 4095`,
		`{` + spec + `,"a":` + strings.Repeat(" ", 17<<20) + `1}`: `larger than 16777216 bytes`,
	} {
		_, err := pvrexport.DecodeState(strings.NewReader(in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %s", in, err, want)
		}
	}
	_, err := pvrexport.DecodeState(strings.NewReader(`{}`))
	if !errors.Is(err, pvrexport.ErrSpec) {
		t.Errorf("spec: %v", err)
	}
	_, err = pvrexport.DecodeState(strings.NewReader("{" + spec + ",\n\"../x\":1}"))
	if e, ok := errors.AsType[*pvrexport.KeyError](err); !ok || e.Key != "../x" || e.Line != 2 || e.Col != 1 {
		t.Errorf("key: %v", err)
	}
}

func TestSetAndDelete(t *testing.T) {
	s := state(t, `"a/b":1`)
	for key, want := range map[string]string{
		"a":     `key "a" is a file where the key "a/b" needs a directory`,
		"a/b/c": `key "a/b/c" needs a directory where the key "a/b" is a file`,
		"..":    `has the part ".."`,
		"#spec": `"#spec" must be`,
	} {
		if err := s.Set(key, pvrexport.StringValue("x")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("set %q: %v", key, err)
		}
	}
	if err := s.Set("a/b", pvrexport.Value{}); err == nil {
		t.Error("the zero value was taken")
	}
	if err := s.Set("a-b", pvrexport.StringValue("x")); err != nil {
		t.Error(err)
	}
	if s.Delete("#spec") || s.Delete("nothing") || !s.Delete("a/b") {
		t.Error("delete")
	}
	if got := string(s.Encode()); got != `{`+spec+`,"a-b":"x"}` {
		t.Errorf("got %s", got)
	}
}

func TestSubset(t *testing.T) {
	s := state(t, `"_config/app/etc/x":"`+idA+`","_config/app2/y":"`+idA+`","_sigs/app.json":{},"_sigs/app2.json":{},
		"app/run.json":{},"app/root.squashfs":"`+idA+`","app2/run.json":{},"bsp/run.json":{},"device.json":{}`)
	sub, err := s.Subset("app")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := keys(sub), "_config/app/etc/x _sigs/app.json app/root.squashfs app/run.json"; got != want {
		t.Errorf("got %s", got)
	}
	if got := s.Containers(); !slices.Equal(got, []string{"app", "app2"}) {
		t.Errorf("containers: %v", got)
	}
	if got := s.Parts(); !slices.Equal(got, []string{"app", "app2", "bsp"}) {
		t.Errorf("parts: %v", got)
	}
	if _, err := s.Subset("app", "nosuch"); !errors.Is(err, pvrexport.ErrNoPart) {
		t.Errorf("got %v", err)
	}
}

func TestDiff(t *testing.T) {
	a, b := state(t, `"a":1,"b":"`+idA+`","c":{}`), state(t, `"b":"`+idB+`","c":{},"d":true`)
	var got []string
	for _, c := range pvrexport.Diff(a, b) {
		got = append(got, c.Kind.String()+" "+c.Key+" "+c.Old.String()+">"+c.New.String())
	}
	want := []string{"removed a 1>", `changed b "` + idA + `">"` + idB + `"`, "added d >true"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if d := pvrexport.Diff(a, a.Clone()); d != nil {
		t.Errorf("a state differs from its clone: %v", d)
	}
}

func FuzzDecodeState(f *testing.F) {
	src, err := os.ReadFile("testdata/state.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	for _, s := range []string{`"a/b":1,"a":1`, `"../a":1`, `"a":{"b":null}`, `"a":1,"a":1`, ``} {
		f.Add([]byte("{" + spec + "," + s + "}"))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := pvrexport.DecodeState(bytes.NewReader(src))
		if err != nil {
			return
		}
		again, err := pvrexport.DecodeState(bytes.NewReader(s.Encode()))
		if err != nil || !again.Canonical() || len(pvrexport.Diff(s, again)) > 0 {
			t.Fatalf("%q does not survive: %v", src, err)
		}
		for key := range s.All() {
			if strings.Contains("/"+key+"/", "/../") || key[0] == '/' {
				t.Fatalf("key %q climbs", key)
			}
		}
	})
}

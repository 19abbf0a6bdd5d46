package pvrexport_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
)

// signed is the value of a signature with the given patterns, separated by
// blanks, that are included; those with a minus are excluded.
func signed(patterns string) string {
	var include, exclude []string
	for p := range strings.FieldsSeq(patterns) {
		if p, ok := strings.CutPrefix(p, "-"); ok {
			exclude = append(exclude, p)
		} else {
			include = append(include, p)
		}
	}
	header, err := json.Marshal(map[string]any{"pvs": map[string]any{"include": include, "exclude": exclude}})
	if err != nil {
		panic(err)
	}
	return `{"#spec":"pvs@2","protected":"` + base64.RawURLEncoding.EncodeToString(header) + `","signature":"AA"}`
}

func TestMerge(t *testing.T) {
	app := signed("app/** _config/app/** -app/src.json -_sigs/app.json")
	for _, c := range []struct{ name, old, more, want string }{
		{"union", `"a/run.json":1,"device.json":1`, `"b/run.json":1`, `a/run.json b/run.json device.json`},
		{"the last device.json wins", `"device.json":1`, `"device.json":2`, `device.json`},
		{"an unsigned part replaces only its keys", `"app/old":1,"app/run.json":1`, `"app/run.json":2`, `app/old app/run.json`},
		{"so it does over a signed one", `"app/old":1,"_sigs/app.json":` + app, `"app/run.json":2`, `_sigs/app.json app/old app/run.json`},
		{"a signed part replaces what the old signature covered",
			`"_config/app/x":1,"_config/app-2/x":1,"app/old":1,"app/src.json":1,"app-2/x":1,"_sigs/app.json":` + app,
			`"app/run.json":2,"_sigs/app.json":` + signed("app/run.json"),
			`_config/app-2/x _sigs/app.json app-2/x app/run.json`},
		{"and what its own covers", `"app/old":1,"app-2/x":1`, `"app/run.json":2,"_sigs/app.json":` + app, `_sigs/app.json app-2/x app/run.json`},
		{"what another signature covers stays", `"_config/os/x":1,"_sigs/a.json":` + signed("_config/os/*") + `,"_sigs/b.json":` + signed("_config/**"),
			`"_sigs/a.json":` + signed("a/**"), `_config/os/x _sigs/a.json _sigs/b.json`},
		{"unless it is replaced as well", `"_config/os/x":1,"_sigs/a.json":` + signed("_config/os/*") + `,"_sigs/b.json":` + signed("_config/**"),
			`"_sigs/a.json":` + signed("a/**") + `,"_sigs/b.json":` + signed("b/**"), `_sigs/a.json _sigs/b.json`},
		{"a pattern compares names", `"app.txt":1,"app/x.conf":1,"app/x.json":1,"app/y/x.json":1,"_sigs/s.json":` + signed("app* app/*.json"),
			`"_sigs/s.json":` + signed("s"), `_sigs/s.json`},
		{"a star in a name", `"app/x.conf":1,"app/x.json":1,"apple/x":1,"_sigs/s.json":` + signed("app/*.json"),
			`"_sigs/s.json":` + signed("s"), `_sigs/s.json app/x.conf apple/x`},
		{"a signature of #spec", `"app/x":1,"_sigs/bsp.json":` + signed("#spec bsp/**"), `"_sigs/bsp.json":` + signed("#spec bsp/**"), `_sigs/bsp.json app/x`},
		{"a file in the place of a directory", `"app/x":1,"app-2":1`, `"app":2`, `app app-2`},
		{"a signature that cannot be read", `"_sigs/app.json":{},"app/x":1`, `"_sigs/app.json":` + signed("app/run.json"), `_sigs/app.json app/x`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, o := state(t, c.old), state(t, c.more)
			checkMerge(t, s, o)
			if err := s.Merge(o); err != nil {
				t.Fatal(err)
			}
			if got := keys(s); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}

	s := state(t, `"a":1`)
	before := s.Encode()
	if _, ok := errors.AsType[*pvrexport.KeyError](s.Merge(state(t, `"a/b":1`))); !ok || !bytes.Equal(before, s.Encode()) {
		t.Errorf("a conflict: %s", s.Encode())
	}
}

// checkMerge checks what every merge promises, on copies of its arguments.
func checkMerge(t *testing.T, s, o *pvrexport.State) {
	t.Helper()
	m := s.Clone()
	if err := m.Merge(o); err != nil {
		if !bytes.Equal(m.Encode(), s.Encode()) {
			t.Errorf("a merge that did not work changed the state: %v", err)
		}
		return
	}
	for key, v := range o.All() {
		if got, _ := m.Get(key); got != v {
			t.Errorf("%s is %v, want the new %v", key, got, v)
		}
	}
	for key, v := range m.All() {
		if _, ok := o.Get(key); ok {
			continue
		}
		if old, ok := s.Get(key); !ok || old != v {
			t.Errorf("%s is %v and comes from nowhere", key, v)
		}
	}
	again := m.Clone()
	if err := again.Merge(o); err != nil || !bytes.Equal(again.Encode(), m.Encode()) {
		t.Errorf("merged twice: %v\nonce  %s\ntwice %s", err, m.Encode(), again.Encode())
	}
	if len(o.Signatures()) == 0 && len(m.Objects()) < len(o.Objects()) {
		t.Error("objects got lost")
	}
}

func TestRemove(t *testing.T) {
	app := signed("app/** _config/app/** -app/src.json -_sigs/app.json")
	for _, c := range []struct{ name, old, part, want string }{
		{"unsigned", `"app/x":1,"app/y/z":1,"app-2/x":1,"_config/app/x":1,"_config/app-2/x":1`, "app", `_config/app-2/x app-2/x`},
		{"signed", `"app/x":1,"app/src.json":1,"_config/app/x":1,"_sigs/app.json":` + app, "app", ``},
		{"by the signature", `"app/x":1,"app/src.json":1,"_config/app/x":1,"_sigs/app.json":` + app, "_sigs/app.json", ``},
		{"by the overlay", `"app/x":1,"app/src.json":1,"_config/app/x":1,"_sigs/app.json":` + app, "_config/app", ``},
		{"an unsigned overlay", `"app/x":1,"_config/app/x":1`, "_config/app", `app/x`},
		{"a configuration by its signature", `"_config/app/x":1,"app/x":1,"_sigs/conf.json":` + signed("_config/app/x"), "_sigs/conf.json", `app/x`},
		{"what others signed stays", `"_config/app/x":1,"app/x":1,"_sigs/conf.json":` + signed("_config/app/x"), "app", `_config/app/x _sigs/conf.json`},
		{"what two signed", `"c/x":1,"_sigs/a.json":` + signed("c/*") + `,"_sigs/b.json":` + signed("c/x"), "_sigs/a.json", `_sigs/b.json c/x`},
		{"a file at the top", `"device.json":1,"app/x":1`, "device.json", `app/x`},
		{"one file", `"app/x":1,"app/y":1`, "app/x", `app/y`},
		{"a slash at the end", `"app/x":1,"b/y":1`, "app/", `b/y`},
		{"a star is a letter", `"a*/x":1,"ab/x":1`, "a*", `ab/x`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := state(t, c.old)
			if err := s.Remove(c.part); err != nil {
				t.Fatal(err)
			}
			if got := keys(s); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	for _, part := range []string{"ap", "", "#spec", "_sigs", "x", "_sigs/x.json"} {
		s := state(t, `"app/x":1`)
		if err := s.Remove(part); !errors.Is(err, pvrexport.ErrNoPart) || s.Len() != 2 {
			t.Errorf("%q: %v, %s", part, err, s.Encode())
		}
	}
}

func FuzzMerge(f *testing.F) {
	app := signed("app/** _config/app/** -app/src.json")
	f.Add(`"app/x":1,"_sigs/app.json":`+app, `"app/y":1,"_sigs/app.json":`+app)
	f.Add(`"app/x":1,"app/z":1`, `"app/y":1,"_sigs/app.json":`+app)
	f.Add(`"_sigs/b.json":`+signed("app/**")+`,"app/x":1,"_sigs/app.json":`+signed("_sigs/b.json app/*"), `"_sigs/app.json":`+signed("app/y"))
	f.Add(`"a":1`, `"a/b":2`)
	f.Add(`"a/b":1`, `"a":2`)
	f.Fuzz(func(t *testing.T, old, more string) {
		s, err := pvrexport.DecodeState(strings.NewReader("{" + spec + "," + old + "}"))
		if err != nil {
			return
		}
		o, err := pvrexport.DecodeState(strings.NewReader("{" + spec + "," + more + "}"))
		if err != nil {
			return
		}
		checkMerge(t, s, o)
	})
}

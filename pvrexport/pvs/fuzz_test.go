package pvs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
)

// FuzzVerify gives arbitrary values as signatures. Only the two that the
// trusted key made for this state are valid, and nothing that reads differently.
func FuzzVerify(f *testing.F) {
	s := state(f, "state.json")
	o := trust(f)
	type parts struct{ Protected, Signature string }
	var real []parts
	for _, name := range []string{"pvr-rsa.json", "pvr-rsa-payload.json"} {
		f.Add(file(f, name))
		var p parts
		if err := json.Unmarshal(file(f, name), &p); err != nil {
			f.Fatal(err)
		}
		real = append(real, p)
	}
	k := key(f, "rsa.key")
	f.Add([]byte(forge(f, k, header(f, map[string]any{"alg": "none"}), otherPayload)))
	f.Add([]byte(forge(f, k, `{"alg":"RS256","typ":"PVS","pvs":{"include":["*/?","a/**"],"exclude":[]}}`, `{}`)))
	f.Add([]byte(`{"#spec":"pvs@2","protected":"","signature":""}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := pvrexport.JSONValue(raw)
		if err != nil {
			return
		}
		c := s.Clone()
		if c.Set("_sigs/app.json", v) != nil {
			return
		}
		r, err := pvs.Verify(c, o)
		if err != nil || len(r.Signatures) != 1 {
			t.Fatalf("%v %v", r, err)
		}
		if r.Signatures[0].Err != nil {
			if len(r.Excluded) > 0 || len(r.Uncovered) != s.Len() {
				t.Errorf("an invalid signature covers something: %+v", r)
			}
			return
		}
		var p parts
		if err := v.Unmarshal(&p); err != nil || !slices.Contains(real, p) {
			t.Errorf("valid: %s", raw)
		}
	})
}

// FuzzPatterns compares the choice that a pattern makes with regular
// expressions for what pvr and devices understand.
func FuzzPatterns(f *testing.F) {
	for _, seed := range [][2]string{{"app/**", "app/run.json"}, {"*/run.json", "app/run.json"}, {"a/**/b", "a/x/y/b"}, {"**/src.json", "src.json"},
		{"a?c/*", "abc/d"}, {"app/**", "app"}, {"a/**/**", "a/b"}, {"*/**", "a/b/c"}, {"a**/b", "ax/b"}, {"a*b*c", "aXbXbc"}} {
		f.Add(seed[0], seed[1])
	}
	k := key(f, "ec256.key")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		s := pvrexport.NewState()
		if len(key) > 200 || len(pattern) > 60 || key == pvrexport.SpecKey || s.Set(key, pvrexport.StringValue("x")) != nil {
			return
		}
		if strings.ContainsAny(pattern, "[]{}\\") || pattern == "**" || pattern == "" || !isText(pattern) || !isText(key) {
			return
		}
		pvr, device := pvrRegexp(pattern).MatchString(key), deviceRegexp(pattern).MatchString(key)
		specPvr, specDevice := pvrRegexp(pattern).MatchString("#spec"), deviceRegexp(pattern).MatchString("#spec")
		_, err := pvs.Sign(s, "x", k, pvs.SignOptions{Select: &pvs.Selection{Include: []string{pattern}}})
		switch {
		case pvr != device || specPvr != specDevice:
			if !errors.Is(err, pvs.ErrAmbiguous) {
				t.Errorf("%q and %q: pvr %v, device %v, got %v", pattern, key, pvr, device, err)
			}
		case pvr || specPvr:
			if err != nil {
				t.Errorf("%q should choose %q: %v", pattern, key, err)
			}
		case !errors.Is(err, pvs.ErrNothing):
			t.Errorf("%q should not choose %q: %v", pattern, key, err)
		}
	})
}

// isText leaves out what regular expressions and runes see differently.
func isText(s string) bool {
	return bytes.Equal([]byte(string([]rune(s))), []byte(s)) && !strings.ContainsAny(s, "\n\x00")
}

func nameRegexp(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch r {
		case '*':
			b.WriteString("[^/]*")
		case '?':
			b.WriteString("[^/]")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return b.String()
}

func deviceRegexp(pattern string) *regexp.Regexp {
	if dir, ok := strings.CutSuffix(pattern, "/**"); ok {
		return regexp.MustCompile(`\A` + nameRegexp(dir) + `(/.*)?\z`)
	}
	return regexp.MustCompile(`\A` + nameRegexp(pattern) + `\z`)
}

func pvrRegexp(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "/")
	out := `\A`
	for i, p := range parts {
		switch last := i == len(parts)-1; {
		case p == "**" && last:
			out += ".+"
		case p == "**":
			out += "(?:[^/]+/)*"
		case last:
			out += nameRegexp(p)
		default:
			out += nameRegexp(p) + "/"
		}
	}
	return regexp.MustCompile(out + `\z`)
}

func BenchmarkSign(b *testing.B) {
	s, k, o := state(b, "state.json"), key(b, "rsa.key"), pvs.SignOptions{Chain: certs(b, "rsa.pem")}
	for b.Loop() {
		if _, err := pvs.Sign(s, "app", k, o); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s := with(b, state(b, "state.json"), "_sigs/app.json", string(file(b, "pvr-rsa.json")))
	o := trust(b)
	for b.Loop() {
		if r, err := pvs.Verify(s, o); err != nil || r.Err() != nil {
			b.Fatal(err, r.Err())
		}
	}
}

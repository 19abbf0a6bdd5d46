package pvs_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
)

// The signatures that pvr made are valid, and cover what pvr says they do.
func TestVerifyPvrs(t *testing.T) {
	s := state(t, "state.json")
	for part, name := range map[string]string{"app": "pvr-rsa.json", "other": "pvr-rsa-payload.json", "_pvskel": "pvr-rsa-raw.json"} {
		s = with(t, s, pvs.Key(part), string(file(t, name)))
	}
	r := verify(t, s, trust(t))
	if len(r.Signatures) != 3 || r.Err() != nil {
		t.Fatalf("%v", r.Err())
	}
	for i, want := range []struct{ part, covered, excluded string }{
		{"_pvskel", "#spec", ""},
		{"app", "_config/app/etc/x app/list.json app/lxc.container.conf app/root.squashfs app/run.json", "_sigs/app.json app/src.json"},
		{"other", "other/run.json", "_sigs/other.json"},
	} {
		g := r.Signatures[i]
		if g.Part() != want.part || strings.Join(g.Covered, " ") != want.covered || strings.Join(g.Excluded, " ") != want.excluded || g.Signer().Subject.CommonName != "dev-rsa" || len(g.Chain) != 2 {
			t.Errorf("%+v", g)
		}
	}
	if !slices.Equal(r.Uncovered, []string{"bsp/kernel.img", "bsp/run.json", "device.json"}) || !slices.Equal(r.Excluded, []string{"app/src.json"}) {
		t.Errorf("uncovered %q, excluded %q", r.Uncovered, r.Excluded)
	}

	vector := trust(t)
	vector.Roots = certs(t, "vector-cacerts.pem")
	if r := verify(t, state(t, "vector-state.json"), vector); r.Err() != nil || len(r.Signatures) != 1 {
		t.Errorf("vector: %v", r.Err())
	}
	ec := with(t, state(t, "state.json"), "_sigs/app.json", string(file(t, "pvr-ec256.json")))
	if r := verify(t, ec, trust(t)); r.Err() != nil {
		t.Errorf("ES256: %v", r.Err())
	}
}

// only gives the error of the one signature of a state.
func only(t *testing.T, s *pvrexport.State, o pvs.VerifyOptions) error {
	t.Helper()
	r := verify(t, s, o)
	if len(r.Signatures) != 1 {
		t.Fatalf("%d signatures", len(r.Signatures))
	}
	return r.Signatures[0].Err
}

func TestVerifyChanges(t *testing.T) {
	good := with(t, state(t, "state.json"), "_sigs/app.json", string(file(t, "pvr-rsa.json")))
	if err := only(t, good, trust(t)); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*pvrexport.State{
		"changed":      with(t, good, "app/run.json", `{"name": "evil"}`),
		"added":        with(t, good, "app/more", `"`+pvrexport.ObjectID(nil)+`"`),
		"removed":      without(t, good, "app/list.json"),
		"config added": with(t, good, "_config/app/etc/shadow", `"`+pvrexport.ObjectID(nil)+`"`),
	} {
		if err := only(t, s, trust(t)); !errors.Is(err, pvs.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range map[string]*pvrexport.State{
		"src.json":   with(t, good, "app/src.json", `{}`),
		"other part": with(t, good, "other/run.json", `{}`),
	} {
		if err := only(t, s, trust(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := only(t, with(t, good, "app/x.json", "7"), trust(t)); !errors.Is(err, pvs.ErrUncheckable) {
		t.Errorf("a number: %v", err)
	}

	// Everything that was signed is gone.
	k := key(t, "rsa.key")
	s := signed(t, state(t, "state.json"), "x", k, pvs.SignOptions{Chain: certs(t, "rsa.pem"), Select: &pvs.Selection{Include: []string{"device.json"}}})
	if err := only(t, without(t, s, "device.json"), trust(t)); !errors.Is(err, pvs.ErrSignature) {
		t.Errorf("gone: %v", err)
	}
	empty := with(t, state(t, "state.json"), "_sigs/x.json", forge(t, k, header(t, map[string]any{"pvs": map[string]any{"include": []string{"none"}, "exclude": []string{}}}), "{}"))
	if err := only(t, empty, trust(t)); !errors.Is(err, pvs.ErrNothing) {
		t.Errorf("a signature of nothing: %v", err)
	}
}

func without(t *testing.T, s *pvrexport.State, key string) *pvrexport.State {
	t.Helper()
	s = s.Clone()
	if !s.Delete(key) {
		t.Fatalf("no %s", key)
	}
	return s
}

// A signature that carries its payload says what was changed.
func TestVerifyNamesTheChange(t *testing.T) {
	s := signed(t, state(t, "state.json"), "app", key(t, "rsa.key"), pvs.SignOptions{Chain: certs(t, "rsa.pem"), Payload: true})
	if err := only(t, s, trust(t)); err != nil {
		t.Fatal(err)
	}
	s = without(t, with(t, with(t, s, "app/run.json", `{}`), "app/new.json", `{}`), "app/list.json")
	err := only(t, s, trust(t))
	if !errors.Is(err, pvs.ErrSignature) || !strings.HasSuffix(err.Error(), "app/list.json was removed, app/new.json was added, app/run.json was changed") {
		t.Errorf("%v", err)
	}
}

// header is a right one, changed.
func header(t testing.TB, change map[string]any) string {
	t.Helper()
	h := map[string]any{
		"alg": "RS256", "typ": "PVS", "pvs": map[string]any{"include": []string{"other/**"}, "exclude": []string{}},
		"x5c": []string{base64.StdEncoding.EncodeToString(certs(t, "rsa.pem")[0].Raw)},
	}
	for name, v := range change {
		if h[name] = v; v == nil {
			delete(h, name)
		}
	}
	out, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const otherPayload = `{"other/run.json":{"name":"other"}}`

// Headers that are validly signed, by a trusted key, and still refused.
func TestVerifyHeaders(t *testing.T) {
	type set = map[string]any
	long := slices.Repeat([]string{"AAAA"}, 17)
	for _, c := range []struct {
		name   string
		header string
		is     error // nil: it is valid
	}{
		{"right", header(t, nil), nil},
		{"with what nobody needs", header(t, set{"kid": "x", "iat": 7, "jku": "https://example.org"}), nil},
		{"none", header(t, set{"alg": "none"}), pvs.ErrAlgorithm},
		{"None", header(t, set{"alg": "None"}), pvs.ErrAlgorithm},
		{"HS256", header(t, set{"alg": "HS256"}), pvs.ErrAlgorithm},
		{"PS256", header(t, set{"alg": "PS256"}), pvs.ErrAlgorithm},
		{"EdDSA", header(t, set{"alg": "EdDSA"}), pvs.ErrAlgorithm},
		{"ES256 with an RSA key", header(t, set{"alg": "ES256"}), pvs.ErrAlgorithm},
		{"no alg", header(t, set{"alg": nil}), pvs.ErrHeader},
		{"alg is a number", header(t, set{"alg": 7}), pvs.ErrHeader},
		{"ALG", strings.Replace(header(t, nil), `"alg"`, `"ALG"`, 1), pvs.ErrHeader},
		{"two algs", strings.Replace(header(t, nil), `{`, `{"alg":"none",`, 1), pvs.ErrHeader},
		{"two pvs", strings.Replace(header(t, nil), `{`, `{"pvs":{"include":["app/**"],"exclude":[]},`, 1), pvs.ErrHeader},
		{"crit", header(t, set{"crit": []string{"pvs"}}), pvs.ErrHeader},
		{"b64", header(t, set{"b64": false}), pvs.ErrHeader},
		{"typ JWT", header(t, set{"typ": "JWT"}), pvs.ErrHeader},
		{"no typ", header(t, set{"typ": nil}), pvs.ErrHeader},
		{"no pvs", header(t, set{"pvs": nil}), pvs.ErrHeader},
		{"no exclude", header(t, set{"pvs": set{"include": []string{"other/**"}}}), pvs.ErrHeader},
		{"null include", header(t, set{"pvs": set{"include": nil, "exclude": []string{}}}), pvs.ErrHeader},
		{"two includes", strings.Replace(header(t, nil), `"include":`, `"include":[],"include":`, 1), pvs.ErrHeader},
		{"include all", header(t, set{"pvs": set{"include": []string{"**"}, "exclude": []string{}}}), pvs.ErrPattern},
		{"braces", header(t, set{"pvs": set{"include": []string{"{other,x}/**"}, "exclude": []string{}}}), pvs.ErrPattern},
		{"two readings", header(t, set{"pvs": set{"include": []string{"**/run.json", "**/x"}, "exclude": []string{}}}), pvs.ErrAmbiguous},
		{"no certificate", header(t, set{"x5c": nil}), pvs.ErrNoKey},
		{"empty chain", header(t, set{"x5c": []string{}}), pvs.ErrHeader},
		{"long chain", header(t, set{"x5c": long}), pvs.ErrHeader},
		{"chain is a string", header(t, set{"x5c": "AAAA"}), pvs.ErrHeader},
		{"not base64", header(t, set{"x5c": []string{"A-_A"}}), pvs.ErrHeader},
		{"not a certificate", header(t, set{"x5c": []string{"AAAA"}}), pvs.ErrCertificate},
		{"the key of the header", header(t, set{"x5c": nil, "jwk": set{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}), pvs.ErrNoKey},
		{"a list", `[]`, pvs.ErrHeader},
		{"something behind it", header(t, nil) + "{}", pvs.ErrHeader},
	} {
		s := with(t, state(t, "state.json"), "_sigs/other.json", forge(t, key(t, "rsa.key"), c.header, otherPayload))
		if err := only(t, s, trust(t)); c.is == nil && err != nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %v", c.name, err, c.is)
		}
	}
}

// Values of _sigs/other.json that are no signature at all.
func TestVerifyForm(t *testing.T) {
	good := forge(t, key(t, "rsa.key"), header(t, nil), otherPayload)
	var m map[string]string
	if err := json.Unmarshal([]byte(good), &m); err != nil {
		t.Fatal(err)
	}
	change := func(name, value string) string {
		c := maps.Clone(m)
		if c[name] = value; value == "" {
			delete(c, name)
		}
		out, _ := json.Marshal(c)
		return string(out)
	}
	for name, value := range map[string]string{
		"an object's id":       `"` + pvrexport.ObjectID(nil) + `"`,
		"a list":               `[]`,
		"pvs@1":                change("#spec", "pvs@1"),
		"no spec":              change("#spec", ""),
		"no protected":         change("protected", ""),
		"no signature":         change("signature", ""),
		"signature's alphabet": change("signature", "+/+/"),
		"padding":              change("signature", "AAA="),
		"bits left over":       change("signature", "AB"),
		"line break":           change("protected", m["protected"][:4]+"\n"+m["protected"][4:]),
		"general form":         change("signatures", "x"),
		"unprotected header":   change("header", "x"),
		"payload":              change("payload", "!"),
		"long signature":       change("signature", strings.Repeat("A", 8000)),
	} {
		if err := only(t, with(t, state(t, "state.json"), "_sigs/other.json", value), trust(t)); !errors.Is(err, pvs.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	lie := change("payload", base64.RawURLEncoding.EncodeToString([]byte(`{"other/run.json":{}}`)))
	if err := only(t, with(t, state(t, "state.json"), "_sigs/other.json", lie), trust(t)); !errors.Is(err, pvs.ErrFormat) {
		t.Errorf("a payload that lies: %v", err)
	}
	// A signature is one wherever it lies, as on a device.
	if err := only(t, with(t, state(t, "state.json"), "bsp/sig.json", good), trust(t)); err != nil {
		t.Errorf("outside _sigs: %v", err)
	}
	if err := only(t, with(t, with(t, state(t, "state.json"), "bsp/sig.json", good), "other/run.json", "{}"), trust(t)); !errors.Is(err, pvs.ErrSignature) {
		t.Errorf("outside _sigs, changed: %v", err)
	}
}

func TestVerifyChains(t *testing.T) {
	root := newAuthority(t, nil, "root")
	sub := newAuthority(t, root, "sub")
	stranger := newAuthority(t, nil, "root") // the same name, another key
	own := newKey(t)
	plain := &authority{t, issue(t, root, "no CA", own.Public(), nil, nil), own}
	weak := rsaKey(t, 1024)
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		at    time.Time
		is    error
		says  string
	}{
		{"direct", []*x509.Certificate{root.leaf("dev", nil)}, now, nil, ""},
		{"through another", []*x509.Certificate{sub.leaf("dev", nil), sub.cert}, now, nil, ""},
		{"with the root", []*x509.Certificate{sub.leaf("dev", nil), sub.cert, root.cert}, now, nil, ""},
		{"no usage given", []*x509.Certificate{root.leaf("dev", func(c *x509.Certificate) { c.KeyUsage, c.ExtKeyUsage = 0, nil })}, now, nil, ""},
		{"the link is missing", []*x509.Certificate{sub.leaf("dev", nil)}, now, pvs.ErrUntrusted, "CN=dev leads to no trusted root"},
		{"another root", []*x509.Certificate{stranger.leaf("dev", nil)}, now, pvs.ErrUntrusted, ""},
		{"another root, brought along", []*x509.Certificate{stranger.leaf("dev", nil), stranger.cert}, now, pvs.ErrUntrusted, ""},
		{"signed by itself", []*x509.Certificate{issue(t, nil, "me", sub.key.Public(), sub.key, nil)}, now, pvs.ErrUntrusted, ""},
		{"below one that is no CA", []*x509.Certificate{plain.leaf("dev", nil), plain.cert}, now, pvs.ErrUntrusted, ""},
		{"expired", []*x509.Certificate{root.leaf("dev", nil)}, now.AddDate(1, 0, 0), pvs.ErrExpired, "CN=dev expired on 2027-02-01T00:00:00Z"},
		{"not yet", []*x509.Certificate{root.leaf("dev", nil)}, now.AddDate(-1, 0, 0), pvs.ErrExpired, "valid only from 2026-12-01T00:00:00Z on"},
		{"for servers", []*x509.Certificate{root.leaf("dev", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, now, pvs.ErrUsage, "CN=dev is not for signing code"},
		{"for encryption", []*x509.Certificate{root.leaf("dev", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })}, now, pvs.ErrUsage, "not for signatures"},
		{"weak", []*x509.Certificate{issue(t, root, "dev", weak.Public(), nil, nil)}, now, pvs.ErrWeakKey, "1024 bits"},
		{"reversed", []*x509.Certificate{sub.cert, sub.leaf("dev", nil)}, now, pvs.ErrUsage, "not for signatures"},
		{"another key's", []*x509.Certificate{issue(t, root, "dev", rsaKey(t, 2048).Public(), nil, nil)}, now, pvs.ErrSignature, "another key made it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x5c := []string{}
			for _, cert := range c.chain {
				x5c = append(x5c, base64.StdEncoding.EncodeToString(cert.Raw))
			}
			s := with(t, state(t, "state.json"), "_sigs/other.json", forge(t, key(t, "rsa.key"), header(t, map[string]any{"x5c": x5c}), otherPayload))
			err := only(t, s, pvs.VerifyOptions{Roots: []*x509.Certificate{root.cert}, Now: c.at})
			if c.is == nil && err != nil || c.is != nil && (!errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %v %s", err, c.is, c.says)
			}
		})
	}
	if err := only(t, with(t, state(t, "state.json"), "_sigs/app.json", string(file(t, "pvr-rsa.json"))), pvs.VerifyOptions{Now: now}); !errors.Is(err, pvs.ErrUntrusted) {
		t.Errorf("no roots: %v", err)
	}
	if _, err := pvs.Verify(state(t, "state.json"), pvs.VerifyOptions{}); err == nil {
		t.Error("no time is taken for some time")
	}
}

func TestVerifyWithKeys(t *testing.T) {
	s := with(t, state(t, "state.json"), "_sigs/other.json", string(file(t, "pvr-rsa-nox5c.json")))
	right := key(t, "rsa.key").Public()
	for name, c := range map[string]struct {
		keys []crypto.PublicKey
		is   error
	}{
		"right":           {[]crypto.PublicKey{right}, nil},
		"the second":      {[]crypto.PublicKey{key(t, "ec256.key").Public(), right}, nil},
		"another":         {[]crypto.PublicKey{rsaKey(t, 2048).Public()}, pvs.ErrSignature},
		"of another kind": {[]crypto.PublicKey{key(t, "ec256.key").Public()}, pvs.ErrAlgorithm},
		"none":            {nil, pvs.ErrNoKey},
		"weak":            {[]crypto.PublicKey{&rsa.PublicKey{N: rsaKey(t, 1024).N, E: 65537}}, pvs.ErrWeakKey},
	} {
		o := trust(t)
		o.Keys = c.keys
		if err := only(t, s, o); c.is == nil && err != nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A key does not help a signature that carries a chain to somewhere else.
	o := pvs.VerifyOptions{Now: now, Keys: []crypto.PublicKey{right}}
	if err := only(t, with(t, state(t, "state.json"), "_sigs/app.json", string(file(t, "pvr-rsa.json"))), o); !errors.Is(err, pvs.ErrUntrusted) {
		t.Errorf("%v", err)
	}
}

// A device trusts its maker's store for its maker's signatures of parts that
// are not the maker's own.
func TestVerifyOEM(t *testing.T) {
	root, maker := newAuthority(t, nil, "root"), newAuthority(t, nil, "maker root")
	for _, c := range []struct {
		name    string
		ca      *authority
		cn      string
		include string
		is      error
	}{
		{"by the maker", maker, "acme", "other/**", nil},
		{"not by the maker", root, "acme", "other/**", pvs.ErrUntrusted},
		{"the base system", maker, "acme", "bsp/**", pvs.ErrUntrusted},
		{"the base system by the root", root, "acme", "bsp/**", nil},
		{"somebody else", root, "dev", "other/**", nil},
		{"somebody else by the maker", maker, "dev", "other/**", pvs.ErrUntrusted},
	} {
		s := signed(t, state(t, "state.json"), "x", key(t, "rsa.key"), pvs.SignOptions{
			Chain: []*x509.Certificate{c.ca.leaf(c.cn, nil)}, Select: &pvs.Selection{Include: []string{c.include}}})
		err := only(t, s, pvs.VerifyOptions{Now: now, Roots: []*x509.Certificate{root.cert}, OEM: "acme", OEMRoots: []*x509.Certificate{maker.cert}})
		if c.is == nil && err != nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestVerifyMissingObjects(t *testing.T) {
	s := with(t, state(t, "state.json"), "_sigs/app.json", string(file(t, "pvr-rsa.json")))
	gone, _ := s.Get("app/root.squashfs")
	o := trust(t)
	o.HasObject = func(id string) bool { was, _ := gone.Object(); return id != was }
	r := verify(t, s, o)
	if got := r.Signatures[0].Missing; !slices.Equal(got, []string{"app/root.squashfs"}) {
		t.Errorf("missing: %q", got)
	}
	out, err := json.Marshal(r.Signatures[0])
	if err != nil || !strings.HasPrefix(string(out), `{"key":"_sigs/app.json","valid":true,"algorithm":"RS256","signer":"CN=dev-rsa","issuer":"CN=Test PVS CA","not_after":"20`) {
		t.Errorf("%v %s", err, out)
	}
}

func TestEnforce(t *testing.T) {
	s := state(t, "state.json")
	o := pvs.SignOptions{Chain: certs(t, "rsa.pem")}
	k := key(t, "rsa.key")
	some := signed(t, s, "app", k, o)
	all := signed(t, signed(t, some, "other", k, o), "bsp", k, o)
	o.Select = &pvs.Selection{Include: []string{"#spec", "device.json"}}
	all = signed(t, all, "top", k, o)
	bad := with(t, all, "bsp/run.json", "{}")
	const invalid, uncovered = pvs.TextValidation, pvs.TextUncovered
	for _, c := range []struct {
		name                             string
		state                            *pvrexport.State
		disabled, lenient, strict, audit string // what a device would say, "" for ok; "(…)" for ok with that text
	}{
		{"no signature", s, "", "", uncovered, "(" + uncovered + ")"},
		{"some", some, "", "", uncovered, "(" + uncovered + ")"},
		{"all", all, "", "", "", ""},
		{"changed", bad, "", invalid, invalid, "(" + invalid + ")"},
	} {
		r := verify(t, c.state, trust(t))
		for mode, want := range map[string]string{"disabled": c.disabled, "lenient": c.lenient, "strict": c.strict, "audit": c.audit} {
			m, err := pvs.ParseMode(mode)
			if err != nil || m.String() != mode {
				t.Fatal(err)
			}
			v := pvs.Enforce(m, r)
			got := v.Text
			if v.OK && got != "" {
				got = "(" + got + ")"
			}
			if got != want || v.OK != (want == "" || want[0] == '(') || (v.Text == "") != (len(v.Reasons) == 0) {
				t.Errorf("%s, %s: %+v, want %q", c.name, mode, v, want)
			}
		}
	}
	v := pvs.Enforce(pvs.Strict, verify(t, bad, trust(t)))
	refused, ok := errors.AsType[*pvs.RefusedError](v.Err())
	if !ok || refused.Error() != pvs.TextValidation || !slices.Equal(refused.Reasons, v.Reasons) {
		t.Errorf("error: %v", v.Err())
	}
	if err := pvs.Enforce(pvs.Audit, verify(t, bad, trust(t))).Err(); err != nil {
		t.Errorf("audit: %v", err)
	}
	if !strings.HasPrefix(fmt.Sprint(v.Reasons), "[_sigs/bsp.json: the signature does not match") {
		t.Errorf("%q", v.Reasons)
	}
	if v := pvs.Enforce(pvs.Lenient, nil); v.OK || v.Text != pvs.TextInternal {
		t.Errorf("no report: %+v", v)
	}
	if v := pvs.Enforce(pvs.Disabled, nil); !v.OK {
		t.Errorf("disabled: %+v", v)
	}
	if _, err := pvs.ParseMode("loose"); err == nil {
		t.Error("an unknown mode is read")
	}
}

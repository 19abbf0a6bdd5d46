package pvs_test

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/pvs"
)

// With RSA a signature is pvr's, to the byte.
func TestSignIsPvrs(t *testing.T) {
	rsaCert := certs(t, "rsa.pem")
	for _, c := range []struct {
		file, part string
		opts       pvs.SignOptions
	}{
		{"pvr-rsa.json", "app", pvs.SignOptions{Chain: rsaCert}},
		{"pvr-rsa-noconfig.json", "app", pvs.SignOptions{Chain: rsaCert, NoConfig: true}},
		{"pvr-rsa-nox5c.json", "other", pvs.SignOptions{}},
		{"pvr-rsa-payload.json", "other", pvs.SignOptions{Chain: rsaCert, Payload: true}},
		{"pvr-rsa-raw.json", "_pvskel", pvs.SignOptions{Chain: rsaCert,
			Select: &pvs.Selection{Include: []string{"#spec"}, Exclude: []string{"__pvrsigbug__", "_sigs/.json"}}}},
	} {
		got, err := pvs.Sign(state(t, "state.json"), c.part, key(t, "rsa.key"), c.opts)
		if err != nil || got.String() != string(file(t, c.file)) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.file, err, got, file(t, c.file))
		}
	}
}

// With ECDSA the bytes depend on nothing but the input, too, and the header is
// pvr's.
func TestSignECDSA(t *testing.T) {
	for name, alg := range map[string]pvs.Algorithm{"ec256": pvs.ES256, "ec384": pvs.ES384} {
		o := pvs.SignOptions{Chain: certs(t, name+".pem")}
		a := signed(t, state(t, "state.json"), "app", key(t, name+".key"), o)
		b := signed(t, state(t, "state.json"), "app", key(t, name+".key"), o)
		if !bytes.Equal(a.Encode(), b.Encode()) {
			t.Errorf("%s: two signatures differ", name)
		}
		r := verify(t, a, trust(t))
		if s := r.Signatures[0]; s.Err != nil || s.Algorithm != alg || alg.DeviceVerifies() {
			t.Errorf("%s: %+v", name, s)
		}
		if name == "ec256" {
			mine, _ := a.Get("_sigs/app.json")
			head, _, _ := strings.Cut(mine.String(), `","signature"`)
			if !strings.HasPrefix(string(file(t, "pvr-ec256.json")), head) {
				t.Errorf("the header is not pvr's: %s", head)
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	short := &rsa.PrivateKey{PublicKey: rsaKey(t, 1024).PublicKey}
	sel := func(include ...string) *pvs.Selection { return &pvs.Selection{Include: include} }
	for _, c := range []struct {
		name, part string
		opts       pvs.SignOptions
		is         error
		says       string
	}{
		{"no such part", "nosuch", pvs.SignOptions{}, pvs.ErrNothing, `sign part "nosuch": there is nothing to sign`},
		{"slash", "a/b", pvs.SignOptions{}, pvs.ErrPattern, "the name of a part"},
		{"pattern as part", "a*", pvs.SignOptions{}, pvs.ErrPattern, "the name of a part"},
		{"everything", "x", pvs.SignOptions{Select: sel("**")}, pvs.ErrPattern, `want "dir/**"`},
		{"braces", "x", pvs.SignOptions{Select: sel("{app,bsp}/**")}, pvs.ErrPattern, "brackets, braces or a backslash"},
		{"empty pattern", "x", pvs.SignOptions{Select: sel("")}, pvs.ErrPattern, "empty"},
		{"many patterns", "x", pvs.SignOptions{Select: sel(slices.Repeat([]string{"a"}, 1025)...)}, pvs.ErrPattern, "more than 1024"},
		{"long pattern", "x", pvs.SignOptions{Select: sel(strings.Repeat("a", 5000))}, pvs.ErrPattern, "longer than"},
		{"only pvr", "x", pvs.SignOptions{Select: sel("**/run.json", "_config/**/x")}, pvs.ErrAmbiguous, `only pvr takes in the key "_config/app/etc/x"`},
		{"only devices", "x", pvs.SignOptions{Select: sel("device.json/**")}, pvs.ErrAmbiguous, `only a device takes in the key "device.json"`},
		{"another's certificate", "app", pvs.SignOptions{Chain: certs(t, "ec256.pem")}, pvs.ErrKeyMismatch, "CN=dev-ec256"},
		{"long chain", "app", pvs.SignOptions{Chain: slices.Repeat(certs(t, "rsa.pem"), 17)}, pvs.ErrCertificate, "at most 16"},
	} {
		_, err := pvs.Sign(state(t, "state.json"), c.part, key(t, "rsa.key"), c.opts)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", c.name, err, c.says)
		}
	}
	if _, err := pvs.Sign(state(t, "state.json"), "app", short, pvs.SignOptions{}); !errors.Is(err, pvs.ErrWeakKey) {
		t.Errorf("short key: %v", err)
	}
	for value, says := range map[string]string{`42`: "app/x.json is 42", `true`: "true", `"{x"`: "begins with {", `"[x"`: "begins with ["} {
		s := with(t, state(t, "state.json"), "app/x.json", value)
		if _, err := pvs.Sign(s, "app", key(t, "rsa.key"), pvs.SignOptions{}); !errors.Is(err, pvs.ErrUncheckable) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", value, err, says)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for text, is := range map[string]error{
		"": pvs.ErrKeyType,
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n": pvs.ErrKeyType,
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n":                     pvs.ErrKeyType,
		string(file(t, "rsa.pem")): pvs.ErrKeyType,
	} {
		if _, err := pvs.ParseKey([]byte(text)); !errors.Is(err, is) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if _, err := pvs.ParseCertificates(file(t, "rsa.key")); !errors.Is(err, pvs.ErrCertificate) {
		t.Errorf("a key as certificates: %v", err)
	}
	if _, err := pvs.ParseCertificates([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")); !errors.Is(err, pvs.ErrCertificate) {
		t.Errorf("a damaged certificate: %v", err)
	}
	if _, err := pvs.ParsePublicKeys(file(t, "rsa.pem")); !errors.Is(err, pvs.ErrKeyType) {
		t.Errorf("a certificate as public keys: %v", err)
	}
}

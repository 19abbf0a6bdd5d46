package pvs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
)

// now is when the certificates of testdata are valid.
var now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func state(t testing.TB, name string) *pvrexport.State {
	t.Helper()
	return decodeState(t, file(t, name))
}

func decodeState(t testing.TB, text []byte) *pvrexport.State {
	t.Helper()
	s, err := pvrexport.DecodeState(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(t testing.TB, name string) crypto.Signer {
	t.Helper()
	k, err := pvs.ParseKey(file(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func certs(t testing.TB, name string) []*x509.Certificate {
	t.Helper()
	c, err := pvs.ParseCertificates(file(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func trust(t testing.TB) pvs.VerifyOptions {
	t.Helper()
	return pvs.VerifyOptions{Roots: certs(t, "cacerts.pem"), Now: now}
}

// with sets a member of a copy.
func with(t testing.TB, s *pvrexport.State, key, value string) *pvrexport.State {
	t.Helper()
	v, err := pvrexport.JSONValue([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	s = s.Clone()
	if err := s.Set(key, v); err != nil {
		t.Fatal(err)
	}
	return s
}

func signed(t testing.TB, s *pvrexport.State, part string, k crypto.Signer, o pvs.SignOptions) *pvrexport.State {
	t.Helper()
	v, err := pvs.Sign(s, part, k, o)
	if err != nil {
		t.Fatal(err)
	}
	return with(t, s, pvs.Key(part), v.String())
}

func verify(t testing.TB, s *pvrexport.State, o pvs.VerifyOptions) *pvs.Report {
	t.Helper()
	r, err := pvs.Verify(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// forge signs a header of the test's choice, validly, with RS256.
func forge(t testing.TB, k crypto.Signer, header, payload string) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	protected := b64([]byte(header))
	digest := sha256.Sum256([]byte(protected + "." + b64([]byte(payload))))
	sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(map[string]string{"#spec": "pvs@2", "protected": protected, "signature": b64(sig)})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// authority is a CA of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue makes a certificate for a key, below parent or, for nil, of its own.
func issue(t testing.TB, parent *authority, name string, public crypto.PublicKey, own *ecdsa.PrivateKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if change != nil {
		change(c)
	}
	above, signer := c, own
	if parent != nil {
		above, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, above, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func isCA(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
}

func newAuthority(t testing.TB, parent *authority, name string) *authority {
	t.Helper()
	k := newKey(t)
	return &authority{t, issue(t, parent, name, k.Public(), k, isCA), k}
}

// leaf is a certificate for the RSA key of testdata.
func (a *authority) leaf(name string, change func(*x509.Certificate)) *x509.Certificate {
	a.t.Helper()
	return issue(a.t, a, name, key(a.t, "rsa.key").Public(), nil, change)
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

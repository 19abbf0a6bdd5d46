package appengine_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// maker signs for a rig, which trusts it.
type maker struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newMaker(t testing.TB, etc string) *maker {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "maker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(etc, "pantavisor/pvs/trust")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "ca-certificates.crt"), text, 0o644)); err != nil {
		t.Fatal(err)
	}
	return &maker{key, cert}
}

func (m *maker) sign(t testing.TB, s *pvrexport.State, name string, sel *pvs.Selection) {
	t.Helper()
	v, err := pvs.Sign(s, name, m.key, pvs.SignOptions{Chain: []*x509.Certificate{m.cert}, Select: sel})
	if err == nil {
		err = s.Set(pvs.Key(name), v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// signFile signs everything in a bundle.
func (m *maker) signFile(t testing.TB, file string, parts ...string) {
	t.Helper()
	b, err := pvrexport.OpenBundle(t.Context(), file, "", pvrexport.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, p := range parts {
		m.sign(t, b.State, p, nil)
	}
	m.sign(t, b.State, "_pvskel", &pvs.Selection{Include: []string{pvrexport.SpecKey}})
	f, err := os.Create(file)
	if err == nil {
		err = pvrexport.Write(t.Context(), f, b.State, b, pvrexport.WriteOptions{})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// The settings say what signatures must be, and refusals read as on a device.
func TestSecureboot(t *testing.T) {
	t.Parallel()
	etc := t.TempDir()
	m := newMaker(t, etc)
	r := newRig(t, actor("signed", nil, app))
	m.signFile(t, filepath.Join(r.exports, "signed.pvrexport.tgz"), "signed")
	r.opts.Settings.Environ = append(r.opts.Settings.Environ, "PV_SECUREBOOT_MODE=strict", "PV_SYSTEM_ETCDIR="+etc)
	r.start().ready()
	ctx := context.Background()
	src, err := r.ctrl.Step(ctx, "current")
	if err != nil {
		t.Fatal(err)
	}
	changed := func(key, value string, sign bool) []byte {
		s, err := pvrexport.DecodeState(strings.NewReader(string(src)))
		if err != nil {
			t.Fatal(err)
		}
		v, err := pvrexport.JSONValue([]byte(value))
		if err == nil {
			err = s.Set(key, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		if sign {
			m.sign(t, s, "signed", nil)
		}
		return s.Encode()
	}
	for rev, c := range map[string]struct {
		state []byte
		want  string
	}{
		"locals/same":      {src, ""},
		"locals/signed":    {changed("signed/more.json", `{"new":true}`, true), ""},
		"locals/changed":   {changed("signed/more.json", `{"new":true}`, false), "Secureboot: Signature validation failed"},
		"locals/uncovered": {changed("elsewhere/x.json", `{}`, false), "Secureboot: State not fully covered by signatures"},
	} {
		err := r.ctrl.PutStep(ctx, rev, c.state)
		refused, ok := errors.AsType[*pvctrl.StatusError](err)
		if c.want == "" && err != nil || c.want != "" && (!ok || refused.Status != 422 || refused.Text != c.want) {
			t.Errorf("%s: %v, want %q", rev, err, c.want)
		}
	}
	eventually(t, "the log has the reasons", func() bool { // it is written aside
		log := r.log()
		return strings.Contains(log, "_sigs/signed.json: the signature does not match") &&
			strings.Contains(log, "elsewhere/x.json is not covered by any signature")
	})
}

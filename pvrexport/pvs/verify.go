package pvs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
)

// VerifyOptions says whom to trust.
type VerifyOptions struct {
	Roots []*x509.Certificate // what the chains in signatures must lead to
	// OEM, if not empty, is the common name of a signer whose chain must lead
	// to OEMRoots instead, for signatures that take in nothing of the parts
	// "bsp" and OEM (PV_OEM_NAME and PV_SECUREBOOT_OEM_TRUSTSTORE of devices).
	OEM      string
	OEMRoots []*x509.Certificate
	// Keys check signatures that carry no chain, as a device's
	// /etc/pantavisor/pvs/pub does.
	Keys []crypto.PublicKey
	// Now is when certificates must be valid. It must be set.
	Now time.Time
	// HasObject, if set, is asked for every object that a valid signature
	// covers; see Signature.Missing.
	HasObject func(id string) bool
}

// Signature is what is known of one signature in a state.
type Signature struct {
	Key       string // in the state
	Algorithm Algorithm
	Selection Selection
	// Covered are the keys whose values the signature is about, Excluded those
	// that it leaves out by name. Both are as claimed if Err is not nil.
	Covered, Excluded []string
	// Chain leads from the signer to a root. It is nil for a signature that a
	// plain key checks.
	Chain   []*x509.Certificate
	Missing []string // covered keys whose objects are not there
	Err     error    // why it is not valid; nil if it is
}

// Signer is the certificate of who signed, nil if there is none.
func (s Signature) Signer() *x509.Certificate {
	if len(s.Chain) == 0 {
		return nil
	}
	return s.Chain[0]
}

// Part is the name of the part, as the key has it.
func (s Signature) Part() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.Key, sigsDir), ".json")
}

// Report is what Verify finds. The lists are in the order of the keys.
type Report struct {
	Signatures []Signature
	// Excluded are keys that only exclusions of valid signatures name: no
	// signature protects them, and devices count them as covered.
	Excluded []string
	// Uncovered are keys that no valid signature names. Signatures themselves
	// need none.
	Uncovered []string
}

// Err joins what is wrong with the signatures.
func (r *Report) Err() error {
	var errs []error
	for _, s := range r.Signatures {
		if s.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Key, s.Err))
		}
	}
	return errors.Join(errs...)
}

// Verify checks every signature of a state: every key below _sigs, and, as
// devices do, every other value that says it is one. The error is for options
// that make no sense; what is wrong with a signature is in the report.
func Verify(state *pvrexport.State, o VerifyOptions) (*Report, error) {
	if o.Now.IsZero() {
		return nil, errors.New("verify signatures: no time is given, so certificates cannot be checked")
	}
	v := &verifier{state: state, o: o, roots: poolOf(o.Roots), oemRoots: poolOf(o.OEMRoots)}
	r := &Report{}
	covered, excluded := map[string]bool{}, map[string]bool{}
	for key, value := range state.All() {
		if !strings.HasPrefix(key, sigsDir) && !claims(value) {
			continue
		}
		s := v.signature(key, value)
		r.Signatures = append(r.Signatures, s)
		if s.Err != nil {
			continue
		}
		for _, k := range s.Covered {
			covered[k] = true
		}
		for _, k := range s.Excluded {
			excluded[k] = true
		}
	}
	for key := range state.All() {
		switch {
		case covered[key]:
		case strings.HasPrefix(key, sigsDir):
		case excluded[key]:
			r.Excluded = append(r.Excluded, key)
		default:
			r.Uncovered = append(r.Uncovered, key)
		}
	}
	return r, nil
}

// claims tells whether a value says that it is a signature.
func claims(v pvrexport.Value) bool {
	text := v.JSON()
	if text[0] != '{' {
		return false
	}
	m, err := object(text)
	return err == nil && string(m[specName]) == `"`+spec+`"`
}

type verifier struct {
	state           *pvrexport.State
	o               VerifyOptions
	roots, oemRoots *x509.CertPool
}

func (v *verifier) signature(key string, value pvrexport.Value) Signature {
	s := Signature{Key: key}
	e, err := decode(value.JSON())
	if e != nil {
		s.Algorithm, s.Selection = e.alg, e.sel
	}
	if err == nil {
		err = v.check(&s, e)
	}
	s.Err = err
	return s
}

func (v *verifier) check(s *Signature, e *envelope) error {
	c, err := e.sel.apply(v.state)
	if err != nil {
		return err
	}
	s.Covered, s.Excluded = c.included, c.excluded
	load, err := payload(v.state, c.included)
	if err != nil {
		return err
	}
	keys := v.o.Keys
	if e.x5c != nil {
		s.Chain, err = chainOf(e.x5c, v.trusted(s, e), v.o.Now)
		if err != nil {
			return err
		}
		keys = []crypto.PublicKey{s.Chain[0].PublicKey}
	}
	if len(keys) == 0 {
		return problemf(ErrNoKey, "it carries no certificates, and no key to check it with is given")
	}
	text := []byte(e.protected + "." + base64.RawURLEncoding.EncodeToString(load))
	for _, key := range keys {
		if err = e.alg.verify(key, text, e.signature); err == nil {
			break
		}
	}
	if err != nil {
		return e.explain(err, load)
	}
	if len(c.included) == 0 {
		return problemf(ErrNothing, "it covers no key of this state: what it signed is gone")
	}
	if e.payload != nil && !bytes.Equal(e.payload, load) {
		return problemf(ErrFormat, `it is valid, and its "payload" says something else`)
	}
	s.Missing = v.missing(c.included)
	return nil
}

// trusted is the store that must have signed: devices choose it by what is
// signed and by the name that the leaf has (signature.c, _set_path_trust_crts).
func (v *verifier) trusted(s *Signature, e *envelope) *x509.CertPool {
	leaf, err := x509.ParseCertificate(e.x5c[0])
	if v.o.OEM == "" || err != nil || leaf.Subject.CommonName != v.o.OEM {
		return v.roots
	}
	for _, key := range s.Covered {
		if part, _, _ := strings.Cut(key, "/"); part == "bsp" || part == v.o.OEM {
			return v.roots
		}
	}
	return v.oemRoots
}

func (v *verifier) missing(keys []string) []string {
	if v.o.HasObject == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		value, _ := v.state.Get(key)
		id, ok := value.Object()
		return !ok || v.o.HasObject(id)
	})
}

// explain names what was changed, if the signature says what it signed.
func (e *envelope) explain(err error, now []byte) error {
	if e.payload == nil || !errors.Is(err, ErrSignature) {
		return err
	}
	before, berr := object(e.payload)
	after, aerr := object(now)
	if berr != nil || aerr != nil {
		return err
	}
	var changes []string
	for key, value := range before {
		if other, ok := after[key]; !ok {
			changes = append(changes, key+" was removed")
		} else if !bytes.Equal(value, other) {
			changes = append(changes, key+" was changed")
		}
	}
	for key := range after {
		if _, ok := before[key]; !ok {
			changes = append(changes, key+" was added")
		}
	}
	if len(changes) == 0 {
		return err
	}
	slices.Sort(changes)
	return because(ErrSignature, errors.New(strings.Join(changes, ", ")), "the signature does not match; going by the payload that it carries")
}

// MarshalJSON writes what tools print.
func (s Signature) MarshalJSON() ([]byte, error) {
	out := struct {
		Key       string    `json:"key"`
		Valid     bool      `json:"valid"`
		Error     string    `json:"error,omitempty"`
		Algorithm Algorithm `json:"algorithm,omitempty"`
		Signer    string    `json:"signer,omitempty"`
		Issuer    string    `json:"issuer,omitempty"`
		NotAfter  string    `json:"not_after,omitempty"`
		Include   []string  `json:"include"`
		Exclude   []string  `json:"exclude"`
		Covered   []string  `json:"covered"`
		Missing   []string  `json:"missing,omitempty"`
	}{Key: s.Key, Valid: s.Err == nil, Algorithm: s.Algorithm, Missing: s.Missing,
		Include: append([]string{}, s.Selection.Include...), Exclude: append([]string{}, s.Selection.Exclude...), Covered: append([]string{}, s.Covered...)}
	if s.Err != nil {
		out.Error = s.Err.Error()
	}
	if c := s.Signer(); c != nil {
		out.Signer, out.Issuer, out.NotAfter = c.Subject.String(), c.Issuer.String(), c.NotAfter.UTC().Format(time.RFC3339)
	}
	return json.Marshal(out)
}

package pvs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Limits on what is read before it is believed.
const (
	maxProtected    = 1 << 20
	maxSignature    = 4 << 10
	maxCertificates = 16
)

const (
	spec     = "pvs@2"
	typePVS  = "PVS"
	specName = "#spec"
)

// envelope is a signature, read and not verified.
type envelope struct {
	protected string // as it is signed
	alg       Algorithm
	sel       Selection
	x5c       [][]byte
	signature []byte
	payload   []byte // of those that carry it, decoded; nil otherwise
}

// decode reads the value of _sigs/<part>.json.
func decode(raw []byte) (*envelope, error) {
	m, err := object(raw)
	if err != nil {
		return nil, because(ErrFormat, err, "not a signature")
	}
	for name := range m {
		if !slices.Contains([]string{specName, "protected", "signature", "payload"}, name) {
			return nil, problemf(ErrFormat, "not a signature of this kind: it has a member %.40q", name)
		}
	}
	var got string
	if err := member(m, specName, &got); err != nil || got != spec {
		return nil, problemf(ErrFormat, `not a signature: "#spec" is %.40q, not %q`, got, spec)
	}
	e := &envelope{}
	var sig, load string
	if err := errors.Join(member(m, "protected", &e.protected), member(m, "signature", &sig)); err != nil {
		return nil, because(ErrFormat, err, "not a signature")
	}
	if e.signature, err = unbase64(base64.RawURLEncoding, sig, maxSignature); err != nil || len(e.signature) == 0 {
		return nil, problemf(ErrFormat, `"signature" is not base64url`)
	}
	if _, ok := m["payload"]; ok {
		if err = member(m, "payload", &load); err == nil {
			e.payload, err = unbase64(base64.RawURLEncoding, load, len(load))
		}
		if err != nil {
			return nil, problemf(ErrFormat, `"payload" is not base64url`)
		}
	}
	header, err := unbase64(base64.RawURLEncoding, e.protected, maxProtected)
	if err != nil {
		return nil, problemf(ErrFormat, `"protected" is not base64url`)
	}
	return e, e.header(header)
}

// header reads the protected header. What it says of the key (jwk, kid, jku)
// is not looked at: whoever signs would vouch for himself.
func (e *envelope) header(raw []byte) error {
	m, err := object(raw)
	if err != nil {
		return because(ErrHeader, err, "the protected header is wrong")
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := m[name]; ok {
			return problemf(ErrHeader, "the protected header asks for an extension with %q, and none is known", name)
		}
	}
	var typ, alg string
	if err := errors.Join(member(m, "alg", &alg), member(m, "typ", &typ)); err != nil {
		return because(ErrHeader, err, "the protected header is wrong")
	}
	if typ != typePVS {
		return problemf(ErrHeader, `"typ" is %.40q, not %q`, typ, typePVS)
	}
	e.alg = Algorithm(alg)
	if _, err := e.alg.suite(); err != nil {
		return err
	}
	pvs, err := object(m["pvs"])
	if err == nil {
		err = errors.Join(member(pvs, "include", &e.sel.Include), member(pvs, "exclude", &e.sel.Exclude))
	}
	if err != nil || e.sel.Include == nil || e.sel.Exclude == nil {
		return because(ErrHeader, err, `the protected header needs "pvs" with lists "include" and "exclude"`)
	}
	if _, ok := m["x5c"]; !ok {
		return nil
	}
	var certs []string
	if err := member(m, "x5c", &certs); err != nil || len(certs) == 0 || len(certs) > maxCertificates {
		return problemf(ErrHeader, `"x5c" is not a list of 1 to %d certificates`, maxCertificates)
	}
	for i, text := range certs {
		der, err := unbase64(base64.StdEncoding, text, maxProtected)
		if err != nil {
			return problemf(ErrHeader, `"x5c[%d]" is not base64`, i)
		}
		e.x5c = append(e.x5c, der)
	}
	return nil
}

// object splits a JSON object into its members. Names count as they are
// written, upper case and lower case, and none may come twice: other readers
// would take the first where encoding/json takes the last.
func object(raw []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	m := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("the member %.40q comes twice", name)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		m[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return m, nil
}

// member reads a member that must be there and not null.
func member(m map[string]json.RawMessage, name string, to any) error {
	raw, ok := m[name]
	if !ok || string(raw) == "null" {
		return fmt.Errorf("it has no %q", name)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("%q is of the wrong type", name)
	}
	return nil
}

// unbase64 reads what has exactly one spelling: no line breaks, which Go's
// decoder skips, and no bits left over.
func unbase64(enc *base64.Encoding, text string, most int) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("it has line breaks")
	}
	if enc.DecodedLen(len(text)) > most+2 {
		return nil, fmt.Errorf("it is longer than %d bytes", most)
	}
	return enc.Strict().DecodeString(text)
}

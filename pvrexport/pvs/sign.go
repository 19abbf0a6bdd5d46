package pvs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
)

// SignOptions shapes a signature. The zero value is that of
// `pvr sig --x5c no add --part`.
type SignOptions struct {
	// Chain is put into the signature: the key's certificate, then those above
	// it without the root. Without it devices need the public key on disk.
	Chain []*x509.Certificate
	// NoConfig leaves the part's configuration overlay out.
	NoConfig bool
	// Select, if not nil, is what to cover instead of the part.
	Select *Selection
	// Payload is put into the signature, too. Nobody needs it to check, but
	// with it [Verify] can say which key was changed.
	Payload bool
}

// Key is the key under which a state has the signature of a part.
func Key(part string) string { return signatureKey(part) }

// Sign makes the value of _sigs/<part>.json, in canonical form. The bytes
// depend on nothing but the arguments, and for RSA they are those of pvr: that
// is RFC 7515, and RFC 6979 for ECDSA keys in memory. The state is not changed.
//
// An error matches ErrNothing if the state has nothing of the part, and
// ErrUncheckable if it has what devices could not check.
func Sign(state *pvrexport.State, part string, key crypto.Signer, o SignOptions) (pvrexport.Value, error) {
	v, err := sign(state, part, key, o)
	if err != nil {
		return pvrexport.Value{}, fmt.Errorf("sign part %q: %w", part, err)
	}
	return v, nil
}

func sign(state *pvrexport.State, part string, key crypto.Signer, o SignOptions) (none pvrexport.Value, err error) {
	if part == "" || part == "." || part == ".." || strings.ContainsAny(part, `/[]{}\*?`) {
		return none, problemf(ErrPattern, "the name of a part cannot be empty, dots, or have one of / [ ] { } \\ * ?")
	}
	sel := Part(part, o.NoConfig)
	if o.Select != nil {
		sel = *o.Select
	}
	c, err := sel.apply(state)
	if err != nil {
		return none, err
	}
	if len(c.included) == 0 {
		return none, problemf(ErrNothing, "there is nothing to sign: no key matches %q", sel.Include)
	}
	load, err := payload(state, c.included)
	if err != nil {
		return none, err
	}
	alg, err := AlgorithmOf(key.Public())
	if err != nil {
		return none, err
	}
	head, err := protectedHeader(alg, key.Public(), sel, o.Chain)
	if err != nil {
		return none, err
	}
	enc := base64.RawURLEncoding
	protected, encoded := enc.EncodeToString(head), enc.EncodeToString(load)
	sig, err := alg.sign(key, []byte(protected+"."+encoded))
	if err != nil {
		return none, err
	}
	doc := map[string]string{specName: spec, "protected": protected, "signature": enc.EncodeToString(sig)}
	if o.Payload {
		doc["payload"] = encoded
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return none, err
	}
	return pvrexport.JSONValue(text)
}

// jwk is a public key as go-jose, which pvr uses, writes it: the members in
// this order (RFC 7517, RFC 7518 section 6).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

func protectedHeader(alg Algorithm, key crypto.PublicKey, sel Selection, chain []*x509.Certificate) ([]byte, error) {
	enc := base64.RawURLEncoding
	header := struct {
		Alg Algorithm `json:"alg"`
		JWK jwk       `json:"jwk"`
		PVS Selection `json:"pvs"`
		Typ string    `json:"typ"`
		X5C [][]byte  `json:"x5c,omitempty"`
	}{Alg: alg, PVS: sel, Typ: typePVS}
	switch k := key.(type) {
	case *rsa.PublicKey:
		header.JWK = jwk{Kty: "RSA", N: enc.EncodeToString(k.N.Bytes()), E: enc.EncodeToString(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, x, y
		if err != nil {
			return nil, because(ErrKeyType, err, "the key cannot be used")
		}
		size := (len(point) - 1) / 2
		header.JWK = jwk{Kty: "EC", Crv: k.Curve.Params().Name, X: enc.EncodeToString(point[1 : 1+size]), Y: enc.EncodeToString(point[1+size:])}
	}
	if len(chain) > 0 {
		same, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !same.Equal(key) {
			return nil, problemf(ErrKeyMismatch, "the first certificate (%s) is not that of the key", chain[0].Subject)
		}
		if len(chain) > maxCertificates {
			return nil, problemf(ErrCertificate, "there are %d certificates: want at most %d", len(chain), maxCertificates)
		}
	}
	for _, c := range chain {
		header.X5C = append(header.X5C, c.Raw)
	}
	// Lists that are nil would be null, which devices crash on.
	header.PVS.Include = append([]string{}, sel.Include...)
	header.PVS.Exclude = append([]string{}, sel.Exclude...)
	return json.Marshal(header)
}

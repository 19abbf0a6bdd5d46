package pvs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
	"encoding/asn1"
	"math/big"
)

// Algorithm is the alg of a signature (RFC 7518 section 3.1).
type Algorithm string

// The algorithms that are made and accepted. "none" and those with a shared
// secret are not among them: the first signs nothing, and with the second
// whoever can check can also sign.
const (
	RS256 Algorithm = "RS256"
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
)

// DeviceVerifies tells whether current devices can check the algorithm. Their
// library takes ECDSA signatures in another encoding than JWS has, so for them
// every such signature is wrong.
func (a Algorithm) DeviceVerifies() bool { return a == RS256 }

// suite is how an algorithm works; bits is the size of an ECDSA key.
type suite struct {
	hash crypto.Hash
	bits int
}

func (a Algorithm) suite() (suite, error) {
	switch a {
	case RS256:
		return suite{crypto.SHA256, 0}, nil
	case ES256:
		return suite{crypto.SHA256, 256}, nil
	case ES384:
		return suite{crypto.SHA384, 384}, nil
	case ES512:
		return suite{crypto.SHA512, 521}, nil
	case "none":
		return suite{}, problemf(ErrAlgorithm, `the algorithm is "none", which signs nothing`)
	}
	return suite{}, problemf(ErrAlgorithm, "the algorithm is %.40q: want RS256, ES256, ES384 or ES512", string(a))
}

// minRSA is what the devices' library demands in certificates
// (mbedtls_x509_crt_profile_default).
const minRSA = 2048

// AlgorithmOf is the algorithm that belongs to a key. The error matches ErrKeyType
// or ErrWeakKey.
func AlgorithmOf(key crypto.PublicKey) (Algorithm, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return "", problemf(ErrWeakKey, "the RSA key has %d bits: want at least %d", k.N.BitLen(), minRSA)
		}
		return RS256, nil
	case *ecdsa.PublicKey:
		switch bits := k.Curve.Params().BitSize; bits {
		case 256:
			return ES256, nil
		case 384:
			return ES384, nil
		case 521:
			return ES512, nil
		default:
			return "", problemf(ErrKeyType, "the ECDSA key has %d bits: want 256, 384 or 521", bits)
		}
	}
	return "", problemf(ErrKeyType, "the key is %T: want RSA or ECDSA", key)
}

// sign signs a text. With RSA the result depends on nothing else; with ECDSA
// keys in memory it does not either (RFC 6979).
func (a Algorithm) sign(key crypto.Signer, text []byte) ([]byte, error) {
	s, err := a.suite()
	if err != nil {
		return nil, err
	}
	h := s.hash.New()
	h.Write(text)
	random := rand.Reader
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		random = nil // asks for RFC 6979
	}
	sig, err := key.Sign(random, h.Sum(nil), s.hash)
	if err != nil || s.bits == 0 {
		return sig, err
	}
	// JWS wants r and s beside each other (RFC 7518 section 3.4), not ASN.1.
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 {
		return nil, problemf(ErrSignature, "the key made something that is no ECDSA signature")
	}
	size := (s.bits + 7) / 8
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}

// verify checks a signature of a text with a key of the algorithm's kind.
func (a Algorithm) verify(key crypto.PublicKey, text, sig []byte) error {
	s, err := a.suite()
	if err != nil {
		return err
	}
	fits, err := AlgorithmOf(key)
	if err != nil {
		return err
	}
	if fits != a {
		return problemf(ErrAlgorithm, "the algorithm is %s and the key is for %s", a, fits)
	}
	h := s.hash.New()
	h.Write(text)
	digest := h.Sum(nil)
	valid := false
	switch k := key.(type) {
	case *rsa.PublicKey:
		valid = rsa.VerifyPKCS1v15(k, s.hash, digest, sig) == nil
	case *ecdsa.PublicKey:
		if size := (s.bits + 7) / 8; len(sig) == 2*size {
			valid = ecdsa.Verify(k, digest, new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:]))
		}
	}
	if !valid {
		return problemf(ErrSignature, "the signature does not match: what it covers was changed, or another key made it")
	}
	return nil
}

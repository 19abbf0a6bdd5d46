package pvs

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
)

// ParseKey reads the first private key of a PEM file: PKCS #1, PKCS #8 or SEC 1.
func ParseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !strings.Contains(block.Type, "PRIVATE KEY") {
			continue
		}
		if strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "" {
			return nil, problemf(ErrKeyType, "the private key is encrypted: decrypt it first, with openssl pkey for instance")
		}
		key, err := parsePrivate(block.Bytes)
		if err != nil {
			return nil, because(ErrKeyType, err, "the private key cannot be read")
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, problemf(ErrKeyType, "a key of type %T cannot sign", key)
		}
		if _, err := AlgorithmOf(signer.Public()); err != nil {
			return nil, err
		}
		return signer, nil
	}
	return nil, problemf(ErrKeyType, "there is no private key in PEM form")
}

func parsePrivate(der []byte) (any, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParsePKCS8PrivateKey(der)
}

// ParseCertificates reads all certificates of a PEM file, in order. Other
// blocks are skipped; one that is damaged is an error.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, because(ErrCertificate, err, "certificate %d cannot be read", len(certs))
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, problemf(ErrCertificate, "there is no certificate in PEM form")
	}
	return certs, nil
}

// ParsePublicKeys reads all public keys of a PEM file, in order.
func ParsePublicKeys(text []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PUBLIC KEY") {
			continue
		}
		var key crypto.PublicKey
		var err error
		if key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			var pkcs1 error
			if key, pkcs1 = x509.ParsePKCS1PublicKey(block.Bytes); pkcs1 != nil {
				return nil, because(ErrKeyType, errors.Join(err, pkcs1), "public key %d cannot be read", len(keys))
			}
		}
		if _, err := AlgorithmOf(key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, problemf(ErrKeyType, "there is no public key in PEM form")
	}
	return keys, nil
}

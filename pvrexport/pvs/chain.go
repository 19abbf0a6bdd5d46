package pvs

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"time"
)

// chainOf reads the certificates of a signature, the leaf first, and follows
// them to one of the roots. Like pvr, and unlike devices, it insists that the
// certificates are for signing code, where they say what they are for.
func chainOf(x5c [][]byte, roots *x509.CertPool, now time.Time) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	between := x509.NewCertPool()
	for i, der := range x5c {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, because(ErrCertificate, err, "certificate %d cannot be read", i)
		}
		if err := longEnough(c); err != nil {
			return nil, err
		}
		certs = append(certs, c)
		if i > 0 {
			between.AddCert(c)
		}
	}
	leaf := certs[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return nil, problemf(ErrUsage, "the certificate of %s is not for signatures", leaf.Subject)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	if err != nil {
		return certs, classify(leaf, err, now)
	}
	for _, c := range chains[0] {
		if err := longEnough(c); err != nil {
			return certs, err
		}
	}
	return chains[0], nil
}

func longEnough(c *x509.Certificate) error {
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < minRSA {
		return problemf(ErrWeakKey, "the RSA key of %s has %d bits: want at least %d", c.Subject, k.N.BitLen(), minRSA)
	}
	return nil
}

func classify(leaf *x509.Certificate, err error, now time.Time) error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch c := invalid.Cert; invalid.Reason {
		case x509.Expired:
			if now.Before(c.NotBefore) {
				return problemf(ErrExpired, "the certificate of %s is valid only from %s on", c.Subject, c.NotBefore.UTC().Format(time.RFC3339))
			}
			return problemf(ErrExpired, "the certificate of %s expired on %s", c.Subject, c.NotAfter.UTC().Format(time.RFC3339))
		case x509.IncompatibleUsage:
			return problemf(ErrUsage, "the certificate of %s is not for signing code", leaf.Subject)
		case x509.NotAuthorizedToSign:
			return problemf(ErrUntrusted, "the certificate of %s leads to one that may not sign others", leaf.Subject)
		}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return because(ErrUntrusted, err, "the certificate of %s leads to no trusted root", leaf.Subject)
	}
	return because(ErrCertificate, err, "the certificate of %s cannot be used", leaf.Subject)
}

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

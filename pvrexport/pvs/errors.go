package pvs

import (
	"errors"
	"fmt"
)

// What can be wrong with a signature. Match with errors.Is.
var (
	ErrFormat      = errors.New("not a pvs@2 signature")
	ErrHeader      = errors.New("the protected header is wrong")
	ErrAlgorithm   = errors.New("the algorithm is not accepted")
	ErrPattern     = errors.New("the pattern has more than one meaning")
	ErrAmbiguous   = errors.New("pvr and devices read the patterns differently")
	ErrNothing     = errors.New("the signature covers nothing")
	ErrUncheckable = errors.New("devices cannot check the value")
	ErrCertificate = errors.New("the certificate cannot be used")
	ErrExpired     = errors.New("the certificate is not valid at this time")
	ErrUsage       = errors.New("the certificate is not for signing code")
	ErrUntrusted   = errors.New("the certificate leads to no trusted root")
	ErrWeakKey     = errors.New("the key is too short")
	ErrNoKey       = errors.New("there is no key to check with")
	ErrKeyMismatch = errors.New("the key and the certificate do not belong together")
	ErrKeyType     = errors.New("the type of the key is not supported")
	ErrSignature   = errors.New("the signature does not match")
)

// problem reads as its text and is also what kind is; it may wrap a cause.
type problem struct {
	text  string
	kind  error
	cause error
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.text + ": " + p.cause.Error()
	}
	return p.text
}

func (p *problem) Unwrap() []error {
	if p.cause != nil {
		return []error{p.kind, p.cause}
	}
	return []error{p.kind}
}

func problemf(kind error, format string, args ...any) error {
	return &problem{text: fmt.Sprintf(format, args...), kind: kind}
}

func because(kind, cause error, format string, args ...any) error {
	return &problem{text: fmt.Sprintf(format, args...), kind: kind, cause: cause}
}

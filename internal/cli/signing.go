package cli

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
)

// signFlags say with what to sign. pvkit sign, build and add share them.
type signFlags struct {
	key, cert string
	noConfig  bool
	payload   bool
}

func (f *signFlags) addTo(c *cobra.Command, prefix string) {
	flags := c.Flags()
	if prefix == "" {
		flags.StringVarP(&f.key, "key", "k", "", "private key in PEM form, RSA for devices (default $PVR_SIG_KEY)")
		flags.StringVarP(&f.cert, "cert", "x", "", "its certificate and those above it in PEM form (default $PVR_X5C_PATH), or no")
		flags.BoolVar(&f.payload, "with-payload", false, "put what is signed into the signature, so that verify can name what was changed")
	} else {
		flags.StringVar(&f.key, prefix+"key", "", "sign with this private key in PEM form")
		flags.StringVar(&f.cert, prefix+"cert", "", "its certificate and those above it in PEM form")
	}
	flags.BoolVar(&f.noConfig, prefix+"no-config", false, "leave the configuration overlay out of the signature")
}

// signer is a key that is ready, with what goes along with it.
type signer struct {
	key  crypto.Signer
	opts pvs.SignOptions
}

func (f *signFlags) load(env Env) (*signer, error) {
	s := &signer{opts: pvs.SignOptions{NoConfig: f.noConfig, Payload: f.payload}}
	var err error
	if s.key, err = readPEM(f.key, pvs.ParseKey); err != nil {
		return nil, err
	}
	if f.cert != "" {
		if s.opts.Chain, err = readPEM(f.cert, pvs.ParseCertificates); err != nil {
			return nil, err
		}
	} else {
		fmt.Fprintln(env.Stderr, "pvkit: warning: without a certificate devices need the public key in /etc/pantavisor/pvs/pub")
	}
	alg, err := pvs.AlgorithmOf(s.key.Public())
	if err == nil && !alg.DeviceVerifies() {
		fmt.Fprintf(env.Stderr, "pvkit: warning: %s: devices cannot check %s, use an RSA key\n", f.key, alg)
	}
	return s, err
}

// sign puts the signature of a part into a state.
func (s *signer) sign(state *pvrexport.State, part string) error {
	v, err := pvs.Sign(state, part, s.key, s.opts)
	if err != nil {
		return err
	}
	return state.Set(pvs.Key(part), v)
}

// hook is what a build does to sign, nil if it does not.
func (f *signFlags) hook(env Env) (func(*pvrexport.State, string) error, error) {
	if f.key == "" {
		if f.cert != "" || f.noConfig {
			return nil, usagef("--sign-cert and --sign-no-config need --sign-key")
		}
		return nil, nil
	}
	s, err := f.load(env)
	if err != nil {
		return nil, err
	}
	return s.sign, nil
}

// maxPEM is far more than a key or a trust store has.
const maxPEM = 4 << 20

// readPEM gives a file to a parser and its name to the parser's error.
func readPEM[T any](name string, parse func([]byte) (T, error)) (T, error) {
	var none T
	f, err := os.Open(name)
	if err != nil {
		return none, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(text) > maxPEM {
		err = fmt.Errorf("larger than %d bytes", maxPEM)
	}
	if err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	v, err := parse(text)
	if err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// trustFlags say whom to trust.
type trustFlags struct {
	cacerts, pubkeys []string
	oem              string
	oemCacerts       []string
	mode             string
}

func (f *trustFlags) addTo(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVarP(&f.cacerts, "cacerts", "c", nil, "file with the certificates that signatures must lead to; may be repeated (default $PVR_SIG_CACERTS)")
	flags.StringArrayVarP(&f.pubkeys, "pubkey", "p", nil, "file with public keys for signatures without certificates; may be repeated (default $PVR_SIG_PUBKEY)")
	flags.StringVar(&f.oem, "oem-name", "", "name of a signer who has certificates of his own, as PV_OEM_NAME")
	flags.StringArrayVar(&f.oemCacerts, "oem-cacerts", nil, "file with the certificates that this signer's must lead to; may be repeated")
	flags.StringVar(&f.mode, "mode", "", "what signatures must be: disabled, lenient, strict or audit, as PV_SECUREBOOT_MODE (default lenient)")
	complete(c, "mode", pvs.Modes())
}

// trust is trustFlags with the files read. It is nil if signatures are not to
// be checked.
type trust struct {
	mode pvs.Mode
	opts pvs.VerifyOptions
}

func (f *trustFlags) load(env Env) (*trust, error) {
	t := &trust{mode: pvs.Lenient}
	if f.mode != "" {
		var err error
		if t.mode, err = pvs.ParseMode(f.mode); err != nil {
			return nil, usagef("--mode: %w", err)
		}
	}
	or := func(files []string, variable string) []string {
		if v := env.Getenv(variable); len(files) == 0 && v != "" {
			return []string{v}
		}
		return files
	}
	cacerts, pubkeys := or(f.cacerts, "PVR_SIG_CACERTS"), or(f.pubkeys, "PVR_SIG_PUBKEY")
	switch {
	case (f.oem == "") != (len(f.oemCacerts) == 0):
		return nil, usagef("--oem-name and --oem-cacerts need each other")
	case t.mode == pvs.Disabled:
		return nil, nil
	case len(cacerts)+len(pubkeys) == 0 && f.mode == "" && f.oem == "":
		return nil, nil
	case len(cacerts)+len(pubkeys) == 0:
		return nil, usagef("--mode and --oem-name need to know whom to trust: give --cacerts or --pubkey")
	}
	err := readAll(&t.opts.Roots, cacerts, pvs.ParseCertificates)
	if err == nil {
		err = readAll(&t.opts.Keys, pubkeys, pvs.ParsePublicKeys)
	}
	if err == nil {
		t.opts.OEM = f.oem
		err = readAll(&t.opts.OEMRoots, f.oemCacerts, pvs.ParseCertificates)
	}
	return t, err
}

func readAll[T any](to *[]T, files []string, parse func([]byte) ([]T, error)) error {
	for _, name := range files {
		list, err := readPEM(name, parse)
		if err != nil {
			return err
		}
		*to = append(*to, list...)
	}
	return nil
}

// signerText names who signed.
func signerText(c *x509.Certificate) string {
	if c == nil {
		return "a given key"
	}
	return printable(c.Subject.String())
}

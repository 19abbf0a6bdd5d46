package appengine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
)

// Trust judges the signatures of a state. The error's text is what the
// progress of a revision says.
type Trust func(*pvrexport.State) error

func (c *cycle) trust(state *pvrexport.State) error {
	if c.opts.Trust != nil {
		return c.opts.Trust(state)
	}
	return c.secureboot(state)
}

// Where a device keeps whom it trusts, below PV_SYSTEM_ETCDIR (paths.h,
// PVS_TRUST_DNAME and PVS_PK_FNAME).
const (
	trustDir = "pantavisor/pvs/trust"
	trustKey = "pub.pem"
)

// secureboot does what PV_SECUREBOOT_MODE says. The reasons go into the log, a
// mode that lets them pass makes them warnings. A store that cannot be read is
// a reason too, and trusts nobody.
func (c *cycle) secureboot(state *pvrexport.State) error {
	log := c.source("signature")
	mode, err := pvs.ParseMode(c.settings.Word(settings.SecurebootMode))
	if err != nil {
		log.Log(logs.Error, err.Error())
		return pvs.Enforce(pvs.Strict, nil).Err()
	}
	if mode == pvs.Disabled {
		return nil
	}
	dir := filepath.Join(c.settings.Text(settings.SystemEtcdir), trustDir)
	o := pvs.VerifyOptions{Now: time.Now(), OEM: c.settings.Text(settings.OEMName)}
	err = errors.Join(
		readTrust(&o.Roots, filepath.Join(dir, c.settings.Text(settings.SecurebootTruststore)+".crt"), pvs.ParseCertificates),
		readTrust(&o.OEMRoots, filepath.Join(dir, c.settings.Text(settings.SecurebootOEMTruststore)+".crt"), pvs.ParseCertificates),
		readTrust(&o.Keys, filepath.Join(dir, trustKey), pvs.ParsePublicKeys),
	)
	if err != nil {
		log.Log(logs.Warn, err.Error())
	}
	report, err := pvs.Verify(state, o)
	if err != nil {
		log.Log(logs.Error, err.Error())
	}
	verdict := pvs.Enforce(mode, report)
	level := logs.Error
	if verdict.OK {
		level = logs.Warn
	}
	for _, reason := range verdict.Reasons {
		log.Log(level, reason)
	}
	return verdict.Err()
}

// readTrust reads a file of certificates or keys, if it is there.
func readTrust[T any](to *[]T, name string, parse func([]byte) ([]T, error)) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	const most = 4 << 20
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("larger than %d bytes", most)
	}
	if err == nil {
		*to, err = parse(text)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

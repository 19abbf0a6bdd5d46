package appengine

import (
	"errors"
	"io/fs"
	"os"
)

// keepUpdateLog makes what was logged during an update the revision's logs. An
// update without an error has none.
func (c *cycle) keepUpdateLog(name, rev string) error {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(text) > 0 {
		err = c.store.SetStepLogs(rev, text)
	}
	return errors.Join(err, os.Remove(name))
}

package appengine

import (
	"cmp"
	"fmt"

	"github.com/pvkit/pvkit/runtime/appengine/settings"
)

// vendorSettings reads the settings that a revision brings along, as the file
// <PV_OEM_NAME>/<PV_POLICY>.config (config.c, pv_config_load_oem). They count
// only if the state is trusted and the file is what its digest says; when it is
// not, the revision is refused later, with the reason.
func (c *cycle) vendorSettings(rev string) {
	name := c.settings.Text(settings.OEMName)
	if name == "" {
		return
	}
	state, err := c.store.State(rev)
	if err != nil {
		return
	}
	key := name + "/" + cmp.Or(c.settings.Text(settings.PolicyName), "default") + ".config"
	v, ok := state.Get(key)
	id, isObject := v.Object()
	if !ok || !isObject || c.trust(state) != nil {
		return
	}
	f, _, err := c.store.Objects().OpenObject(id)
	if err == nil {
		defer f.Close()
		var problems []settings.Problem
		problems, err = c.settings.Read(key, f, settings.OEM)
		for _, p := range problems {
			c.note("settings: " + p.Error())
		}
	}
	if err != nil {
		c.note(fmt.Sprintf("the settings %s of revision %s are not read: %v", key, rev, err))
		return
	}
	c.configureLogs()
}

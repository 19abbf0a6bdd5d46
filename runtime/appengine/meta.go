package appengine

import (
	"context"
	"errors"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/hostinfo"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// statusKey holds the status of the whole system.
const statusKey = "pantavisor.status"

// meta is the user's or the device's metadata: kept in the storage, shown in
// the run directory.
type meta struct {
	*cycle
	kind  string // userMeta or deviceMeta
	store *storage.Meta
}

func (c *cycle) userMeta() meta   { return meta{c, userMeta, c.store.UserMeta()} }
func (c *cycle) deviceMeta() meta { return meta{c, deviceMeta, c.store.DeviceMeta()} }

// Meta lists the entries. What changes with every look is looked up now.
func (m meta) Meta(context.Context) ([]pvctrl.MetaEntry, error) {
	fresh := map[string]string{}
	if m.kind == deviceMeta {
		fresh = m.volatile(time.Now())
	}
	var list []pvctrl.MetaEntry
	for _, e := range m.store.All() {
		if v, ok := fresh[e.Key]; ok && v != "" {
			e.Value = v
		}
		if e.Value != "" {
			list = append(list, pvctrl.MetaEntry{Key: e.Key, Value: e.Value})
		}
	}
	return list, nil
}

func (m meta) PutMeta(_ context.Context, key, value string) error {
	if err := m.store.Set(key, value); err != nil {
		return refusal(err)
	}
	m.overrides(key, value, true)
	return m.run.set(m.kind, key, value)
}

func (m meta) DeleteMeta(_ context.Context, key string) error {
	if err := m.store.Delete(key); err != nil {
		return refusal(err)
	}
	m.overrides(key, "", false)
	return m.run.remove(m.kind, key)
}

// overrides lets a user's key that is a setting's name be that setting
// (pantavisor's metadata.c, pv_metadata_add_usermeta).
func (m meta) overrides(key, value string, set bool) {
	if m.kind != userMeta {
		return
	}
	if !set {
		m.settings.Restore(key)
		m.configureLogs()
		return
	}
	switch err := m.settings.Override(key, value); {
	case err == nil:
		m.configureLogs()
		m.log.Info("setting overridden by user metadata", "key", key)
	case errors.Is(err, settings.ErrUnknown):
	default:
		m.log.Warn("user metadata does not override the setting", "error", err)
	}
}

// show puts the stored metadata into the run directory.
func (m meta) show() error {
	fresh := map[string]string{}
	if m.kind == deviceMeta {
		fresh = m.volatile(time.Now())
	}
	for _, e := range m.store.All() {
		if v, ok := fresh[e.Key]; ok {
			e.Value = v
		}
		m.overrides(e.Key, e.Value, true)
		if err := m.run.set(m.kind, e.Key, e.Value); err != nil {
			return err
		}
	}
	return nil
}

// volatile are the values that are another one each time. The storage has them
// for their place in the list only.
func (c *cycle) volatile(now time.Time) map[string]string {
	return map[string]string{
		statusKey:    c.status.Load().(string),
		"time":       hostinfo.Time(now),
		"sysinfo":    hostinfo.Sysinfo(),
		"interfaces": hostinfo.Interfaces(),
		"storage":    hostinfo.Storage(c.store.Dir(), c.settings.Int(settings.StorageGCReserved)),
	}
}

// introduce fills in what the runtime knows about its machine and itself, in
// the order in which the real one does: the last is the newest.
func (c *cycle) introduce(rev string) error {
	c.status.Store(pvctrl.StatusNone.String())
	changing := c.volatile(time.Now())
	m := c.deviceMeta()
	for _, e := range []storage.Entry{
		{Key: "pantavisor.arch", Value: hostinfo.Arch()},
		{Key: "pantavisor.version", Value: c.opts.Version},
		{Key: "pantavisor.dtmodel", Value: hostinfo.DTModel()},
		{Key: "pantavisor.cpumodel", Value: hostinfo.CPUModel()},
		{Key: "pantavisor.revision", Value: rev},
		{Key: "pantavisor.mode", Value: "local"},
		{Key: "pantahub.online", Value: "0"},
		{Key: "pantahub.claimed", Value: "0"},
		{Key: "pantavisor.uname", Value: hostinfo.Uname()},
		{Key: "time", Value: changing["time"]},
		{Key: "sysinfo", Value: changing["sysinfo"]},
		{Key: statusKey, Value: changing[statusKey]},
		{Key: "interfaces", Value: changing["interfaces"]},
		{Key: "storage", Value: changing["storage"]},
	} {
		if _, known := m.store.Get(e.Key); known && changing[e.Key] != "" {
			continue
		}
		if e.Value == "" {
			continue // this machine does not say
		}
		if err := m.store.Set(e.Key, e.Value); err != nil {
			return err
		}
	}
	return nil
}

// tell sets a value of the runtime's own.
func (m meta) tell(key, value string) error {
	if err := m.store.Set(key, value); err != nil {
		return err
	}
	return m.run.set(m.kind, key, value)
}

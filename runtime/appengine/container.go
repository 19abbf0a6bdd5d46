package appengine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pvkit/pvkit/runtime/appengine/hostinfo"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/appengine/system"
)

// deviceVolumes is the directory of the volumes that belong to no container
// (volumes.c, pv_volume_mount).
const deviceVolumes = "bsp"

// place mounts the volumes of a container: its root image, further images, and
// storage by persistence.
func (c *cycle) place(ctx context.Context, rev *revision, d *definition) (*sandbox.Mounted, error) {
	var vols []sandbox.Volume
	images := d.Images
	if d.Root != "" {
		images = append([]string{d.Root}, images...)
	}
	for _, name := range images {
		id := ""
		if v, ok := rev.state.Get(path.Join(d.Name, name)); ok {
			id, _ = v.Object()
		}
		vols = append(vols, sandbox.Volume{
			Name: name, Digest: id,
			Image: filepath.Join(c.store.TrailDir(rev.name), d.Name, filepath.FromSlash(name)),
		})
	}
	if err := os.MkdirAll(filepath.Join(c.store.LogDir(rev.name), d.Name), 0o755); err != nil {
		return nil, err // it is mounted into the container
	}
	own, err := c.volumes(rev, d.Name, d.Storage)
	if err != nil {
		return nil, err
	}
	m, err := c.host.Mount(ctx, d.Name, append(vols, own...))
	if err == nil {
		c.mounted.set(d.Name, m.Volumes())
	}
	return m, err
}

// volumes are the writable volumes of a container.
func (c *cycle) volumes(rev *revision, container string, list []system.Volume) ([]sandbox.Volume, error) {
	var vols []sandbox.Volume
	for _, v := range list {
		vol := sandbox.Volume{Name: v.Name}
		if v.Persistence == system.Boot {
			vol.Tmpfs = true
		} else {
			disk, kind := v.Disk, ""
			for _, k := range rev.sys.Disks {
				if k.Name == disk {
					kind = k.Type
				}
			}
			dir, err := c.store.VolumeDir(rev.name, storage.Volume{
				Container: container, Name: v.Name, Persistence: storage.Persistence(v.Persistence), Disk: disk, DiskType: kind,
			})
			if err != nil {
				return nil, err
			}
			vol.Dir = dir
		}
		vols = append(vols, vol)
	}
	return vols, nil
}

// errOnlyMounted: a container without a configuration has nothing to start.
var errOnlyMounted = errors.New("it has no lxc.container.conf, so there is nothing to start")

// spec is the container as the sandbox runs it.
func (c *cycle) spec(rev *revision, d *definition, m *sandbox.Mounted) (sandbox.Spec, error) {
	if d.config == nil {
		return sandbox.Spec{}, errOnlyMounted
	}
	end, err := rev.network.Endpoint(d.Name)
	if err != nil {
		return sandbox.Spec{}, err
	}
	s := sandbox.Spec{
		Name: d.Name, Config: d.config, Volumes: m.Volumes(), Overlay: d.overlay,
		Mounts: c.pantavisor(rev.name, d), Group: d.Group.Name, Hostname: end.Hostname,
		Mdev: d.mdev, OwnNet: end.NewNamespace(),
	}
	c.mounted.addTo(s.Volumes)
	maps.Copy(s.Volumes, c.shared)
	s.Exports = d.Shares
	if d.HostFirmware {
		s.Mounts = append(s.Mounts, firmware()...)
	}
	names, err := c.hosts(rev, d)
	if err != nil {
		return sandbox.Spec{}, err
	}
	s.Mounts = append(s.Mounts, names...)
	if s.OwnNet {
		s.Prestart = func(pid int) error {
			if c.net == nil {
				return c.noNet
			}
			return c.net.Attach(pid, end)
		}
	}
	return s, nil
}

// pantavisor are the mounts below /pantavisor, by role (pv_lxc.c,
// pv_setup_lxc_log and what follows it). A container with the role mgmt sees
// the whole run directory and all logs; any other one the sockets and what is
// its own. The sockets can be written to in both, for connecting needs that.
func (c *cycle) pantavisor(rev string, d *definition) []lxcconf.Mount {
	const at = "pantavisor/"
	if d.HasRole(system.RoleMgmt) {
		return []lxcconf.Mount{
			sandbox.Bind(c.run.dir, "pantavisor", true, false),
			sandbox.Bind(filepath.Join(c.store.Dir(), "logs"), at+runLogs, true, false),
		}
	}
	return []lxcconf.Mount{
		sandbox.Bind(c.run.path(ctrlSocket), at+ctrlSocket, false, true),
		sandbox.Bind(c.run.path(logSocket), at+logSocket, false, true),
		sandbox.Bind(filepath.Join(c.store.LogDir(rev), d.Name), at+runLogs, true, false),
		sandbox.Bind(c.run.path(userMeta+"."+d.Name), at+userMeta, true, false),
		sandbox.Bind(c.run.path(deviceMeta+"."+d.Name), at+deviceMeta, true, false),
	}
}

// firmware are the machine's firmware and the modules of its kernel, if it has
// them (pv_lxc.c, pv_setup_lxc_container). A container whose root cannot be
// written to and that has no directory for them goes without.
func firmware() []lxcconf.Mount {
	var mounts []lxcconf.Mount
	for _, dir := range []string{"/lib/firmware", "/lib/modules/" + hostinfo.Release()} {
		if isDir(dir) {
			m := sandbox.Bind(dir, strings.TrimPrefix(dir, "/"), true, false)
			m.Options = append(m.Options, "optional")
			mounts = append(mounts, m)
		}
	}
	return mounts
}

// share mounts the volumes that belong to the device, and says which paths of
// configurations are which directories for every container.
func (c *cycle) share(ctx context.Context, rev *revision) error {
	c.shared = map[string]string{"/storage": c.store.Dir(), "/exports": c.host.ExportDir()}
	if len(rev.sys.Volumes) == 0 {
		return nil
	}
	vols, err := c.volumes(rev, deviceVolumes, rev.sys.Volumes)
	if err != nil {
		return fmt.Errorf("volumes of the device: %w", err)
	}
	if c.device, err = c.host.Mount(ctx, deviceVolumes, vols); err != nil {
		return fmt.Errorf("volumes of the device: %w", err)
	}
	for name, dir := range c.device.Volumes() {
		c.shared[name] = dir
	}
	return nil
}

package appengine_test

import (
	"os"
	"path/filepath"
	"testing"
)

// Containers mount volumes of others and of the device, where their
// configuration names them.
func TestVolumesOfOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t,
		actor("provider", nil, "group: platform", "restart_policy: container", "volumes: [\"/data:permanent\"]"),
		actor("consumer", does("count=/theirs/runs", "count=/docs/runs", "wait"), app, "volumes: [\"/own:permanent\"]",
			`args: {PV_VOLUME_IMPORTS: ["provider:/data:/theirs"], PV_LXC_EXTRA_CONF: "lxc.mount.entry = /volumes/bsp/docs docs none bind,rw,create=dir 0 0"}`))
	device := `{"groups": [{"name": "platform", "restart_policy": "container"}, {"name": "app", "restart_policy": "container"}],
		"volumes": {"docs": {"persistence": "permanent"}}}`
	if err := os.Rename(r.device(device), filepath.Join(r.exports, "00-device.pvrexport.tgz")); err != nil {
		t.Fatal(err)
	}
	r.start().ready()
	for _, dir := range []string{"provider/docker--data", "bsp/docs"} {
		name := filepath.Join(r.opts.Storage, "disks", "perm", dir, "runs")
		eventually(t, name, func() bool { text, err := os.ReadFile(name); return err == nil && string(text) == "1" })
	}
}

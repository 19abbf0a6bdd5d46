package manifest_test

import (
	"fmt"

	"github.com/pvkit/pvkit/pvrexport/manifest"
)

func ExampleRender() {
	m, findings, err := manifest.Render(manifest.Source{
		Name:   "unix-client",
		Group:  "app",
		Config: map[string]any{"Entrypoint": []string{"/usr/bin/client"}, "Cmd": []string{"--greeting", "hello there"}},
		Args: map[string]any{
			"LXC_TTY_MIN":          "2",
			"PV_SERVICES_REQUIRED": "raw-unix",
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	fmt.Printf("%s", m.File(manifest.ConfFile))
	// Output:
	// -: warning: LXC_TTY_MIN is not a template argument and has no effect (did you mean LXC_TTY_MAX?) [manifest-unknown-argument]
	// lxc.tty.max = 8
	// lxc.pty.max = 1024
	// lxc.cgroup.devices.allow = a
	// lxc.rootfs.path = overlayfs:/volumes/unix-client/root.squashfs:/volumes/unix-client/lxc-overlay/upper
	// lxc.init.cmd = /usr/bin/client "--greeting" "hello there"
	// lxc.namespace.keep = user  net  ipc
	// lxc.mount.auto = proc  sys:rw  cgroup
	// lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0
	// lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0
}

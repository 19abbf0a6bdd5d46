package system

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// runKeys are the members of run.json that mean something to the runtime, and
// those that pvr writes for others.
var runKeys = []string{"name", "type", "group", "runlevel", "restart_policy", "status_goal", "roles",
	"auto_recovery", "config", "share", "root-volume", "volumes", "storage", "services", "drivers",
	"network", "logs", "exports", "dev-log", "automodfw", "#spec", "conditions", "remount"}

// run reads <dir>/run.json. It returns nil when there is no telling which
// container it is.
func (p *parser) run(n node, dir string) *Container {
	o, ok := n.object()
	if !ok {
		n.errorf("run", "write an object", "is %s", n.show())
		return nil
	}
	o.unknown("run-key", runKeys...)
	name := o.text("name")
	if name != dir {
		// The runtime looks for the files under the name, and the
		// state has them under the directory.
		o.get("name").errorf("name", fmt.Sprintf("write %q", dir), "is %q, and the directory is %q", name, dir)
		return nil
	}
	if reason := badName(name); reason != "" {
		o.get("name").errorf("name", "", "%q %s", name, reason)
		return nil
	}
	c := &Container{Name: name, DevLog: p.opts.DevLog, HostFirmware: o.text("automodfw") != "no"}
	c.Group = p.groupOf(o)
	c.StatusGoal = statusGoal(o)
	c.RestartPolicy = restartPolicy(o)
	c.Roles = roles(o.get("roles"))
	if r := o.get("auto_recovery"); !r.null() {
		c.Recovery = recovery(r)
	}
	c.Config = configFile(o)
	if root := o.text("root-volume"); root != "" {
		c.Root = image(o.get("root-volume"), root)
	}
	for i, name := range o.get("volumes").strs("volumes") {
		c.Images = append(c.Images, image(o.get("volumes").child(fmt.Sprintf("[%d]", i), nil), name))
	}
	c.Storage = p.volumes(o.get("storage"))
	c.Requires = requirements(o.get("services"))
	c.Drivers = drivers(o.get("drivers"))
	c.Network = p.network(o.get("network"))
	c.Logs = loggers(o.get("logs"))
	c.Shares = shares(o.get("exports"))
	if d := o.get("dev-log"); !d.null() {
		c.DevLog = devLog(d, c.DevLog)
	}
	if t := o.get("type"); !t.null() && o.text("type") != "lxc" {
		t.errorf("type", `write "lxc"`, "is %s, which the runtime cannot start", t.show())
	} else if t.null() {
		p.untyped = append(p.untyped, c)
	}
	return c
}

// maxName keeps names inside what control groups and files may be called, with
// what is added to them.
const maxName = 200

// badName says why no container can have a name, "" if one can. It is a
// directory in many places, the name of a control group, and in the first two
// cases would be taken for the runtime: the real one gives a container called
// _pv_ the host's rights.
func badName(name string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-+", r)
	}
	switch i := strings.IndexFunc(name, odd); {
	case name == pvctrl.HostName:
		return "is the name under which the host calls pv-ctrl"
	case name == "pantavisor":
		return "is the name under which the runtime logs"
	case i >= 0:
		r, _ := utf8.DecodeRuneInString(name[i:])
		return fmt.Sprintf("holds %q; the name of a container is made of letters, digits, \".\", \"_\", \"-\" and \"+\"", r)
	case strings.HasPrefix(name, "."):
		return "starts with a dot, as the runtime's own files do"
	case len(name) > maxName:
		return fmt.Sprintf("is longer than %d bytes", maxName)
	}
	return ""
}

// startable checks what a container needs that is to run. One that is only
// mounted needs neither a type nor a configuration, and pvr writes none.
func (p *parser) startable(c *Container) {
	if c.StatusGoal == pvctrl.StatusMounted {
		return
	}
	n, _ := p.file(c.Name + "/" + runFile)
	if slices.Contains(p.untyped, c) {
		n.errorf("type", `write "type": "lxc"`, "names no type, and its status goal is %s", c.StatusGoal)
	}
	if c.Config == "" {
		n.errorf("config", `write "config": "lxc.container.conf"`, "names no configuration, and its status goal is %s", c.StatusGoal)
	}
}

// groupOf finds the group that a run.json names, also under the old name
// "runlevel".
func (p *parser) groupOf(o object) *Group {
	var names []string
	for _, g := range p.sys.Groups {
		names = append(names, g.Name)
	}
	known := "the groups are " + strings.Join(names, ", ")
	find := func(key, name string) *Group {
		g := p.sys.Group(name)
		if g == nil && len(names) > 0 {
			hint := known
			if near := diag.Nearest(name, names); near != "" {
				hint = fmt.Sprintf("did you mean %q? %s", near, known)
			}
			o.get(key).errorf("group", hint, "there is no group %q", name)
		}
		return g
	}
	var g *Group
	if level := o.text("runlevel"); level != "" {
		if slices.Contains([]string{"data", "root", "platform", "app"}, level) {
			g = find("runlevel", level)
		} else {
			o.get("runlevel").warnf("runlevel", known, "%q is not a runlevel; it is ignored", level)
		}
	}
	if name := o.text("group"); name != "" {
		g = find("group", name)
	}
	return g
}

// statusGoal reads the goal of a container or a group; StatusNone is "not
// given".
func statusGoal(o object) pvctrl.Status {
	word := o.text("status_goal")
	goals := []pvctrl.Status{pvctrl.StatusMounted, pvctrl.StatusStarted, pvctrl.StatusReady}
	for _, s := range goals {
		if word == s.String() {
			return s
		}
	}
	if !o.get("status_goal").null() {
		o.get("status_goal").errorf("status-goal", "write MOUNTED, STARTED or READY", "%q is not a goal", word)
	}
	return pvctrl.StatusNone
}

// restartPolicy reads the policy of a container or a group; "" is "not given".
func restartPolicy(o object) RestartPolicy {
	switch r := RestartPolicy(o.text("restart_policy")); {
	case r == RestartSystem || r == RestartContainer:
		return r
	case !o.get("restart_policy").null():
		o.get("restart_policy").errorf("restart-policy", `write "system" or "container"`, "%q is not a policy", string(r))
	}
	return ""
}

// roles reads an array of names, or an object that has them as keys. Without
// the key a container has the role mgmt; what is there replaces that.
func roles(n node) []string {
	if len(n.raw) == 0 {
		return []string{RoleMgmt}
	}
	var names []string
	if o, ok := n.object(); ok {
		names = o.keys()
	} else if _, ok := n.array(); ok {
		names = n.strs("roles")
	} else {
		n.errorf("roles", `write an array, for example ["nobody"]`, "is %s", n.show())
	}
	out := []string{}
	for _, name := range names {
		switch {
		case name == RoleMgmt && !slices.Contains(out, name):
			out = append(out, name)
		case name != RoleMgmt && name != "nobody":
			n.warnf("roles", `the roles are "mgmt" and "nobody"`, "%q is not a role; it gives no right", name)
		}
	}
	return out
}

// configFile is the name of the LXC configuration, which lies in the container's
// part of the state.
func configFile(o object) string {
	name := o.text("config")
	if name != "" && !filepath.IsLocal(name) {
		o.get("config").errorf("config", "write a file of the container, such as lxc.container.conf", "%q leads out of the container's part of the state", name)
	}
	return name
}

// image is the name of an image's file without the "dm:" in front, which asks
// for a verity device; instead of making one the image's digest was compared.
func image(n node, name string) string {
	name = strings.TrimPrefix(name, "dm:")
	if name != path.Base(name) || name == "." || name == ".." || name == "/" {
		n.errorf("volumes", "write a plain file name, such as root.squashfs", "%q cannot be an image's name", name)
	}
	return name
}

// shares reads the paths that a container shows to others. The device's hook
// skips what is none.
func shares(n node) []string {
	if n.null() {
		return nil
	}
	elems, ok := n.array()
	if !ok {
		n.warnf("exports", `write an array of paths, for example ["/run/dbus"]`, "is %s; nothing is exported", n.show())
		return nil
	}
	var out []string
	for _, e := range elems {
		if name, ok := e.str(); ok && name != "" && !strings.Contains(name, "\x00") {
			out = append(out, path.Clean("/"+name))
		} else {
			e.warnf("exports", "write a path inside the container", "is %s; it is not exported", e.show())
		}
	}
	return out
}

// volumes reads storage objects. A volume without persistence is not one.
func (p *parser) volumes(n node) []Volume {
	if n.null() {
		return nil
	}
	o, ok := n.object()
	if !ok {
		n.warnf("storage", "write an object", "is %s; there will be no storage", n.show())
		return nil
	}
	var out []Volume
	for _, name := range o.keys() {
		m := o.get(name)
		v, ok := m.object()
		if !ok || v.get("persistence").null() {
			m.warnf("storage", `write {"persistence": "permanent"}, "revision" or "boot"`, "has no persistence; there will be no such volume")
			continue
		}
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			m.errorf("storage", "write a plain file name", "%q cannot be a volume's name", name)
			continue
		}
		vol := Volume{Name: name, Persistence: Persistence(v.text("persistence")), Disk: p.diskOf(v)}
		if !slices.Contains([]Persistence{Permanent, Revision, Boot}, vol.Persistence) {
			v.get("persistence").warnf("storage", "write permanent, revision or boot",
				"%s is not a persistence; boot is used, so the content goes with the container", v.get("persistence").show())
			vol.Persistence = Boot
		}
		out = append(out, vol)
	}
	return out
}

// diskOf resolves a volume's disk; without one it is the default disk.
func (p *parser) diskOf(v object) string {
	name := v.text("disk")
	for _, d := range p.sys.Disks {
		if name == "" && d.Default || name != "" && (d.Name == name || slices.Contains(d.Aliases, name)) {
			return d.Name
		}
	}
	if name != "" {
		v.get("disk").errorf("disk", "declare it under \"disks\" of device.json", "there is no disk %q", name)
	}
	return ""
}

func drivers(n node) []Driver {
	if n.null() {
		return nil
	}
	o, ok := n.object()
	if !ok {
		n.warnf("drivers", "write an object", "is %s; there will be no drivers", n.show())
		return nil
	}
	var out []Driver
	for _, need := range []DriverNeed{DriverRequired, DriverOptional, DriverManual} {
		for _, name := range o.get(strings.ToLower(string(need))).strs("drivers") {
			out = append(out, Driver{name, need})
		}
	}
	return out
}

func (p *parser) network(n node) *Network {
	if n.null() {
		return nil
	}
	o, ok := n.object()
	if !ok {
		n.errorf("network", `write {"mode": "host"} or {"pool": "<name>"}`, "is %s", n.show())
		return nil
	}
	net := &Network{Mode: NetworkMode(o.text("mode")), Pool: o.text("pool"), Hostname: o.text("hostname")}
	switch {
	case net.Pool != "":
		net.Mode = NetworkPool
		p.checkPool(o, net.Pool)
	case net.Mode == NetworkPool:
		o.errorf("network", `write "pool": "<name>"`, "the mode is pool, and no pool is named")
	case net.Mode != NetworkHost:
		o.warnf("network", `write "mode": "host" or "pool": "<name>"`, "neither a pool nor a mode that the runtime knows; the whole object is ignored")
		return nil
	}
	if net.IP = o.text("ip"); net.IP != "" {
		addr, _, _ := strings.Cut(net.IP, "/") // the device takes a prefix length here, too
		var err error
		if net.Address, err = netip.ParseAddr(addr); err != nil || !net.Address.Is4() {
			o.get("ip").errorf("network", "write an IPv4 address", "%q is not one", net.IP)
		}
	}
	net.MAC = macOf(o)
	return net
}

// checkPool warns about a pool that the state does not have. That is not an
// error of the state: the container is refused when it starts.
func (p *parser) checkPool(o object, name string) {
	if _, ok := p.sys.Pool(name); ok {
		return
	}
	var names []string
	for _, pool := range p.sys.Pools {
		names = append(names, pool.Name)
	}
	hint := "declare it under network.pools of device.json"
	if near := diag.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	o.get("pool").warnf("pool", hint, "there is no pool %q; the container will be refused", name)
}

func macOf(o object) string {
	text := o.text("mac")
	if text == "" {
		return ""
	}
	if hw, err := net.ParseMAC(text); err != nil || len(hw) != 6 {
		o.get("mac").errorf("network", "write six bytes, as in 02:00:00:00:00:01", "%q is not a MAC address", text)
	}
	return text
}

// loggers reads the settings of a container's log files, which the runtime
// hands on as they are.
func loggers(n node) []map[string]string {
	if n.null() {
		return nil
	}
	elems, ok := n.array()
	if !ok {
		n.errorf("logs", "write an array of objects", "is %s", n.show())
		return nil
	}
	var out []map[string]string
	for _, e := range elems {
		o, ok := e.object()
		if !ok || len(o.members) == 0 {
			e.errorf("logs", `write an object, for example {"file": "/var/log/x"}`, "is %s", e.show())
			continue
		}
		m := map[string]string{}
		for _, key := range o.keys() {
			if s, ok := o.get(key).str(); ok {
				m[key] = s
			} else {
				m[key] = string(o.members[key])
			}
		}
		out = append(out, m)
	}
	return out
}

func devLog(n node, otherwise bool) bool {
	switch string(n.raw) {
	case "true":
		return true
	case "false":
		return false
	}
	n.warnf("dev-log", "write true or false", "is %s; %t is used", n.show(), otherwise)
	return otherwise
}

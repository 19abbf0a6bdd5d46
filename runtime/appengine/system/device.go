package system

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// device reads device.json and the older files that it replaces
// (parse_device and system1_parse_disks in parser_system1.c).
func (p *parser) device() {
	n, has := p.file(deviceKey)
	if !has {
		p.groups(object{node: n}, false)
		if old, ok := p.file(disksKey); ok {
			p.disks(old, false)
		}
		if old, ok := p.file(disksV3Key); ok {
			p.disks(old, true)
		}
		p.checkDisks()
		return
	}
	for _, key := range []string{disksKey, disksV3Key} {
		if old, ok := p.file(key); ok {
			old.warnf("disks", "", "the state has a device.json; this file is ignored")
		}
	}
	o, ok := n.object()
	if !ok {
		n.errorf("device", "write an object", "is %s", n.show())
		return
	}
	p.groups(o, true)
	if o.get("groups").null() {
		n.warnf("device", `write "groups"`, "defines no groups; then the runtime reads nothing else of it")
		return
	}
	o.unknown("device", "#spec", "groups", "disks", "disks_v2", "disks_v3", "volumes", "network")
	for _, key := range []string{"disks", "disks_v2", "disks_v3"} {
		if d := o.get(key); !d.null() {
			p.disks(d, key == "disks_v3")
		}
	}
	p.checkDisks()
	p.sys.Volumes = p.volumes(o.get("volumes"))
	if network := o.get("network"); !network.null() {
		p.pools(network)
	}
}

// diskTypes are the types of disk (pv_disk_str_to_type in disk/disk.h).
var diskTypes = []string{"dm-crypt-versatile", "dm-crypt-caam", "dm-crypt-dcp", "swap-disk", "volume-disk", "dual"}

// disks reads a list of disks. A lenient list skips types that this runtime
// does not know.
func (p *parser) disks(n node, lenient bool) {
	elems, ok := n.array()
	if !ok || len(elems) == 0 {
		n.errorf("disks", "write an array with at least one disk", "is %s without disks", n.show())
		return
	}
	for _, e := range elems {
		o, ok := e.object()
		if !ok {
			e.errorf("disks", "write an object", "is %s", e.show())
			continue
		}
		d := Disk{
			Name: o.text("name"), Type: o.text("type"), Path: o.text("path"), UUID: o.text("uuid"),
			Format: o.text("format"), Mode: o.text("mode"), Default: o.text("default") == "yes",
			Aliases: o.get("aliases").strs("disks"), Options: map[string]string{},
			Disks: o.get("disks").strs("disks"), InitOrder: o.get("init_order").strs("disks"),
		}
		for _, key := range []string{"mount_target", "mount_options", "format_options", "provision", "provision_options", "migrate_keyblob"} {
			if text := o.text(key); text != "" {
				d.Options[key] = text
			}
		}
		if !slices.Contains(diskTypes, d.Type) {
			hint := "the types are " + strings.Join(diskTypes, ", ")
			if lenient {
				e.warnf("disks", hint, "disk %q has the unknown type %q; it is skipped", d.Name, d.Type)
			} else {
				e.errorf("disks", hint, "disk %q has the unknown type %q", d.Name, d.Type)
			}
			continue
		}
		if d.Name == "" || d.Name == "." || d.Name == ".." || strings.Contains(d.Name, "/") {
			e.errorf("disks", `write a "name" that is a plain file name`, "%q cannot be a disk's name", d.Name)
			continue
		}
		p.sys.Disks = append(p.sys.Disks, d)
	}
}

// checkDisks makes sure that a name means one disk (pv_disk_list_validate in
// disk/disk.c).
func (p *parser) checkDisks() {
	owner := map[string]string{}
	for _, d := range p.sys.Disks {
		owner[d.Name] = d.Name
	}
	for _, d := range p.sys.Disks {
		for _, alias := range d.Aliases {
			n := node{p: p, file: deviceKey, path: "disks"}
			switch other, taken := owner[alias]; {
			case alias == "":
				n.errorf("disks", "", "disk %q has an empty alias", d.Name)
			case taken && other != d.Name:
				n.errorf("disks", "", "disk %q has the alias %q, which means disk %q already", d.Name, alias, other)
			}
			owner[alias] = d.Name
		}
	}
}

// pools reads network.pools. A pool that cannot work is left out, as the
// runtime does; containers that want it are refused.
func (p *parser) pools(n node) {
	o, ok := n.object()
	if !ok {
		n.warnf("network", `write {"pools": {…}}`, "is %s; there will be no pools", n.show())
		return
	}
	pools := o.get("pools")
	if pools.null() {
		return
	}
	list, ok := pools.object()
	if !ok {
		pools.warnf("network", "write an object", "is %s; there will be no pools", pools.show())
		return
	}
	for _, name := range list.keys() {
		m := list.get(name)
		pool, err := poolOf(name, m)
		if err != nil {
			m.warnf("pool", "", "%v; there will be no such pool", err)
			continue
		}
		p.sys.Pools = append(p.sys.Pools, pool)
	}
}

func poolOf(name string, n node) (Pool, error) {
	o, ok := n.object()
	if !ok {
		return Pool{}, fmt.Errorf("it is %s, not an object", n.show())
	}
	o.unknown("pool", "type", "bridge", "parent", "subnet", "gateway", "nat")
	pool := Pool{Name: name, NAT: string(o.members["nat"]) == "true" || string(o.members["nat"]) == `"true"`}
	device := "bridge"
	switch t := o.text("type"); t {
	case "macvlan":
		pool.Macvlan, device = true, "parent"
	case "", "bridge":
	default:
		o.get("type").warnf("pool", "write bridge or macvlan", "%q is not a type of pool; bridge is used", t)
	}
	if pool.Device = o.text(device); pool.Device == "" {
		return Pool{}, fmt.Errorf("it names no %s", device)
	}
	var err error
	if pool.Subnet, err = netip.ParsePrefix(o.text("subnet")); err != nil || !pool.Subnet.Addr().Is4() {
		return Pool{}, fmt.Errorf("its subnet %q is not an IPv4 network such as 10.0.3.0/24", o.text("subnet"))
	}
	pool.Subnet = pool.Subnet.Masked()
	if pool.Gateway, err = netip.ParseAddr(o.text("gateway")); err != nil || !pool.Gateway.Is4() {
		return Pool{}, fmt.Errorf("its gateway %q is not an IPv4 address", o.text("gateway"))
	}
	return pool, nil
}

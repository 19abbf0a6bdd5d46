package manifest

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Network is run.json's network object in the flat form that the device reads
// (parser_system1.c, do_action_for_network). Recipes give it as a file
// network.json instead of the PV_NETWORK_* arguments.
type Network struct {
	Mode     string `json:"mode"` // "pool", "host", or empty: pool
	Pool     string `json:"pool"`
	Hostname string `json:"hostname"`
	IP       string `json:"ip"`
	MAC      string `json:"mac"`
}

// networkKeys are what the device looks up in that object.
var networkKeys = []string{"mode", "pool", "hostname", "ip", "mac"}

// ParseNetwork reads a network.json that somebody wrote. Keys that the device
// does not read, such as the "interfaces" of some documents, are errors.
func ParseNetwork(r io.Reader) (*Network, error) {
	data, err := readSmall(r)
	if err != nil {
		return nil, fmt.Errorf("read network: %w", err)
	}
	var n Network
	if err := decodeStrict(data, &n); err != nil {
		return nil, fmt.Errorf("read network: %w", err)
	}
	return &n, nil
}

// networkArgs are the arguments that say the same as a Network.
var networkArgs = []struct {
	arg  string
	text func(*Network) string
}{
	{"PV_NETWORK_POOL", func(n *Network) string { return n.Pool }},
	{"PV_NETWORK_HOSTNAME", func(n *Network) string { return n.Hostname }},
	{"PV_NETWORK_IP", func(n *Network) string { return n.IP }},
	{"PV_NETWORK_MAC", func(n *Network) string { return n.MAC }},
}

// network returns what run.json's network is made from, nil when there is none:
// s.Network if given, else the arguments. It reports what does not fit.
func (r *renderer) network() *Network {
	given := r.src.Network
	n := &Network{}
	if given == nil {
		n.Pool, n.Hostname = r.args.text("PV_NETWORK_POOL"), r.args.text("PV_NETWORK_HOSTNAME")
		n.IP, n.MAC = r.args.text("PV_NETWORK_IP"), r.args.text("PV_NETWORK_MAC")
	} else {
		*n = *given
		for _, a := range networkArgs {
			if r.args.has(a.arg) {
				r.conflict("args."+a.arg, "%s is given, and a network as well: want one of them", a.arg)
			}
			if text := a.text(n); text != "" {
				find(a.arg).check(r.checker, "network", text)
			}
		}
		r.checkMode(n)
	}
	if n.Pool == "" && n.Mode == "" {
		return nil
	}
	if n.Pool != "" && n.Hostname == "" {
		n.Hostname = r.src.Name
		r.notKey("name", "the host name, which is the container's name,", n.Hostname, networkKeys...)
	}
	return n
}

func (r *renderer) checkMode(n *Network) {
	switch {
	case n.Mode != "" && n.Mode != "pool" && n.Mode != "host":
		r.bad("network", "network: the mode is %q, want pool or host", shorten(n.Mode))
	case n.Mode == "host" && n.Pool != "":
		r.conflict("network", "network: mode host and a pool exclude each other")
	case n.Mode != "host" && n.Pool == "":
		r.bad("network", "network: no pool, so the device ignores it")
	}
}

func (n *Network) object() object {
	var o object
	o.addText("mode", n.Mode)
	o.addText("pool", n.Pool)
	o.addText("hostname", n.Hostname)
	o.addText("ip", n.IP)
	o.addText("mac", n.MAC)
	return o
}

// checkNetwork checks what the arguments about networks say together.
func (r *renderer) checkNetwork() {
	r.net = r.network()
	kind, pool := r.args.text("PV_LXC_NETWORK_TYPE"), r.net != nil && r.net.Pool != ""
	extra := false
	for line := range strings.SplitSeq(r.args.text("PV_LXC_EXTRA_CONF"), "\n") {
		extra = extra || strings.HasPrefix(strings.TrimLeft(line, " \t"), "lxc.net.")
	}
	switch {
	case pool && kind != "" && kind != "host":
		r.conflict("args.PV_NETWORK_POOL", "PV_NETWORK_POOL and PV_LXC_NETWORK_TYPE=%s exclude each other: a device refuses a pool beside lxc.net.*", kind)
	case pool && extra:
		r.conflict("args.PV_NETWORK_POOL", "PV_NETWORK_POOL and lxc.net.* in PV_LXC_EXTRA_CONF exclude each other: a device refuses both together")
	case pool && kind == "host":
		r.report(ruleConflict, diag.Warning, "args.PV_LXC_NETWORK_TYPE", "PV_LXC_NETWORK_TYPE=host has no effect beside PV_NETWORK_POOL", "")
	}
	only := func(arg, want string, ok bool) {
		if r.args.has(arg) && !ok {
			r.report(ruleConflict, diag.Warning, "args."+arg, arg+" has no effect without "+want, "")
		}
	}
	only("PV_NETWORK_HOSTNAME", "PV_NETWORK_POOL", pool)
	only("PV_NETWORK_IP", "PV_NETWORK_POOL", pool)
	only("PV_NETWORK_MAC", "PV_NETWORK_POOL", pool)
	only("PV_LXC_NETWORK_LINK", "PV_LXC_NETWORK_TYPE=phys", kind == "phys")
	only("PV_LXC_NETWORK_IPV4_ADDRESS", "PV_LXC_NETWORK_TYPE=veth", kind == "veth")
	only("PV_LXC_NETWORK_IPV4_GATEWAY", "PV_LXC_NETWORK_IPV4_ADDRESS", r.args.has("PV_LXC_NETWORK_IPV4_ADDRESS"))
	if kind == "phys" && !r.args.has("PV_LXC_NETWORK_LINK") {
		r.bad("args.PV_LXC_NETWORK_TYPE", "PV_LXC_NETWORK_TYPE=phys needs PV_LXC_NETWORK_LINK, the interface to move")
	}
	if kind != "" && kind != "host" && slices.Contains(strings.Fields(r.args.text("PV_LXC_NAMESPACE_KEEP")), "net") {
		r.conflict("args.PV_LXC_NAMESPACE_KEEP", "PV_LXC_NAMESPACE_KEEP keeps net, which PV_LXC_NETWORK_TYPE=%s takes away", kind)
	}
}

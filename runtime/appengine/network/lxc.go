package network

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// LXCInterface is one lxc.net.N of lxc.container.conf.
type LXCInterface struct {
	Type       string // veth, macvlan, phys, empty or none
	Link       string // bridge, parent or device of the host
	Name       string // in the container; ethN if not given
	Up         bool
	MAC        MAC
	MTU        int
	Addresses  []netip.Prefix
	Gateways   []netip.Addr
	GatewayDev bool // a default route through the interface, without a gateway
	AutoGW     bool // the gateway is the link's own address
}

// maxInterfaces bounds what one configuration can ask for.
const maxInterfaces = 64

// LXCInterfaces reads the lxc.net.* lines among a configuration's keys and
// values, which are those of lxc.container.conf(5). Later lines overwrite
// earlier ones, except addresses, which add up; an empty value clears. A key
// that has no effect here is a warning, one that cannot be obeyed an error.
func LXCInterfaces(lines iter.Seq2[string, string]) (list []LXCInterface, warnings []string, err error) {
	byIndex := map[int]*LXCInterface{}
	for key, value := range lines {
		rest, ours := strings.CutPrefix(key, "lxc.net")
		if !ours || (rest != "" && rest[0] != '.') {
			continue
		}
		if rest == "" {
			if value != "" {
				return nil, nil, fmt.Errorf("lxc.net = %q: only an empty value has a meaning", value)
			}
			clear(byIndex)
			continue
		}
		number, field, _ := strings.Cut(rest[1:], ".")
		n, nerr := strconv.Atoi(number)
		if nerr != nil || n < 0 || n >= maxInterfaces {
			return nil, nil, fmt.Errorf("%s: want lxc.net.N with N from 0 to %d", key, maxInterfaces-1)
		}
		if field == "" && value == "" {
			delete(byIndex, n)
			continue
		}
		i := byIndex[n]
		if i == nil {
			i = &LXCInterface{}
			byIndex[n] = i
		}
		known, err := i.set(field, value)
		if err != nil {
			return nil, nil, fmt.Errorf("%s = %s: %w", key, value, err)
		}
		if !known {
			warnings = append(warnings, key+" has no effect here")
		}
	}
	return finishLXC(byIndex, warnings)
}

func finishLXC(byIndex map[int]*LXCInterface, warnings []string) ([]LXCInterface, []string, error) {
	var list []LXCInterface
	for _, n := range slices.Sorted(maps.Keys(byIndex)) {
		i := byIndex[n]
		switch i.Type {
		case "":
			return nil, nil, fmt.Errorf("lxc.net.%d has no type: want veth, macvlan, phys, empty or none", n)
		case "macvlan", "phys":
			if i.Link == "" {
				return nil, nil, fmt.Errorf("lxc.net.%d.type = %s needs lxc.net.%d.link", n, i.Type, n)
			}
		}
		if !i.Up && (len(i.Gateways) > 0 || i.GatewayDev || i.AutoGW) {
			return nil, nil, fmt.Errorf("lxc.net.%d has a gateway and no flags = up: the route needs it", n)
		}
		if i.Name == "" && i.Type != "phys" { // a moved device keeps its name
			i.Name = "eth" + strconv.Itoa(n)
		}
		list = append(list, *i)
	}
	return list, warnings, nil
}

// set obeys one line; it says whether the key has an effect.
func (i *LXCInterface) set(field, value string) (known bool, err error) {
	switch field {
	case "type":
		switch value {
		case "veth", "macvlan", "phys", "empty", "none":
			i.Type = value
		default:
			return true, fmt.Errorf("want veth, macvlan, phys, empty or none")
		}
	case "link":
		i.Link, err = value, checkLink("link", value)
	case "name":
		i.Name, err = value, checkLink("name", value)
	case "flags":
		if value != "up" && value != "" {
			return true, fmt.Errorf("the only flag is up")
		}
		i.Up = value == "up"
	case "hwaddr":
		// LXC fills an x with a random digit; the same input gives the same bytes here.
		if strings.ContainsAny(value, "xX") {
			return false, nil
		}
		i.MAC, err = ParseMAC(value)
	case "mtu":
		i.MTU, err = strconv.Atoi(value)
		if err != nil || i.MTU < 68 || i.MTU > 65535 {
			return true, fmt.Errorf("want a number of bytes from 68 to 65535")
		}
	case "ipv4.address", "ipv6.address":
		return true, i.addAddress(field[:4], value)
	case "ipv4.gateway", "ipv6.gateway":
		return true, i.addGateway(field[:4], value)
	case "macvlan.mode":
		if value != "bridge" {
			return false, nil
		}
	default:
		return false, nil
	}
	return true, err
}

func (i *LXCInterface) addAddress(family, value string) error {
	if value == "" {
		i.Addresses = slices.DeleteFunc(i.Addresses, func(p netip.Prefix) bool { return familyOf(p.Addr()) == family })
		return nil
	}
	if len(i.Addresses) >= maxInterfaces {
		return fmt.Errorf("more than %d addresses", maxInterfaces)
	}
	text, _, _ := strings.Cut(value, " ") // a broadcast address may follow: the kernel computes it
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, aerr := netip.ParseAddr(text)
		if aerr != nil {
			return fmt.Errorf("want an address such as 10.0.3.2/24")
		}
		prefix = netip.PrefixFrom(addr, defaultBits(addr))
	}
	if familyOf(prefix.Addr()) != family || prefix.Addr().Zone() != "" {
		return fmt.Errorf("this is not an %s address", family)
	}
	if !prefix.Addr().IsGlobalUnicast() && !prefix.Addr().IsLinkLocalUnicast() {
		return fmt.Errorf("no interface can have this address")
	}
	i.Addresses = append(i.Addresses, prefix)
	return nil
}

func (i *LXCInterface) addGateway(family, value string) error {
	switch value {
	case "auto":
		i.AutoGW = true
		return nil
	case "dev":
		i.GatewayDev = true
		return nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || familyOf(addr) != family || addr.Zone() != "" {
		return fmt.Errorf("want an %s address, auto or dev", family)
	}
	i.Gateways = append(i.Gateways, addr)
	return nil
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "ipv4"
	}
	return "ipv6"
}

// defaultBits is the prefix length that LXC gives an address without one: that
// of its class (src/lxc/confile_utils.c, config_ip_prefix), 64 for IPv6.
func defaultBits(a netip.Addr) int {
	if !a.Is4() {
		return 64
	}
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	default:
		return 24
	}
}

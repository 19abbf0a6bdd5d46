package network

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
)

// Mode is where a container's network comes from.
type Mode int

// The modes.
const (
	ModeHost Mode = iota // the host's own namespace: nothing to do
	ModeNone             // a namespace with a loopback interface and no more
	ModeLXC              // the lxc.net.* lines of lxc.container.conf
	ModePool             // a pool of device.json
)

func (m Mode) String() string {
	return [...]string{"host", "none", "lxc", "pool"}[m]
}

// MAC is a hardware address. The zero value is none.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// ParseMAC reads six bytes of hex with colons or dashes. An address that no
// interface can have is refused.
func ParseMAC(text string) (MAC, error) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		return MAC{}, reasonf(ErrBadConfig, "mac %q: want six bytes such as 02:00:0a:00:05:32", text)
	}
	m := MAC(hw)
	switch {
	case m == MAC{}:
		return m, reasonf(ErrBadConfig, "mac %s: all zero is no address", m)
	case m[0]&1 != 0:
		return m, reasonf(ErrBadConfig, "mac %s: this is a multicast address, its first byte must be even", m)
	}
	return m, nil
}

// macOf derives the address as Pantavisor does: locally administered, unicast,
// and as unique as the IPv4 address (ipam.c, pv_ipam_generate_mac).
func macOf(ip netip.Addr) MAC {
	b := ip.As4()
	return MAC{0x02, 0x00, b[0], b[1], b[2], b[3]}
}

// Config is the value of network in run.json, as it is written.
type Config struct {
	Mode     string `json:"mode"`
	Pool     string `json:"pool"`
	Hostname string `json:"hostname"`
	IP       string `json:"ip"`
	MAC      string `json:"mac"`
}

// DecodeConfig reads the value of network in run.json. Unknown keys are
// ignored, as on a device.
func DecodeConfig(doc []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(doc, &c); err != nil {
		return Config{}, fmt.Errorf("read network: %w", err)
	}
	return c, nil
}

// Want is what one container asks of the network.
type Want struct {
	Container string
	Mode      Mode
	Hostname  string // the container's name if empty
	Pool      string // with ModePool, as the next two
	IP        netip.Addr
	Bits      int // of an address written with a prefix length, else 0
	MAC       MAC
	LXC       []LXCInterface // with ModeLXC
	Err       error          // why the container must be refused, found by Decide
}

// hostname is what the kernel takes (HOST_NAME_MAX) and /etc/hosts can carry.
var hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)

// Decide says what a container wants: from its network object in run.json
// (nil if it has none), from its lxc.net.* interfaces, and from whether its
// lxc.namespace.keep keeps net. A pool wins over a kept namespace and excludes
// lxc.net.*. What is wrong is kept in Want.Err, so that a plan can name it.
func Decide(container string, c *Config, lxc []LXCInterface, keepsNet bool) Want {
	w := Want{Container: container, LXC: lxc}
	switch {
	case c != nil && (c.Pool != "" || c.Mode == "pool"):
		w.Mode, w.LXC = ModePool, nil
		if len(lxc) > 0 {
			w.Err = reasonf(ErrConflict, "it wants the pool %q, and its lxc.container.conf has lxc.net.* lines: a pool and lxc.net.* exclude each other, remove one", c.Pool)
			return w
		}
		w.Err = w.readPool(c)
	case c != nil && c.Mode == "host":
		w.Mode, w.LXC = ModeHost, nil
		w.Err = w.readHostname(c.Hostname)
	case keepsNet && len(lxc) > 0:
		w.Mode = ModeLXC
		w.Err = reasonf(ErrConflict, "its lxc.container.conf keeps the host's net namespace and has lxc.net.* lines: remove net from lxc.namespace.keep")
	case keepsNet:
		w.Mode = ModeHost
	case slices.ContainsFunc(lxc, func(i LXCInterface) bool { return i.Type == "none" }):
		w.Mode, w.LXC = ModeHost, nil // LXC then makes no namespace
	default:
		w.Mode = ModeNone
		w.LXC = slices.DeleteFunc(slices.Clone(lxc), func(i LXCInterface) bool { return i.Type == "empty" })
		if len(w.LXC) > 0 {
			w.Mode = ModeLXC
		}
	}
	return w
}

func (w *Want) readHostname(name string) error {
	if name != "" && !hostname.MatchString(name) {
		return reasonf(ErrBadConfig, "hostname %q: want at most 64 letters, digits, dots and dashes", name)
	}
	w.Hostname = name
	return nil
}

func (w *Want) readPool(c *Config) (err error) {
	if w.Pool = c.Pool; c.Pool == "" {
		return reasonf(ErrBadConfig, "network has the mode pool and no pool: name one of device.json's")
	}
	if err := w.readHostname(c.Hostname); err != nil {
		return err
	}
	if c.IP != "" {
		// Pantavisor takes a prefix length here too.
		if prefix, perr := netip.ParsePrefix(c.IP); perr == nil {
			w.IP, w.Bits = prefix.Addr(), prefix.Bits()
		} else if w.IP, err = netip.ParseAddr(c.IP); err != nil {
			return reasonf(ErrBadConfig, "ip %q: want an IPv4 address such as 10.0.5.50", c.IP)
		}
		if !w.IP.Is4() {
			w.IP = netip.Addr{}
			return reasonf(ErrBadConfig, "ip %q: pools are IPv4, want an address such as 10.0.5.50", c.IP)
		}
	}
	if c.MAC != "" {
		w.MAC, err = ParseMAC(c.MAC)
	}
	return err
}

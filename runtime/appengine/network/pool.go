package network

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// PoolType is how the containers of a pool reach each other.
type PoolType int

// The types of pools.
const (
	Bridge  PoolType = iota // veth pairs into a bridge of the host
	Macvlan                 // macvlan interfaces below a device of the host
)

func (t PoolType) String() string {
	if t == Macvlan {
		return "macvlan"
	}
	return "bridge"
}

// Pool is an entry of network.pools in device.json, checked.
type Pool struct {
	Name    string
	Type    PoolType
	Bridge  string // the bridge's name, made if it is not there
	Parent  string // of macvlan
	Subnet  netip.Prefix
	Gateway netip.Addr // with a bridge, the bridge's own address
	NAT     bool       // masquerade what leaves the bridge; with macvlan nothing does
}

// PoolSpec is an entry of network.pools as device.json writes it.
type PoolSpec struct {
	Type    string `json:"type"`
	Bridge  string `json:"bridge"`
	Parent  string `json:"parent"`
	Subnet  string `json:"subnet"`
	Gateway string `json:"gateway"`
	NAT     bool   `json:"nat"`
}

// DecodePools reads the value of network.pools in device.json. It gives the
// pools that can be used, by name, and joins a *[Refusal] for each that cannot.
func DecodePools(doc []byte) ([]Pool, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(doc, &raw); err != nil {
		return nil, fmt.Errorf("read network.pools: %w", err)
	}
	var pools []Pool
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		var spec PoolSpec
		err := json.Unmarshal(raw[name], &spec)
		if err != nil {
			errs = append(errs, &Refusal{Pool: name, Err: reasonf(ErrBadPool, "read its entry: %v", err)})
			continue
		}
		pool, err := spec.Pool(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pools = append(pools, pool)
	}
	return pools, errors.Join(errs...)
}

// Pool checks the entry. The error is a *[Refusal].
func (s PoolSpec) Pool(name string) (Pool, error) {
	pool, err := s.check(name)
	if err != nil {
		return Pool{}, &Refusal{Pool: name, Err: err}
	}
	return pool, nil
}

func (s PoolSpec) check(name string) (p Pool, err error) {
	p = Pool{Name: name, NAT: s.NAT}
	switch s.Type {
	case "", "bridge":
		p.Bridge = s.Bridge
	case "macvlan":
		p.Type, p.Parent = Macvlan, s.Parent
	default:
		return p, reasonf(ErrBadPool, "its type is %q: want bridge or macvlan", s.Type)
	}
	if err := p.checkLink(); err != nil {
		return p, err
	}
	subnet, err := netip.ParsePrefix(s.Subnet)
	if err != nil {
		return p, reasonf(ErrBadPool, "its subnet is %q: want an IPv4 network such as 10.0.5.0/24", s.Subnet)
	}
	p.Subnet = subnet.Masked() // Pantavisor masks it too
	if err := p.checkSubnet(); err != nil {
		return p, err
	}
	p.Gateway, err = netip.ParseAddr(s.Gateway)
	if err != nil {
		return p, reasonf(ErrBadPool, "its gateway is %q: want an IPv4 address from %s", s.Gateway, p.hostRange())
	}
	return p, p.check()
}

// check holds a pool against everything that one alone must be.
func (p Pool) check() error {
	if p.Name == "" {
		return reasonf(ErrBadPool, "a pool needs a name")
	}
	if err := p.checkLink(); err != nil {
		return err
	}
	if err := p.checkSubnet(); err != nil {
		return err
	}
	if !p.usable(p.Gateway) {
		return reasonf(ErrBadPool, "its gateway %s is not usable: want one from %s", p.Gateway, p.hostRange())
	}
	return nil
}

func (p Pool) checkLink() error {
	if p.Type == Macvlan {
		return checkLink("parent", p.Parent)
	}
	return checkLink("bridge", p.Bridge)
}

func (p Pool) checkSubnet() error {
	switch {
	case !p.Subnet.IsValid() || !p.Subnet.Addr().Is4() || p.Subnet != p.Subnet.Masked():
		return reasonf(ErrBadPool, "its subnet is %s: want an IPv4 network such as 10.0.5.0/24", p.Subnet)
	case p.Subnet.Bits() > 31 || p.Subnet.Bits() < 1:
		return reasonf(ErrBadPool, "its subnet %s has no room for a gateway and a container: want /1 to /31", p.Subnet)
	}
	return nil
}

// checkLink holds a name against the kernel's dev_valid_name (net/core/dev.c).
func checkLink(key, name string) error {
	switch {
	case name == "":
		return reasonf(ErrBadPool, "it has no %s: want the name of a network interface", key)
	case len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/:\x00") || strings.ContainsFunc(name, unicode.IsSpace):
		return reasonf(ErrBadPool, "%s %q cannot be the name of a network interface: want at most 15 bytes without blank, / and :", key, name)
	}
	return nil
}

// first and last are the lowest and highest address a host can have. A /31
// has neither network nor broadcast address (RFC 3021).
func (p Pool) first() netip.Addr {
	if p.Subnet.Bits() == 31 {
		return p.Subnet.Addr()
	}
	return p.Subnet.Addr().Next()
}

func (p Pool) last() netip.Addr {
	base := p.Subnet.Addr().As4()
	top := binary.BigEndian.Uint32(base[:]) | (1<<(32-p.Subnet.Bits()) - 1)
	if p.Subnet.Bits() < 31 {
		top--
	}
	var last [4]byte
	binary.BigEndian.PutUint32(last[:], top)
	return netip.AddrFrom4(last)
}

func (p Pool) usable(a netip.Addr) bool {
	return a.Is4() && a.Compare(p.first()) >= 0 && a.Compare(p.last()) <= 0
}

func (p Pool) hostRange() string { return p.first().String() + " to " + p.last().String() }

// on tells whether the pool lives on the named bridge.
func (p Pool) on(bridge string) bool { return p.Type == Bridge && p.Bridge == bridge }

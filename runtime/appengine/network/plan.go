package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Kind is what an interface of a container is on the host's side.
type Kind int

// The kinds of interfaces.
const (
	KindVeth    Kind = iota // one end of a pair; the other is a port of the bridge Link, if there is one
	KindMacvlan             // a sub-interface of Link
	KindPhys                // the host's device Link itself, moved
)

// Interface is one interface of a container, decided.
type Interface struct {
	Name       string // in the container; empty keeps the name of a moved device
	Kind       Kind
	Link       string
	Pool       string // empty for lxc.net.*
	Up         bool
	MAC        MAC // zero: the kernel's choice
	MTU        int // 0: the kernel's choice
	Addresses  []netip.Prefix
	Gateways   []netip.Addr
	GatewayDev bool
	AutoGW     bool // the gateway is Link's address when the container is attached
}

// Endpoint is what a container gets.
type Endpoint struct {
	Container  string
	Mode       Mode
	Hostname   string
	Interfaces []Interface
}

// IPs lists the endpoint's addresses, as lxc-ls shows them.
func (e Endpoint) IPs() []netip.Addr {
	var ips []netip.Addr
	for _, i := range e.Interfaces {
		for _, a := range i.Addresses {
			ips = append(ips, a.Addr())
		}
	}
	return ips
}

// NewNamespace tells whether the container needs a network namespace of its own.
func (e Endpoint) NewNamespace() bool { return e.Mode != ModeHost }

// Plan is the answer for all containers of a state. It does not change.
type Plan struct {
	pools    []Pool
	refused  map[string]*Refusal // pools
	order    []string            // containers
	end      map[string]Endpoint
	problems map[string]*Refusal // containers
	leases   map[lease]netip.Addr
	notes    []string
	warnings []string
}

// lease names who has an address: addresses are kept per pool and container.
type lease struct{ pool, container string }

// NewPlan decides for all containers of a state, given in the order in which
// they start. Addresses of lxc.net.* come first, then the static ones, then
// those to be chosen: a container keeps the one it has in previous (nil if
// there is none), the others get the lowest free one above the gateway in the
// order of wants, and when there is none above, below it.
//
// A pool or container that cannot be served does not stop the others: see
// [Plan.Refusals].
func NewPlan(pools []Pool, wants []Want, previous *Plan) *Plan {
	p := &Plan{
		refused: map[string]*Refusal{}, end: map[string]Endpoint{},
		problems: map[string]*Refusal{}, leases: map[lease]netip.Addr{},
	}
	b := &builder{Plan: p, owner: map[string]map[netip.Addr]string{}, macs: map[string]map[MAC]string{}, onLink: map[linkAddr]string{}}
	b.addPools(pools)
	fresh := make([]Want, 0, len(wants))
	seen := map[string]bool{}
	for _, w := range wants {
		if seen[w.Container] {
			p.problems[w.Container] = &Refusal{Container: w.Container, Other: w.Container, Err: reasonf(ErrCollision, "there are two containers of this name: already in use")}
			continue
		}
		seen[w.Container] = true
		p.order = append(p.order, w.Container)
		if w.Err != nil {
			b.refuse(w, "", w.Err)
			continue
		}
		fresh = append(fresh, w)
	}
	b.serve(fresh, previous)
	b.checkHostnames()
	return p
}

func (b *builder) serve(wants []Want, previous *Plan) {
	for _, w := range wants {
		switch w.Mode {
		case ModeLXC:
			b.lxc(w)
		case ModeHost, ModeNone:
			b.end[w.Container] = Endpoint{Container: w.Container, Mode: w.Mode, Hostname: cmp.Or(w.Hostname, w.Container)}
		}
	}
	var dynamic []Want
	for _, w := range wants {
		if w.Mode == ModePool && w.IP.IsValid() {
			b.static(w)
		} else if w.Mode == ModePool {
			dynamic = append(dynamic, w)
		}
	}
	var rest []Want
	for _, w := range dynamic {
		if !b.keep(w, previous) {
			rest = append(rest, w)
		}
	}
	for _, w := range rest {
		b.choose(w)
	}
}

// Endpoint says what a container gets. The error is the *[Refusal] of a
// container that must not start, or wraps [ErrUnknown].
func (p *Plan) Endpoint(container string) (Endpoint, error) {
	if r := p.problems[container]; r != nil {
		return Endpoint{}, r
	}
	e, ok := p.end[container]
	if !ok {
		return Endpoint{}, fmt.Errorf("container %q: %w", container, ErrUnknown)
	}
	return e, nil
}

// Pools lists the pools that can be used, by name.
func (p *Plan) Pools() []Pool { return slices.Clone(p.pools) }

// Refusals lists the pools, by name, and then the containers, in the order of
// their starts, that cannot be served.
func (p *Plan) Refusals() []*Refusal {
	var all []*Refusal
	for _, r := range p.refused {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *Refusal) int { return strings.Compare(a.Pool, b.Pool) })
	for _, c := range p.order {
		if r := p.problems[c]; r != nil {
			all = append(all, r)
		}
	}
	return all
}

// Notes says what was decided, in the words that Pantavisor logs and its test
// plans look for.
func (p *Plan) Notes() []string { return slices.Clone(p.notes) }

// Warnings says what works differently from what somebody may have meant.
func (p *Plan) Warnings() []string { return slices.Clone(p.warnings) }

// builder is a plan in the making.
type builder struct {
	*Plan
	owner map[string]map[netip.Addr]string // pool, address: who has it
	macs  map[string]map[MAC]string        // link, MAC: who has it
	// onLink holds the addresses of lxc.net.* on links that no pool has.
	onLink map[linkAddr]string
}

type linkAddr struct {
	link string
	addr netip.Addr
}

func (b *builder) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

func (b *builder) addPools(pools []Pool) {
	pools = slices.Clone(pools)
	slices.SortStableFunc(pools, func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range pools {
		err := b.admit(p)
		if err != nil {
			if b.refused[p.Name] == nil {
				b.refused[p.Name] = &Refusal{Pool: p.Name, Other: err.other, Err: err.error}
			}
			continue
		}
		b.pools = append(b.pools, p)
		b.owner[p.Name] = map[netip.Addr]string{}
		b.note("added pool '%s': type=%s, subnet=%s, gateway=%s, nat=%s", p.Name, p.Type, p.Subnet, p.Gateway, yesNo(p.NAT))
		if p.NAT && p.Type == Macvlan {
			b.warnings = append(b.warnings, fmt.Sprintf("pool %q: nat has no effect with the type macvlan", p.Name))
		}
	}
}

// poolError names the other pool of an error, if there is one.
type poolError struct {
	error
	other string
}

func (b *builder) admit(p Pool) *poolError {
	if err := p.check(); err != nil {
		return &poolError{error: err}
	}
	for _, o := range b.pools {
		switch {
		case o.Name == p.Name:
			return &poolError{reasonf(ErrBadPool, "there are two pools of this name"), o.Name}
		case o.Subnet.Overlaps(p.Subnet):
			return &poolError{reasonf(ErrOverlap, "its subnet %s overlaps with %s of pool %q", p.Subnet, o.Subnet, o.Name), o.Name}
		}
	}
	return nil
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func (b *builder) refuse(w Want, other string, err error) {
	b.problems[w.Container] = &Refusal{Container: w.Container, Pool: w.Pool, Other: other, Err: err}
}

// pool finds the wanted pool, or refuses the container.
func (b *builder) pool(w Want) (Pool, bool) {
	i := slices.IndexFunc(b.pools, func(p Pool) bool { return p.Name == w.Pool })
	if i >= 0 {
		return b.pools[i], true
	}
	if r := b.refused[w.Pool]; r != nil {
		b.refuse(w, r.Other, fmt.Errorf("its pool %q is refused: %w", w.Pool, r.Err))
		return Pool{}, false
	}
	names := make([]string, len(b.pools))
	for i, p := range b.pools {
		names[i] = p.Name
	}
	has := "no pools"
	if len(names) > 0 {
		has = "the pools " + strings.Join(names, ", ")
	}
	b.refuse(w, "", reasonf(ErrUnknownPool, "unknown pool %q: device.json has %s", w.Pool, has))
	return Pool{}, false
}

// lxc serves a container that brings lxc.net.* lines. Addresses inside a pool
// are kept from the pool, whatever the link: that is how Pantavisor reads them.
func (b *builder) lxc(w Want) {
	e := Endpoint{Container: w.Container, Mode: ModeLXC, Hostname: cmp.Or(w.Hostname, w.Container)}
	for _, l := range w.LXC {
		i := Interface{Name: l.Name, Link: l.Link, Up: l.Up, MAC: l.MAC, MTU: l.MTU,
			Addresses: l.Addresses, Gateways: l.Gateways, GatewayDev: l.GatewayDev, AutoGW: l.AutoGW}
		switch l.Type {
		case "macvlan":
			i.Kind = KindMacvlan
		case "phys":
			i.Kind = KindPhys
		}
		e.Interfaces = append(e.Interfaces, i)
	}
	for _, i := range e.Interfaces {
		if other, err := b.freeLXC(i); err != nil {
			b.refuse(w, other, fmt.Errorf("its lxc.container.conf: %w", err))
			return
		}
	}
	for _, i := range e.Interfaces {
		b.takeMAC(i.Link, i.MAC, w.Container)
		for _, a := range i.Addresses {
			b.onLink[linkAddr{i.Link, a.Addr()}] = w.Container
			for _, p := range b.pools {
				if p.Subnet.Contains(a.Addr()) {
					b.owner[p.Name][a.Addr()] = w.Container
					b.note("reserved static IP %s (from %s) in pool '%s'", a.Addr(), w.Container, p.Name)
				}
			}
		}
	}
	b.end[w.Container] = e
}

func (b *builder) freeLXC(i Interface) (other string, err error) {
	if other := b.macs[i.Link][i.MAC]; other != "" && i.Link != "" {
		return other, reasonf(ErrCollision, "mac %s is already in use by container %q on %s", i.MAC, other, i.Link)
	}
	for _, a := range i.Addresses {
		if other := b.onLink[linkAddr{i.Link, a.Addr()}]; other != "" && i.Link != "" {
			return other, reasonf(ErrCollision, "address %s is already in use by container %q on %s", a.Addr(), other, i.Link)
		}
		for _, p := range b.pools {
			if !p.Subnet.Contains(a.Addr()) {
				continue
			}
			if other, err := b.free(p, a.Addr()); err != nil {
				return other, err
			}
		}
	}
	return "", nil
}

func (b *builder) takeMAC(link string, mac MAC, container string) {
	if mac == (MAC{}) || link == "" {
		return
	}
	if b.macs[link] == nil {
		b.macs[link] = map[MAC]string{}
	}
	b.macs[link][mac] = container
}

// free tells whether a container may have an address of a pool, and if not,
// why and because of whom.
func (b *builder) free(p Pool, a netip.Addr) (other string, err error) {
	switch {
	case !p.Subnet.Contains(a):
		return "", reasonf(ErrOutsideSubnet, "address %s is outside the subnet %s of pool %q: want one from %s", a, p.Subnet, p.Name, p.hostRange())
	case a == p.Gateway:
		return "", reasonf(ErrReserved, "address %s is the gateway of pool %q: want another from %s", a, p.Name, p.hostRange())
	case !p.usable(a):
		return "", reasonf(ErrReserved, "address %s is the network or broadcast address of %s: want one from %s", a, p.Subnet, p.hostRange())
	}
	if other := b.owner[p.Name][a]; other != "" {
		return other, reasonf(ErrCollision, "address %s of pool %q is already in use by container %q", a, p.Name, other)
	}
	return "", nil
}

func (b *builder) static(w Want) {
	p, ok := b.pool(w)
	if !ok {
		return
	}
	if other, err := b.free(p, w.IP); err != nil {
		b.refuse(w, other, err)
		return
	}
	if w.Bits != 0 && w.Bits != p.Subnet.Bits() {
		b.refuse(w, "", reasonf(ErrBadConfig, "address %s/%d: the pool %q has the subnet %s, so want /%d or none", w.IP, w.Bits, p.Name, p.Subnet, p.Subnet.Bits()))
		return
	}
	if b.give(w, p, w.IP) {
		b.note("reserved %s for %s in pool %s", w.IP, w.Container, p.Name)
	}
}

// keep gives a container the address that it has already.
func (b *builder) keep(w Want, previous *Plan) bool {
	if previous == nil {
		return false
	}
	had, ok := previous.leases[lease{w.Pool, w.Container}]
	if !ok {
		return false
	}
	p, ok := b.pool(w)
	if !ok {
		return true // and refused
	}
	if _, err := b.free(p, had); err != nil {
		return false
	}
	if b.give(w, p, had) {
		b.note("reusing existing lease for %s: %s/%d", w.Container, had, p.Subnet.Bits())
	}
	return true
}

func (b *builder) choose(w Want) {
	p, ok := b.pool(w)
	if !ok {
		return
	}
	a := p.Gateway
	// Every address that is not free is in use or the gateway, so this ends
	// after as many steps as there are addresses in use, however large the pool.
	for range len(b.owner[p.Name]) + 1 {
		if a = a.Next(); !p.usable(a) {
			a = p.first()
		}
		if _, err := b.free(p, a); err == nil {
			if b.give(w, p, a) {
				b.note("allocated %s/%d to %s from pool %s", a, p.Subnet.Bits(), w.Container, p.Name)
			}
			return
		}
	}
	b.refuse(w, "", reasonf(ErrPoolFull, "the pool %q is full: all addresses from %s but the gateway are in use", p.Name, p.hostRange()))
}

// give records the address, unless the hardware address stands in the way.
func (b *builder) give(w Want, p Pool, a netip.Addr) bool {
	mac := w.MAC
	if mac == (MAC{}) {
		mac = macOf(a)
	}
	link := cmp.Or(p.Bridge, p.Parent)
	if other := b.macs[link][mac]; other != "" {
		b.refuse(w, other, reasonf(ErrCollision, "mac %s is already in use by container %q on %s", mac, other, link))
		return false
	}
	b.takeMAC(link, mac, w.Container)
	b.owner[p.Name][a] = w.Container
	b.leases[lease{p.Name, w.Container}] = a
	i := Interface{Name: "eth0", Link: link, Pool: p.Name, Up: true, MAC: mac,
		Addresses: []netip.Prefix{netip.PrefixFrom(a, p.Subnet.Bits())}, Gateways: []netip.Addr{p.Gateway}}
	if p.Type == Macvlan {
		i.Kind = KindMacvlan
	}
	b.end[w.Container] = Endpoint{Container: w.Container, Mode: ModePool, Hostname: cmp.Or(w.Hostname, w.Container), Interfaces: []Interface{i}}
	return true
}

// IsRefusal gives the refusal in an error's chain.
func IsRefusal(err error) (*Refusal, bool) {
	return errors.AsType[*Refusal](err)
}

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// attachment is a container that has its network.
type attachment struct {
	ns     *netns
	ends   []int // the numbers of the interfaces with an end on the host
	moved  []moved
	inside []string // macvlan interfaces: the host sees nothing of them
}

// moved is a device of the host that is in the container.
type moved struct{ inside, outside string }

// Attach gives a process's network namespace what the endpoint says: the
// loopback interface up, the interfaces with their addresses and the routes.
// The process must have a namespace of its own, except with [ModeHost], for
// which there is nothing to do. Attaching again mends what is missing and
// leaves connections alone; what an earlier namespace of the container had is
// taken down first. After an error nothing of it is left.
func (h *Host) Attach(pid int, e Endpoint) (err error) {
	if e.Mode == ModeHost {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns == nil {
		return errClosed
	}
	ns, err := openNetNS(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("attach container %q: %w", e.Container, err)
	}
	if ns.id == h.ns.id {
		ns.close()
		return fmt.Errorf("attach container %q: process %d: %w", e.Container, pid, ErrSharedNetNS)
	}
	at := h.attached[e.Container]
	if at != nil && at.ns.id == ns.id {
		ns.close()
	} else {
		if at != nil {
			err = h.detach(e.Container)
		}
		at = &attachment{ns: ns}
		h.attached[e.Container] = at
	}
	if err == nil {
		err = h.attach(at, e)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("attach container %q: %w", e.Container, err), h.detach(e.Container))
	}
	return nil
}

func (h *Host) attach(at *attachment, e Endpoint) error {
	in, err := at.ns.handle()
	if err != nil {
		return err
	}
	defer in.Close()
	lo, err := in.LinkByName("lo")
	if err == nil {
		err = in.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	for n, i := range e.Interfaces {
		if err := h.failed[i.Pool]; err != nil {
			return err
		}
		var l netlink.Link
		switch i.Kind {
		case KindVeth:
			l, err = h.veth(at, in, e.Container, n, i)
		case KindMacvlan:
			l, err = h.macvlan(at, in, i)
		case KindPhys:
			l, err = h.phys(at, in, i)
		}
		if err == nil {
			err = h.configure(in, l, i)
		}
		if err != nil {
			return fmt.Errorf("interface %d: %w", n, err)
		}
	}
	return nil
}

// veth gives the container's end of a pair.
func (h *Host) veth(at *attachment, in *netlink.Handle, container string, n int, i Interface) (netlink.Link, error) {
	inside, err := link(in, i.Name)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(at.ends, n) {
		at.ends = append(at.ends, n)
	}
	alias := h.mark.end(container, n)
	outside, name, err := h.end(container, n, alias)
	if err != nil {
		return nil, err
	}
	if inside != nil && outside != nil && inside.Attrs().ParentIndex == outside.Attrs().Index && outside.Attrs().ParentIndex == inside.Attrs().Index {
		return inside, h.port(outside, i.Link)
	}
	if outside != nil { // its other end is in a namespace of yesterday
		if err := h.nl.LinkDel(outside); err != nil && !missing(err) {
			return nil, fmt.Errorf("remove %s: %w", name, err)
		}
		if inside, err = link(in, i.Name); err != nil {
			return nil, err
		}
	}
	if inside != nil {
		return nil, fmt.Errorf("the container has another interface %s already, a %s", i.Name, inside.Type())
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, i.MTU
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: i.Name, PeerNamespace: netlink.NsFd(at.ns.fd())}
	if i.MAC != (MAC{}) {
		pair.PeerHardwareAddr = i.MAC[:]
	}
	if err := h.nl.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make the pair %s and %s: %w", name, i.Name, err)
	}
	if err := h.nl.LinkSetAlias(pair, alias); err != nil {
		return nil, fmt.Errorf("mark %s as ours: %w", name, err)
	}
	if err := h.port(pair, i.Link); err != nil {
		return nil, err
	}
	return in.LinkByName(i.Name)
}

// end finds the host's end of a container's interface, and the name that it
// has or can have. One without an alias is ours too: the kernel sets the alias
// in a second step, before which we may have been killed, and the name is a
// digest that nobody else has by chance.
func (h *Host) end(container string, n int, alias string) (netlink.Link, string, error) {
	for attempt := range 8 {
		name := h.mark.name(container, n, attempt)
		l, err := link(h.nl, name)
		if err != nil || l == nil || l.Attrs().Alias == alias || l.Attrs().Alias == "" {
			return l, name, err
		}
	}
	return nil, "", fmt.Errorf("no free name for the host's end: others have all that could be")
}

// port makes the host's end a port of the bridge and sets it up.
func (h *Host) port(end netlink.Link, bridge string) error {
	if bridge != "" {
		l, err := h.bridge(bridge)
		if err != nil {
			return err
		}
		if end.Attrs().MasterIndex != l.Attrs().Index {
			if err := h.nl.LinkSetMaster(end, l); err != nil {
				return fmt.Errorf("make %s a port of bridge %s: %w", end.Attrs().Name, bridge, err)
			}
		}
	}
	if err := h.nl.LinkSetUp(end); err != nil {
		return fmt.Errorf("set %s up: %w", end.Attrs().Name, err)
	}
	return nil
}

// bridge finds a bridge, and makes the default one.
func (h *Host) bridge(name string) (netlink.Link, error) {
	l, err := link(h.nl, name)
	if err == nil && l == nil && name == h.opts.DefaultBridge && h.opts.DefaultBridgeAddress.IsValid() {
		if err = h.ensureBridge(name, h.opts.DefaultBridgeAddress); err == nil {
			l, err = link(h.nl, name)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case l == nil:
		return nil, fmt.Errorf("bridge %s does not exist: no pool has it, and nobody else made it", name)
	case l.Type() != "bridge":
		return nil, fmt.Errorf("%s is a %s, not a bridge", name, l.Type())
	}
	return l, nil
}

func (h *Host) macvlan(at *attachment, in *netlink.Handle, i Interface) (netlink.Link, error) {
	parent, err := link(h.nl, i.Link)
	if err == nil && parent == nil {
		err = fmt.Errorf("the parent %s does not exist on this host", i.Link)
	}
	if err != nil {
		return nil, err
	}
	inside, err := link(in, i.Name)
	if err != nil {
		return nil, err
	}
	if inside != nil {
		if inside.Type() == "macvlan" && inside.Attrs().ParentIndex == parent.Attrs().Index {
			at.keep(i.Name)
			return inside, nil
		}
		return nil, fmt.Errorf("the container has another interface %s already, a %s", i.Name, inside.Type())
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.ParentIndex = i.Name, i.MTU, parent.Attrs().Index
	attrs.Namespace = netlink.NsFd(at.ns.fd())
	if i.MAC != (MAC{}) {
		attrs.HardwareAddr = i.MAC[:]
	}
	if err := h.nl.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return nil, fmt.Errorf("make %s below %s: %w", i.Name, i.Link, err)
	}
	at.keep(i.Name)
	return in.LinkByName(i.Name)
}

func (at *attachment) keep(name string) {
	if !slices.Contains(at.inside, name) {
		at.inside = append(at.inside, name)
	}
}

// phys moves a device of the host into the container. While it is there the
// kernel has it down, so it is configured anew.
func (h *Host) phys(at *attachment, in *netlink.Handle, i Interface) (netlink.Link, error) {
	name := i.Name
	if name == "" {
		name = i.Link
	}
	if slices.Contains(at.moved, moved{name, i.Link}) {
		return in.LinkByName(name)
	}
	l, err := link(h.nl, i.Link)
	if err == nil && l == nil {
		err = fmt.Errorf("the device %s does not exist on this host", i.Link)
	}
	if err != nil {
		return nil, err
	}
	if err := h.nl.LinkSetNsFd(l, at.ns.fd()); err != nil {
		return nil, fmt.Errorf("move %s into the container: %w", i.Link, err)
	}
	at.moved = append(at.moved, moved{i.Link, i.Link})
	l, err = in.LinkByName(i.Link)
	if err == nil && name != i.Link {
		if err = in.LinkSetName(l, name); err == nil {
			at.moved[len(at.moved)-1].inside = name
			l, err = in.LinkByName(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("name %s in the container: %w", name, err)
	}
	if i.MAC != (MAC{}) {
		err = in.LinkSetHardwareAddr(l, i.MAC[:])
	}
	if err == nil && i.MTU != 0 {
		err = in.LinkSetMTU(l, i.MTU)
	}
	return l, err
}

// configure gives an interface its addresses and routes.
func (h *Host) configure(in *netlink.Handle, l netlink.Link, i Interface) error {
	for _, a := range i.Addresses {
		if err := in.AddrReplace(l, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
			return fmt.Errorf("give %s the address %s: %w", l.Attrs().Name, a, err)
		}
	}
	if !i.Up {
		return nil
	}
	if err := in.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", l.Attrs().Name, err)
	}
	gateways := i.Gateways
	if i.AutoGW {
		auto, err := h.autoGateway(i.Link)
		if err != nil {
			return err
		}
		gateways = append(slices.Clone(gateways), auto)
	}
	for _, gw := range gateways {
		r := defaultRoute(l, gw)
		if !slices.ContainsFunc(i.Addresses, func(a netip.Prefix) bool { return a.Contains(gw) }) {
			r.Flags = int(netlink.FLAG_ONLINK) // LXC makes a route to the gateway then
		}
		if err := in.RouteReplace(r); err != nil {
			return fmt.Errorf("route through the gateway %s: %w", gw, err)
		}
	}
	if i.GatewayDev {
		r := defaultRoute(l, netip.IPv4Unspecified())
		r.Gw, r.Scope = nil, netlink.SCOPE_LINK
		if err := in.RouteReplace(r); err != nil {
			return fmt.Errorf("route through %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

func defaultRoute(l netlink.Link, gw netip.Addr) *netlink.Route {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if gw.Is6() {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(all), Gw: net.IP(gw.AsSlice())}
}

// autoGateway is the first IPv4 address of the host's interface.
func (h *Host) autoGateway(name string) (netip.Addr, error) {
	l, err := link(h.nl, name)
	if err != nil {
		return netip.Addr{}, err
	}
	if l != nil {
		has, err := addresses(h.nl, l)
		if err != nil {
			return netip.Addr{}, err
		}
		for _, a := range has {
			if p := prefixOf(a); p.Addr().Is4() {
				return p.Addr(), nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("the gateway is auto, and the link %q has no IPv4 address on this host", name)
}

// Detach takes a container's interfaces away and gives moved devices back. It
// does nothing for a container that is not attached. Call it when the
// container has ended too: until then its network namespace stays.
func (h *Host) Detach(container string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns == nil {
		return errClosed
	}
	if err := h.detach(container); err != nil {
		return fmt.Errorf("detach container %q: %w", container, err)
	}
	return nil
}

func (h *Host) detach(container string) error {
	at := h.attached[container]
	if at == nil {
		return nil
	}
	delete(h.attached, container)
	var errs []error
	if len(at.moved)+len(at.inside) > 0 {
		errs = append(errs, h.clear(at))
	}
	for _, n := range at.ends {
		l, _, err := h.end(container, n, h.mark.end(container, n))
		if err == nil && l != nil {
			err = h.nl.LinkDel(l)
		}
		if err != nil && !missing(err) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, at.ns.close())
	return errors.Join(errs...)
}

// clear removes macvlan interfaces and moves devices back to the host. When the
// container's namespace dies first, the kernel does so for hardware; virtual
// devices die with it.
func (h *Host) clear(at *attachment) error {
	in, err := at.ns.handle()
	if err != nil {
		return err
	}
	defer in.Close()
	var errs []error
	for _, name := range at.inside {
		l, err := link(in, name)
		if err == nil && l != nil {
			err = in.LinkDel(l)
		}
		errs = append(errs, err)
	}
	for _, m := range at.moved {
		l, err := link(in, m.inside)
		if err != nil || l == nil {
			errs = append(errs, err)
			continue
		}
		err = in.LinkSetDown(l)
		if err == nil && m.inside != m.outside {
			err = in.LinkSetName(l, m.outside)
		}
		if err == nil {
			err = in.LinkSetNsFd(l, h.ns.fd())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("give %s back: %w", m.outside, err))
		}
	}
	return errors.Join(errs...)
}

// removeEnds deletes the host's ends that an earlier engine left.
func (h *Host) removeEnds() error {
	all, err := links(h.nl)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, l := range all {
		if alias := l.Attrs().Alias; h.mark.owns(alias) && alias != h.mark.bridge() {
			if err := h.nl.LinkDel(l); err != nil && !missing(err) {
				errs = append(errs, fmt.Errorf("remove %s: %w", l.Attrs().Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

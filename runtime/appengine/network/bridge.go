package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

func (h *Host) setupPool(p Pool) error {
	if p.Type == Macvlan {
		l, err := link(h.nl, p.Parent)
		if err == nil && l == nil {
			err = fmt.Errorf("its parent %s does not exist on this host", p.Parent)
		}
		return err
	}
	return h.ensureBridge(p.Bridge, netip.PrefixFrom(p.Gateway, p.Subnet.Bits()))
}

// ensureBridge makes a bridge with an address, or adds the address to the one
// that is there.
func (h *Host) ensureBridge(name string, addr netip.Prefix) error {
	if err := h.checkSubnet(name, addr); err != nil {
		return err
	}
	l, err := link(h.nl, name)
	if err != nil {
		return err
	}
	if l == nil {
		return h.makeBridge(name, addr)
	}
	if l.Type() != "bridge" {
		return fmt.Errorf("%s exists on this host and is a %s, not a bridge", name, l.Type())
	}
	has, err := addresses(h.nl, l)
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", name, err)
	}
	ours := h.mark.owns(l.Attrs().Alias)
	if !slices.ContainsFunc(has, func(a netlink.Addr) bool { return prefixOf(a) == addr }) {
		if err := h.addAddress(l, addr); err != nil {
			return err
		}
		if !ours {
			h.added = append(h.added, hostAddr{name, addr})
		}
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		if err := h.nl.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
		if !ours {
			h.raised = append(h.raised, name)
		}
	}
	return nil
}

func (h *Host) makeBridge(name string, addr netip.Prefix) (err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	// Without an address of its own a bridge takes the lowest of its ports, a
	// different one whenever they come and go.
	mac := macOf(addr.Addr())
	attrs.HardwareAddr = mac[:]
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := h.nl.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make bridge %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.nl.LinkDel(bridge))
		}
	}()
	if err := h.nl.LinkSetAlias(bridge, h.mark.bridge()); err != nil {
		return fmt.Errorf("mark bridge %s as ours: %w", name, err)
	}
	if err := h.addAddress(bridge, addr); err != nil {
		return err
	}
	if err := h.nl.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set bridge %s up: %w", name, err)
	}
	h.log.Info(fmt.Sprintf("created bridge %s with IP %s", name, addr))
	return nil
}

func (h *Host) addAddress(l netlink.Link, addr netip.Prefix) error {
	if err := h.nl.AddrReplace(l, &netlink.Addr{IPNet: ipNet(addr)}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", l.Attrs().Name, addr, err)
	}
	return nil
}

// checkSubnet refuses a network that the host reaches through another
// interface: half of it would be cut off, one side or the other.
func (h *Host) checkSubnet(name string, addr netip.Prefix) error {
	all, err := addresses(h.nl, nil)
	if err != nil {
		return fmt.Errorf("list the host's addresses: %w", err)
	}
	for _, a := range all {
		p := prefixOf(a)
		if !p.Overlaps(addr.Masked()) {
			continue
		}
		l, err := h.nl.LinkByIndex(a.LinkIndex)
		if missing(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for the interface of %s: %w", p, err)
		}
		if other := l.Attrs().Name; other != name {
			return reasonf(ErrOverlap, "its subnet %s overlaps with %s of this host's interface %s", addr.Masked(), p.Masked(), other)
		}
	}
	return nil
}

// removeBridges deletes our bridges that keep does not want, unless somebody
// else's interface is a port of one.
func (h *Host) removeBridges(keep func(name string) bool) error {
	all, err := links(h.nl)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, l := range all {
		a := l.Attrs()
		if a.Alias != h.mark.bridge() || keep(a.Name) {
			continue
		}
		if i := slices.IndexFunc(all, func(o netlink.Link) bool { return o.Attrs().MasterIndex == a.Index }); i >= 0 {
			h.log.Warn("bridge " + a.Name + " stays: it is in use by " + all[i].Attrs().Name)
			continue
		}
		if err := h.nl.LinkDel(l); err != nil && !missing(err) {
			errs = append(errs, fmt.Errorf("remove bridge %s: %w", a.Name, err))
		}
	}
	return errors.Join(errs...)
}

// restoreBridges gives bridges that were there before back as they were.
func (h *Host) restoreBridges() error {
	var errs []error
	for _, a := range h.added {
		l, err := link(h.nl, a.link)
		if err != nil || l == nil {
			errs = append(errs, err)
			continue
		}
		if err := h.nl.AddrDel(l, &netlink.Addr{IPNet: ipNet(a.addr)}); err != nil {
			errs = append(errs, fmt.Errorf("take the address %s from %s: %w", a.addr, a.link, err))
		}
	}
	for _, name := range h.raised {
		l, err := link(h.nl, name)
		if err == nil && l != nil {
			err = h.nl.LinkSetDown(l)
		}
		errs = append(errs, err)
	}
	h.added, h.raised = nil, nil
	return errors.Join(errs...)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(a netlink.Addr) netip.Prefix {
	ip, _ := netip.AddrFromSlice(a.IP)
	bits, _ := a.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits)
}

package network

import (
	"fmt"
	"net"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// forwardMark is a chain without rules in our table. It says that forwarding
// was off before us, to whoever takes the table down, even after a kill.
const forwardMark = "ip_forward_was_off"

const forwardSysctl = "ipv4/ip_forward"

func (h *Host) nft() (*nftables.Conn, error) {
	return nftables.New(nftables.WithNetNSFd(h.ns.fd()))
}

// masquerade replaces our table, in one transaction, by one with a rule for
// each pool: what comes from its subnet and leaves by another interface than
// its bridge takes the address of that interface. It is Pantavisor's rule, in a
// table of its own. Without pools the table goes.
func (h *Host) masquerade(pools []Pool) error {
	if len(pools) == 0 {
		return h.unmasquerade()
	}
	c, err := h.nft()
	if err != nil {
		return err
	}
	_, wasOff, err := h.tables(c)
	if err != nil {
		return err
	}
	on, err := h.ns.sysctl(forwardSysctl)
	if err != nil {
		return fmt.Errorf("read whether the host forwards: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: h.mark.table()}
	c.AddTable(t) // so that deleting it cannot fail
	c.DelTable(t)
	c.AddTable(t)
	if wasOff || on == '0' {
		c.AddChain(&nftables.Chain{Name: forwardMark, Table: t})
	}
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, p := range pools {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: masqueradeRule(p),
			UserData: userdata.AppendString(nil, userdata.TypeComment, comment(p.Name))})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write table ip %s of nftables: %w", t.Name, err)
	}
	if _, err := h.ns.sysctl(forwardSysctl, '1'); err != nil {
		return fmt.Errorf("switch forwarding on: %w", err)
	}
	h.natted = true
	h.warnForward(c)
	return nil
}

// comment fits what nft(8) shows: 128 bytes with the final zero.
func comment(pool string) string {
	text := "pool " + strings.ReplaceAll(pool, `"`, "'")
	return text[:min(len(text), 120)]
}

// masqueradeRule is: ip saddr SUBNET oifname != BRIDGE counter masquerade.
func masqueradeRule(p Pool) []expr.Any {
	base := p.Subnet.Addr().As4()
	name := make([]byte, 16) // IFNAMSIZ
	copy(name, p.Bridge)
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Subnet.Bits(), 32), Xor: binaryutil.NativeEndian.PutUint32(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: base[:]},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
		&expr.Counter{},
		&expr.Masq{},
	}
}

// tables finds our table and whether it has the forwardMark.
func (h *Host) tables(c *nftables.Conn) (ours *nftables.Table, wasOff bool, err error) {
	all, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, false, fmt.Errorf("list the tables of nftables: %w", err)
	}
	for _, t := range all {
		if t.Name == h.mark.table() {
			ours = t
		}
	}
	if ours == nil {
		return nil, false, nil
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, false, fmt.Errorf("list the chains of nftables: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == ours.Name && ch.Name == forwardMark {
			wasOff = true
		}
	}
	return ours, wasOff, nil
}

// unmasquerade deletes our table. If forwarding was off before it, it is
// switched off, unless another engine's table is there: that one inherits the
// mark.
func (h *Host) unmasquerade() error {
	c, err := h.nft()
	if err != nil {
		return err
	}
	ours, wasOff, err := h.tables(c)
	if err != nil && !h.natted {
		h.log.Debug("no nftables here, so no table of ours", "error", err)
		return nil
	}
	if err != nil || ours == nil {
		return err
	}
	c.DelTable(ours)
	if wasOff {
		heir, err := h.heir(c)
		if err != nil {
			return err
		}
		if heir != nil {
			c.AddChain(&nftables.Chain{Name: forwardMark, Table: heir})
			wasOff = false
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove table ip %s of nftables: %w", ours.Name, err)
	}
	h.natted = false
	if wasOff {
		if _, err := h.ns.sysctl(forwardSysctl, '0'); err != nil {
			return fmt.Errorf("switch forwarding off: %w", err)
		}
	}
	return nil
}

func (h *Host) heir(c *nftables.Conn) (*nftables.Table, error) {
	all, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if strings.HasPrefix(t.Name, tablePrefix) && t.Name != h.mark.table() {
			return t, nil
		}
	}
	return nil, nil
}

// warnForward names chains that drop what is forwarded, as Docker's do. Another
// table cannot overrule them.
func (h *Host) warnForward(c *nftables.Conn) {
	chains, err := c.ListChains()
	if err != nil {
		h.log.Debug("cannot tell whether the host drops what is forwarded", "error", err)
		return
	}
	for _, ch := range chains {
		if ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward || ch.Policy == nil || *ch.Policy != nftables.ChainPolicyDrop {
			continue
		}
		if f := ch.Table.Family; f == nftables.TableFamilyIPv4 || f == nftables.TableFamilyINet {
			h.log.Warn(fmt.Sprintf("table %s chain %s of nftables drops what is forwarded: containers may not reach the outside", ch.Table.Name, ch.Name))
		}
	}
}

package network_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/network"
)

func sprint(v any) string { return fmt.Sprint(v) }

func ofSize(t testing.TB, bits int, gateway string) []network.Pool {
	t.Helper()
	return pools(t, fmt.Sprintf(`{"p": {"bridge": "b", "subnet": "10.0.0.0/%d", "gateway": %q}}`, bits, gateway))
}

func many(n int) []network.Want {
	wants := make([]network.Want, n)
	for i := range wants {
		wants[i] = pool(fmt.Sprintf("c%d", i), "p")
	}
	return wants
}

// Every address of a pool is given but those that are nobody's, also the ones
// below the gateway; the next container is refused.
func TestPoolIsUsedWhole(t *testing.T) {
	for _, c := range []struct {
		bits    int
		gateway string
		room    int
		first   string
	}{
		{31, "10.0.0.0", 1, "10.0.0.1"},
		{31, "10.0.0.1", 1, "10.0.0.0"},
		{30, "10.0.0.1", 1, "10.0.0.2"},
		{30, "10.0.0.2", 1, "10.0.0.1"},
		{24, "10.0.0.1", 253, "10.0.0.2"},
		{24, "10.0.0.254", 253, "10.0.0.1"},
		{24, "10.0.0.100", 253, "10.0.0.101"},
	} {
		wants := many(c.room + 1)
		p := network.NewPlan(ofSize(t, c.bits, c.gateway), wants, nil)
		seen := map[netip.Addr]bool{}
		for i, w := range wants[:c.room] {
			e, err := p.Endpoint(w.Container)
			if err != nil {
				t.Fatalf("/%d: %v", c.bits, err)
			}
			if ip := e.IPs()[0]; seen[ip] || ip.String() == c.gateway || i == 0 && ip.String() != c.first {
				t.Errorf("/%d gateway %s: container %d has %s", c.bits, c.gateway, i, ip)
			} else {
				seen[ip] = true
			}
		}
		if _, err := p.Endpoint(wants[c.room].Container); !errors.Is(err, network.ErrPoolFull) {
			t.Errorf("/%d: one too many: %v", c.bits, err)
		}
	}
}

func TestPoolErrorsReachContainers(t *testing.T) {
	overlapping := append(pools(t, twoPools), pools(t, `{"wide": {"bridge": "w", "subnet": "10.0.0.0/16", "gateway": "10.0.0.1"}}`)...)
	p := network.NewPlan(append(overlapping, network.Pool{Name: "raw"}, overlapping[0]), []network.Want{
		pool("a", "wide"), pool("b", "raw"), pool("c", "internal"), pool("c", "internal"),
		pool("d", "internal", "ip=10.0.5.1"), pool("e", "internal", "ip=10.0.5.255"), pool("f", "internal", "ip=10.0.5.9/16"),
		pool("g", "internal", "mac=02:00:00:00:00:01"), pool("h", "internal", "mac=02:00:00:00:00:01"),
	}, nil)
	for container, want := range map[string]string{
		"a": `its pool "wide" is refused: its subnet 10.0.0.0/16 overlaps with 10.0.5.0/24 of pool "internal"`,
		"b": `its pool "raw" is refused: it has no bridge`,
		"c": "there are two containers of this name",
		"d": "address 10.0.5.1 is the gateway of pool",
		"e": "address 10.0.5.255 is the network or broadcast address of 10.0.5.0/24",
		"f": "address 10.0.5.9/16: the pool \"internal\" has the subnet 10.0.5.0/24, so want /24 or none",
		"h": `mac 02:00:00:00:00:01 is already in use by container "g" on pvbr0`,
	} {
		if _, err := p.Endpoint(container); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", container, err)
		}
	}
	if got := len(p.Pools()); got != 2 {
		t.Errorf("%d pools", got)
	}
	p = network.NewPlan(nil, []network.Want{pool("a", "x")}, nil)
	if got := answer(p, "a"); got != `container "a": unknown pool "x": device.json has no pools` {
		t.Error(got)
	}
}

func TestHosts(t *testing.T) {
	p := network.NewPlan(append(pools(t, twoPools), pools(t, lxcbr)...), []network.Want{
		pool("pv-example-net-server", "internal", "hostname=net-server"),
		pool("pv-example-net-client", "internal", "hostname=net-client"),
		pool("other", "lab"), pool("net-server", "internal", "hostname=second"),
		pool("clash", "internal", "hostname=NET-SERVER"), pool("late", "pvcnet"),
		lxc(t, "legacy", "0.type=veth", "0.link=lxcbr0", "0.ipv4.address=10.0.3.2/24"),
	}, nil)
	const localhost = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	internal := localhost + "10.0.5.2\tnet-server pv-example-net-server\n10.0.5.3\tnet-client pv-example-net-client\n10.0.5.4\tsecond\n10.0.5.5\tclash\n"
	for container, want := range map[string]string{
		"pv-example-net-server": internal, "clash": internal,
		"other": localhost + "10.0.6.2\tother\n", "late": localhost + "10.0.3.3\tlate\n10.0.3.2\tlegacy\n",
		"legacy": "", "nobody": "",
	} {
		if got := string(p.Hosts(container)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", container, got, want)
		}
	}
	if w := p.Warnings(); len(w) != 1 || w[0] != `pool "internal": containers "pv-example-net-server" and "clash" both have the host name "NET-SERVER", which leads to "pv-example-net-server"` {
		t.Errorf("warnings: %q", w)
	}
}

func FuzzDecodePools(f *testing.F) {
	f.Add([]byte(twoPools))
	f.Add([]byte(lxcbr))
	f.Add([]byte(`{"a": {"type": "macvlan", "parent": "eth0", "subnet": "0.0.0.0/1", "gateway": "1.1.1.1"}}`))
	f.Add([]byte(`{"a": {"bridge": "b", "subnet": "255.255.255.254/31", "gateway": "255.255.255.255", "nat": true}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		ps, _ := network.DecodePools(doc)
		for _, p := range ps {
			if !p.Subnet.Contains(p.Gateway) || p.Subnet != p.Subnet.Masked() || p.Name == "" || len(p.Bridge)+len(p.Parent) == 0 || len(p.Bridge) > 15 || len(p.Parent) > 15 {
				t.Errorf("%+v", p)
			}
		}
		wants := []network.Want{}
		for i, p := range ps {
			wants = append(wants, pool(fmt.Sprint(i), p.Name))
		}
		checkPlan(t, ps, wants, nil)
	})
}

func FuzzLXCInterfaces(f *testing.F) {
	f.Add("0.type=veth\n0.link=lxcbr0\n0.flags=up\n0.ipv4.address=10.0.3.2/24\n0.ipv4.gateway=auto")
	f.Add("0.type=phys\n0.link=eth0\n1.type=macvlan\n1.link=eth0\n1.ipv6.address=fd00::1\n1.hwaddr=00:16:3e:xx:xx:xx")
	f.Add("0.type=empty\n0.\n63.type=none")
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := network.LXCInterfaces(pairs(strings.Split(text, "\n")...))
		if err != nil {
			return
		}
		for _, i := range list {
			if i.Type == "" || len(i.Name) > 15 || len(i.Link) > 15 {
				t.Errorf("%+v", i)
			}
			for _, a := range i.Addresses {
				if !a.IsValid() {
					t.Errorf("%+v", i)
				}
			}
		}
		ps := pools(t, lxcbr)
		checkPlan(t, ps, []network.Want{pool("a", "pvcnet"), network.Decide("b", nil, list, false), network.Decide("c", nil, list, false)}, nil)
	})
}

// FuzzPlan makes pools and containers of the bytes, plans twice, and then plans
// an update in which some containers are new.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{24, 1, 0, 0, 0, 5, 0, 0, 1, 9})
	f.Add([]byte{30, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0})
	f.Add([]byte{29, 6, 2, 1, 0, 0, 2, 6, 2, 6, 3, 200})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		bits := 8 + int(data[0])%24
		base := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 5, data[1]}), bits)
		small, err1 := network.PoolSpec{Bridge: "b0", Subnet: base.Masked().String(), Gateway: base.Addr().String()}.Pool("small")
		lab, err2 := network.PoolSpec{Bridge: "b1", Subnet: "172.16.0.0/29", Gateway: "172.16.0.3"}.Pool("lab")
		if err2 != nil {
			t.Fatal(err2)
		}
		ps := []network.Pool{lab}
		if err1 == nil {
			ps = append(ps, small)
		}
		wants := wantsOf(data[2:])
		first := checkPlan(t, ps, wants, nil)
		old := wants
		if len(wants) > 1 {
			old = slices.Concat(wants[1:], []network.Want{pool("fresh", "lab")})
		}
		second := checkPlan(t, ps, old, first)
		for _, w := range old { // who stays keeps a chosen address, unless somebody with a fixed one wants it
			before, err := first.Endpoint(w.Container)
			after, err2 := second.Endpoint(w.Container)
			if err == nil && err2 == nil && w.Mode == network.ModePool && !reflect.DeepEqual(before, after) {
				t.Errorf("%s moved from %v to %v", w.Container, before.IPs(), after.IPs())
			}
		}
	})
}

func wantsOf(data []byte) []network.Want {
	var wants []network.Want
	for len(data) >= 2 && len(wants) < 300 {
		name, at := fmt.Sprint("c", len(wants)), data[1]
		switch p := []string{"small", "lab", "none"}[data[0]%3]; data[0] % 16 / 3 {
		case 0, 1, 2:
			wants = append(wants, pool(name, p))
		case 3:
			wants = append(wants, pool(name, p, fmt.Sprintf("ip=10.0.5.%d", at)))
		case 4:
			wants = append(wants, pool(name, p, fmt.Sprintf("ip=172.16.0.%d", at%8), fmt.Sprintf("mac=02:00:ac:10:00:%02x", at%8)))
		default:
			var ip [4]byte
			binary.BigEndian.PutUint32(ip[:], 172<<24|16<<16|uint32(at%8))
			wants = append(wants, network.Decide(name, nil, []network.LXCInterface{{Type: "veth", Link: "b1", Name: "eth0",
				Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(ip), 29)}}}, false))
		}
		data = data[2:]
	}
	return wants
}

// checkPlan plans, and holds the plan against what every plan promises.
func checkPlan(t *testing.T, ps []network.Pool, wants []network.Want, previous *network.Plan) *network.Plan {
	t.Helper()
	p := network.NewPlan(ps, wants, previous)
	if again := network.NewPlan(ps, wants, previous); !reflect.DeepEqual(p, again) {
		t.Error("the same input gave two plans")
	}
	type place struct {
		link string
		addr netip.Addr
	}
	type card struct {
		link string
		mac  network.MAC
	}
	addrs, macs := map[place]string{}, map[card]string{}
	byName := map[string]network.Pool{}
	for _, pool := range p.Pools() {
		byName[pool.Name] = pool
	}
	for _, w := range wants {
		e, err := p.Endpoint(w.Container)
		if err != nil {
			if _, ok := network.IsRefusal(err); !ok {
				t.Errorf("%s: %v", w.Container, err)
			}
			continue
		}
		for n, i := range e.Interfaces {
			for _, a := range i.Addresses {
				key := place{i.Link, a.Addr()}
				if other := addrs[key]; other != "" && other != fmt.Sprint(w.Container, n) && i.Link != "" && !strings.HasPrefix(other, w.Container) {
					t.Errorf("%s and %s both have %s on %s", other, w.Container, a, i.Link)
				}
				addrs[key] = fmt.Sprint(w.Container, n)
				if pool, ok := byName[i.Pool]; ok {
					if !pool.Subnet.Contains(a.Addr()) || a.Addr() == pool.Gateway || a.Bits() != pool.Subnet.Bits() {
						t.Errorf("%s has %s of %+v", w.Container, a, pool)
					}
					if pool.Subnet.Bits() < 31 && (a.Addr() == pool.Subnet.Addr() || !pool.Subnet.Contains(a.Addr().Next())) {
						t.Errorf("%s has the network or broadcast address %s", w.Container, a)
					}
					if w.IP.IsValid() && w.IP != a.Addr() {
						t.Errorf("%s wants %s and has %s", w.Container, w.IP, a)
					}
				}
			}
			if key := (card{i.Link, i.MAC}); i.MAC != (network.MAC{}) && i.Link != "" {
				if other := macs[key]; other != "" && other != w.Container {
					t.Errorf("%s and %s both have %s", other, w.Container, i.MAC)
				}
				macs[key] = w.Container
			}
		}
		for line := range strings.Lines(string(p.Hosts(w.Container))) {
			if f := strings.Fields(line); len(f) < 2 || !netip.MustParseAddr(f[0]).IsValid() {
				t.Errorf("hosts line %q", line)
			}
		}
	}
	return p
}

package network_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/network"
)

// The pools of the layer's device-ipam-2pools.json and device-ipam-lxcbr.json.
const twoPools = `{
	"internal": {"type": "bridge", "bridge": "pvbr0", "subnet": "10.0.5.0/24", "gateway": "10.0.5.1", "nat": true},
	"lab": {"type": "bridge", "bridge": "pvbr1", "subnet": "10.0.6.0/24", "gateway": "10.0.6.1", "nat": false}}`

const lxcbr = `{"pvcnet": {"type": "bridge", "bridge": "lxcbr0", "subnet": "10.0.3.0/24", "gateway": "10.0.3.1", "nat": true}}`

func pools(t testing.TB, doc string) []network.Pool {
	t.Helper()
	p, err := network.DecodePools([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pool is a container of a pool; more are "ip=…", "mac=…", "hostname=…".
func pool(container, pool string, more ...string) network.Want {
	c := network.Config{Pool: pool}
	for _, m := range more {
		switch key, value, _ := strings.Cut(m, "="); key {
		case "ip":
			c.IP = value
		case "mac":
			c.MAC = value
		case "hostname":
			c.Hostname = value
		}
	}
	return network.Decide(container, &c, nil, true)
}

// lxc is a container with lxc.net.* lines, "key=value" each without lxc.net.
func lxc(t testing.TB, container string, lines ...string) network.Want {
	t.Helper()
	list, warnings, err := network.LXCInterfaces(pairs(lines...))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	return network.Decide(container, nil, list, false)
}

func pairs(lines ...string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for _, l := range lines {
			key, value, _ := strings.Cut(l, "=")
			if !yield("lxc.net."+key, value) {
				return
			}
		}
	}
}

// answer is what a plan says about a container, in one line.
func answer(p *network.Plan, container string) string {
	e, err := p.Endpoint(container)
	if err != nil {
		return err.Error()
	}
	out := e.Mode.String()
	for _, i := range e.Interfaces {
		out += fmt.Sprintf(" %s@%s %v via %v %s", i.Name, i.Link, i.Addresses, i.Gateways, i.MAC)
	}
	return out
}

func TestPlanExamples(t *testing.T) {
	static := []string{"0.type=veth", "0.link=lxcbr0", "0.flags=up", "0.ipv4.address=10.0.3.2/24", "0.ipv4.gateway=10.0.3.1"}
	for _, c := range []struct {
		name  string
		pools string
		wants []network.Want
		want  []string
	}{
		{"server and client", twoPools,
			[]network.Want{pool("pv-example-net-server", "internal"), pool("pv-example-net-client", "internal"), pool("pv-example-net-lab-server", "lab")},
			[]string{
				"pool eth0@pvbr0 [10.0.5.2/24] via [10.0.5.1] 02:00:0a:00:05:02",
				"pool eth0@pvbr0 [10.0.5.3/24] via [10.0.5.1] 02:00:0a:00:05:03",
				"pool eth0@pvbr1 [10.0.6.2/24] via [10.0.6.1] 02:00:0a:00:06:02",
			}},
		{"valid, invalid, nopool", twoPools,
			[]network.Want{pool("valid", "internal", "ip=10.0.5.50"), pool("invalid", "internal", "ip=192.168.99.100"), pool("nopool", "does-not-exist")},
			[]string{
				"pool eth0@pvbr0 [10.0.5.50/24] via [10.0.5.1] 02:00:0a:00:05:32",
				`container "invalid": address 192.168.99.100 is outside the subnet 10.0.5.0/24 of pool "internal": want one from 10.0.5.1 to 10.0.5.254`,
				`container "nopool": unknown pool "does-not-exist": device.json has the pools internal, lab`,
			}},
		{"collision of static addresses", twoPools,
			[]network.Want{pool("valid", "internal", "ip=10.0.5.50"), pool("collision", "internal", "ip=10.0.5.50")},
			[]string{
				"pool eth0@pvbr0 [10.0.5.50/24] via [10.0.5.1] 02:00:0a:00:05:32",
				`container "collision": address 10.0.5.50 of pool "internal" is already in use by container "valid"`,
			}},
		{"a static address is kept for who starts later", twoPools,
			[]network.Want{pool("first", "internal"), pool("second", "internal", "ip=10.0.5.2")},
			[]string{
				"pool eth0@pvbr0 [10.0.5.3/24] via [10.0.5.1] 02:00:0a:00:05:03",
				"pool eth0@pvbr0 [10.0.5.2/24] via [10.0.5.1] 02:00:0a:00:05:02",
			}},
		{"an address of lxc.net is reserved in the pool", lxcbr,
			[]network.Want{pool("pv-example-net-pvcnet", "pvcnet"), lxc(t, "pv-example-ipam-static", static...)},
			[]string{
				"pool eth0@lxcbr0 [10.0.3.3/24] via [10.0.3.1] 02:00:0a:00:03:03",
				"lxc eth0@lxcbr0 [10.0.3.2/24] via [10.0.3.1] 00:00:00:00:00:00",
			}},
		{"a static address and one of lxc.net", lxcbr,
			[]network.Want{pool("a", "pvcnet", "ip=10.0.3.2"), lxc(t, "b", static...)},
			[]string{
				`container "a": address 10.0.3.2 of pool "pvcnet" is already in use by container "b"`,
				"lxc eth0@lxcbr0 [10.0.3.2/24] via [10.0.3.1] 00:00:00:00:00:00",
			}},
		{"two of lxc.net, with and without a pool", `{}`,
			[]network.Want{lxc(t, "a", static...), lxc(t, "b", static...)},
			[]string{
				"lxc eth0@lxcbr0 [10.0.3.2/24] via [10.0.3.1] 00:00:00:00:00:00",
				`container "b": its lxc.container.conf: address 10.0.3.2 is already in use by container "a" on lxcbr0`,
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := network.NewPlan(pools(t, c.pools), c.wants, nil)
			for i, w := range c.wants {
				if got := answer(p, w.Container); got != c.want[i] {
					t.Errorf("got  %s\nwant %s", got, c.want[i])
				}
			}
		})
	}
}

func TestPlanRefusesWithBothNames(t *testing.T) {
	p := network.NewPlan(pools(t, twoPools), []network.Want{
		pool("a", "internal", "ip=10.0.5.9"), pool("b", "internal", "ip=10.0.5.9"),
	}, nil)
	_, err := p.Endpoint("b")
	r, ok := network.IsRefusal(err)
	if !ok || r.Container != "b" || r.Other != "a" || r.Pool != "internal" || !errors.Is(err, network.ErrCollision) {
		t.Errorf("got %#v", err)
	}
	if all := p.Refusals(); len(all) != 1 || all[0] != r {
		t.Errorf("refusals: %v", all)
	}
	if _, err := p.Endpoint("nobody"); !errors.Is(err, network.ErrUnknown) {
		t.Errorf("unknown container: %v", err)
	}
}

func TestPlanReusesLeases(t *testing.T) {
	ps := pools(t, twoPools)
	one := network.NewPlan(ps, []network.Want{pool("b", "internal"), pool("c", "internal")}, nil)
	two := network.NewPlan(ps, []network.Want{pool("a", "internal"), pool("b", "internal"), pool("c", "lab"), pool("d", "internal", "ip=10.0.5.3")}, one)
	for container, want := range map[string]string{"a": "10.0.5.4", "b": "10.0.5.2", "c": "10.0.6.2", "d": "10.0.5.3"} {
		e, err := two.Endpoint(container)
		if err != nil || len(e.IPs()) != 1 || e.IPs()[0] != netip.MustParseAddr(want) {
			t.Errorf("%s: %v %v, want %s", container, e.IPs(), err, want)
		}
	}
	if !slices.Contains(two.Notes(), "reusing existing lease for b: 10.0.5.2/24") {
		t.Errorf("notes: %q", two.Notes())
	}
}
